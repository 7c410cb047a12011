// What an instruction set offers to the native back end: plain functions on plain data. kernels.cpp is compiled once
// for each level, everything in a namespace of its own, so that nothing compiled for one processor runs on another.
#pragma once

#include <cstddef>
#include <cstdint>

#include "format.h"

namespace regkd {
namespace runtime {

// Values are kept in rows of whole spans of 16 floats. What lies behind the last value of a row is finite and stays so:
// it meets weights of 0, and 0 * NaN would not be 0.
constexpr size_t kSpan = 16;
constexpr size_t spanned(size_t n) { return (n + kSpan - 1) / kSpan * kSpan; }

// Rows that a layer takes together when a request has as many: its weights are then read once for all of them.
constexpr size_t kTogether = 4;

// Up to this many outputs, a layer is computed output by output, its inputs along the lanes; wider layers have their
// outputs along the lanes, which needs no sum across a register.
constexpr size_t kNarrow = 4;

// What a layer does with its sums before it stores them: its activation, then, up to kNarrow outputs, a product and a
// sum with rows of spanned(n_out) floats where these are not null.
struct Finish {
    Activation kind = Activation::kIdentity;
    float alpha = 0;
    const float* times = nullptr;
    const float* plus = nullptr;
};

struct Kernels {
    const char* level;
    size_t lanes;    // 32-bit values of a register
    size_t group;    // 8-bit inputs that one lane multiplies and adds in one instruction: 2 or 4
    int32_t offset;  // added to a quantized input before it is stored (128 where the instruction wants it unsigned)

    // Packing, when an engine is loaded: floats or bytes that the packed weights of a layer need, and filling them.
    size_t (*dense_floats)(size_t n_in, size_t n_out);
    void (*pack_dense)(const float* weights, size_t n_in, size_t n_out, float* packed);
    size_t (*dense_int8_bytes)(size_t n_in, size_t n_out);
    void (*pack_dense_int8)(const int8_t* weights, size_t n_in, size_t n_out, unsigned char* packed);
    size_t (*codes_bytes)(size_t n);  // of n quantized inputs

    bool (*finite)(const float* x, size_t n);  // whether no value is NaN or infinite; x anywhere

    // (x - mean) / divisor, or x - mean where the divisor is null; x anywhere, the rest are rows as below; x may be y.
    void (*standardise)(const float* x, const float* mean, const float* divisor, size_t n, float* y);

    // All below: v, x, y are rows of spanned(n) floats, 64-byte aligned.
    void (*constant)(Kind kind, const float* c, float* v, size_t n);     // add, subtract, multiply, divide in place
    void (*activate)(Activation kind, float alpha, float* v, size_t n);  // in place
    void (*clip)(float low, float high, float* v, size_t n);             // in place
    void (*quantize)(float scale, const float* v, size_t n, unsigned char* codes);
    void (*fake_quantize)(float scale, float* v, size_t n);  // in place
    void (*code_values)(float scale, float* v, size_t n);    // in place: the codes themselves, as floats
    // With more than kNarrow outputs, x may lie anywhere, and nothing behind its n_in values is read.
    void (*dense)(const float* packed, const float* bias, const float* x, size_t n_in, size_t n_out,
                  const Finish& finish, float* y);
    // kTogether rows, so many floats apart in x and in y; the answers have the bits of single rows.
    void (*dense_together)(const float* packed, const float* bias, const float* x, size_t n_in, size_t n_out,
                           size_t x_stride, size_t y_stride, const Finish& finish, float* y);
    void (*dense_int8)(const unsigned char* packed,  // weights of pack_dense_int8
                       const int32_t* start,  // [spanned(n_out)] where the sums begin: -offset * sum of the weights
                       const float* scale,    // [spanned(n_out)]
                       const float* bias,     // [spanned(n_out)]
                       const unsigned char* codes, size_t n_in, size_t n_out, float* y);
    // Of a depthwise convolution: weights [taps, spanned(channels)], scale and bias [spanned(channels)]; y is written
    // up to a register behind its last value.
    void (*depthwise)(const Window& window, const float* weights, const float* scale, const float* bias, const float* x,
                      float* y);
    void (*average)(const float* x, size_t places, size_t channels, float* y);
    // One step of a GRU: what the inputs and what the state give to the gates z, r, n, spanned(units) floats each.
    void (*recur)(const float* input, const float* own, size_t units, float* state);
};

// The best level of this processor, or the one of that name when it can run here; null otherwise.
const Kernels* find_kernels(const char* level);

}  // namespace runtime
}  // namespace regkd
