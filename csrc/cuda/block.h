// The Block policy of csrc/core/block.h on the device: a tile of 8, 16 or 32 samples belongs to a block of threads.
// Buffers are rows of 32 floats, of which a smaller tile uses the first; kShared says where they lie, so that loads and
// stores name their memory. Weights lie in shared memory or not: products ask, and have code for both.
//
// A warp's lanes are sample quads times row groups: with 32 samples 8 x 4, with 8 samples 2 x 16. In a product a thread
// holds 1 to 8 rows by 4 samples in registers. What it sums, and in which order, depends on the shapes and on the
// tile's size alone, never on the number of threads or blocks: an ensemble's members get the bits that they get alone.
#pragma once

#include "outer.h"
#include "slices.h"

#include "../core/step.h"

namespace regkd {
namespace cuda {

template <bool kShared, int kShift = 0>
struct DeviceBlock {
    static constexpr int kPitch = kTile;
    using F = float;
    using I = int32_t;
    using U = uint32_t;

    static constexpr bool kInPlace = false, kShallow = false;

    int given;    // the tile has 2^shift samples: 3, 4 or 5; kShift says so at compile time, or 0
    bool sliced;  // sums in the order of slices.h, for buffers in global memory: as SlicedBlock would

    REGKD_BOTH float load(const float* p) const { return *p; }
    REGKD_BOTH void store(float* p, float v) const { *p = v; }
    REGKD_BOTH float fused(float a, float b, float c) const { return REGKD_LEVEL::fused(a, b, c); }
    REGKD_BOTH uint32_t lane_numbers(int s) const { return static_cast<uint32_t>(s); }
    REGKD_BOTH void barrier() const { cuda::barrier(); }
    REGKD_BOTH float gather(const float* x, const int32_t* index, int d, int j, int s) const {
        return x[static_cast<int64_t>(index[s]) * d + j];
    }

    template <class Function>
    REGKD_BOTH void rows(int n, const Function& f) const {
        const int rows_per_warp = kWarp >> shift(), step = warp_count() * rows_per_warp;
        REGKD_ROLLED
        for (int j = thread_index() >> shift(); j < n; j += step) f(j, lane() & samples_mask());
    }
    template <class Function>
    REGKD_BOTH void lanes(const Function& f) const {
        if (thread_index() <= samples_mask()) f(thread_index());
    }
    template <class Function>
    REGKD_BOTH void each(int begin, int end, const Function& f) const {
        const int step = kWarp >> shift();
        for (int j = begin + (lane() >> shift()); j < end; j += step) f(j, lane() & samples_mask());
    }
    template <class Function>
    REGKD_BOTH void squares(int n, const Function& f, float* loss) const {
        if (warp_index() != warp_count() - 1) return;
        const int s = lane() & samples_mask(), step = kWarp >> shift();
        float sum = 0.0f;
        for (int j = lane() >> shift(); j < n; j += step) sum += f(j, s);
        for (int other = 1 << shift(); other < kWarp; other <<= 1) sum += from_lane_xor(sum, other);
        if (lane() <= samples_mask()) store(loss + s, load(loss + s) + sum);
    }
    REGKD_BOTH void lane_sums(const float* p, const float* q, int count, double* sums) const {
        if (warp_index() != warp_count() - 1) return;
        double a = lane() < count ? static_cast<double>(load(p + lane())) : 0.0;
        double b = lane() < count ? static_cast<double>(load(q + lane())) : 0.0;
        for (int other = 1; other < kWarp; other <<= 1) {
            a += from_lane_xor(a, other);
            b += from_lane_xor(b, other);
        }
        if (lane() == 0) {
            sums[0] = a;
            sums[1] = b;
        }
    }

    // out[j] = bias[j] + sum_k W[j, k] in[k]
    template <class Done>
    REGKD_BOTH void product(const float* w, int stride, int n_out, int n_in, const float* in, const float* bias,
                            float* out, const Done& done) const {
        finish_rows(n_out,
                    in_shared(w) ? multiply<false, true>(w, stride, n_out, n_in, in, bias, out)
                                 : multiply<false, false>(w, stride, n_out, n_in, in, bias, out),
                    done);
    }

    // out[k] = sum_j W[j, k] in[j]
    template <class Done>
    REGKD_BOTH void product_transposed(const float* w, int stride, int n_out, int n_in, const float* in, float* out,
                                       const Done& done) const {
        finish_rows(n_in,
                    in_shared(w) ? multiply<true, true>(w, stride, n_in, n_out, in, nullptr, out)
                                 : multiply<true, false>(w, stride, n_in, n_out, in, nullptr, out),
                    done);
    }

    REGKD_PHASE void outer(int n_out, int n_in, const float* q, const float* a, const float* d, const float* t,
                           float* g, bool add, float* bias, bool add_bias) const {
        const bool two = d != nullptr;
        q = mine(q);
        a = mine(a);
        d = mine(two ? d : q);
        t = mine(two ? t : a);
        g = assume_global(g);
        outer_product(samples_mask(), n_out, n_in, two, q, a, d, t, g, add, bias, add_bias);
    }

  protected:
    REGKD_BOTH int shift() const { return kShift ? kShift : given; }
    REGKD_BOTH int lane() const { return thread_index() & (kWarp - 1); }
    REGKD_BOTH int warp_index() const { return thread_index() >> 5; }
    REGKD_BOTH int warp_count() const { return thread_count() >> 5; }
    REGKD_BOTH int samples_mask() const { return (1 << shift()) - 1; }
    REGKD_BOTH int row_groups() const { return 128 >> shift(); }  // of a warp

    // Said of a whole buffer at the head of a real function, never of its elements nor under a condition: nvcc 13 takes
    // the promise for the whole function, and one about a derived pointer for a contradiction; it then drops the code
    // behind it. (The PTX in the tests showed both.)
    template <class T>
    REGKD_BOTH static T* mine(T* p) {
        return kShared ? assume_shared(p) : assume_global(p);
    }

    // The rows that this warp finished, `each_item` to an item.
    template <class Done>
    REGKD_BOTH void finish_rows(int n, int each_item, const Done& done) const {
        warp_barrier();
        for (int begin = warp_index() * each_item; begin < n; begin += warp_count() * each_item)
            done(begin, begin + each_item < n ? begin + each_item : n);
    }

    REGKD_BOTH static bool is_few(int n, int terms) { return n <= kFewRows && terms >= 16; }

    // Returns the rows of an item: items are dealt out to warps in turn. A real function for weights in shared memory
    // and one for weights elsewhere: what is assumed of a pointer holds for the whole function.
    template <bool kTransposed, bool kWeightsShared>
    REGKD_PHASE int multiply(const float* w, int stride, int n, int terms, const float* in, const float* bias,
                             float* out) const {
        return by_rows<kTransposed>(kWeightsShared ? assume_shared(w) : assume_global(w), stride, n, terms, mine(in),
                                    bias, mine(out));
    }

    template <bool kTransposed>
    REGKD_BOTH int by_rows(const float* w, int stride, int n, int terms, const float* in, const float* bias,
                           float* out) const {
        if (is_few(n, terms)) {
            few_rows<kTransposed>(w, stride, n, terms, in, bias, out);
            return 1;
        }
        const int once = row_groups() * warp_count();  // rows of one round with one row per thread
        if (n <= once) return tile_rows<1, kTransposed>(w, stride, n, terms, in, bias, out);
        if (n <= 2 * once) return tile_rows<2, kTransposed>(w, stride, n, terms, in, bias, out);
        if (n <= 4 * once) return tile_rows<4, kTransposed>(w, stride, n, terms, in, bias, out);
        return tile_rows<8, kTransposed>(w, stride, n, terms, in, bias, out);
    }

    REGKD_BOTH static void add_scaled(float* sum, float w, const float4& x) {
        sum[0] = REGKD_LEVEL::fused(w, x.x, sum[0]);
        sum[1] = REGKD_LEVEL::fused(w, x.y, sum[1]);
        sum[2] = REGKD_LEVEL::fused(w, x.z, sum[2]);
        sum[3] = REGKD_LEVEL::fused(w, x.w, sum[3]);
    }
    REGKD_BOTH static void put4(float* p, const float* sum) {
        *reinterpret_cast<float4*>(p) = float4{sum[0], sum[1], sum[2], sum[3]};
    }

    // R rows by 4 samples of a thread.
    template <int R, bool kTransposed>
    REGKD_BOTH int tile_rows(const float* w, int stride, int n, int terms, const float* in, const float* bias,
                             float* out) const {
        const int quad = 4 * (lane() & (samples_mask() >> 2)), group = lane() >> (shift() - 2);
        const int step = row_groups() * R;
        const bool aligned = (stride & 3) == 0 && (reinterpret_cast<uintptr_t>(w) & 15) == 0;
        for (int item = warp_index(); item * step < n; item += warp_count()) {
            const int first = item * step + group * R;
            if (first >= n) continue;
            const int left = n - first;
            float sum[R][4] = {};
            for (int r = 0; r < R; ++r) {
                if (bias == nullptr || sliced_here()) break;
                const float b = bias[first + (r < left ? r : left - 1)];
                for (float& v : sum[r]) v = b;
            }
            if (sliced_here())
                add_sliced<R, kTransposed>(w, stride, n, first, terms, in + quad, aligned, bias, sum);
            else
                add_terms<R, kTransposed>(w, stride, first, left, 0, terms, in + quad, aligned, sum);
            float* to = out + first * kTile + quad;
            for (int r = 0; r < R; ++r) {
                if (r >= left) break;
                put4(to + r * kTile, sum[r]);
            }
        }
        return step;
    }

    REGKD_BOTH bool sliced_here() const { return !kShared && sliced; }
    template <int R, bool kTransposed>
    REGKD_BOTH static void add_terms(const float* w, int stride, int first, int left, int begin, int end,
                                     const float* x, bool aligned, float (&sum)[R][4]) {
        if constexpr (kTransposed)
            add_columns<R>(w + begin * stride + first, stride, left, end - begin, x + begin * kTile, aligned, sum);
        else
            add_rows<R>(w + first * stride + begin, stride, left, end - begin, x + begin * kTile, aligned, sum);
    }
    template <int R, bool kTransposed>
    REGKD_BOTH static void add_sliced(const float* w, int stride, int n, int first, int terms, const float* x,
                                      bool aligned, const float* bias, float (&sum)[R][4]) {
        const Slices cut = slices_of(n, terms);
        REGKD_ROLLED
        for (int i = 0; i < cut.count; ++i) {
            const int begin = i * cut.length, end = begin + cut.length < terms ? begin + cut.length : terms;
            float part[R][4] = {};
            add_terms<R, kTransposed>(w, stride, first, n - first, begin, end, x, aligned, part);
            for (int r = 0; r < R; ++r)
                for (int s = 0; s < 4; ++s) sum[r][s] = i ? sum[r][s] + part[r][s] : part[r][s];
        }
        for (int r = 0; r < R; ++r) {
            const float b = bias ? bias[first + (r < n - first ? r : n - first - 1)] : 0.0f;
            for (float& v : sum[r]) v = v + b;
        }
    }

    template <int R>
    REGKD_BOTH static void add_rows(const float* w, int stride, int left, int terms, const float* x, bool aligned,
                                    float (&sum)[R][4]) {
        const float* row[R];  // what lies past the end is read where it exists, and not stored
        for (int r = 0; r < R; ++r) row[r] = w + (r < left ? r : left - 1) * stride;
        int k = 0;
        if (aligned) {
            REGKD_ROLLED
            for (; k + 4 <= terms; k += 4) {
                const float4 x0 = load4(x), x1 = load4(x + kTile), x2 = load4(x + 2 * kTile), x3 = load4(x + 3 * kTile);
                for (int r = 0; r < R; ++r) {
                    const float4 v = *reinterpret_cast<const float4*>(row[r] + k);
                    add_scaled(sum[r], v.x, x0);
                    add_scaled(sum[r], v.y, x1);
                    add_scaled(sum[r], v.z, x2);
                    add_scaled(sum[r], v.w, x3);
                }
                x += 4 * kTile;
            }
        }
        REGKD_ROLLED
        for (; k < terms; ++k) {
            const float4 x0 = load4(x);
            for (int r = 0; r < R; ++r) add_scaled(sum[r], row[r][k], x0);
            x += kTile;
        }
    }

    // Columns of W that lie past its end are read where they exist: `left` are there.
    template <int R>
    REGKD_BOTH static void add_columns(const float* w, int stride, int left, int terms, const float* x, bool aligned,
                                       float (&sum)[R][4]) {
        if (aligned && R >= 4) {  // rows end at a multiple of 4
            const int second = left > 4 ? 4 : 0;
            REGKD_ROLLED_BY_2
            for (int k = 0; k < terms; ++k) {
                const float4 x0 = load4(x), v = *reinterpret_cast<const float4*>(w);
                add_scaled(sum[0], v.x, x0);
                add_scaled(sum[1 % R], v.y, x0);
                add_scaled(sum[2 % R], v.z, x0);
                add_scaled(sum[3 % R], v.w, x0);
                if constexpr (R == 8) {
                    const float4 u = *reinterpret_cast<const float4*>(w + second);
                    add_scaled(sum[4], u.x, x0);
                    add_scaled(sum[5], u.y, x0);
                    add_scaled(sum[6], u.z, x0);
                    add_scaled(sum[7], u.w, x0);
                }
                x += kTile;
                w += stride;
            }
            return;
        }
        int at[R];
        for (int r = 0; r < R; ++r) at[r] = r < left ? r : left - 1;
        REGKD_ROLLED_BY_2
        for (int k = 0; k < terms; ++k) {
            const float4 x0 = load4(x);
            for (int r = 0; r < R; ++r) add_scaled(sum[r], w[at[r]], x0);
            x += kTile;
            w += stride;
        }
    }

    // A warp takes a row; its row groups share the terms and add their parts in a tree.
    template <bool kTransposed>
    REGKD_BOTH void few_rows(const float* w, int stride, int n, int terms, const float* in, const float* bias,
                             float* out) const {
        const int quad = 4 * (lane() & (samples_mask() >> 2)), group = lane() >> (shift() - 2), groups = row_groups();
        for (int j = warp_index(); j < n; j += warp_count()) {
            float sum[4] = {};
            const int far = kTransposed ? stride : 1;
            const float *v = w + (kTransposed ? j : j * stride) + group * far, *x = in + quad + group * kTile;
            REGKD_ROLLED_BY(8)  // loads under way, perhaps from the L2
            for (int k = group; k < terms; k += groups) {
                add_scaled(sum, *v, load4(x));
                v += groups * far;
                x += groups * kTile;
            }
            for (int other = 1 << (shift() - 2); other < kWarp; other <<= 1)
                for (int i = 0; i < 4; ++i) sum[i] += from_lane_xor(sum[i], other);
            if (group == 0) {
                const float b = bias ? bias[j] : 0.0f;
                for (int i = 0; i < 4; ++i) sum[i] += b;
                put4(out + j * kTile + quad, sum);
            }
        }
    }
};

}  // namespace cuda
}  // namespace regkd
