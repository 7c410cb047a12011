// The Block policy of csrc/core/block.h for small networks: a warp is the block of a tile of 4 samples, everything lies
// in shared memory and is named by its offset there, so that every access is a shared one with a 32-bit address, and no
// barrier wider than a warp stands between a tile's phases. The passes of csrc/core/network.h are replaced by those of
// small_passes.h, which the compiler finds by the types SmallBlock and Works.
//
// In a product a lane holds 2 rows by 4 samples: 8 bytes of weights and 16 of samples, the same for many lanes, make 8
// multiply-adds. Layers of 32 rows and less are shared out over parts of the sums too, which lanes then exchange. How a
// sum is parted depends on the layer's shape alone.
#pragma once

#include "launch.h"
#include "small_plan.h"

namespace regkd {
namespace cuda {

REGKD_BOTH float* shared_at(int offset) { return block_shared() + offset; }
REGKD_BOTH int offset_of(const float* p) { return static_cast<int>(p - block_shared()); }

struct SmallBlock {
    static constexpr bool kInPlace = false, kShallow = false;
    static constexpr int kPitch = kSmallSamples;
    using F = float;
    using I = int32_t;
    using U = uint32_t;

    int base;  // of the warp's buffers

    REGKD_BOTH float load(const float* p) const { return *p; }
    REGKD_BOTH void store(float* p, float v) const { *p = v; }
    REGKD_BOTH float fused(float a, float b, float c) const { return REGKD_LEVEL::fused(a, b, c); }
    REGKD_BOTH uint32_t lane_numbers(int s) const { return static_cast<uint32_t>(s); }
    REGKD_BOTH void barrier() const { warp_barrier(); }
    REGKD_BOTH float gather(const float* x, const int32_t* index, int d, int j, int s) const {
        return x[static_cast<int64_t>(index[s]) * d + j];
    }
    template <class Function>
    REGKD_BOTH void rows(int n, const Function& f) const {
        REGKD_ROLLED
        for (int j = lane() / kPitch; j < n; j += kWarp / kPitch) f(j, lane() % kPitch);
    }
    template <class Function>
    REGKD_BOTH void lanes(const Function& f) const {
        if (lane() < kPitch) f(static_cast<int>(lane()));
    }
    template <class Function>
    REGKD_BOTH void squares(int n, const Function& f, float* loss) const {
        const int s = lane() % kPitch;
        float sum = 0.0f;
        REGKD_ROLLED
        for (int j = lane() / kPitch; j < n; j += kWarp / kPitch) sum += f(j, s);
        for (int other = kPitch; other < kWarp; other <<= 1) sum += from_lane_xor(sum, other);
        if (lane() < kPitch) loss[s] += sum;
    }
    REGKD_BOTH void lane_sums(const float* p, const float* q, int count, double* sums) const {
        const int s = lane() % kPitch;
        double sum = s < count ? static_cast<double>((lane() & kPitch ? q : p)[s]) : 0.0;  // lanes 4 to 7 take q
        for (int other = 1; other < kPitch; other <<= 1) sum += from_lane_xor(sum, other);
        if (lane() == 0 || lane() == kPitch) sums[lane() / kPitch] = sum;
    }
    REGKD_BOTH static unsigned lane() { return static_cast<unsigned>(thread_index()) % kWarp; }
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

// N values of row j from sample s on; `at` = base + j * 4 + s. `order`: how many derivatives kActivate keeps; of
// kTangent, 1: m is set, not added to; of kReturn, 1: m is there.
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

template <int kSplit>
REGKD_BOTH void pairs(const Work& p, int in, int base, int order) {
    constexpr int kPairs = kWarp / kSplit, kRows = 2 * kPairs, kLeft = kSplit == 1 ? 4 : 8 / kSplit;
    const int lane = static_cast<int>(SmallBlock::lane()), split = lane / kPairs, pair = lane % kPairs;
    const float* x = shared_at(in + split * kSmallSamples);
    REGKD_ROLLED
    for (int first = 0; first < p.n; first += kRows) {
        const int unit = first + 2 * pair, there = unit < p.n ? unit : 0;
        const float* w = shared_at(p.matrix + split * p.stride + there);
        float sum[2][4] = {};
        int k = 0;
        const auto add = [&](int i) {
            const float4 v = *reinterpret_cast<const float4*>(x + (k + i) * kSplit * kSmallSamples);
            const float2 m = *reinterpret_cast<const float2*>(w + i * kSplit * p.stride);
            sum[0][0] = REGKD_LEVEL::fused(m.x, v.x, sum[0][0]);
            sum[0][1] = REGKD_LEVEL::fused(m.x, v.y, sum[0][1]);
            sum[0][2] = REGKD_LEVEL::fused(m.x, v.z, sum[0][2]);
            sum[0][3] = REGKD_LEVEL::fused(m.x, v.w, sum[0][3]);
            sum[1][0] = REGKD_LEVEL::fused(m.y, v.x, sum[1][0]);
            sum[1][1] = REGKD_LEVEL::fused(m.y, v.y, sum[1][1]);
            sum[1][2] = REGKD_LEVEL::fused(m.y, v.z, sum[1][2]);
            sum[1][3] = REGKD_LEVEL::fused(m.y, v.w, sum[1][3]);
        };
        const int whole = p.terms / kSplit;  // terms that all lanes have
        REGKD_ROLLED
        for (; k + 8 <= whole; k += 8) {
            for (int i = 0; i < 8; ++i) add(i);
            w += 8 * kSplit * p.stride;
        }
        REGKD_ROLLED
        for (; k < whole; ++k) {
            add(0);
            w += kSplit * p.stride;
        }
        if (kSplit > 1 && k * kSplit + split < p.terms) add(0);
        if constexpr (kSplit == 1) {
            REGKD_ROLLED
            for (int r = 0; r < 2; ++r) {
                float v[4];
                for (int i = 0; i < 4; ++i) v[i] = r ? sum[1][i] : sum[0][i];
                if (unit + r < p.n) finish<4>(p, order, unit + r, base + (unit + r) * kSmallSamples, v);
            }
        } else {
            // Of two lanes each keeps a half of what both have, until every part of the sum is in.
            const bool second = split & 1, high = split & 2, odd = split & 4;
            float four[4], left[kLeft];
            for (int i = 0; i < 4; ++i)
                four[i] = (second ? sum[1][i] : sum[0][i]) + from_lane_xor(second ? sum[0][i] : sum[1][i], kPairs);
            int sample = 0;
            if constexpr (kSplit == 2) {
                for (int i = 0; i < 4; ++i) left[i] = four[i];
            } else {
                float two[2];
                for (int i = 0; i < 2; ++i)
                    two[i] = (high ? four[i + 2] : four[i]) + from_lane_xor(high ? four[i] : four[i + 2], 2 * kPairs);
                sample = high ? 2 : 0;
                if constexpr (kSplit == 4) {
                    for (int i = 0; i < 2; ++i) left[i] = two[i];
                } else {
                    left[0] = (odd ? two[1] : two[0]) + from_lane_xor(odd ? two[0] : two[1], 4 * kPairs);
                    sample += odd;
                }
            }
            const int row = unit + second;
            if (row < p.n) finish<kLeft>(p, order, row, base + row * kSmallSamples + sample, left);
        }
    }
}

// One row after the other, its sum shared out over the warp.
REGKD_BOTH void few_rows(const Work& p, int in, int base, int order) {
    const int lane = static_cast<int>(SmallBlock::lane());
    const bool high = lane & 1, odd = lane & 2;
    const int sample = (high ? 2 : 0) + odd;
    REGKD_ROLLED
    for (int row = 0; row < p.n; ++row) {
        const float* w = shared_at(p.matrix + row * p.stride);
        const float* x = shared_at(in);
        float sum[4] = {};
        REGKD_ROLLED_BY(4)
        for (int k = lane; k < p.terms; k += kWarp) {
            const float4 v = *reinterpret_cast<const float4*>(x + k * kSmallSamples);
            const float m = w[k];
            sum[0] = REGKD_LEVEL::fused(m, v.x, sum[0]);
            sum[1] = REGKD_LEVEL::fused(m, v.y, sum[1]);
            sum[2] = REGKD_LEVEL::fused(m, v.z, sum[2]);
            sum[3] = REGKD_LEVEL::fused(m, v.w, sum[3]);
        }
        float two[2], left[1];
        for (int i = 0; i < 2; ++i)
            two[i] = (high ? sum[i + 2] : sum[i]) + from_lane_xor(high ? sum[i] : sum[i + 2], 1);
        left[0] = (odd ? two[1] : two[0]) + from_lane_xor(odd ? two[0] : two[1], 2);
        for (int other = 4; other < kWarp; other <<= 1) left[0] += from_lane_xor(left[0], other);
        if (lane < 4) finish<1>(p, order, row, base + row * kSmallSamples + sample, left);
    }
}

// A pass through the layers of two networks side by side: products, each with what follows it, and a barrier of the
// warp after each layer. One function for all passes, called a few times per tile: its code stays in the instruction
// cache, and a call, which saves registers to memory, costs little.
struct Pass {
    int works[2], layers[2];  // offset of the first layer's Work; 0 layers: no such network
    int order[2];
    int in[2];  // what the first layer reads in place of its own buffer, 0: that
    int step;   // 1 or -1: to the next Work
};
REGKD_WORK void run_pass(const Pass pass, int base) {
    constexpr int kWorkFloats = static_cast<int>(sizeof(Work) / sizeof(float));
    const int layers = pass.layers[0] > pass.layers[1] ? pass.layers[0] : pass.layers[1];
    REGKD_ROLLED
    for (int l = 0; l < layers; ++l) {
        REGKD_ROLLED
        for (int net = 0; net < 2; ++net) {
            if (l >= (net ? pass.layers[1] : pass.layers[0])) continue;
            const int at = (net ? pass.works[1] : pass.works[0]) + l * pass.step * kWorkFloats;
            const int order = net ? pass.order[1] : pass.order[0], first = net ? pass.in[1] : pass.in[0];
            const Work work = *reinterpret_cast<const Work*>(shared_at(at));
            const int in = l == 0 && first ? first : base + work.in;
            if (work.split == 0)
                few_rows(work, in, base, order);
            else if (work.split == 1)
                pairs<1>(work, in, base, order);
            else if (work.split == 2)
                pairs<2>(work, in, base, order);
            else if (work.split == 4)
                pairs<4>(work, in, base, order);
            else
                pairs<8>(work, in, base, order);
        }
        warp_barrier();
    }
}
REGKD_BOTH int place_of(const Work& work) { return offset_of(reinterpret_cast<const float*>(&work)); }

}  // namespace cuda
}  // namespace regkd
