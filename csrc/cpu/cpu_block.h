// The Block policy of csrc/core/block.h on one CPU thread: a phase is a loop, a barrier is nothing.
// Order says in which order the items of a phase run. All orders must give the same bits: that shows that no item of a
// phase reads what another item of it writes (tests/csrc/test_orders.py).
#pragma once

#include "products.h"
#include "reduce.h"
#include "shallow.h"

namespace regkd {
namespace REGKD_LEVEL {

enum class Order { kForwards, kBackwards, kShuffled };

template <Order kOrder>
REGKD_INLINE int ordered(int i, int n) {
    if constexpr (kOrder == Order::kBackwards) return n - 1 - i;
    if constexpr (kOrder == Order::kShuffled) {
        // The larger half backwards, then the rest forwards: neighbours are separated and the ends come in the middle.
        const int half = (n + 1) / 2;
        return i < half ? n - 1 - i : i - half;
    }
    return i;
}

// Up to here the dot products of reduce.h are faster than transposing for blocks of rows (measured on AVX-512).
constexpr int kDotRows = 2, kDotColumns = 8;

template <Order kOrder = Order::kForwards>
struct CpuBlock {
    static constexpr int kPitch = kTile;
    using F = Vec;
    using I = IVec;
    using U = UVec;
    static constexpr bool kInPlace = false;
    static constexpr bool kShallow = true;

    int limit;          // lanes in use, a multiple of kVec
    float* transposed;  // [2][32][pitch of the widest layer]
    int64_t half;       // floats of one of the two

    CpuBlock(int samples, float* scratch, int64_t scratch_half)
        : limit((samples + kVec - 1) / kVec * kVec),
          transposed(scratch),
          half(scratch_half) {}

    static REGKD_INLINE F load(const float* p) { return load_vec(p); }
    static REGKD_INLINE void store(float* p, F v) { store_vec(p, v); }
    static REGKD_INLINE F fused(F a, F b, F c) { return REGKD_LEVEL::fused(a, b, c); }
    static REGKD_INLINE U lane_numbers(int s) {
        U u;
        for (int i = 0; i < kVec; ++i) u[i] = static_cast<uint32_t>(s + i);
        return u;
    }

    template <class Function>
    REGKD_INLINE void rows(int n, Function f) const {
        for (int i = 0; i < n; ++i)
            for (int s = 0; s < limit; s += kVec) f(ordered<kOrder>(i, n), s);
    }
    template <class Function>
    REGKD_INLINE void each(int begin, int end, Function f) const {
        for (int i = begin; i < end; ++i)
            for (int s = 0; s < limit; s += kVec) f(i, s);
    }
    template <class Function>
    REGKD_INLINE void lanes(Function f) const {
        for (int i = 0; i < limit; ++i) f(ordered<kOrder>(i, limit));
    }
    static REGKD_INLINE void barrier() {}
    static REGKD_INLINE F gather(const float* x, const int32_t* index, int d, int j, int s) {
        F v;
        for (int i = 0; i < kVec; ++i) v[i] = x[static_cast<int64_t>(index[s + i]) * d + j];
        return v;
    }
    template <class Function>
    REGKD_INLINE void squares(int n, Function f, float* loss) const {
        for (int s = 0; s < limit; s += kVec) {
            F sum = load(loss + s);
            for (int j = 0; j < n; ++j) sum = sum + f(j, s);
            store(loss + s, sum);
        }
    }
    static REGKD_INLINE void lane_sums(const float* p, const float* q, int count, double* sums) {
        sums[0] = lane_sum(p, count);
        sums[1] = lane_sum(q, count);
    }

    template <class Done>
    REGKD_INLINE void product(const float* w, int stride, int n_out, int n_in, const float* in, const float* bias,
                              float* out, Done done) const {
        blocks(n_out, [&]<int R>(int j) {
            product_rows<R, false>(w + static_cast<int64_t>(j) * stride, stride, n_in, in, bias ? bias + j : nullptr,
                                   out + j * kTile, limit);
            done(j, j + R);
        });
    }
    template <class Done>
    REGKD_INLINE void product_transposed(const float* w, int stride, int n_out, int n_in, const float* in, float* out,
                                         Done done) const {
        blocks(n_in, [&]<int R>(int k) {
            product_rows<R, true>(w + k, stride, n_out, in, nullptr, out + k * kTile, limit);
            done(k, k + R);
        });
    }
    REGKD_INLINE void outer(int n_out, int n_in, const float* q, const float* a, const float* d, const float* t,
                            float* g, bool add, float* bias, bool add_bias) const {
        const int ld = pitch(n_in);
        if (n_out <= kDotRows || n_in <= kDotColumns) {
            outer_by_dots(n_out, n_in, q, a, d, t, limit, g, ld, add);
            if (bias) sums(n_out, q, bias, add_bias);
            return;
        }
        transpose_tile(a, n_in, limit, transposed, ld);
        float* second = d ? transposed + half : nullptr;
        if (d) transpose_tile(t, n_in, limit, second, ld);
        blocks(n_out, [&]<int R>(int j) {
            outer_rows<R>(q + j * kTile, transposed, d ? d + j * kTile : nullptr, second, ld, limit,
                          g + static_cast<int64_t>(j) * ld, padded(n_in), add);
        });
        if (bias) sums(n_out, q, bias, add_bias);
    }
    REGKD_INLINE void sums(int n, const float* q, float* g, bool add) const { row_sums(n, q, limit, g, add); }
    static REGKD_INLINE bool is_shallow(const Network& net) { return REGKD_LEVEL::is_shallow(net); }
    REGKD_PHASE void run_shallow(const Network& net, const Rows& rows, const float* x, const float* v, float* y,
                                 float* g) const {
        if (v)
            REGKD_LEVEL::run_shallow<true>(net, rows, limit, x, v, y, g);
        else
            REGKD_LEVEL::run_shallow<false>(net, rows, limit, x, nullptr, y, nullptr);
    }
    static REGKD_INLINE double lane_sum(const float* p, int count) {
        double sum = 0.0;
        for (int i = 0; i < count; ++i) sum += static_cast<double>(p[i]);
        return sum;
    }

  private:
    // Blocks of rows, in the policy's order. The split into blocks is the same in every order.
    template <class Function>
    REGKD_INLINE void blocks(int n, Function f) const {
        if constexpr (kOrder == Order::kForwards) {
            for_row_blocks(n, f);
        } else {
            const int full = n / kRowsInRegisters;
            for_row_blocks(n - full * kRowsInRegisters,
                           [&]<int R>(int j) { f.template operator()<R>(full * kRowsInRegisters + j); });
            for (int i = 0; i < full; ++i)
                f.template operator()<kRowsInRegisters>(ordered<kOrder>(i, full) * kRowsInRegisters);
        }
    }
};

}  // namespace REGKD_LEVEL
}  // namespace regkd
