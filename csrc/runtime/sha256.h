// SHA-256 (FIPS 180-4), as lower-case hexadecimal.
#pragma once

#include <string>

namespace regkd {
namespace runtime {
std::string sha256(const std::string& bytes);
}
}  // namespace regkd
