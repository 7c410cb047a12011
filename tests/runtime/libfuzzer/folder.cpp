// Engine::load(folder) with any bytes as its manifest.json: never a file outside the folder, never a crash.
#include <regkd/engine.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>

#include "folder.h"
#include "json.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static const std::string folder = [] {
        char name[] = "/tmp/regkd-folder-XXXXXX";
        const char* made = mkdtemp(name);
        if (!made) std::abort();
        return std::string(made);
    }();
    const std::string manifest = folder + "/manifest.json";
    std::FILE* file = std::fopen(manifest.c_str(), "wb");
    if (!file || std::fwrite(data, 1, size, file) != size || std::fclose(file) != 0) std::abort();

    std::map<std::string, std::string> strings;
    regkd::runtime::read_strings(std::string(reinterpret_cast<const char*>(data), size), strings);

    regkd::runtime::EngineFile found;
    const regkd::Status status = regkd::runtime::read_engine(folder.c_str(), found);
    if (status.ok() || !*status.message()) std::abort();  // the folder holds no engine, wherever its manifest points
    if (!found.bytes.empty() && strings["engine"] != "manifest.json") std::abort();
    std::remove(manifest.c_str());
    return 0;
}
