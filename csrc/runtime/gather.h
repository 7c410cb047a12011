// Reading the windows of a convolution out of its values.
#pragma once

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

}  // namespace runtime
}  // namespace regkd
