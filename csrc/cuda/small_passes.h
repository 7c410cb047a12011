// The four passes of csrc/core/network.h for SmallBlock: a product and what becomes of its values are one call, and
// those of two networks stand side by side between the same barriers. Buffers are those that the Works name.
#pragma once

#include "small_outer.h"

namespace regkd {
namespace cuda {

// Pass 1.
REGKD_BOTH void forward(SmallBlock block, const Network&, int layers_1, const Works& works_1, int order_1, float*,
                        const Network& two, const Works& works_2, int order_2, float*, const float*) {
    run_pass({{place_of(works_1.forward[0]), place_of(works_2.forward[0])},
              {layers_1, two.layers},
              {order_1, order_2},
              {0, 0},
              1},
             block.base);
}

// Pass 2, from the cotangents v.
REGKD_BOTH void pull_back(SmallBlock block, const Network& one, int layers_1, const Works& works_1, const float* v_1,
                          float*, const Network& two, const Works& works_2, const float* v_2, float*) {
    const int last_1 = one.layers > 0 ? one.layers - 1 : 0;
    run_pass({{place_of(works_1.pull[last_1]), place_of(works_2.pull[two.layers - 1])},
              {layers_1, two.layers},
              {0, 0},
              {offset_of(v_1), offset_of(v_2)},
              -1},
             block.base);
}

// Pass 3.
REGKD_BOTH void push_forward(SmallBlock block, const Network& net, const float*, const Works& works, bool first) {
    run_pass({{0, place_of(works.push[0])}, {0, net.layers - 1}, {0, first}, {0, 0}, 1}, block.base);
}

// A network's gradient is laid out like its parameters.
REGKD_BOTH int layer_count(const OuterSize& size) { return size.n_out * (size.n_in + 1); }

REGKD_BOTH void tangent_gradient(SmallBlock block, const Network& net, const float* v, const float* r,
                                 const Works& works, float* grad, bool accumulate) {
    REGKD_ROLLED
    for (int l = 1; l <= net.layers; ++l) {
        const int d = l == net.layers ? offset_of(v) : block.base + works.at.d[l],
                  t = l == 1 ? offset_of(r) : block.base + works.at.t[l - 1];
        outer(works.outer[l - 1], d, t, 0, 0, grad, accumulate);
        grad += layer_count(works.outer[l - 1]);
    }
}

// Pass 4 and the gradient.
REGKD_BOTH void gradient(SmallBlock block, const Network& net, const float* x, const float* c, const float* v,
                         const float* r, const Works& works, bool bend, float* grad, bool accumulate,
                         bool accumulate_bias) {
    grad += dense_count(net);
    int q = offset_of(c);
    const bool two = v != nullptr;
    REGKD_ROLLED
    for (int l = net.layers; l >= 1; --l) {
        const OuterSize& size = works.outer[l - 1];
        grad -= layer_count(size);
        if (l > 1) run_pass({{0, place_of(works.back[l - 1])}, {0, 1}, {0, bend}, {0, 0}, 1}, block.base);
        const int d = two ? (l == net.layers ? offset_of(v) : block.base + works.at.d[l]) : 0;
        const int t = two ? (l == 1 ? offset_of(r) : block.base + works.at.t[l - 1]) : 0;
        outer(size, q, l == 1 ? offset_of(x) : block.base + works.at.a[l - 1], d, t, grad, accumulate);
        sum_rows(size.n_out, q, grad + size.n_out * size.n_in, accumulate_bias);
        if (l == 1) break;
        q = block.base + works.back[l - 1].out;
    }
}

}  // namespace cuda
}  // namespace regkd
