// How a long product is cut into items of work for warps. Everything depends on the product's shape alone, so that sums
// have the same order whatever the number of threads and wherever the buffers lie.
#pragma once

#include "common.h"

namespace regkd {
namespace cuda {

// Products with at most so many rows are not cut: they share out each row's terms over a warp's row groups.
constexpr int kFewRows = 8;
constexpr int kItemRows = 64;  // of the output, by 32 samples: 8 x 8 per thread
constexpr int kItems = 8;      // of a product: rows / 64, times slices of the terms
constexpr int kSlicedWidth = kItems * kItemRows;
constexpr int kItemPitch = 36;  // floats from a row of an item's sums to the next: no two lanes of a store share a bank
constexpr int kItemFloats = kItemRows * kItemPitch;  // an item's scratch memory: first its weights, then its sums
constexpr int kScratchFloats = kItems * kItemFloats;

// Slice p of a sum has the terms p * length .. and their sums are added in the order of p.
struct Slices {
    int count, length;
};
REGKD_BOTH int row_blocks(int n) { return (n + kItemRows - 1) / kItemRows; }
REGKD_BOTH Slices slices_of(int n, int terms) {
    const int most = kItems / row_blocks(n), quads = (terms + 3) / 4;
    const int length = 4 * ((quads + most - 1) / most);  // quads of weights are not cut
    return {(terms + length - 1) / length, length};
}

}  // namespace cuda
}  // namespace regkd
