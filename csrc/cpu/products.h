// The three products of a tile on the CPU, blocked for registers: R rows times S vectors of samples stay in registers
// while the other dimension runs; weights are broadcast. For `outer` the samples run and S vectors of inputs stay.
#pragma once

#include "../core/block.h"

namespace regkd {
namespace REGKD_LEVEL {

#if defined(__AVX512F__)
constexpr int kRowsInRegisters = 8;  // 16 accumulators of 32 registers: the multiply-add's latency is covered
#elif defined(__AVX2__)
constexpr int kRowsInRegisters = 6;  // 12 of 16
#elif defined(__aarch64__)
constexpr int kRowsInRegisters = 8;  // 16 of 32
#else
constexpr int kRowsInRegisters = 4;  // 8 of 16
#endif

// out[j] = bias[j] + sum_k w(j, k) in[k] for R rows j and S vectors of samples; w(j, k) = w[j * rs + k * cs]. `add`: to
// what `out` holds, and there is no bias.
template <int R, int S, bool Transposed>
REGKD_INLINE void product_block(const float* w, int64_t stride, int cols, const float* in, const float* bias,
                                float* out, bool add) {
    const int64_t rs = Transposed ? 1 : stride, cs = Transposed ? stride : 1;
    constexpr int kChains = R == 1 ? 4 : 1;  // a single row needs several sums in flight
    Vec sum[kChains][R][S];
    for (int c = 0; c < kChains; ++c)
        for (int r = 0; r < R; ++r)
            for (int s = 0; s < S; ++s)
                sum[c][r][s] =
                    c == 0 && add ? load_vec(out + r * kTile + s * kVec) : all<Vec>(c == 0 && bias ? bias[r] : 0.0f);
    int k = 0;
    for (; k + kChains <= cols; k += kChains) {
        // Column-wise every weight is on a line of its own, and lines a page apart are not fetched ahead by themselves.
        if constexpr (Transposed && R > 1) __builtin_prefetch(w + static_cast<int64_t>(k + 4) * cs);
        for (int c = 0; c < kChains; ++c) {
            Vec v[S];
            for (int s = 0; s < S; ++s) v[s] = load_vec(in + (k + c) * kTile + s * kVec);
            for (int r = 0; r < R; ++r) {
                const Vec broadcast = all<Vec>(w[r * rs + (k + c) * cs]);
                for (int s = 0; s < S; ++s) sum[c][r][s] = fused(broadcast, v[s], sum[c][r][s]);
            }
        }
    }
    for (; k < cols; ++k)
        for (int r = 0; r < R; ++r)
            for (int s = 0; s < S; ++s)
                sum[0][r][s] = fused(all<Vec>(w[r * rs + k * cs]), load_vec(in + k * kTile + s * kVec), sum[0][r][s]);
    for (int r = 0; r < R; ++r)
        for (int s = 0; s < S; ++s) {
            Vec total = sum[0][r][s];
            for (int c = 1; c < kChains; ++c) total = total + sum[c][r][s];
            store_vec(out + r * kTile + s * kVec, total);
        }
}

template <int R, bool Transposed>
REGKD_INLINE void product_rows(const float* w, int64_t stride, int cols, const float* in, const float* bias, float* out,
                               int limit, bool add = false) {
    int s = 0;
    for (; s + 2 * kVec <= limit; s += 2 * kVec)
        product_block<R, 2, Transposed>(w, stride, cols, in + s, bias, out + s, add);
    if (s < limit) product_block<R, 1, Transposed>(w, stride, cols, in + s, bias, out + s, add);
}

// G[j, k] (+)= sum over samples of q[j, s] a[s, k] (+ d[j, s] t[s, k]) for R rows and S vectors of inputs.
template <int R, int S>
REGKD_INLINE void outer_block(const float* q, const float* a, const float* d, const float* t, int stride, int samples,
                              float* g, int ld, bool add) {
    Vec sum[R][S];
    for (int r = 0; r < R; ++r)
        for (int k = 0; k < S; ++k)
            sum[r][k] = add ? load_vec(g + static_cast<int64_t>(r) * ld + k * kVec) : all<Vec>(0.0f);
    for (int pair = 0; pair < 2; ++pair) {
        const float *left = pair ? d : q, *right = pair ? t : a;
        if (left == nullptr) break;
        for (int s = 0; s < samples; ++s) {
            Vec v[S];
            for (int k = 0; k < S; ++k) v[k] = load_vec(right + s * stride + k * kVec);
            for (int r = 0; r < R; ++r) {
                const Vec broadcast = all<Vec>(left[r * kTile + s]);
                for (int k = 0; k < S; ++k) sum[r][k] = fused(broadcast, v[k], sum[r][k]);
            }
        }
    }
    for (int r = 0; r < R; ++r)
        for (int k = 0; k < S; ++k) store_vec(g + static_cast<int64_t>(r) * ld + k * kVec, sum[r][k]);
}

// The first `cols` columns; rows of a, t and G are `stride` floats apart.
template <int R>
REGKD_INLINE void outer_rows(const float* q, const float* a, const float* d, const float* t, int stride, int samples,
                             float* g, int cols, bool add) {
    int k = 0;
    if constexpr (R == 1)
        for (; k + 4 * kVec <= cols; k += 4 * kVec)
            outer_block<R, 4>(q, a + k, d, t + (t ? k : 0), stride, samples, g + k, stride, add);
    for (; k + 2 * kVec <= cols; k += 2 * kVec)
        outer_block<R, 2>(q, a + k, d, t + (t ? k : 0), stride, samples, g + k, stride, add);
    for (; k < cols; k += kVec) outer_block<R, 1>(q, a + k, d, t + (t ? k : 0), stride, samples, g + k, stride, add);
}

template <int R, class Function>
REGKD_INLINE void last_rows(int j, Function f) {
    if constexpr (R < kRowsInRegisters) f.template operator()<R>(j);
}
// f.template operator()<R>(j) for blocks of rows j .. j + R - 1 that cover [0, n); the blocks depend on n alone.
template <class Function>
REGKD_INLINE void for_row_blocks(int n, Function f) {
    int j = 0;
    for (; j + kRowsInRegisters <= n; j += kRowsInRegisters) f.template operator()<kRowsInRegisters>(j);
    // What is left in one block where it can be: its sums hide each other's latency.
    switch (n - j) {
        case 7:
            return last_rows<7>(j, f);
        case 6:
            return last_rows<6>(j, f);
        case 5:
            return last_rows<5>(j, f);
        case 4:
            return last_rows<4>(j, f);
        case 3:
            return last_rows<3>(j, f);
        case 2:
            return last_rows<2>(j, f);
        case 1:
            return last_rows<1>(j, f);
    }
}

// to[s][j] = from[j][s]: [n][32] to [32][stride], j padded with zeros to `stride`.
REGKD_INLINE void transpose_tile(const float* from, int n, int samples, float* to, int stride) {
    constexpr int kSide = 4;
    typedef float Quad __attribute__((vector_size(16)));
    typedef float QuadUnaligned __attribute__((vector_size(16), aligned(4), may_alias));
    int j = 0;
    for (; j + kSide <= n; j += kSide) {
        for (int s = 0; s < samples; s += kSide) {
            const float* p = from + j * kTile + s;
            const Quad r0 = *reinterpret_cast<const QuadUnaligned*>(p),
                       r1 = *reinterpret_cast<const QuadUnaligned*>(p + kTile);
            const Quad r2 = *reinterpret_cast<const QuadUnaligned*>(p + 2 * kTile),
                       r3 = *reinterpret_cast<const QuadUnaligned*>(p + 3 * kTile);
            const Quad a = __builtin_shufflevector(r0, r1, 0, 4, 1, 5), b = __builtin_shufflevector(r2, r3, 0, 4, 1, 5);
            const Quad c = __builtin_shufflevector(r0, r1, 2, 6, 3, 7), e = __builtin_shufflevector(r2, r3, 2, 6, 3, 7);
            float* out = to + s * stride + j;
            *reinterpret_cast<QuadUnaligned*>(out) = __builtin_shufflevector(a, b, 0, 1, 4, 5);
            *reinterpret_cast<QuadUnaligned*>(out + stride) = __builtin_shufflevector(a, b, 2, 3, 6, 7);
            *reinterpret_cast<QuadUnaligned*>(out + 2 * stride) = __builtin_shufflevector(c, e, 0, 1, 4, 5);
            *reinterpret_cast<QuadUnaligned*>(out + 3 * stride) = __builtin_shufflevector(c, e, 2, 3, 6, 7);
        }
    }
    for (; j < stride; ++j)
        for (int s = 0; s < samples; ++s) to[s * stride + j] = j < n ? from[j * kTile + s] : 0.0f;
}

}  // namespace REGKD_LEVEL
}  // namespace regkd
