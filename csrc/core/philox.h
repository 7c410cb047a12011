// Noise as a function: Philox4x32-10 (Salmon et al. 2011) and standard normals from it.
//
// The number at (seed, stream, step, sample, draw, feature) never depends on threads, tiles or devices:
//   counter = (sample, feature / 4, step, stream << 16 | draw)      key = (seed & 0xffffffff, seed >> 32)
// The four words r0..r3 of a counter are the normals of features 4q .. 4q+3:
//   (r0, r1) -> n0 = R cos, n1 = R sin;   (r2, r3) -> n2 = R cos, n3 = R sin
//   U = ((r >> 8) + 0.5) * 2^-24,  R = sqrt(-2 ln U),  angle = (r' >> 8) * 2^-24 turns
// ln, sin and cos are made of single-precision + - * and sqrt, each rounded once and never contracted, so g++ at
// every level, aarch64, nvcc's device code and a chain of float32 tensor operations give the same bits.
// Compile with -ffp-contract=off (g++) or -fmad=false (nvcc), and never with fast-math.
#pragma once

#include "portable.h"

namespace regkd {

// What a number is for: two streams never share a counter.
enum Stream : uint32_t {
    kPerturb = 0,    // PM points: eps of x + sigma * eps
    kAscent = 1,     // where an ascent starts: eps, or the start itself when inputs are Gaussian
    kRows = 2,       // the keys of the row permutation
    kCotangent = 3,  // random signs of the Jacobian projections
    kInput = 4,      // Gaussian inputs of data-free training
};

namespace REGKD_LEVEL {

template <class U>
REGKD_INLINE void philox4x32(U c[4], uint32_t k0, uint32_t k1) {
    for (int round = 0; round < 10; ++round) {
        U hi0, lo0, hi1, lo1;
        multiply_wide(c[0], 0xD2511F53u, hi0, lo0);
        multiply_wide(c[2], 0xCD9E8D57u, hi1, lo1);
        c[0] = hi1 ^ c[1] ^ k0;
        c[1] = lo1;
        c[2] = hi0 ^ c[3] ^ k1;
        c[3] = lo0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
}

// The four words of one counter. `sample` varies by lane, the rest is the same in all.
template <class U>
REGKD_INLINE void philox_words(uint64_t seed, Stream stream, uint32_t step, U sample, uint32_t draw, uint32_t quad,
                               U w[4]) {
    w[0] = sample;
    w[1] = (sample ^ sample) + quad;
    w[2] = (sample ^ sample) + step;
    w[3] = (sample ^ sample) + ((static_cast<uint32_t>(stream) << 16) | draw);
    philox4x32(w, static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32));
}

// ln u for u in (0, 1]. Range reduction to m in [sqrt(1/2), sqrt(2)), then the degree-8 minimax polynomial of the
// Cephes library for (ln(1+f) - f + f^2/2) / f^3; ln 2 in two parts. Order of operations is the definition.
template <class F>
REGKD_INLINE F noise_log(F u) {
    const auto bits = as_int(u) + (0x3f800000 - 0x3f3504f3);
    const F e = to_float((bits >> 23) - 127);
    const F f = as_float((bits & 0x007fffff) + 0x3f3504f3) - 1.0f;
    const F z = f * f;
    F p = f * 7.0376836292e-2f - 1.1514610310e-1f;
    p = p * f + 1.1676998740e-1f;
    p = p * f - 1.2420140846e-1f;
    p = p * f + 1.4249322787e-1f;
    p = p * f - 1.6668057665e-1f;
    p = p * f + 2.0000714765e-1f;
    p = p * f - 2.4999993993e-1f;
    p = p * f + 3.3333331174e-1f;
    F y = (p * f) * z;
    y = y + e * -2.12194440e-4f;
    y = y - z * 0.5f;
    y = f + y;
    return y + e * 0.693359375f;
}

// cos and sin of m * 2^-24 turns, m an integer in [0, 2^24). The quadrant is taken off in integers:
//   q = (m + 2^21) >> 22;  w = (m - (q << 22)) * 2^-22 in [-1/2, 1/2) quarter turns;  x = w * (pi / 2)
template <class F, class I>
REGKD_INLINE void noise_cos_sin(I m, F& cosine, F& sine) {
    const I q = (m + (1 << 21)) >> 22;
    const F w = to_float(m - (q << 22)) * 2.384185791015625e-07f;  // 2^-22
    const F x = w * 1.57079632679489662f;
    const F z = x * x;
    F s = z * -1.9515295891e-4f + 8.3321608736e-3f;
    s = s * z - 1.6666654611e-1f;
    s = (s * z) * x + x;
    F c = z * 2.443315711809948e-5f - 1.388731625493765e-3f;
    c = c * z + 4.166664568298827e-2f;
    c = (c * z) * z;
    c = c - z * 0.5f;
    c = c + 1.0f;
    const auto odd = (q & 1) != 0;
    const F a = odd ? s : c;  // |cos|
    const F b = odd ? c : s;  // |sin|
    cosine = ((q + 1) & 2) != 0 ? -a : a;
    sine = (q & 2) != 0 ? -b : b;
}

template <class F, class U>
REGKD_INLINE void normal_pair(U r0, U r1, F& n0, F& n1) {
    const F u = (to_float(to_signed(r0 >> 8)) + 0.5f) * 5.9604644775390625e-08f;  // 2^-24
    const F radius = square_root(noise_log(u) * -2.0f);
    F c, s;
    noise_cos_sin(to_signed(r1 >> 8), c, s);
    n0 = radius * c;
    n1 = radius * s;
}

// Normals of features 4 quad .. 4 quad + 3.
template <class F, class U>
REGKD_INLINE void normal_quad(uint64_t seed, Stream stream, uint32_t step, U sample, uint32_t draw, uint32_t quad,
                              F n[4]) {
    U w[4];
    philox_words(seed, stream, step, sample, draw, quad, w);
    normal_pair(w[0], w[1], n[0], n[1]);
    normal_pair(w[2], w[3], n[2], n[3]);
}

}  // namespace REGKD_LEVEL
}  // namespace regkd
