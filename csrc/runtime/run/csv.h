// Rows of numbers from a CSV file, for one engine.
#pragma once

#include <string>
#include <vector>

#include "regkd/engine.h"

namespace regkd {
namespace run {

// Read `path` ("-": standard input) into rows of engine.inputs() numbers. With a header and an engine that knows its
// columns, columns are found by name and others are left aside; without names the file has exactly the engine's
// columns, in their order. `message` says what is wrong, with line and column, when the result is false.
bool read_csv(const char* path, const Engine& engine, std::vector<float>& rows, std::string& message);

}  // namespace run
}  // namespace regkd
