// The strings of a JSON object's top level: all that is needed of a manifest.
#pragma once

#include <map>
#include <string>

namespace regkd {
namespace runtime {

// True when `text` is one well-formed JSON object; `strings` gets its members whose value is a string.
bool read_strings(const std::string& text, std::map<std::string, std::string>& strings);

}  // namespace runtime
}  // namespace regkd
