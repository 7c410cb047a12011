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

// f(g) with the function g from a register to its activation.
template <int Core>
REGKD_INLINE Vec by_core(Vec x) {
    Vec a, s1, s2;
    activation<Core, 0>(x, a, s1, s2);
    return a;
}
template <class F>
REGKD_INLINE void with_activation(const Finish& finish, F f) {
    const float alpha = finish.alpha;
    switch (finish.kind) {
        case runtime::Activation::kRelu:
            return f([](Vec x) { return by_core<kRelu>(x); });
        case runtime::Activation::kTanh:
            return f([](Vec x) { return by_core<kTanh>(x); });
        case runtime::Activation::kSilu:
            return f([](Vec x) { return by_core<kSilu>(x); });
        case runtime::Activation::kGelu:
            return f([](Vec x) { return by_core<kGelu>(x); });
        case runtime::Activation::kGeluTanh:
            return f([](Vec x) { return by_core<kGeluTanh>(x); });
        case runtime::Activation::kSoftplus:
            return f([](Vec x) { return by_core<kSoftplus>(x); });
        case runtime::Activation::kSigmoid:
            return f([](Vec x) { return logistic(x); });
        case runtime::Activation::kLeakyRelu:
            return f([=](Vec x) { return x > 0.0f ? x : x * alpha; });
        case runtime::Activation::kElu:
            return f([=](Vec x) { return x > 0.0f ? x : exponential_minus_one(x) * alpha; });
        default:
            return f([](Vec x) { return x; });
    }
}
void activate(runtime::Activation kind, float alpha, float* v, size_t n) {
    if (kind == runtime::Activation::kIdentity) return;
    with_activation({kind, alpha, nullptr, nullptr}, [=](auto g) { each(v, n, [=](Vec x, size_t) { return g(x); }); });
}

// Without a way out of the loop.
bool finite(const float* x, size_t n) {
    constexpr int32_t kExponent = 0x7f800000;
    const auto odd_of = [](Vec v) { return (as_int(v) & kExponent) == kExponent; };
    IVec odd{};
    size_t i = 0;
    for (; i + kLanes <= n; i += kLanes) odd |= odd_of(load_vec(x + i));
    if (i < n) odd |= odd_of(load_first(x + i, n - i));
#if defined(__AVX512F__)
    return _mm512_test_epi32_mask((__m512i)odd, (__m512i)odd) == 0;
#else
    return across(odd) == 0;
#endif
}

template <class F>
REGKD_INLINE void standardise_by(const float* x, const float* mean, size_t n, float* y, F scaled) {
    size_t i = 0;
    for (; i + kLanes <= n; i += kLanes) store_vec(y + i, scaled(load_vec(x + i) - load_vec(mean + i), i));
    if (i < n) {
        store_vec(y + i, scaled(load_first(x + i, n - i) - load_vec(mean + i), i));
        i += kLanes;
    }
    for (; i < spanned(n); i += kLanes) store_vec(y + i, Vec{});
}
void standardise(const float* x, const float* mean, const float* divisor, size_t n, float* y) {
    if (divisor)
        standardise_by(x, mean, n, y, [=](Vec v, size_t i) { return v / load_vec(divisor + i); });
    else
        standardise_by(x, mean, n, y, [](Vec v, size_t) { return v; });
}
