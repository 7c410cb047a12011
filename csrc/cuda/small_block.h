// The Block policy of csrc/core/block.h for small networks: tiles of 8 samples, everything in shared memory and named by
// its offset there, so that every access is a shared one with a 32-bit address. The passes of csrc/core/network.h are
// replaced by those of small_passes.h, which the compiler finds by the types SmallBlock and Places.
//
// A warp's lanes are 2 quads of samples times 16; those 16 are pairs of rows times parts of a row's sum. A thread holds
// 2 rows by 4 samples and reads 8 bytes of weights and 16 of samples for 8 multiply-adds; the parts are added by
// exchanges, after which each lane owns a few finished values and goes on with them in registers. How a sum is parted
// depends on the layer's shape alone.
#pragma once

#include "launch.h"
#include "small_plan.h"

namespace regkd {
namespace cuda {

REGKD_BOTH float* shared_at(int offset) { return block_shared() + offset; }
REGKD_BOTH int offset_of(const float* p) { return static_cast<int>(p - block_shared()); }

struct SmallBlock {
    static constexpr int kPitch = kSmallSamples;
    using F = float;
    using I = int32_t;
    using U = uint32_t;

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
        REGKD_ROLLED
        for (int j = thread_index() / kPitch; j < n; j += thread_count() / kPitch) f(j, thread_index() % kPitch);
    }
    template <class Function>
    REGKD_BOTH void lanes(const Function& f) const {
        if (thread_index() < kPitch) f(thread_index());
    }
    template <class Function>
    REGKD_BOTH void squares(int n, const Function& f, float* loss) const {
        if (thread_count() - thread_index() > kWarp) return;
        const int lane = thread_index() % kWarp, s = lane % kPitch;
        float sum = 0.0f;
        REGKD_ROLLED
        for (int j = lane / kPitch; j < n; j += kWarp / kPitch) sum += f(j, s);
        for (int other = kPitch; other < kWarp; other <<= 1) sum += from_lane_xor(sum, other);
        if (lane < kPitch) loss[s] += sum;
    }
    REGKD_BOTH void lane_sums(const float* p, const float* q, int count, double* sums) const {
        if (thread_count() - thread_index() > kWarp) return;
        const int lane = thread_index() % kWarp, s = lane % kPitch;
        double sum = s < count ? static_cast<double>((lane & kPitch ? q : p)[s]) : 0.0;  // lanes 8 to 15 take q
        for (int other = 1; other < kPitch; other <<= 1) sum += from_lane_xor(sum, other);
        if (lane == 0 || lane == kPitch) sums[lane / kPitch] = sum;
    }
};

template <int N>
REGKD_BOTH void put(int at, const float (&v)[N]) {
    if constexpr (N == 4)
        *reinterpret_cast<float4*>(shared_at(at)) = float4{v[0], v[1], v[2], v[3]};
    else if constexpr (N == 2)
        *reinterpret_cast<float2*>(shared_at(at)) = float2{v[0], v[1]};
    else
        *shared_at(at) = v[0];
}
template <int N>
REGKD_BOTH void get(int at, float (&v)[N]) {
    if constexpr (N == 4) {
        const float4 q = *reinterpret_cast<const float4*>(shared_at(at));
        v[0] = q.x, v[1] = q.y, v[2] = q.z, v[3] = q.w;
    } else if constexpr (N == 2) {
        const float2 q = *reinterpret_cast<const float2*>(shared_at(at));
        v[0] = q.x, v[1] = q.y;
    } else {
        v[0] = *shared_at(at);
    }
}

// N values of row j from sample s on; `at` = j * 8 + s. `order`: how many derivatives kActivate keeps; of kTangent, 1: m
// is set, not added to; of kReturn, 1: m is there.
template <int N>
REGKD_BOTH void finish(const Work& f, int order, int j, int at, float (&v)[N]) {
    float b[N], c[N];
    if (f.bias) {
        const float bias = *shared_at(f.bias + j);
        for (float& x : v) x += bias;
    }
    switch (f.after) {
        case After::kKeep:
            break;
        case After::kActivate:
            REGKD_LEVEL::with_activation(f.kind, [&]<int Kind>() {
                for (int i = 0; i < N; ++i) {
                    float a;
                    REGKD_LEVEL::activation<Kind, 2>(v[i], a, b[i], c[i]);
                    v[i] = a;
                }
            });
            if (order >= 1) put(f.b + at, b);
            if (order >= 2) put(f.c + at, c);
            break;
        case After::kScale:
            if (f.c) put(f.c + at, v);
            get(f.b + at, b);
            for (int i = 0; i < N; ++i) v[i] *= b[i];
            break;
        case After::kTangent:
            if (f.m) {
                get(f.c + at, c);
                get(f.u + at, b);
                for (int i = 0; i < N; ++i) c[i] = c[i] * b[i] * v[i];
                if (!order) {
                    get(f.m + at, b);
                    for (int i = 0; i < N; ++i) c[i] = b[i] + c[i];
                }
                put(f.m + at, c);
            }
            get(f.b + at, b);
            for (int i = 0; i < N; ++i) v[i] *= b[i];
            break;
        case After::kReturn:
            get(f.b + at, b);
            if (order) {
                get(f.m + at, c);
                for (int i = 0; i < N; ++i) v[i] = REGKD_LEVEL::fused(b[i], v[i], c[i]);
            } else {
                for (int i = 0; i < N; ++i) v[i] *= b[i];
            }
            break;
    }
    put(f.out + at, v);
}

// Items of one phase are dealt out to warps in turn, one product after the other: `turn` is whose turn it is.
REGKD_BOTH int first_item(int turn) {
    const int warps = thread_count() / kWarp;
    return (thread_index() / kWarp - turn) & (warps - 1);
}

template <int kSplit>
REGKD_WORK void pairs(int work, int in, int order, int turn) {
    const Work p = *reinterpret_cast<const Work*>(shared_at(work));
    constexpr int kPairs = 16 / kSplit, kRows = 2 * kPairs, kLeft = 8 / kSplit;
    const int lane = thread_index() % kWarp, quad = 4 * (lane & 1), split = lane / 2 % kSplit;
    const int pair = lane / (2 * kSplit), warps = thread_count() / kWarp;
    REGKD_ROLLED
    for (int item = first_item(turn); item * kRows < p.n; item += warps) {
        const int unit = item * kRows + 2 * pair;
        const float* w = shared_at(p.matrix + split * p.stride + unit);
        const float* x = shared_at(in + split * kSmallSamples + quad);
        float sum[2][4] = {};
        REGKD_ROLLED_BY_4
        for (int k = (p.terms - split + kSplit - 1) / kSplit; k > 0; --k) {
            const float4 v = *reinterpret_cast<const float4*>(x);
            const float2 m = *reinterpret_cast<const float2*>(w);
            sum[0][0] = REGKD_LEVEL::fused(m.x, v.x, sum[0][0]);
            sum[0][1] = REGKD_LEVEL::fused(m.x, v.y, sum[0][1]);
            sum[0][2] = REGKD_LEVEL::fused(m.x, v.z, sum[0][2]);
            sum[0][3] = REGKD_LEVEL::fused(m.x, v.w, sum[0][3]);
            sum[1][0] = REGKD_LEVEL::fused(m.y, v.x, sum[1][0]);
            sum[1][1] = REGKD_LEVEL::fused(m.y, v.y, sum[1][1]);
            sum[1][2] = REGKD_LEVEL::fused(m.y, v.z, sum[1][2]);
            sum[1][3] = REGKD_LEVEL::fused(m.y, v.w, sum[1][3]);
            w += kSplit * p.stride;
            x += kSplit * kSmallSamples;
        }
        // Of two lanes each keeps a half of what both have, until every part of the sum is in.
        const bool second = split & 1;
        float four[4], left[kLeft];
        for (int i = 0; i < 4; ++i)
            four[i] = (second ? sum[1][i] : sum[0][i]) + from_lane_xor(second ? sum[0][i] : sum[1][i], 2);
        int sample = quad;
        if constexpr (kSplit == 2) {
            for (int i = 0; i < 4; ++i) left[i] = four[i];
        } else {
            const bool high = split & 2;
            float two[2];
            for (int i = 0; i < 2; ++i)
                two[i] = (high ? four[i + 2] : four[i]) + from_lane_xor(high ? four[i] : four[i + 2], 4);
            sample += high ? 2 : 0;
            if constexpr (kSplit == 4) {
                for (int i = 0; i < 2; ++i) left[i] = two[i];
            } else {
                const bool odd = split & 4;
                left[0] = (odd ? two[1] : two[0]) + from_lane_xor(odd ? two[0] : two[1], 8);
                sample += odd;
            }
        }
        const int row = unit + second;
        if (row < p.n) finish<kLeft>(p, order, row, row * kSmallSamples + sample, left);
    }
}

// A row per warp, its sum shared out over 16 lanes.
REGKD_WORK void few_rows(int work, int in, int order, int turn) {
    const Work p = *reinterpret_cast<const Work*>(shared_at(work));
    const int lane = thread_index() % kWarp, quad = 4 * (lane & 1), split = lane / 2, warps = thread_count() / kWarp;
    REGKD_ROLLED
    for (int row = first_item(turn); row < p.n; row += warps) {
        const float* w = shared_at(p.matrix + row * p.stride);
        const float* x = shared_at(in + quad);
        float sum[4] = {};
        REGKD_ROLLED_BY_4
        for (int k = split; k < p.terms; k += 16) {
            const float4 v = *reinterpret_cast<const float4*>(x + k * kSmallSamples);
            const float m = w[k];
            sum[0] = REGKD_LEVEL::fused(m, v.x, sum[0]);
            sum[1] = REGKD_LEVEL::fused(m, v.y, sum[1]);
            sum[2] = REGKD_LEVEL::fused(m, v.z, sum[2]);
            sum[3] = REGKD_LEVEL::fused(m, v.w, sum[3]);
        }
        const bool high = split & 1, odd = split & 2;
        float two[2], left[1];
        for (int i = 0; i < 2; ++i)
            two[i] = (high ? sum[i + 2] : sum[i]) + from_lane_xor(high ? sum[i] : sum[i + 2], 2);
        left[0] = (odd ? two[1] : two[0]) + from_lane_xor(odd ? two[0] : two[1], 4);
        left[0] += from_lane_xor(left[0], 8);
        left[0] += from_lane_xor(left[0], 16);
        if (split < 4) finish<1>(p, order, row, row * kSmallSamples + quad + (high ? 2 : 0) + odd, left);
    }
}

// A product and what follows. `in`: where it reads in place of the work's own buffer, 0: there. Returns whose turn is
// next.
REGKD_BOTH int multiply(const Work& work, int in, int order, int turn) {
    const int from = in ? in : work.in, at = offset_of(reinterpret_cast<const float*>(&work));
    if (work.split == 0)
        few_rows(at, from, order, turn);
    else if (work.split == 8)
        pairs<8>(at, from, order, turn);
    else if (work.split == 4)
        pairs<4>(at, from, order, turn);
    else
        pairs<2>(at, from, order, turn);
    return turn + work.items;
}

// G[j, k] (+)= sum_s q[j, s] a[k, s] + d[j, s] t[k, s], rows of G n_in apart, for a layer's sizes. A thread holds R x 4
// of G; with two products (d not 0) a pair of lanes shares them out. Rows and columns of a thread are far apart, those of
// neighbours next to each other.
template <int R, bool kTwo>
REGKD_WORK void outer_items(int size, int q, int a, int d, int t, float* g, bool add, int turn) {
    constexpr int kItems = kTwo ? 16 : 32;
    constexpr int kColumns = R == 1 && kTwo ? 2 : 4, kRows = R > 1 && kTwo ? R / 2 : R;  // that a lane keeps
    const OuterSize p = *reinterpret_cast<const OuterSize*>(shared_at(size));
    const int lane = thread_index() % kWarp, pair = kTwo ? lane & 1 : 0, warps = thread_count() / kWarp;
    const float* left = shared_at(pair ? d : q);
    const float* right = shared_at(pair ? t : a);
    g = assume_global(g);
    REGKD_ROLLED
    for (int first = first_item(turn) * kItems; first < p.items; first += warps * kItems) {
        const int item = first + (kTwo ? lane / 2 : lane), mine = item < p.items ? item : p.items - 1;
        const int j = p.across == 1 ? mine : static_cast<int>(uint64_t{static_cast<uint32_t>(mine)} * p.reciprocal >> 32);
        const int k = mine - j * p.across;
        int row[R], column[4];
        for (int r = 0; r < R; ++r) row[r] = j + r * p.down < p.n_out ? j + r * p.down : p.n_out - 1;
        for (int c = 0; c < 4; ++c) column[c] = k + c * p.across < p.n_in ? k + c * p.across : p.n_in - 1;
        float sum[R][4] = {};
        for (int i = 0; i < 2; ++i) {
            const int quad = 4 * (i ^ pair);  // the lanes of a pair meet in different banks
            float4 x[4];
            for (int c = 0; c < 4; ++c)
                x[c] = *reinterpret_cast<const float4*>(right + column[c] * kSmallSamples + quad);
            for (int r = 0; r < R; ++r) {
                const float4 v = *reinterpret_cast<const float4*>(left + row[r] * kSmallSamples + quad);
                for (int c = 0; c < 4; ++c) {
                    sum[r][c] = REGKD_LEVEL::fused(v.x, x[c].x, sum[r][c]);
                    sum[r][c] = REGKD_LEVEL::fused(v.y, x[c].y, sum[r][c]);
                    sum[r][c] = REGKD_LEVEL::fused(v.z, x[c].z, sum[r][c]);
                    sum[r][c] = REGKD_LEVEL::fused(v.w, x[c].w, sum[r][c]);
                }
            }
        }
        float value[kRows][kColumns];
        for (int r = 0; r < kRows; ++r)
            for (int c = 0; c < kColumns; ++c) {
                value[r][c] = sum[r][c];
                if constexpr (kTwo) {  // of a pair: the upper rows to one, the lower to the other; or columns of one row
                    const float other = sum[r + (R > 1 ? kRows : 0)][c + (R > 1 ? 0 : kColumns)];
                    value[r][c] = (pair ? other : sum[r][c]) + from_lane_xor(pair ? sum[r][c] : other, 1);
                }
            }
        if (item >= p.items) continue;
        const int top = j + (R > 1 ? pair * kRows * p.down : 0), begin = k + (R > 1 ? 0 : pair * kColumns * p.across);
        float* at = g + top * p.n_in + begin;
        for (int r = 0; r < kRows; ++r, at += p.down * p.n_in) {
            if (top + r * p.down >= p.n_out) break;
            for (int c = 0; c < kColumns; ++c)
                if (begin + c * p.across < p.n_in)
                    at[c * p.across] = add ? at[c * p.across] + value[r][c] : value[r][c];
        }
    }
}

REGKD_BOTH int outer(const OuterSize& size, int q, int a, int d, int t, float* g, bool add, int turn) {
    const int each = d ? 16 : 32, at = offset_of(reinterpret_cast<const float*>(&size));
    if (size.n_out == 1) {
        if (d)
            outer_items<1, true>(at, q, a, d, t, g, add, turn);
        else
            outer_items<1, false>(at, q, a, d, t, g, add, turn);
    } else {
        if (d)
            outer_items<4, true>(at, q, a, d, t, g, add, turn);
        else
            outer_items<4, false>(at, q, a, d, t, g, add, turn);
    }
    return turn + (size.items + each - 1) / each;
}

// b[j] (+)= sum_s q[j, s], by threads from the idle end.
REGKD_BOTH void sum_rows(int n, int q, float* b, bool add) {
    REGKD_ROLLED
    for (int j = thread_count() - 1 - thread_index(); j < n; j += thread_count()) {
        const float4 v = *reinterpret_cast<const float4*>(shared_at(q + j * kSmallSamples));
        const float4 w = *reinterpret_cast<const float4*>(shared_at(q + j * kSmallSamples + 4));
        const float sum = ((v.x + v.y) + (v.z + v.w)) + ((w.x + w.y) + (w.z + w.w));
        b[j] = add ? b[j] + sum : sum;
    }
}

}  // namespace cuda
}  // namespace regkd
