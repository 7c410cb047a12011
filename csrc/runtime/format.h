// The native engine file, versions 1 and 2. Little endian; every item starts at a multiple of 4 bytes. Version 2 adds
// the kinds from 10 on, periods and `low` of quantize; a file that has none of these is written as version 1.
//
//   header, 40 bytes
//     magic      8 bytes  89 'R' 'K' 'D' 'N' 0D 0A 1A   (a transfer in text mode breaks it, and is seen)
//     version    u32      1 or 2
//     checksum   u32      CRC-32 (IEEE 802.3) of everything behind it
//     size       u32      bytes of the whole file
//     inputs     u32      d
//     outputs    u32      o
//     operations u32
//     names      u32      bytes of the names, 0: none are known
//     reserved   u32      0
//   names: d + o lines of UTF-8, parted by '\n', padded with zeros to a multiple of 4
//   operations, each applied to the values v of width n that the one before it left (first: the inputs, n = d)
//     kind       u32      below
//     width      u32      n of the result
//     detail     u32      below
//     number     f32      below
//     payload    below
//
//   kind  name            payload, then what it does
//    1    add             c f32 [p]                  v + c      p = n when detail is 0; else detail is p, a divisor of
//    2    subtract        c f32 [p]                  v - c      n, and c is repeated: constants of channels
//    3    multiply        c f32 [p]                  v * c
//    4    divide          c f32 [p]                  v / c
//    5    activation                                 detail says which, number is its alpha (leaky_relu, elu), else 0
//    6    dense           W f32 [m, n], b f32 [m]    W v + b; b only when detail is 1; m is `width`
//    7    dense_int8      r f32 [m], b f32 [m], W i8 [m, n] padded with zeros to a multiple of 4
//                                                    q = round(v / number) to int8, ties to even, saturated to
//                                                    -128..127; (sum_j W_ij q_j) * (number * r_i) + b_i, the sum in
//                                                    integers; b when detail has bit 0. With bit 1 the same is added
//                                                    for what the rounding left over, v - q * number, by number / 254.
//                                                    With bit 2 another W of the same size follows: what W left over
//                                                    of the weights, by r / 254; its product with q is added.
//    8    quantize                                   q * number, q as above; with bit 1 the same of what that
//                                                    left over, in steps of number / 254, is added
//    9    clip            low f32, high f32          min(max(v, low), high)
//   10    channels_last                              v as [detail, n / detail] transposed: channels first to last
//   11    windows         window, 11 u32             v as [height, width, channels]; the next operation, a dense or
//                                                    dense_int8, is applied to every window and gives the channels of
//                                                    one place: its result is [places, m]. `width` is the values of a
//                                                    window: kernel rows, kernel columns, channels, in that order
//   12    depthwise       window, W f32 [taps, c], b f32 [c]
//                                                    each channel with its own taps; b only with bit 0. With bit 3 in
//                                                    integers, as in dense_int8 with n = taps: r f32 [c], b f32 [c],
//                                                    W i8 [taps, c], and bits 1 and 2 as there. At most 1024 taps
//   13    average                                    the mean of v as [n_before / n, n] over its places
//   14    gru             features, steps u32, then for W [3 h, features] and for the state's R [3 h, h]: f32, or with
//                         bit 3 r f32 [3 h] and codes i8, with bit 2 followed by a low part as in dense_int8; then the
//                         two biases f32 [3 h]. Gates z, r, n; h is n, or n / steps with bit 4
//                                                    v as [steps, features]; z and r by the logistic function,
//                                                    n = tanh(W v + b + r (R state + b)), state = n + z (state - n),
//                                                    from 0; the last state, or with bit 4 all of them [steps, h]
//
// A window is height, width, channels, kernel rows, kernel columns, strides (2), padding above and left (2), places
// (2). Places that a window reaches outside of the values are 0.
//
// All numbers are finite; divisors are not 0 and scales (number, r) are above 0. Nothing else may be in the file.
#pragma once

#include <cstddef>
#include <cstdint>

namespace regkd {
namespace runtime {

constexpr unsigned char kMagic[8] = {0x89, 'R', 'K', 'D', 'N', 0x0D, 0x0A, 0x1A};
constexpr uint32_t kVersion = 2;  // the newest
constexpr size_t kHeaderBytes = 40;
constexpr size_t kChecksumEnd = 16;        // the checksum covers the file from here on
constexpr uint32_t kMaxWidth = 65536;      // a sum of 65536 products of 8-bit numbers still fits in 32 bits
constexpr uint32_t kMaxValues = 1u << 22;  // between two operations; only a dense or a GRU needs kMaxWidth
constexpr uint32_t kMaxTaps = 1024;        // so many products of 8-bit numbers are exact in a float
constexpr uint32_t kMaxOperations = 4096;

// Bits of the detail of dense (the first), dense_int8 (three), quantize (the second), depthwise and gru.
constexpr uint32_t kBias = 1, kLowData = 2, kLowCodes = 4, kInt8 = 8, kSequence = 16;
constexpr float kLowSteps = 254;  // steps of a low part per step of its high part

enum class Kind : uint32_t {
    kAdd = 1,
    kSubtract,
    kMultiply,
    kDivide,
    kActivation,
    kDense,
    kDenseInt8,
    kQuantize,
    kClip,
    kChannelsLast,
    kWindows,
    kDepthwise,
    kAverage,
    kGru
};

// Which values each place of a convolution reads; see above.
struct Window {
    uint32_t height, width, channels, rows, columns, stride_y, stride_x, above, left, places_y, places_x;
    uint64_t places() const { return static_cast<uint64_t>(places_y) * places_x; }
    uint64_t taps() const { return static_cast<uint64_t>(rows) * columns; }
    uint64_t values() const { return static_cast<uint64_t>(height) * width * channels; }
};
constexpr uint32_t kWindowWords = 11;

enum class Activation : uint32_t {
    kIdentity,
    kRelu,
    kLeakyRelu,
    kElu,
    kSilu,
    kGelu,
    kGeluTanh,
    kTanh,
    kSoftplus,
    kSigmoid,
    kCount
};

}  // namespace runtime
}  // namespace regkd
