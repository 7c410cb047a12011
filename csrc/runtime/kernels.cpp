// The kernels of one instruction set; CMakeLists.txt compiles this file once a level with REGKD_LEVEL naming it.
//
// Packed weights of a layer with outputs along the lanes: panels of B registers of outputs, B as large as fits in 4, 2,
// 1; a panel is [inputs or groups of inputs][B][lanes]. Its sums run in C independent chains, so that the products of
// one input need not wait for those of the one before. The order of the sums depends on nothing but the layer's shape.

#include "kernels.h"

#include <cstring>

#include "../core/activation.h"
#include "levels.h"

namespace regkd {
namespace REGKD_LEVEL {
namespace {

using runtime::Finish;
using runtime::kNarrow;
using runtime::kSpan;
using runtime::kTogether;
using runtime::spanned;

#include "integer.h"

constexpr size_t kLanes = kVec;
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr bool kManyRegisters = true;  // 32
#else
constexpr bool kManyRegisters = false;  // 16
#endif

REGKD_INLINE float across(Vec v) {
#if defined(__AVX512F__)
    return _mm512_reduce_add_ps((__m512)v);
#elif defined(__aarch64__)
    return vaddvq_f32((float32x4_t)v);
#else
    float part[kVec], sum = 0;
    std::memcpy(part, &v, sizeof v);
    for (int half = kVec / 2; half; half /= 2)
        for (int i = 0; i < half; ++i) part[i] += part[i + half];
    sum = part[0];
    return sum;
#endif
}
REGKD_INLINE int32_t across(IVec v) {
#if defined(__AVX512F__)
    return _mm512_reduce_add_epi32((__m512i)v);
#elif defined(__aarch64__)
    return vaddvq_s32((int32x4_t)v);
#else
    int32_t part[kVec];
    std::memcpy(part, &v, sizeof v);
    for (int half = kVec / 2; half; half /= 2)
        for (int i = 0; i < half; ++i) part[i] += part[i + half];
    return part[0];
#endif
}

REGKD_INLINE IVec lane_numbers() {
    IVec lanes{};
    for (int i = 0; i < kVec; ++i) lanes[i] = i;
    return lanes;
}
// The first n values, fewer than a register's, behind which nothing is read; zeros behind them.
REGKD_INLINE Vec load_first(const float* p, size_t n) {
#if defined(__AVX512F__)
    return (Vec)_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1), p);
#elif defined(__AVX2__)
    return (Vec)_mm256_maskload_ps(p, (__m256i)(lane_numbers() < static_cast<int32_t>(n)));
#else
    Vec v{};
    for (size_t i = 0; i < n; ++i) v[i] = p[i];
    return v;
#endif
}

// f(first output, B) for every panel of a layer.
template <class F>
REGKD_INLINE void for_panels(size_t n_out, F f) {
    size_t blocks = (n_out + kLanes - 1) / kLanes, first = 0;
    for (; blocks >= 4; blocks -= 4, first += 4 * kLanes) f(first, 4);
    if (blocks >= 2) f(first, 2), blocks -= 2, first += 2 * kLanes;
    if (blocks) f(first, 1);
}
size_t padded_outputs(size_t n_out) { return (n_out + kLanes - 1) / kLanes * kLanes; }
size_t groups(size_t n_in) { return (n_in + kGroup - 1) / kGroup; }
size_t padded_codes(size_t n_in) { return (n_in + kLanes * kGroup - 1) / (kLanes * kGroup) * (kLanes * kGroup); }

#include "pointwise.h"

#include "dense.h"

// ---- int8 layers ------------------------------------------------------------------------------------------------
size_t codes_bytes(size_t n) { return sizeof(Code) * (padded_codes(n) > spanned(n) ? padded_codes(n) : spanned(n)); }
size_t dense_int8_bytes(size_t n_in, size_t n_out) {
    return sizeof(WeightCode) *
           (n_out <= kNarrow ? n_out * padded_codes(n_in) : padded_outputs(n_out) * groups(n_in) * kGroup);
}

void pack_dense_int8(const int8_t* weights, size_t n_in, size_t n_out, unsigned char* bytes) {
    std::memset(bytes, 0, dense_int8_bytes(n_in, n_out));
    WeightCode* packed = reinterpret_cast<WeightCode*>(bytes);
    if (n_out <= kNarrow) {
        for (size_t i = 0; i < n_out; ++i)
            for (size_t j = 0; j < n_in; ++j) packed[i * padded_codes(n_in) + j] = weights[i * n_in + j];
        return;
    }
    for_panels(n_out, [&](size_t first, size_t b) {
        WeightCode* panel = packed + first * groups(n_in) * kGroup;
        for (size_t i = first; i < first + b * kLanes && i < n_out; ++i)
            for (size_t j = 0; j < n_in; ++j)
                panel[(j / kGroup * b * kLanes + (i - first)) * kGroup + j % kGroup] = weights[i * n_in + j];
    });
}

REGKD_INLINE IVec load_codes(const unsigned char* p) {
    IVec v;
    std::memcpy(&v, p, sizeof v);
    return v;
}
REGKD_INLINE IVec every_lane(const unsigned char* group) {
    int32_t word;
    std::memcpy(&word, group, 4);
    return IVec{} + word;
}
static_assert(sizeof(Code) * kGroup == 4 && sizeof(WeightCode) * kGroup == 4, "a lane holds one group of codes");

template <int B, int C>
REGKD_INLINE void dense_int8_panel(const unsigned char* panel, const int32_t* start, const float* scale,
                                   const float* bias, const unsigned char* codes, size_t n_groups, float* y) {
    constexpr size_t kRegister = 4 * kLanes;  // bytes
    IVec sum[C][B] = {};
    for (int b = 0; b < B; ++b) sum[0][b] = load_ivec(start + b * kLanes);
    size_t g = 0;
    for (; g + C <= n_groups; g += C)
        for (int c = 0; c < C; ++c) {
            const IVec data = every_lane(codes + 4 * (g + c));
            for (int b = 0; b < B; ++b)
                sum[c][b] = multiply_add(sum[c][b], load_codes(panel + ((g + c) * B + b) * kRegister), data);
        }
    for (; g < n_groups; ++g)
        for (int b = 0; b < B; ++b)
            sum[0][b] = multiply_add(sum[0][b], load_codes(panel + (g * B + b) * kRegister), every_lane(codes + 4 * g));
    for (int c = 1; c < C; ++c)
        for (int b = 0; b < B; ++b) sum[0][b] += sum[c][b];
    for (int b = 0; b < B; ++b)
        store_vec(y + b * kLanes, to_float(sum[0][b]) * load_vec(scale + b * kLanes) + load_vec(bias + b * kLanes));
}

void dense_int8(const unsigned char* packed, const int32_t* start, const float* scale, const float* bias,
                const unsigned char* codes, size_t n_in, size_t n_out, float* y) {
    if (n_out <= kNarrow) {
        std::memset(y, 0, sizeof(float) * kSpan);
        const size_t row = sizeof(WeightCode) * padded_codes(n_in);
        for (size_t i = 0; i < n_out; ++i) {
            IVec sum{};
            for (size_t at = 0; at < row; at += 4 * kLanes)
                sum = multiply_add(sum, load_codes(packed + i * row + at), load_codes(codes + at));
            y[i] = static_cast<float>(
                       static_cast<int32_t>(static_cast<uint32_t>(across(sum)) + static_cast<uint32_t>(start[i]))) *
                       scale[i] +
                   bias[i];
        }
        return;
    }
    for_panels(n_out, [&](size_t first, size_t b) {
        const unsigned char* panel = packed + sizeof(WeightCode) * first * groups(n_in) * kGroup;
        if (b == 4)
            dense_int8_panel<4, 2>(panel, start + first, scale + first, bias + first, codes, groups(n_in), y + first);
        else if (b == 2)
            dense_int8_panel<2, 4>(panel, start + first, scale + first, bias + first, codes, groups(n_in), y + first);
        else
            dense_int8_panel<1, 4>(panel, start + first, scale + first, bias + first, codes, groups(n_in), y + first);
    });
    for (size_t i = padded_outputs(n_out); i < spanned(n_out); i += kLanes) store_vec(y + i, Vec{});
}

// round(v / scale), ties to even, saturated to int8. Adding 1.5 * 2^23 rounds to an integer in the low bits; a true
// division, since a product with 1 / scale would fall on the other side of some ties.
REGKD_INLINE IVec codes_of(Vec v, float scale) {
    const Vec bounded = at_most(at_least(v / all<Vec>(scale), -128.0f), 127.0f);
    return as_int(bounded + 12582912.0f) - 0x4B400000;
}
void quantize(float scale, const float* v, size_t n, unsigned char* bytes) {
    typedef Code CodeVec __attribute__((vector_size(sizeof(Code) * kVec)));
    for (size_t i = 0; i < n; i += kLanes) {
        const CodeVec packed = __builtin_convertvector(codes_of(load_vec(v + i), scale) + kOffset, CodeVec);
        std::memcpy(bytes + sizeof(Code) * i, &packed, sizeof packed);
    }
}
void fake_quantize(float scale, float* v, size_t n) {
    for (size_t i = 0; i < n; i += kLanes) store_vec(v + i, to_float(codes_of(load_vec(v + i), scale)) * scale);
}

// The codes themselves, as floats.
void code_values(float scale, float* v, size_t n) {
    for (size_t i = 0; i < n; i += kLanes) store_vec(v + i, to_float(codes_of(load_vec(v + i), scale)));
}

#include "spatial_kernels.h"

}  // namespace

extern const runtime::Kernels kKernels = {
    REGKD_LEVEL_NAME, kLanes,        kGroup,      kOffset,     dense_floats,   pack_dense, dense_int8_bytes,
    pack_dense_int8,  codes_bytes,   finite,      standardise, constant,       activate,   clip,
    quantize,         fake_quantize, code_values, dense,       dense_together, dense_int8, depthwise,
    average,          recur,
};

}  // namespace REGKD_LEVEL
}  // namespace regkd
