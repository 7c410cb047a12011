// Sums across the lanes of several vectors at once: as many vectors as lanes become one vector of their sums.
#pragma once

#include "../core/block.h"

namespace regkd {
namespace REGKD_LEVEL {

// Halves, quarters, ... of a and b side by side: {low of a, low of b} + {high of a, high of b} in every block.
template <int Block>
REGKD_INLINE Vec halves_added(Vec a, Vec b) {
#if defined(__AVX512F__)
    if constexpr (Block == 16)
        return __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23) +
               __builtin_shufflevector(a, b, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
    else if constexpr (Block == 8)
        return __builtin_shufflevector(a, b, 0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27) +
               __builtin_shufflevector(a, b, 4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31);
    else if constexpr (Block == 4)
        return __builtin_shufflevector(a, b, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29) +
               __builtin_shufflevector(a, b, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
    else
        return __builtin_shufflevector(a, b, 0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30) +
               __builtin_shufflevector(a, b, 1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31);
#elif defined(__AVX2__)
    if constexpr (Block == 8)
        return __builtin_shufflevector(a, b, 0, 1, 2, 3, 8, 9, 10, 11) +
               __builtin_shufflevector(a, b, 4, 5, 6, 7, 12, 13, 14, 15);
    else if constexpr (Block == 4)
        return __builtin_shufflevector(a, b, 0, 1, 8, 9, 4, 5, 12, 13) +
               __builtin_shufflevector(a, b, 2, 3, 10, 11, 6, 7, 14, 15);
    else
        return __builtin_shufflevector(a, b, 0, 8, 2, 10, 4, 12, 6, 14) +
               __builtin_shufflevector(a, b, 1, 9, 3, 11, 5, 13, 7, 15);
#else
    if constexpr (Block == 4)
        return __builtin_shufflevector(a, b, 0, 1, 4, 5) + __builtin_shufflevector(a, b, 2, 3, 6, 7);
    else
        return __builtin_shufflevector(a, b, 0, 4, 2, 6) + __builtin_shufflevector(a, b, 1, 5, 3, 7);
#endif
}

// Lane i of the result is the sum over the lanes of v[i]. v is used up.
template <int Block = kVec>
REGKD_INLINE Vec lane_totals(Vec* v) {
    for (int i = 0; i < Block / 2; ++i) v[i] = halves_added<Block>(v[i], v[i + Block / 2]);
    if constexpr (Block == 2)
        return v[0];
    else
        return lane_totals<Block / 2>(v);
}

// g[j] (+)= sum over samples of q[j, s] for j < n; beyond n, up to a whole vector, 0 is added.
REGKD_INLINE void row_sums(int n, const float* q, int samples, float* g, bool add) {
    for (int j = 0; j < n; j += kVec) {
        Vec total[kVec];
        for (int r = 0; r < kVec; ++r) {
            total[r] = all<Vec>(0.0f);
            if (j + r >= n) continue;
            for (int s = 0; s < samples; s += kVec) total[r] = total[r] + load_vec(q + (j + r) * kTile + s);
        }
        const Vec sum = lane_totals(total);
        store_vec(g + j, add ? load_vec(g + j) + sum : sum);
    }
    if (!add)
        for (int j = (n + kVec - 1) / kVec * kVec; j < padded(n); ++j) g[j] = 0.0f;
}

// sum[i] += left[s] * right[i, s] for i < some.
REGKD_INLINE void add_products(Vec* sum, int some, const float* left, const float* right) {
    const Vec one = load_vec(left);
    if (some == kVec)
        for (int i = 0; i < kVec; ++i) sum[i] = fused(one, load_vec(right + i * kTile), sum[i]);
    else
        for (int i = 0; i < kVec; ++i)
            if (i < some) sum[i] = fused(one, load_vec(right + i * kTile), sum[i]);
}

// G[j, k] (+)= sum over samples of q[j, s] a[k, s] (+ d[j, s] t[k, s]) as dot products: nothing is transposed, so it is
// the faster form for few rows or few columns. Rows of G are `ld` floats apart and padded with zeros.
REGKD_INLINE void outer_by_dots(int n_out, int n_in, const float* q, const float* a, const float* d, const float* t,
                                int samples, float* g, int ld, bool add) {
    for (int k = 0; k < padded(n_in); k += kVec) {
        const int left = n_in - k, some = left < 0 ? 0 : (left < kVec ? left : kVec);
        for (int j = 0; j < n_out; ++j) {
            Vec sum[kVec];
            for (int i = 0; i < kVec; ++i) sum[i] = all<Vec>(0.0f);
            for (int s = 0; s < samples; s += kVec) {
                add_products(sum, some, q + j * kTile + s, a + k * kTile + s);
                if (d) add_products(sum, some, d + j * kTile + s, t + k * kTile + s);
            }
            float* to = g + static_cast<int64_t>(j) * ld + k;
            const Vec total = lane_totals(sum);
            store_vec(to, add ? load_vec(to) + total : total);
        }
    }
}

}  // namespace REGKD_LEVEL
}  // namespace regkd
