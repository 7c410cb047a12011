// Reading the windows of a convolution out of its values.
#pragma once

#include <cstddef>
#include <cstring>

#include "format.h"

namespace regkd {
namespace runtime {

// The values of a window, items of `bytes` each; `outside` fills what lies outside of the values.
inline void gather(const Window& w, size_t place, const void* values, size_t bytes, int outside, void* patch) {
    const size_t py = place / w.places_x, px = place % w.places_x, item = w.channels * bytes;
    const size_t row = w.columns * item, left = px * w.stride_x;
    char* to = static_cast<char*>(patch);
    const size_t skip = left < w.left ? w.left - left : 0;  // columns of the kernel in front of the values
    const size_t end = left + w.columns > w.width + w.left ? w.width + w.left - left : w.columns;
    for (size_t ky = 0; ky < w.rows; ++ky, to += row) {
        const size_t y = py * w.stride_y + ky;
        if (y < w.above || y >= w.height + w.above) {
            std::memset(to, outside, row);
            continue;
        }
        const size_t first = (y - w.above) * w.width + left + skip - w.left;
        std::memset(to, outside, skip * item);
        std::memcpy(to + skip * item, static_cast<const char*>(values) + first * item, (end - skip) * item);
        std::memset(to + end * item, outside, (w.columns - end) * item);
    }
}

// Where the windows of `count` places begin that lie in the values as they are, each w.stride_x * w.channels behind the
// one before it: windows of one row inside of the values. Null for others.
inline const float* in_a_row(const Window& w, size_t place, size_t count, const float* values) {
    const size_t py = place / w.places_x, px = place % w.places_x, y = py * w.stride_y, left = px * w.stride_x;
    const bool inside = w.rows == 1 && px + count <= w.places_x && y >= w.above && y < w.height + w.above &&
                        left >= w.left && left + (count - 1) * w.stride_x + w.columns <= w.width + w.left;
    return inside ? values + ((y - w.above) * w.width + left - w.left) * w.channels : nullptr;
}

}  // namespace runtime
}  // namespace regkd
