// From a path to the bytes of an engine that may be loaded.
#pragma once

#include <string>

#include "regkd/engine.h"

namespace regkd {
namespace runtime {

struct EngineFile {
    std::string backend;  // "native", "tensorrt", or another that the manifest names
    std::string bytes;
};

// A folder: its manifest.json names back end and file, and the file must have the manifest's SHA-256. The bytes that
// were hashed are the bytes that are handed on. A file: a native engine, by its first bytes.
Status read_engine(const char* path, EngineFile& file);

}  // namespace runtime
}  // namespace regkd
