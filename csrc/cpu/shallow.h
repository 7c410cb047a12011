// A network with one hidden layer of which only the answer and its gradient are wanted (a teacher): passes 1 and 2 are
// one walk over chunks of hidden units, so its hidden layer never leaves the first cache.
#pragma once

#include "products.h"

namespace regkd {
namespace REGKD_LEVEL {

// Hidden units of a chunk: a multiple of every level's rows in registers. With 32 samples a chunk takes 6 kB.
constexpr int kChunk = 48;
// Answers are added up once per chunk; with more outputs than this the ordinary products are the faster ones.
constexpr int kShallowOutputs = 4;

REGKD_INLINE bool is_shallow(const Network& net) { return net.layers == 2 && net.widths[2] <= kShallowOutputs; }

// From z [units][32] to s(z), and with Gradient to s'(z) sum_i w[i, j] v[i] as well; y[i] += sum_j w[i, j] s(z_j). Rows
// of w are `stride` apart.
template <int Kind, bool Gradient>
REGKD_INLINE void finish_chunk(int units, int outputs, const float* w, int stride, int limit, const float* v, float* z,
                               float* y) {
    for (int s = 0; s < limit; s += kVec) {
        Vec answer[kShallowOutputs][2];  // two sums in flight
        for (int i = 0; i < kShallowOutputs; ++i) answer[i][0] = answer[i][1] = all<Vec>(0.0f);
        for (int j = 0; j < units; ++j) {
            Vec a, slope, unused;
            activation<Kind, Gradient ? 1 : 0>(load_vec(z + j * kTile + s), a, slope, unused);
            Vec pulled = all<Vec>(0.0f);
            for (int i = 0; i < outputs; ++i) {
                const Vec weight = all<Vec>(w[i * stride + j]);
                answer[i][j & 1] = fused(weight, a, answer[i][j & 1]);
                if (Gradient) pulled = fused(weight, load_vec(v + i * kTile + s), pulled);
            }
            if (Gradient) store_vec(z + j * kTile + s, slope * pulled);
        }
        for (int i = 0; i < outputs; ++i) {
            float* to = y + i * kTile + s;
            store_vec(to, load_vec(to) + (answer[i][0] + answer[i][1]));
        }
    }
}

// y = net(x), and with Gradient g = J^T v. `rows`: where the weights lie; its buffers are not used.
template <bool Gradient>
REGKD_INLINE void run_shallow(const Network& net, const Rows& rows, int limit, const float* x, const float* v, float* y,
                              float* g) {
    alignas(64) float z[kChunk * kTile];
    const int n_in = net.widths[0], hidden = net.widths[1], outputs = net.widths[2];
    const int stride = rows.stride[1], stride_2 = rows.stride[2];
    const float *w = rows.w[1], *bias = w + static_cast<int64_t>(hidden) * stride, *w_2 = rows.w[2];
    for (int i = 0; i < outputs; ++i)
        for (int s = 0; s < limit; s += kVec)
            store_vec(y + i * kTile + s, all<Vec>(w_2[static_cast<int64_t>(outputs) * stride_2 + i]));
    for (int first = 0; first < hidden; first += kChunk) {
        const int units = hidden - first < kChunk ? hidden - first : kChunk;
        const float* from = w + static_cast<int64_t>(first) * stride;
        for_row_blocks(units, [&]<int R>(int j) {
            product_rows<R, false>(from + static_cast<int64_t>(j) * stride, stride, n_in, x, bias + first + j,
                                   z + j * kTile, limit);
        });
        with_activation(net.activation, [&]<int Kind>() {
            const auto finish = [&](int known) {
                finish_chunk<Kind, Gradient>(units, known, w_2 + first, stride_2, limit, v, z, y);
            };
            outputs == 1 ? finish(1) : finish(outputs);  // the common case with its loops unrolled
        });
        if constexpr (Gradient)
            for_row_blocks(n_in, [&]<int R>(int k) {
                product_rows<R, true>(from + k, stride, units, z, nullptr, g + k * kTile, limit, first > 0);
            });
    }
}

}  // namespace REGKD_LEVEL
}  // namespace regkd
