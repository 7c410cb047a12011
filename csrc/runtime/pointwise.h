// Operations that take a row value by value, in place. Included by kernels.cpp, within a level.
#pragma once

template <class F>
REGKD_INLINE void each(float* v, size_t n, F f) {
    for (size_t i = 0; i < n; i += kLanes) store_vec(v + i, f(load_vec(v + i), i));
}
void constant(runtime::Kind kind, const float* c, float* v, size_t n) {
    switch (kind) {
        case runtime::Kind::kAdd:
            return each(v, n, [=](Vec x, size_t i) { return x + load_vec(c + i); });
        case runtime::Kind::kSubtract:
            return each(v, n, [=](Vec x, size_t i) { return x - load_vec(c + i); });
        case runtime::Kind::kMultiply:
            return each(v, n, [=](Vec x, size_t i) { return x * load_vec(c + i); });
        default:
            return each(v, n, [=](Vec x, size_t i) { return x / load_vec(c + i); });
    }
}
void clip(float low, float high, float* v, size_t n) {
    each(v, n, [=](Vec x, size_t) { return at_most(at_least(x, low), high); });
}
template <int Core>
REGKD_INLINE void activate_by(float* v, size_t n) {
    each(v, n, [](Vec x, size_t) {
        Vec a, s1, s2;
        activation<Core, 0>(x, a, s1, s2);
        return a;
    });
}
void activate(runtime::Activation kind, float alpha, float* v, size_t n) {
    switch (kind) {
        case runtime::Activation::kRelu:
            return activate_by<kRelu>(v, n);
        case runtime::Activation::kTanh:
            return activate_by<kTanh>(v, n);
        case runtime::Activation::kSilu:
            return activate_by<kSilu>(v, n);
        case runtime::Activation::kGelu:
            return activate_by<kGelu>(v, n);
        case runtime::Activation::kGeluTanh:
            return activate_by<kGeluTanh>(v, n);
        case runtime::Activation::kSoftplus:
            return activate_by<kSoftplus>(v, n);
        case runtime::Activation::kSigmoid:
            return each(v, n, [](Vec x, size_t) { return logistic(x); });
        case runtime::Activation::kLeakyRelu:
            return each(v, n, [=](Vec x, size_t) { return x > 0.0f ? x : x * alpha; });
        case runtime::Activation::kElu:
            return each(v, n, [=](Vec x, size_t) { return x > 0.0f ? x : exponential_minus_one(x) * alpha; });
        default:
            return;
    }
}
