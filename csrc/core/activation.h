// Activations s with s' and s'', written over a lane type F. Evaluated once a neuron, never inside a product.
// Errors against float64 are a few units in the last place of max(|s|, 2^-126), see tests/csrc/test_activation.py.
#pragma once

#include "job.h"
#include "philox.h"

namespace regkd {
namespace REGKD_LEVEL {

// e^x = scale * (1 + p) with scale = 2^k, |r| <= ln 2 / 2, p = e^r - 1. Input is clamped to what float32 can hold.
template <class F>
REGKD_INLINE void exp_parts(F x, F& scale, F& p) {
    x = at_least(at_most(x, 88.0f), -87.0f);
    const F shifted = fused(x, all<F>(1.44269504f), all<F>(12582912.0f));  // 1.5 * 2^23: rounds to an integer
    const auto k = as_int(shifted) - 0x4B400000;
    const F n = shifted - 12582912.0f;
    F r = fused(n, all<F>(-0.693359375f), x);
    r = fused(n, all<F>(2.12194440e-4f), r);
    F q = fused(all<F>(1.9875691500e-4f), r, all<F>(1.3981999507e-3f));
    q = fused(q, r, all<F>(8.3334519073e-3f));
    q = fused(q, r, all<F>(4.1665795894e-2f));
    q = fused(q, r, all<F>(1.6666665459e-1f));
    q = fused(q, r, all<F>(5.0000001201e-1f));
    p = fused(q * r, r, r);
    scale = as_float((k + 127) << 23);
}
template <class F>
REGKD_INLINE F exponential(F x) {
    F scale, p;
    exp_parts(x, scale, p);
    return fused(scale, p, scale);
}
template <class F>
REGKD_INLINE F exponential_minus_one(F x) {
    F scale, p;
    exp_parts(x, scale, p);
    return fused(scale, p, scale - 1.0f);
}
template <class F>
REGKD_INLINE F logistic(F z) {
    return 1.0f / (exponential(-z) + 1.0f);
}

// Rational minimax in x^2, degree 13 over 6; |x| beyond 7.9988 gives +-1 in float32.
template <class F>
REGKD_INLINE F hyperbolic_tangent(F z) {
    const F x = at_least(at_most(z, 7.99881172180175781f), -7.99881172180175781f);
    const F w = x * x;
    F p = fused(w, all<F>(-2.76076847742355e-16f), all<F>(2.00018790482477e-13f));
    p = fused(p, w, all<F>(-8.60467152213735e-11f));
    p = fused(p, w, all<F>(5.12229709037114e-08f));
    p = fused(p, w, all<F>(1.48572235717979e-05f));
    p = fused(p, w, all<F>(6.37261928875436e-04f));
    p = fused(p, w, all<F>(4.89352455891786e-03f));
    F q = fused(w, all<F>(1.19825839466702e-06f), all<F>(1.18534705686654e-04f));
    q = fused(q, w, all<F>(2.26843463243900e-03f));
    q = fused(q, w, all<F>(4.89352518554385e-03f));
    return (x * p) / q;
}

// Rational minimax in x^2; |x| beyond 4 gives +-1 in float32.
template <class F>
REGKD_INLINE F error_function(F z) {
    const F x = at_least(at_most(z, 4.0f), -4.0f);
    const F w = x * x;
    F p = fused(w, all<F>(-2.72614225801306e-10f), all<F>(2.77068142495902e-08f));
    p = fused(p, w, all<F>(-2.10102402082508e-06f));
    p = fused(p, w, all<F>(-5.69250639462346e-05f));
    p = fused(p, w, all<F>(-7.34990630326855e-04f));
    p = fused(p, w, all<F>(-2.95459980854025e-03f));
    p = fused(p, w, all<F>(-1.60960333262415e-02f));
    F q = fused(w, all<F>(-1.45660718464996e-05f), all<F>(-2.13374055278905e-04f));
    q = fused(q, w, all<F>(-1.68282697438203e-03f));
    q = fused(q, w, all<F>(-7.37332916720468e-03f));
    q = fused(q, w, all<F>(-1.42647390514189e-02f));
    return (x * p) / q;
}

// ln(1 + u), 0 <= u <= 1, with the rounding of 1 + u put back.
template <class F>
REGKD_INLINE F log_one_plus(F u) {
    const F w = u + 1.0f;
    return noise_log(w) + (u - (w - 1.0f)) / w;
}

// a = s(z); when Order >= 1 also s1 = s'(z); when Order >= 2 also s2 = s''(z).
template <int Kind, int Order, class F>
REGKD_INLINE void activation(F z, F& a, F& s1, F& s2) {
    const F zero = all<F>(0.0f), one = all<F>(1.0f);
    s2 = zero;
    if constexpr (Kind == kIdentity) {
        a = z;
        s1 = one;
    } else if constexpr (Kind == kRelu) {
        a = z > 0.0f ? z : zero;
        s1 = z > 0.0f ? one : zero;
    } else if constexpr (Kind == kLeakyRelu) {
        s1 = z > 0.0f ? one : all<F>(0.01f);
        a = z * s1;
    } else if constexpr (Kind == kElu) {
        F scale, p;
        exp_parts(z, scale, p);
        const F e = fused(scale, p, scale);
        a = z > 0.0f ? z : fused(scale, p, scale - 1.0f);
        s1 = z > 0.0f ? one : e;
        s2 = z > 0.0f ? zero : e;
    } else if constexpr (Kind == kTanh) {
        a = hyperbolic_tangent(z);
        s1 = fused(-a, a, one);
        s2 = a * s1 * -2.0f;
    } else if constexpr (Kind == kSilu) {
        const F g = logistic(z);
        const F h = 1.0f - g;
        a = z * g;
        s1 = g * fused(z, h, one);
        s2 = g * h * fused(z, h - g, all<F>(2.0f));
    } else if constexpr (Kind == kSoftplus) {
        const F e = exponential(-absolute(z));
        const F inverse = 1.0f / (e + 1.0f);
        a = at_least(z, 0.0f) + log_one_plus(e);
        s1 = z > 0.0f ? inverse : e * inverse;
        s2 = e * inverse * inverse;
    } else if constexpr (Kind == kGelu) {
        const F half = error_function(z * 0.70710678118654752f) * 0.5f;
        const F cdf = half + 0.5f;
        a = z * cdf;
        if constexpr (Order >= 1) {
            const F density = exponential(z * z * -0.5f) * 0.39894228040143268f;
            s1 = fused(z, density, cdf);
            s2 = density * fused(-z, z, all<F>(2.0f));
        }
    } else {
        static_assert(Kind == kGeluTanh, "an activation without a formula");
        const F w = z * z;
        const F u = z * fused(w, all<F>(0.79788456080286536f * 0.044715f), all<F>(0.79788456080286536f));
        const F th = hyperbolic_tangent(u);
        const F half = th * 0.5f + 0.5f;
        a = z * half;
        if constexpr (Order >= 1) {
            const F sech = fused(-th, th, one);  // 1 - tanh^2
            const F u1 = fused(w, all<F>(0.79788456080286536f * 0.134145f), all<F>(0.79788456080286536f));
            const F u2 = z * (0.79788456080286536f * 0.26829f);
            s1 = fused(z * sech, u1 * 0.5f, half);
            s2 = sech * (u1 + z * 0.5f * (u2 - th * u1 * u1 * 2.0f));
        }
    }
}

REGKD_INLINE bool is_curved(int kind) { return kind > kLeakyRelu; }  // s'' is not identically 0

// f.template operator()<Kind>() for a kind known at run time.
template <class Function>
REGKD_INLINE void with_activation(int kind, Function f) {
    switch (kind) {
        case kRelu: return f.template operator()<kRelu>();
        case kLeakyRelu: return f.template operator()<kLeakyRelu>();
        case kElu: return f.template operator()<kElu>();
        case kSilu: return f.template operator()<kSilu>();
        case kGelu: return f.template operator()<kGelu>();
        case kGeluTanh: return f.template operator()<kGeluTanh>();
        case kTanh: return f.template operator()<kTanh>();
        case kSoftplus: return f.template operator()<kSoftplus>();
        default: return f.template operator()<kIdentity>();
    }
}

}  // namespace REGKD_LEVEL
}  // namespace regkd
