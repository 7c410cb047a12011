// What lets one source be host code at several SIMD levels and device code.
//
// Everything in csrc/core is written over a lane type F (floats), I (32-bit integers) and U (unsigned):
//   on the CPU    F is one machine vector (4, 8 or 16 floats), a GCC vector type;
//   on the device F is `float`, one lane of a warp.
// Both take + - * / ^ & >> << comparisons and `mask ? a : b` elementwise, so no operator is redefined here.
//
// The same header is compiled for several instruction sets into one library. Every function therefore lives in a
// namespace of its level, REGKD_LEVEL: with plain inline functions the linker would keep one copy, perhaps the
// AVX-512 one, for all of them. Sources of a level use no std:: containers for the same reason.
#pragma once

#include <cstdint>

#ifndef REGKD_LEVEL
#define REGKD_LEVEL host
#endif

#ifdef __CUDACC__
#define REGKD_HD __host__ __device__
#define REGKD_INLINE __host__ __device__ __forceinline__
#ifndef REGKD_PHASE  // csrc/cuda/small.cu has its phases inlined
#define REGKD_PHASE inline __host__ __device__ __noinline__
#endif
#else
#define REGKD_HD
#define REGKD_INLINE inline __attribute__((always_inline))
#ifndef REGKD_PHASE  // a profile wants functions: -DREGKD_PHASE="__attribute__((noinline))"
#define REGKD_PHASE REGKD_INLINE
#endif
#endif
// REGKD_PHASE: a whole phase of a tile. On the device it is a real function: inlined everywhere, one kernel takes a
// minute to compile for each architecture and spills registers.

// Before loops of long bodies and few rounds: unrolled they only compile longer. g++ does not know the pragma.
#ifdef __CUDA_ARCH__
#define REGKD_ROLLED _Pragma("unroll 1")
#define REGKD_ROLLED_BY_2 _Pragma("unroll 2")
#define REGKD_PRAGMA(words) _Pragma(#words)
#define REGKD_ROLLED_BY(n) REGKD_PRAGMA(unroll n)
#else
#define REGKD_ROLLED
#define REGKD_ROLLED_BY_2
#define REGKD_ROLLED_BY(n)
#endif

namespace regkd {

constexpr int kTile = 32;        // samples of a tile: a warp on the device, a few vectors on the CPU
constexpr int kMaxLayers = 8;    // weight matrices of a network
constexpr int kMaxWidth = 1024;  // units of a hidden layer

namespace REGKD_LEVEL {

// ---- one lane --------------------------------------------------------------------------------------------------
REGKD_INLINE int32_t as_int(float x) {
#ifdef __CUDA_ARCH__
    return __float_as_int(x);
#else
    int32_t i;
    __builtin_memcpy(&i, &x, 4);
    return i;
#endif
}
REGKD_INLINE float as_float(int32_t i) {
#ifdef __CUDA_ARCH__
    return __int_as_float(i);
#else
    float x;
    __builtin_memcpy(&x, &i, 4);
    return x;
#endif
}
REGKD_INLINE float to_float(int32_t i) { return static_cast<float>(i); }
REGKD_INLINE int32_t to_signed(uint32_t u) { return static_cast<int32_t>(u); }
REGKD_INLINE uint32_t to_unsigned(int32_t i) { return static_cast<uint32_t>(i); }
// Correctly rounded on both sides: part of the noise, so no approximate instruction may be used.
REGKD_INLINE float square_root(float x) {
#ifdef __CUDA_ARCH__
    return __fsqrt_rn(x);
#else
    return __builtin_sqrtf(x);
#endif
}
REGKD_INLINE float absolute(float x) { return as_float(as_int(x) & 0x7fffffff); }
// Networks only, never noise: x86-64-v2 has no fused multiply-add, so levels may differ in the last bit here.
REGKD_INLINE float fused(float a, float b, float c) {
#if defined(__CUDA_ARCH__)
    return fmaf(a, b, c);
#elif defined(__FMA__) || defined(__aarch64__)
    return __builtin_fmaf(a, b, c);
#else
    return a * b + c;
#endif
}
// a / b for b of an ordinary size (2^-126 to 2^126), networks only: on the device without the branch that a correctly
// rounded division takes, and within 1 unit in the last place of it.
REGKD_INLINE float quotient(float a, float b) {
#ifdef __CUDA_ARCH__
    const float inverse = __fdividef(1.0f, b), first = a * inverse;
    return fmaf(fmaf(-b, first, a), inverse, first);
#else
    return a / b;
#endif
}
REGKD_INLINE void multiply_wide(uint32_t a, uint32_t b, uint32_t& hi, uint32_t& lo) {
    const uint64_t p = static_cast<uint64_t>(a) * b;
    hi = static_cast<uint32_t>(p >> 32);
    lo = static_cast<uint32_t>(p);
}

}  // namespace REGKD_LEVEL
}  // namespace regkd

// Vector overloads must be seen before the templates below: built-in types have no argument-dependent lookup.
#ifndef __CUDACC__
#include "simd.h"
#endif

namespace regkd {
namespace REGKD_LEVEL {

// One value in every lane. x - 0 is x for every x, so compilers drop it; 0 + x is not (of -0), and would stay.
template <class F>
REGKD_INLINE F all(float x) {
    return x - F{};
}
template <>
REGKD_INLINE float all<float>(float x) {
    return x;
}
template <class F>
REGKD_INLINE F at_least(F x, float bound) {
    return x > bound ? x : all<F>(bound);
}
template <class F>
REGKD_INLINE F at_most(F x, float bound) {
    return x < bound ? x : all<F>(bound);
}

}  // namespace REGKD_LEVEL
}  // namespace regkd
