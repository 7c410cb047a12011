// The four passes of CORE's formulas over one tile of 32 samples, written over a Block (see block.h).
// Every buffer is feature-major, [features][32]; hidden layers are l = 1 .. L-1, the output is linear.
#pragma once

#include "activation.h"

namespace regkd {
namespace REGKD_LEVEL {

// Where the passes of one network keep their rows. Entry l belongs to hidden layer l; entries may alias where said.
struct Rows {
    float* a[kMaxLayers];   // s(z_l)
    float* s1[kMaxLayers];  // s'(z_l)
    float* s2[kMaxLayers];  // s''(z_l)
    float* u[kMaxLayers];   // pass 2: u_l
    float* d[kMaxLayers];   // pass 2: s' u_l; may be u itself when u is not needed later
    float* t[kMaxLayers];   // pass 3: s' zt_l
    float* m[kMaxLayers];   // pass 3: sum over cotangents of s'' u_l zt_l; may be u when there is one cotangent
    float* q[2];            // pass 4: q_l, two in turn
    const float* w[kMaxLayers + 1];  // W_l of layer l = 1 .. L; b_l follows its rows
    int32_t stride[kMaxLayers + 1];  // floats from a row of W_l to the next
};

// Floats from a row of W_l to the next. Padded rows begin at multiples of 4 floats and, being an odd number of quads
// long, lie in different banks of shared memory.
REGKD_INLINE int row_stride(const Network& net, int n_in) { return net.padded ? 4 * ((n_in + 3) / 4 | 1) : n_in; }
REGKD_INLINE int64_t layer_params(const Network& net, int l) {
    const int bias = net.padded ? (net.widths[l] + 3) / 4 * 4 : net.widths[l];
    return static_cast<int64_t>(net.widths[l]) * row_stride(net, net.widths[l - 1]) + bias;
}
REGKD_INLINE int64_t parameter_count(const Network& net) {
    int64_t total = 0;
    for (int l = 1; l <= net.layers; ++l) total += layer_params(net, l);
    return total;
}
REGKD_INLINE void place_weights(const Network& net, const float* params, Rows& rows) {
    for (int l = 1; l <= net.layers; ++l) {
        rows.w[l] = params;
        rows.stride[l] = row_stride(net, net.widths[l - 1]);
        params += layer_params(net, l);
    }
}

template <int Order, class Block>
REGKD_PHASE void activate_rows(Block block, int kind, int begin, int end, float* a, float* s1, float* s2) {
    using F = typename Block::F;
    with_activation(kind, [&]<int Kind>() {
        block.each(begin, end, [&](int j, int s) {
            const int at = j * Block::kPitch + s;
            F value, first, second;
            activation<Kind, Order>(block.load(a + at), value, first, second);
            block.store(a + at, value);
            if constexpr (Order >= 1) block.store(s1 + at, first);
            if constexpr (Order >= 2) block.store(s2 + at, second);
        });
    });
}

// Pass 1, layer l. `order`: how many of s' and s'' are kept. No barrier after.
template <class Block>
REGKD_PHASE void forward_layer(Block block, const Network& net, int l, const float* x, const Rows& rows, int order,
                               float* y) {
    const int n_in = net.widths[l - 1], n_out = net.widths[l], stride = rows.stride[l];
    const float *w = rows.w[l], *bias = w + n_out * stride;
    const float* in = l == 1 ? x : rows.a[l - 1];
    const bool last = l == net.layers;
    float *a = last ? y : rows.a[l], *s1 = last ? nullptr : rows.s1[l], *s2 = last ? nullptr : rows.s2[l];
    block.product(w, stride, n_out, n_in, in, bias, a, [&](int begin, int end) {
        if (last) return;
        if (order == 2)
            activate_rows<2>(block, net.activation, begin, end, a, s1, s2);
        else if (order == 1)
            activate_rows<1>(block, net.activation, begin, end, a, s1, s2);
        else
            activate_rows<0>(block, net.activation, begin, end, a, s1, s2);
    });
}

// Pass 1 of a network: y = net(x). `layers`: those of `net`, or 0 to leave it out.
template <class Block>
REGKD_INLINE void forward_alone(Block block, const Network& net, int layers, const Rows& rows, int order, float* y,
                                const float* x) {
    REGKD_ROLLED
    for (int l = 1; l <= layers; ++l) {
        forward_layer(block, net, l, x, rows, order, y);
        block.barrier();
    }
}

// Pass 1 of two networks side by side, where the Block allows. `layers_1`: those of `one`, or 0 to leave it out.
template <class Block>
REGKD_PHASE void forward(Block block, const Network& one, int layers_1, const Rows& rows_1, int order_1, float* y_1,
                         const Network& two, const Rows& rows_2, int order_2, float* y_2, const float* x) {
    if constexpr (Block::kInPlace) {
        forward_alone(block, one, layers_1, rows_1, order_1, y_1, x);
        forward_alone(block, two, two.layers, rows_2, order_2, y_2, x);
    } else {
        const int layers = layers_1 > two.layers ? layers_1 : two.layers;
        REGKD_ROLLED
        for (int l = 1; l <= layers; ++l) {
            if (l <= layers_1) forward_layer(block, one, l, x, rows_1, order_1, y_1);
            if (l <= two.layers) forward_layer(block, two, l, x, rows_2, order_2, y_2);
            block.barrier();
        }
    }
}

// Pass 2, layer l: d_{l-1} = s' (d_l W_l), or g. No barrier after.
template <class Block>
REGKD_PHASE void pull_back_layer(Block block, const Network& net, int l, const float* v, const Rows& rows, float* g) {
    const float* in = l == net.layers ? v : rows.d[l];
    const int n_in = net.widths[l - 1];
    float *u = l == 1 ? g : rows.u[l - 1], *d = rows.d[l - 1];
    const float* s1 = rows.s1[l - 1];
    block.product_transposed(rows.w[l], rows.stride[l], net.widths[l], n_in, in, u, [&](int begin, int end) {
        if (l == 1) return;
        block.each(begin, end, [&](int j, int s) {
            const int at = j * Block::kPitch + s;
            block.store(d + at, block.load(s1 + at) * block.load(u + at));
        });
    });
}

// Pass 2 of a network: g = J^T v. Needs s1; leaves u and d. `layers`: those of `net`, or 0 to leave it out.
template <class Block>
REGKD_INLINE void pull_back_alone(Block block, const Network& net, int layers, const Rows& rows, const float* v,
                                  float* g) {
    REGKD_ROLLED
    for (int l = layers; l >= 1; --l) {
        pull_back_layer(block, net, l, v, rows, g);
        block.barrier();
    }
}

// Pass 2 of two networks side by side, where the Block allows.
template <class Block>
REGKD_PHASE void pull_back(Block block, const Network& one, int layers_1, const Rows& rows_1, const float* v_1,
                           float* g_1, const Network& two, const Rows& rows_2, const float* v_2, float* g_2) {
    if constexpr (Block::kInPlace) {
        pull_back_alone(block, one, layers_1, rows_1, v_1, g_1);
        pull_back_alone(block, two, two.layers, rows_2, v_2, g_2);
    } else {
        const int layers = layers_1 > two.layers ? layers_1 : two.layers;
        REGKD_ROLLED
        for (int i = 0; i < layers; ++i) {
            if (i < layers_1) pull_back_layer(block, one, one.layers - i, v_1, rows_1, g_1);
            if (i < two.layers) pull_back_layer(block, two, two.layers - i, v_2, rows_2, g_2);
            block.barrier();
        }
    }
}

// Pass 3: tangents along r, and m += s'' u zt. `first`: m is set, not added to. Skips m when s'' is 0 everywhere.
template <class Block>
REGKD_PHASE void push_forward(Block block, const Network& net, const float* r, const Rows& rows, bool first) {
    using F = typename Block::F;
    const bool curved = is_curved(net.activation);
    REGKD_ROLLED
    for (int l = 1; l < net.layers; ++l) {
        const int n_in = net.widths[l - 1], n_out = net.widths[l];
        float *t = rows.t[l], *m = rows.m[l];
        const float *s1 = rows.s1[l], *s2 = rows.s2[l], *u = rows.u[l];
        block.product(rows.w[l], rows.stride[l], n_out, n_in, l == 1 ? r : rows.t[l - 1], nullptr, t,
                      [&](int begin, int end) {
                          block.each(begin, end, [&](int j, int s) {
                              const int at = j * Block::kPitch + s;
                              const F zt = block.load(t + at);
                              block.store(t + at, block.load(s1 + at) * zt);
                              if (curved) {
                                  const F bend = block.load(s2 + at) * block.load(u + at) * zt;
                                  block.store(m + at, first ? bend : block.load(m + at) + bend);
                              }
                          });
                      });
        block.barrier();
    }
}

// Where gradients go: like the parameters, but rows of W_l padded to a multiple of 16 floats and b_l too. Rows of 128
// floats and more begin an odd number of cache lines apart: at a power of two, a column's lines share one set of the
// cache.
constexpr int kPad = 16;
REGKD_INLINE int padded(int n) { return (n + kPad - 1) / kPad * kPad; }
REGKD_INLINE int pitch(int n) { return n < 128 ? padded(n) : padded(n) | kPad; }
REGKD_INLINE int64_t padded_params(const Network& net, int l) {
    return static_cast<int64_t>(net.widths[l]) * pitch(net.widths[l - 1]) + padded(net.widths[l]);
}
REGKD_INLINE int64_t padded_count(const Network& net) {
    int64_t total = 0;
    for (int l = 1; l <= net.layers; ++l) total += padded_params(net, l);
    return total;
}

// dW_l += d_l^T t_{l-1} of one cotangent v, when there are several; `accumulate` false: set.
template <class Block>
REGKD_PHASE void tangent_gradient(Block block, const Network& net, const float* v, const float* r, const Rows& rows,
                                  float* grad, bool accumulate) {
    REGKD_ROLLED
    for (int l = 1; l <= net.layers; ++l) {
        const float* d = l == net.layers ? v : rows.d[l];
        const float* t = l == 1 ? r : rows.t[l - 1];
        block.outer(net.widths[l], net.widths[l - 1], d, t, nullptr, nullptr, grad, accumulate, nullptr, false);
        grad += padded_params(net, l);
    }
}

// Pass 4 and the gradient: q_L = c; dW_l += q_l^T a_{l-1} (+ d_l^T t_{l-1} when v is given), db_l += sum q_l.
// `bend`: m holds what pass 3 left.
template <class Block>
REGKD_PHASE void gradient(Block block, const Network& net, const float* x, const float* c, const float* v,
                          const float* r, const Rows& rows, bool bend, float* grad, bool accumulate,
                          bool accumulate_bias) {
    grad += padded_count(net);
    const float* q = c;
    REGKD_ROLLED
    for (int l = net.layers; l >= 1; --l) {
        const int n_in = net.widths[l - 1], n_out = net.widths[l];
        grad -= padded_params(net, l);
        const float* d = v == nullptr ? nullptr : (l == net.layers ? v : rows.d[l]);
        const float* t = v == nullptr ? nullptr : (l == 1 ? r : rows.t[l - 1]);
        block.outer(n_out, n_in, q, l == 1 ? x : rows.a[l - 1], d, t, grad, accumulate,
                    grad + static_cast<int64_t>(n_out) * pitch(n_in), accumulate_bias);
        if (l == 1) break;
        float* p = rows.q[(l - 1) & 1];
        const float *s1 = rows.s1[l - 1], *m = rows.m[l - 1];
        block.product_transposed(rows.w[l], rows.stride[l], n_out, n_in, q, p, [&](int begin, int end) {
            block.each(begin, end, [&](int j, int s) {
                const int at = j * Block::kPitch + s;
                if (bend)
                    block.store(p + at, block.fused(block.load(s1 + at), block.load(p + at), block.load(m + at)));
                else
                    block.store(p + at, block.load(s1 + at) * block.load(p + at));
            });
        });
        block.barrier();
        q = p;
    }
}

}  // namespace REGKD_LEVEL
}  // namespace regkd
