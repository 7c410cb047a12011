// The Block policy of csrc/core/block.h on the device: a tile belongs to a block of threads, lane = sample, a warp
// works on rows. Buffers are [features][32] floats in shared memory (or, where they do not fit, in global memory);
// weights are read where they lie, all lanes of a warp reading one address.
//
// Every phase ends with a barrier of the block, so a phase may read whatever an earlier one wrote and may overwrite
// whatever an earlier one read. Sums have a fixed order for a given number of threads: no atomics.
#pragma once

#include "launch.h"

#include "../core/step.h"

namespace regkd {
namespace cuda {

constexpr int kRowsAThread = 4;  // rows of an outer product that a thread holds

struct DeviceBlock {
    using F = float;
    using I = int32_t;
    using U = uint32_t;

    int thread, threads, lane, warp, warps;
    float* scratch;  // [warps][kRowsAWarp][32] partial sums of products

    REGKD_BOTH float load(const float* p) const { return *p; }
    REGKD_BOTH void store(float* p, float v) const { *p = v; }
    REGKD_BOTH int32_t load_int(const int32_t* p) const { return *p; }
    REGKD_BOTH float fused(float a, float b, float c) const { return REGKD_LEVEL::fused(a, b, c); }
    REGKD_BOTH uint32_t lane_numbers(int s) const { return static_cast<uint32_t>(s); }

    template <class Function>
    REGKD_BOTH void rows(int n, const Function& f) const {
        REGKD_ROLLED
        for (int j = warp; j < n; j += warps) f(j, lane);
        barrier();
    }
    template <class Function>
    REGKD_BOTH void cells(int n, const Function& f) const {
        rows(n, f);
    }
    template <class Function>
    REGKD_BOTH void lanes(const Function& f) const {
        if (warp == 0) f(lane);
        barrier();
    }
    template <class Function>
    REGKD_BOTH void each(int begin, int end, const Function& f) const {
        for (int j = begin; j < end; ++j) f(j, lane);
    }
    template <class Function>
    REGKD_BOTH void once(const Function& f) const {
        if (thread == 0) f();
    }
    REGKD_BOTH double lane_sum(const float* p, int count) const {
        double sum = 0.0;
        for (int i = 0; i < count; ++i) sum += static_cast<double>(p[i]);
        return sum;
    }

    // out[j] = bias[j] + sum_k W[j, k] in[k]
    template <class Done>
    REGKD_BOTH void product(const float* w, int n_out, int n_in, const float* in, const float* bias, float* out,
                            const Done& done) const {
        sum_rows(w, n_out, n_in, in, bias, out);
        own_rows(n_out, n_in, done);
        barrier();
    }

    // out[k] = sum_j W[j, k] in[j]
    template <class Done>
    REGKD_BOTH void product_transposed(const float* w, int n_out, int n_in, const float* in, float* out,
                                       const Done& done) const {
        sum_columns(w, n_out, n_in, in, out);
        own_rows(n_in, n_out, done);
        barrier();
    }

    // G[j, k] (+)= sum_s q[j, s] a[k, s] + d[j, s] t[k, s]. A thread holds four j of one k. It starts its walk over the
    // samples at a place of its own, so that threads on different rows, all 32 floats apart, meet different banks.
    REGKD_BOTH void outer(int n_out, int n_in, const float* q, const float* a, const float* d, const float* t, float* g,
                          bool add) const {
        const int pitch = REGKD_LEVEL::pitch(n_in), groups = (n_out + kRowsAThread - 1) / kRowsAThread;
        for (int item = thread; item < groups * n_in; item += threads) {
            const int group = item / n_in, k = item - group * n_in, first = group * kRowsAThread;
            const int rows = n_out - first < kRowsAThread ? n_out - first : kRowsAThread;
            float sum[kRowsAThread] = {};
            add_products(first, rows, q, a + k * kTile, sum);
            if (d) add_products(first, rows, d, t + k * kTile, sum);
            float* at = g + static_cast<int64_t>(first) * pitch + k;
            for (int r = 0; r < kRowsAThread; ++r)
                if (r < rows) at[r * pitch] = add ? at[r * pitch] + sum[r] : sum[r];
        }
        barrier();
    }

    // g[j] (+)= sum_s q[j, s]
    REGKD_BOTH void sums(int n, const float* q, float* g, bool add) const {
        for (int j = thread; j < n; j += threads) {
            float sum = 0.0f;
            for (int i = 0; i < kTile; ++i) sum += q[j * kTile + ((i + j) & (kTile - 1))];
            g[j] = add ? g[j] + sum : sum;
        }
        barrier();
    }

  private:
    REGKD_BOTH void add_products(int first, int rows, const float* q, const float* a, float* sum) const {
        const float* row[kRowsAThread];
        for (int r = 0; r < kRowsAThread; ++r) row[r] = q + (first + (r < rows ? r : rows - 1)) * kTile;
        for (int i = 0; i < kTile; i += 4) {
            const int s = (i + 4 * thread) & (kTile - 1);
            const float4 x = *reinterpret_cast<const float4*>(a + s);
            for (int r = 0; r < kRowsAThread; ++r) {
                const float4 v = *reinterpret_cast<const float4*>(row[r] + s);
                sum[r] = fused(v.w, x.w, fused(v.z, x.z, fused(v.y, x.y, fused(v.x, x.x, sum[r]))));
            }
        }
    }

    // The sums of products without what follows them: real functions, so that a kernel holds each once.
    REGKD_PHASE void sum_rows(const float* w, int n_out, int n_in, const float* in, const float* bias,
                              float* out) const {
        const bool wide = (n_in & 3) == 0 && (reinterpret_cast<uintptr_t>(w) & 15) == 0;
        split_sum(n_out, n_in, bias, out, [&](int first, int rows, int begin, int end, float* sum) {
            const float* row[kRowsAWarp];
            for (int r = 0; r < kRowsAWarp; ++r)
                row[r] = w + static_cast<int64_t>(first + (r < rows ? r : rows - 1)) * n_in;
            int k = begin;
            if (wide) {
                for (; k < end; k += 4) {
                    const float x0 = in[k * kTile + lane], x1 = in[(k + 1) * kTile + lane];
                    const float x2 = in[(k + 2) * kTile + lane], x3 = in[(k + 3) * kTile + lane];
                    for (int r = 0; r < kRowsAWarp; ++r) {
                        const float4 v = *reinterpret_cast<const float4*>(row[r] + k);
                        sum[r] = fused(v.w, x3, fused(v.z, x2, fused(v.y, x1, fused(v.x, x0, sum[r]))));
                    }
                }
            }
            for (; k < end; ++k) {
                const float x = in[k * kTile + lane];
                for (int r = 0; r < kRowsAWarp; ++r) sum[r] = fused(row[r][k], x, sum[r]);
            }
        });
    }
    REGKD_PHASE void sum_columns(const float* w, int n_out, int n_in, const float* in, float* out) const {
        const bool wide = (n_in & 3) == 0 && (reinterpret_cast<uintptr_t>(w) & 15) == 0;
        split_sum(n_in, n_out, nullptr, out, [&](int first, int rows, int begin, int end, float* sum) {
            const float* column = w + static_cast<int64_t>(begin) * n_in + first;
            if (wide) {  // then rows is 4 or 8
                const int second = rows > 4 ? 4 : 0;
                for (int j = begin; j < end; ++j, column += n_in) {
                    const float x = in[j * kTile + lane];
                    const float4 v = *reinterpret_cast<const float4*>(column),
                                 u = *reinterpret_cast<const float4*>(column + second);
                    sum[0] = fused(v.x, x, sum[0]);
                    sum[1] = fused(v.y, x, sum[1]);
                    sum[2] = fused(v.z, x, sum[2]);
                    sum[3] = fused(v.w, x, sum[3]);
                    sum[4] = fused(u.x, x, sum[4]);
                    sum[5] = fused(u.y, x, sum[5]);
                    sum[6] = fused(u.z, x, sum[6]);
                    sum[7] = fused(u.w, x, sum[7]);
                }
            } else {
                for (int j = begin; j < end; ++j, column += n_in) {
                    const float x = in[j * kTile + lane];
                    for (int r = 0; r < kRowsAWarp; ++r) sum[r] = fused(column[r < rows ? r : rows - 1], x, sum[r]);
                }
            }
        });
    }

    // How n rows of sums over `length` terms are shared out: a warp takes eight rows; when that leaves warps idle,
    // `parts` neighbouring warps share a row's terms. A share of less than 16 terms costs more than it saves.
    REGKD_BOTH int parts_of(int groups, int length) const {
        const int parts = warps / groups < length / 16 ? warps / groups : length / 16;
        return parts < 1 ? 1 : parts;
    }

    // part(first, rows, begin, end, sum) adds terms begin .. end - 1; parts of a sum are added in their order.
    template <class Part>
    REGKD_BOTH void split_sum(int n, int length, const float* bias, float* out, const Part& part) const {
        const int groups = (n + kRowsAWarp - 1) / kRowsAWarp, parts = parts_of(groups, length);
        const int share = ((length + parts - 1) / parts + 3) & ~3;
        float sum[kRowsAWarp];
        for (int item = warp; item < groups * parts; item += warps) {  // once, when parts > 1
            const int group = item / parts, mine = item - group * parts, first = group * kRowsAWarp;
            const int rows = n - first < kRowsAWarp ? n - first : kRowsAWarp;
            for (int r = 0; r < kRowsAWarp; ++r) sum[r] = bias && mine == 0 && r < rows ? bias[first + r] : 0.0f;
            const int begin = mine * share, end = begin + share < length ? begin + share : length;
            if (begin < end) part(first, rows, begin, end, sum);
            float* to = mine > 0 ? scratch + warp * kRowsAWarp * kTile : out + first * kTile;
            for (int r = 0; r < kRowsAWarp; ++r)
                if (r < rows) to[r * kTile + lane] = sum[r];
        }
        if (parts == 1) return;
        barrier();
        own_rows(n, length, [&](int first, int last) {
            for (int j = first; j < last; ++j) {
                float total = out[j * kTile + lane];
                for (int other = 1; other < parts; ++other)
                    total += scratch[((warp + other) * kRowsAWarp + j - first) * kTile + lane];
                out[j * kTile + lane] = total;
            }
        });
    }

    // The rows whose sums this warp finished.
    template <class Done>
    REGKD_BOTH void own_rows(int n, int length, const Done& done) const {
        const int groups = (n + kRowsAWarp - 1) / kRowsAWarp, parts = parts_of(groups, length);
        for (int item = warp; item < groups * parts; item += warps) {
            const int group = item / parts, first = group * kRowsAWarp;
            if (item == group * parts) done(first, n - first < kRowsAWarp ? n : first + kRowsAWarp);
        }
    }
};

}  // namespace cuda
}  // namespace regkd
