// The outer products of a tile: gradients of weights. A thread has R rows by C columns of G in registers and walks over
// the samples. Pointers come from a phase that has said where they point.
#pragma once

#include "launch.h"

#include "../core/network.h"

namespace regkd {
namespace cuda {

// An outer product with less work than so many threads takes smaller pieces of it.
constexpr int kOuterItems = 128;

REGKD_BOTH float4 load4(const float* p) { return *reinterpret_cast<const float4*>(p); }

template <int R, int C>
REGKD_BOTH void add_quads(const float* q, const float* a, int row, int column, float (&sum)[R][C]) {
    float4 x[C];
    for (int c = 0; c < C; ++c) x[c] = load4(a + c * column);
    for (int r = 0; r < R; ++r) {
        const float4 v = load4(q + r * row);
        for (int c = 0; c < C; ++c)
            sum[r][c] = REGKD_LEVEL::fused(
                v.w, x[c].w,
                REGKD_LEVEL::fused(v.z, x[c].z,
                                   REGKD_LEVEL::fused(v.y, x[c].y, REGKD_LEVEL::fused(v.x, x[c].x, sum[r][c]))));
    }
}

// All R rows and C columns exist, so one pointer reaches them.
template <int R, int C>
REGKD_BOTH void add_whole(int mask, int begin, const float* q, const float* a, float (&sum)[R][C]) {
    REGKD_ROLLED
    for (int i = 0; i <= mask; i += 4) {
        const int s = (begin + i) & mask;
        add_quads<R, C>(q + s, a + s, kTile, kTile, sum);
    }
}

template <int R, int C>
REGKD_BOTH void add_products(int mask, int rows, int columns, int begin, const float* q, const float* a,
                             float (&sum)[R][C]) {
    int row[R], column[C];
    for (int r = 0; r < R; ++r) row[r] = (r < rows ? r : rows - 1) * kTile;
    for (int c = 0; c < C; ++c) column[c] = (c < columns ? c : columns - 1) * kTile;
    REGKD_ROLLED
    for (int i = 0; i <= mask; i += 4) {
        const int s = (begin + i) & mask;
        float4 x[C];
        for (int c = 0; c < C; ++c) x[c] = load4(a + column[c] + s);
        for (int r = 0; r < R; ++r) {
            const float4 v = load4(q + row[r] + s);
            for (int c = 0; c < C; ++c)
                sum[r][c] = REGKD_LEVEL::fused(
                    v.w, x[c].w,
                    REGKD_LEVEL::fused(v.z, x[c].z,
                                       REGKD_LEVEL::fused(v.y, x[c].y, REGKD_LEVEL::fused(v.x, x[c].x, sum[r][c]))));
        }
    }
}

template <int C>
REGKD_BOTH void put_row(float* at, const float (&sum)[C], bool add) {
    if constexpr (C == 4) {
        float4 v = {sum[0], sum[1], sum[2], sum[3]};
        if (add) {
            const float4 before = load4(at);
            v = {before.x + v.x, before.y + v.y, before.z + v.z, before.w + v.w};
        }
        *reinterpret_cast<float4*>(at) = v;
    } else {
        for (int c = 0; c < C; ++c) at[c] = add ? at[c] + sum[c] : sum[c];
    }
}

// R rows by C columns of G per thread. Threads begin their walk over the samples at different places: rows are 32
// floats apart, and would meet in one bank.
template <int R, int C>
REGKD_BOTH void outer_items(int mask, int n_out, int n_in, bool two, const float* q, const float* a, const float* d,
                            const float* t, float* g, bool add) {
    const int pitch = REGKD_LEVEL::pitch(n_in), columns = (n_in + C - 1) / C, items = (n_out + R - 1) / R * columns;
    for (int item = thread_index(); item < items; item += thread_count()) {
        const int group = static_cast<int>(static_cast<unsigned>(item) / static_cast<unsigned>(columns));
        const int first = group * R, column = (item - group * columns) * C, begin = 4 * (item & 7);
        float sum[R][C] = {};
        const float *q_at = q + first * kTile, *a_at = a + column * kTile, *d_at = d + first * kTile,
                    *t_at = t + column * kTile;
        const int rows = n_out - first, columns_left = n_in - column;
        if (rows >= R && columns_left >= C) {
            add_whole<R, C>(mask, begin, q_at, a_at, sum);
            if (two) add_whole<R, C>(mask, begin, d_at, t_at, sum);
        } else {
            add_products<R, C>(mask, rows, columns_left, begin, q_at, a_at, sum);
            if (two) add_products<R, C>(mask, rows, columns_left, begin, d_at, t_at, sum);
        }
        float* at = g + static_cast<int64_t>(first) * pitch + column;
        for (int r = 0; r < R; ++r) {  // rows of G are padded: columns past the end have room
            if (r >= rows) break;
            put_row<C>(at + r * pitch, sum[r], add);
        }
    }
}

// G[j, k] (+)= sum_s q[j, s] a[k, s] + d[j, s] t[k, s]; bias[j] (+)= sum_s q[j, s].
REGKD_BOTH void outer_product(int mask, int n_out, int n_in, bool two, const float* q, const float* a, const float* d,
                              const float* t, float* g, bool add, float* bias, bool add_bias) {
    const int quads = (n_out + 3) / 4;
    if (n_out == 1)
        outer_items<1, 1>(mask, n_out, n_in, two, q, a, d, t, g, add);
    else if (quads * ((n_in + 3) / 4) >= kOuterItems)
        outer_items<4, 4>(mask, n_out, n_in, two, q, a, d, t, g, add);
    else if (quads * ((n_in + 1) / 2) >= kOuterItems)
        outer_items<4, 2>(mask, n_out, n_in, two, q, a, d, t, g, add);
    else
        outer_items<4, 1>(mask, n_out, n_in, two, q, a, d, t, g, add);
    if (bias == nullptr) return;
    for (int j = thread_count() - 1 - thread_index(); j < n_out; j += thread_count()) {  // from the idle end
        float sum = 0.0f;
        for (int i = 0; i <= mask; i += 4) {
            const float4 v = load4(q + j * kTile + ((i + 4 * j) & mask));
            sum += (v.x + v.y) + (v.z + v.w);
        }
        bias[j] = add_bias ? bias[j] + sum : sum;
    }
}

}  // namespace cuda
}  // namespace regkd
