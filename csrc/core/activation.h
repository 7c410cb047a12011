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
    return quotient(all<F>(1.0f), exponential(-z) + 1.0f);
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
    return quotient(x * p, q);
}

// P(N(0,1) < -|z|) = e^(-z^2/2) t Q(t), t = 1 / (1 + 0.375 |z| / sqrt 2), Q of degree 8 fitted to erfc's scaled form
// with relative error 1.2e-8 for |z| < 14; `bell` is e^(-z^2/2). A difference 1 + erf would lose the digits of the
// tail.
template <class F>
REGKD_INLINE F normal_tail(F z, F& bell) {
    const F t = quotient(all<F>(1.0f), fused(absolute(z), all<F>(0.375f * 0.70710678118654752f), all<F>(1.0f)));
    bell = exponential(z * z * -0.5f);
    F q = fused(t, all<F>(3.076914749e-02f), all<F>(-1.436643694e-01f));
    q = fused(q, t, all<F>(2.161979436e-01f));
    q = fused(q, t, all<F>(-1.147051465e-01f));
    q = fused(q, t, all<F>(1.368613137e-01f));
    q = fused(q, t, all<F>(6.075289726e-02f));
    q = fused(q, t, all<F>(1.026566411e-01f));
    q = fused(q, t, all<F>(1.053248379e-01f));
    q = fused(q, t, all<F>(1.058067375e-01f));
    return bell * t * q;
}

// ln(1 + u), 0 <= u <= 1, with the rounding of 1 + u put back.
template <class F>
REGKD_INLINE F log_one_plus(F u) {
    const F w = u + 1.0f;
    return noise_log(w) + quotient(u - (w - 1.0f), w);
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
        const F e = exponential(-z);
        const F g = quotient(one, e + 1.0f);
        const F h = e * g;  // 1 - g would lose its digits for large z, and z multiplies it
        a = z * g;
        s1 = g * fused(z, h, one);
        s2 = g * h * fused(z, h - g, all<F>(2.0f));
    } else if constexpr (Kind == kSoftplus) {
        const F e = exponential(-absolute(z));
        const F inverse = quotient(one, e + 1.0f);
        a = at_least(z, 0.0f) + log_one_plus(e);
        s1 = z > 0.0f ? inverse : e * inverse;
        s2 = e * inverse * inverse;
    } else if constexpr (Kind == kGelu) {
        F bell;
        const F tail = normal_tail(z, bell);
        const F cdf = z > 0.0f ? 1.0f - tail : tail;
        const F density = bell * 0.39894228040143268f;
        a = z * cdf;
        s1 = fused(z, density, cdf);
        s2 = density * fused(-z, z, all<F>(2.0f));
    } else {
        static_assert(Kind == kGeluTanh, "an activation without a formula");
        // (1 + tanh u) / 2 is the logistic of 2 u, which keeps the digits of the tail.
        const F w = z * z;
        const F u = z * fused(w, all<F>(0.79788456080286536f * 0.044715f), all<F>(0.79788456080286536f));
        const F e = exponential(u * -2.0f);
        const F h = quotient(one, e + 1.0f);
        const F half_sech = h * e * h * 2.0f;  // (1 - tanh^2 u) / 2
        const F u1 = fused(w, all<F>(0.79788456080286536f * 0.134145f), all<F>(0.79788456080286536f));
        const F u2 = z * (0.79788456080286536f * 0.26829f);
        a = z * h;
        s1 = fused(z * half_sech, u1, h);
        s2 = half_sech * (u1 * 2.0f + z * (u2 - (h * 2.0f - 1.0f) * u1 * u1 * 2.0f));
    }
}

REGKD_INLINE bool is_curved(int kind) { return kind > kLeakyRelu; }  // s'' is not identically 0

// f.template operator()<Kind>() for a kind known at run time.
template <class Function>
REGKD_INLINE void with_activation(int kind, Function f) {
    switch (kind) {
        case kRelu:
            return f.template operator()<kRelu>();
        case kLeakyRelu:
            return f.template operator()<kLeakyRelu>();
        case kElu:
            return f.template operator()<kElu>();
        case kSilu:
            return f.template operator()<kSilu>();
        case kGelu:
            return f.template operator()<kGelu>();
        case kGeluTanh:
            return f.template operator()<kGeluTanh>();
        case kTanh:
            return f.template operator()<kTanh>();
        case kSoftplus:
            return f.template operator()<kSoftplus>();
        default:
            return f.template operator()<kIdentity>();
    }
}

}  // namespace REGKD_LEVEL
}  // namespace regkd
