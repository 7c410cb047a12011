// A tile's part of the gradient on the small path: outer products over its 4 samples, from shared to global memory.
#pragma once

#include "small_block.h"

namespace regkd {
namespace cuda {

// G[j, k] (+)= sum_s q[j, s] a[k, s] + d[j, s] t[k, s], rows of G n_in apart; d 0: the first product alone. A lane
// holds R x 4 of G; its rows and columns are far apart, those of neighbours next to each other.
template <int R>
REGKD_WORK void outer_items(int size, int q, int a, int d, int t, float* g, bool add) {
    const OuterSize p = *reinterpret_cast<const OuterSize*>(shared_at(size));
    g = assume_global(g);
    REGKD_ROLLED
    for (int item = static_cast<int>(SmallBlock::lane()); item < p.items; item += kWarp) {
        const int j =
            p.across == 1 ? item : static_cast<int>(uint64_t{static_cast<uint32_t>(item)} * p.reciprocal >> 32);
        const int k = item - j * p.across;
        int row[R], column[4];
        for (int r = 0; r < R; ++r) row[r] = kSmallSamples * (j + r * p.down < p.n_out ? j + r * p.down : p.n_out - 1);
        for (int c = 0; c < 4; ++c)
            column[c] = kSmallSamples * (k + c * p.across < p.n_in ? k + c * p.across : p.n_in - 1);
        float sum[R][4] = {};
        const auto add_product = [&](const float* left, const float* right) {
            float4 x[4];
            for (int c = 0; c < 4; ++c) x[c] = *reinterpret_cast<const float4*>(right + column[c]);
            for (int r = 0; r < R; ++r) {
                const float4 v = *reinterpret_cast<const float4*>(left + row[r]);
                for (int c = 0; c < 4; ++c) {
                    sum[r][c] = REGKD_LEVEL::fused(v.x, x[c].x, sum[r][c]);
                    sum[r][c] = REGKD_LEVEL::fused(v.y, x[c].y, sum[r][c]);
                    sum[r][c] = REGKD_LEVEL::fused(v.z, x[c].z, sum[r][c]);
                    sum[r][c] = REGKD_LEVEL::fused(v.w, x[c].w, sum[r][c]);
                }
            }
        };
        add_product(shared_at(q), shared_at(a));
        if (d) add_product(shared_at(d), shared_at(t));
        float* const at = g + j * p.n_in + k;
        const int down = p.down * p.n_in;
        const auto there = [&](int r, int c) { return j + r * p.down < p.n_out && k + c * p.across < p.n_in; };
        if (add)
            for (int r = 0; r < R; ++r)
                for (int c = 0; c < 4; ++c)
                    if (there(r, c)) sum[r][c] += at[r * down + c * p.across];
        for (int r = 0; r < R; ++r)
            for (int c = 0; c < 4; ++c)
                if (there(r, c)) at[r * down + c * p.across] = sum[r][c];
    }
}

REGKD_BOTH void outer(const OuterSize& size, int q, int a, int d, int t, float* g, bool add) {
    const int at = offset_of(reinterpret_cast<const float*>(&size));
    if (size.n_out == 1)
        outer_items<1>(at, q, a, d, t, g, add);
    else
        outer_items<4>(at, q, a, d, t, g, add);
}

// b[j] (+)= sum_s q[j, s].
REGKD_BOTH void sum_rows(int n, int q, float* b, bool add) {
    REGKD_ROLLED
    for (int j = static_cast<int>(SmallBlock::lane()); j < n; j += kWarp) {
        const float4 v = *reinterpret_cast<const float4*>(shared_at(q + j * kSmallSamples));
        const float sum = (v.x + v.y) + (v.z + v.w);
        b[j] = add ? b[j] + sum : sum;
    }
}

}  // namespace cuda
}  // namespace regkd
