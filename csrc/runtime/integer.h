// Products of 8-bit numbers with exact 32-bit sums, by instruction set. Included by kernels.cpp, within a level.
//
//   kGroup     numbers that one lane multiplies: 4 where there is a dot-product instruction, else 2, kept as 16 bits
//   kOffset    what is added to a data code before it is stored
//   Code       how a data code is stored, WeightCode how a weight is
//   multiply_add(sum, w, x)    sum + products of w and x, lane by lane; w and x are whole registers of codes
#pragma once

#if defined(__AVX512VNNI__)
#define REGKD_GROUP 4
constexpr int32_t kOffset = 128;  // vpdpbusd takes unsigned data
typedef uint8_t Code;
typedef int8_t WeightCode;
REGKD_INLINE IVec multiply_add(IVec sum, IVec w, IVec x) {
    return (IVec)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)x, (__m512i)w);
}
#elif defined(__AVX512BW__)
#define REGKD_GROUP 2
REGKD_INLINE IVec multiply_add(IVec sum, IVec w, IVec x) {
    return sum + (IVec)_mm512_madd_epi16((__m512i)w, (__m512i)x);
}
#elif defined(__AVX2__)
#define REGKD_GROUP 2
REGKD_INLINE IVec multiply_add(IVec sum, IVec w, IVec x) {
    return sum + (IVec)_mm256_madd_epi16((__m256i)w, (__m256i)x);
}
#elif defined(__x86_64__)
#define REGKD_GROUP 2
REGKD_INLINE IVec multiply_add(IVec sum, IVec w, IVec x) { return sum + (IVec)_mm_madd_epi16((__m128i)w, (__m128i)x); }
#elif defined(__ARM_FEATURE_DOTPROD)
#define REGKD_GROUP 4
constexpr int32_t kOffset = 0;
typedef int8_t Code;
typedef int8_t WeightCode;
REGKD_INLINE IVec multiply_add(IVec sum, IVec w, IVec x) {
    return (IVec)vdotq_s32((int32x4_t)sum, (int8x16_t)w, (int8x16_t)x);
}
#else
#define REGKD_GROUP 2
REGKD_INLINE IVec multiply_add(IVec sum, IVec w, IVec x) {
    const int16x8_t a = (int16x8_t)w, b = (int16x8_t)x;
    return sum + (IVec)vpaddq_s32(vmull_s16(vget_low_s16(a), vget_low_s16(b)), vmull_high_s16(a, b));
}
#endif

#if REGKD_GROUP == 2
constexpr int32_t kOffset = 0;
typedef int16_t Code;
typedef int16_t WeightCode;
#endif
constexpr size_t kGroup = REGKD_GROUP;
