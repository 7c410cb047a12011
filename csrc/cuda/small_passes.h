// The four passes of csrc/core/network.h for SmallBlock: a product and what becomes of its values are one call, and
// those of two networks stand side by side between the same barriers. Buffers are those that the Works name.
#pragma once

#include "small_block.h"

namespace regkd {
namespace cuda {

// Pass 1.
REGKD_BOTH void forward(SmallBlock block, const Network& one, int layers_1, const Works& works_1, int order_1, float*,
                        const Network& two, const Works& works_2, int order_2, float*, const float*) {
    const int layers = layers_1 > two.layers ? layers_1 : two.layers;
    (void)one;
    REGKD_ROLLED
    for (int l = 0; l < layers; ++l) {
        int turn = 0;
        if (l < layers_1) turn = multiply(works_1.forward[l], 0, order_1, turn);
        if (l < two.layers) multiply(works_2.forward[l], 0, order_2, turn);
        block.barrier();
    }
}

// Pass 2, from the cotangents v.
REGKD_BOTH void pull_back(SmallBlock block, const Network& one, int layers_1, const Works& works_1, const float* v_1,
                          float*, const Network& two, const Works& works_2, const float* v_2, float*) {
    const int layers = layers_1 > two.layers ? layers_1 : two.layers;
    REGKD_ROLLED
    for (int i = 0; i < layers; ++i) {
        int turn = 0;
        if (i < layers_1) turn = multiply(works_1.pull[one.layers - 1 - i], i ? 0 : offset_of(v_1), 0, turn);
        if (i < two.layers) multiply(works_2.pull[two.layers - 1 - i], i ? 0 : offset_of(v_2), 0, turn);
        block.barrier();
    }
}

// Pass 3.
REGKD_BOTH void push_forward(SmallBlock block, const Network& net, const float*, const Works& works, bool first) {
    REGKD_ROLLED
    for (int l = 0; l < net.layers - 1; ++l) {
        multiply(works.push[l], 0, first, 0);
        block.barrier();
    }
}

// A network's gradient is laid out like its parameters.
REGKD_BOTH int layer_count(const OuterSize& size) { return size.n_out * (size.n_in + 1); }

REGKD_BOTH void tangent_gradient(SmallBlock, const Network& net, const float* v, const float* r, const Works& works,
                                 float* grad, bool accumulate) {
    int turn = 0;
    REGKD_ROLLED
    for (int l = 1; l <= net.layers; ++l) {
        const int d = l == net.layers ? offset_of(v) : works.at.d[l], t = l == 1 ? offset_of(r) : works.at.t[l - 1];
        turn = outer(works.outer[l - 1], d, t, 0, 0, grad, accumulate, turn);
        grad += layer_count(works.outer[l - 1]);
    }
}

// Pass 4 and the gradient. A layer's outer product has the warps that the next product leaves idle.
REGKD_BOTH void gradient(SmallBlock block, const Network& net, const float* x, const float* c, const float* v,
                         const float* r, const Works& works, bool bend, float* grad, bool accumulate,
                         bool accumulate_bias) {
    grad += dense_count(net);
    int q = offset_of(c);
    const bool two = v != nullptr;
    REGKD_ROLLED
    for (int l = net.layers; l >= 1; --l) {
        const OuterSize& size = works.outer[l - 1];
        int turn = 0;
        grad -= layer_count(size);
        if (l > 1) turn = multiply(works.back[l - 1], 0, bend, turn);
        const int d = two ? (l == net.layers ? offset_of(v) : works.at.d[l]) : 0;
        const int t = two ? (l == 1 ? offset_of(r) : works.at.t[l - 1]) : 0;
        outer(size, q, l == 1 ? offset_of(x) : works.at.a[l - 1], d, t, grad, accumulate, turn);
        sum_rows(size.n_out, q, grad + size.n_out * size.n_in, accumulate_bias);
        if (l == 1) break;
        q = works.at.q[(l - 1) & 1];
        block.barrier();
    }
}

}  // namespace cuda
}  // namespace regkd
