// Reading a native engine file from memory: a cursor that never leaves it, and what every number must be.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "regkd/engine.h"

namespace regkd {
namespace runtime {

inline uint32_t word(const unsigned char* p) {
    return static_cast<uint32_t>(p[0]) | static_cast<uint32_t>(p[1]) << 8 | static_cast<uint32_t>(p[2]) << 16 |
           static_cast<uint32_t>(p[3]) << 24;
}
inline float number(const unsigned char* p) {
    const uint32_t bits = word(p);
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
}

template <class... Values>
Status corrupt(const char* format, Values... values) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-security"
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    return Status(StatusCode::kCorrupt, format, values...);
#pragma GCC diagnostic pop
}

// A cursor that never passes the end of the file. Sizes are compared before anything is allocated. What a file may
// repeat or only name (constants, values between operations) is bounded by kMaxValues.
struct Cursor {
    const unsigned char* at;
    const unsigned char* end;

    bool holds(uint64_t bytes) const { return bytes <= static_cast<uint64_t>(end - at); }
    bool take(uint32_t& value) {
        if (!holds(4)) return false;
        value = word(at);
        at += 4;
        return true;
    }
    bool take(float& value) {
        if (!holds(4)) return false;
        value = number(at);
        at += 4;
        return true;
    }
    bool take(std::vector<float>& values, uint64_t count) {
        if (!holds(4 * count)) return false;
        values.resize(count);
        for (uint64_t i = 0; i < count; ++i) values[i] = number(at + 4 * i);
        at += 4 * count;
        return true;
    }
    bool take(std::vector<int8_t>& values, uint64_t count) {
        if (!holds((count + 3) / 4 * 4)) return false;
        values.resize(count);
        std::memcpy(values.data(), at, count);
        at += count;
        return skip_zeros((4 - count % 4) % 4);
    }
    bool skip_zeros(uint64_t count) {
        if (!holds(count)) return false;
        for (uint64_t i = 0; i < count; ++i)
            if (at[i]) return false;
        at += count;
        return true;
    }
};

inline bool all_finite(const std::vector<float>& values) {
    for (float value : values)
        if (!std::isfinite(value)) return false;
    return true;
}
inline bool all_positive(const std::vector<float>& values) {
    for (float value : values)
        if (!(value > 0)) return false;
    return true;
}

}  // namespace runtime
}  // namespace regkd
