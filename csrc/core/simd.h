// Host vectors: Vec (floats), IVec, UVec, as wide as the level's registers, and the operations that differ by
// instruction set. GCC vector types supply the arithmetic, so only conversions, roots, fused multiply-add and wide
// products are spelled out. Included by portable.h, never alone.
#pragma once

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace regkd {
namespace REGKD_LEVEL {

#if defined(__AVX512F__)
constexpr int kVec = 16;
#elif defined(__AVX2__)
constexpr int kVec = 8;
#else
constexpr int kVec = 4;
#endif

typedef float Vec __attribute__((vector_size(4 * kVec)));
typedef int32_t IVec __attribute__((vector_size(4 * kVec)));
typedef uint32_t UVec __attribute__((vector_size(4 * kVec)));
typedef float VecUnaligned __attribute__((vector_size(4 * kVec), aligned(4), may_alias));
typedef int32_t IVecUnaligned __attribute__((vector_size(4 * kVec), aligned(4), may_alias));

REGKD_INLINE Vec load_vec(const float* p) { return *reinterpret_cast<const VecUnaligned*>(p); }
REGKD_INLINE void store_vec(float* p, Vec v) { *reinterpret_cast<VecUnaligned*>(p) = v; }
REGKD_INLINE IVec load_ivec(const int32_t* p) { return *reinterpret_cast<const IVecUnaligned*>(p); }

REGKD_INLINE IVec as_int(Vec x) { return (IVec)x; }
REGKD_INLINE Vec as_float(IVec i) { return (Vec)i; }
REGKD_INLINE IVec to_signed(UVec u) { return (IVec)u; }
REGKD_INLINE UVec to_unsigned(IVec i) { return (UVec)i; }
REGKD_INLINE Vec to_float(IVec i) { return __builtin_convertvector(i, Vec); }
REGKD_INLINE Vec quotient(Vec a, Vec b) { return a / b; }
REGKD_INLINE Vec absolute(Vec x) { return (Vec)((IVec)x & 0x7fffffff); }
// portable.h's x > bound ? x : bound and x < bound ? x : bound, in one instruction where there is one that does just
// that, for zeros and for NaN too; g++ makes a comparison and a blend of them.

#if defined(__AVX512F__)
REGKD_INLINE Vec at_least(Vec x, float bound) { return (Vec)_mm512_max_ps((__m512)x, _mm512_set1_ps(bound)); }
REGKD_INLINE Vec at_most(Vec x, float bound) { return (Vec)_mm512_min_ps((__m512)x, _mm512_set1_ps(bound)); }
REGKD_INLINE Vec square_root(Vec x) { return (Vec)_mm512_sqrt_ps((__m512)x); }
REGKD_INLINE Vec fused(Vec a, Vec b, Vec c) { return (Vec)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c); }
REGKD_INLINE void multiply_wide(UVec a, uint32_t b, UVec& hi, UVec& lo) {
    const __m512i m = _mm512_set1_epi64(b), x = (__m512i)a;
    const __m512i even = _mm512_mul_epu32(x, m), odd = _mm512_mul_epu32(_mm512_srli_epi64(x, 32), m);
    hi = (UVec)_mm512_mask_blend_epi32(0xAAAA, _mm512_srli_epi64(even, 32), odd);
    lo = (UVec)_mm512_mask_blend_epi32(0xAAAA, even, _mm512_slli_epi64(odd, 32));
}
#elif defined(__AVX2__)
REGKD_INLINE Vec at_least(Vec x, float bound) { return (Vec)_mm256_max_ps((__m256)x, _mm256_set1_ps(bound)); }
REGKD_INLINE Vec at_most(Vec x, float bound) { return (Vec)_mm256_min_ps((__m256)x, _mm256_set1_ps(bound)); }
REGKD_INLINE Vec square_root(Vec x) { return (Vec)_mm256_sqrt_ps((__m256)x); }
REGKD_INLINE Vec fused(Vec a, Vec b, Vec c) { return (Vec)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c); }
REGKD_INLINE void multiply_wide(UVec a, uint32_t b, UVec& hi, UVec& lo) {
    const __m256i m = _mm256_set1_epi64x(b), x = (__m256i)a;
    const __m256i even = _mm256_mul_epu32(x, m), odd = _mm256_mul_epu32(_mm256_srli_epi64(x, 32), m);
    hi = (UVec)_mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xAA);
    lo = (UVec)_mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xAA);
}
#elif defined(__x86_64__)
REGKD_INLINE Vec at_least(Vec x, float bound) { return (Vec)_mm_max_ps((__m128)x, _mm_set1_ps(bound)); }
REGKD_INLINE Vec at_most(Vec x, float bound) { return (Vec)_mm_min_ps((__m128)x, _mm_set1_ps(bound)); }
REGKD_INLINE Vec square_root(Vec x) { return (Vec)_mm_sqrt_ps((__m128)x); }
REGKD_INLINE Vec fused(Vec a, Vec b, Vec c) { return a * b + c; }
REGKD_INLINE void multiply_wide(UVec a, uint32_t b, UVec& hi, UVec& lo) {
    const __m128i m = _mm_set1_epi64x(b), x = (__m128i)a;
    const __m128i even = _mm_mul_epu32(x, m), odd = _mm_mul_epu32(_mm_srli_epi64(x, 32), m);
    const __m128i high = _mm_set1_epi64x(static_cast<long long>(0xFFFFFFFF00000000ull));
    hi = (UVec)_mm_or_si128(_mm_srli_epi64(even, 32), _mm_and_si128(odd, high));
    lo = (UVec)_mm_or_si128(_mm_andnot_si128(high, even), _mm_slli_epi64(odd, 32));
}
#elif defined(__aarch64__)
REGKD_INLINE Vec square_root(Vec x) { return (Vec)vsqrtq_f32((float32x4_t)x); }
REGKD_INLINE Vec fused(Vec a, Vec b, Vec c) { return (Vec)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b); }
REGKD_INLINE void multiply_wide(UVec a, uint32_t b, UVec& hi, UVec& lo) {
    for (int i = 0; i < kVec; ++i) {
        const uint64_t p = static_cast<uint64_t>(a[i]) * b;
        hi[i] = static_cast<uint32_t>(p >> 32);
        lo[i] = static_cast<uint32_t>(p);
    }
}
#else
#error "regkd-edge has host vectors for x86-64 and aarch64 only"
#endif

}  // namespace REGKD_LEVEL
}  // namespace regkd
