// The native engine file, version 1. Little endian; every item starts at a multiple of 4 bytes.
//
//   header, 40 bytes
//     magic      8 bytes  89 'R' 'K' 'D' 'N' 0D 0A 1A   (a transfer in text mode breaks it, and is seen)
//     version    u32      1
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
//    1    add             c f32 [n]                  v + c
//    2    subtract        c f32 [n]                  v - c
//    3    multiply        c f32 [n]                  v * c
//    4    divide          c f32 [n]                  v / c
//    5    activation                                 detail says which, number is its alpha (leaky_relu, elu), else 0
//    6    dense           W f32 [m, n], b f32 [m]    W v + b; b only when detail is 1; m is `width`
//    7    dense_int8      r f32 [m], b f32 [m], W i8 [m, n] padded with zeros to a multiple of 4
//                                                    q = round(v / number) to int8, ties to even, saturated to
//                                                    -128..127; (sum_j W_ij q_j) * (number * r_i) + b_i, the sum in
//                                                    integers; b when detail has bit 0. With bit 1 the same is added
//                                                    for what the rounding left over, v - q * number, by number / 254.
//                                                    With bit 2 a second W of the same size follows: what W left over
//                                                    of the weights, by r / 254; its product with q is added.
//    8    quantize                                   q * number, q as above
//    9    clip            low f32, high f32          min(max(v, low), high)
//
// All numbers are finite; divisors are not 0 and scales (number, r) are above 0. Nothing else may be in the file.
#pragma once

#include <cstddef>
#include <cstdint>

namespace regkd {
namespace runtime {

constexpr unsigned char kMagic[8] = {0x89, 'R', 'K', 'D', 'N', 0x0D, 0x0A, 0x1A};
constexpr uint32_t kVersion = 1;
constexpr size_t kHeaderBytes = 40;
constexpr size_t kChecksumEnd = 16;    // the checksum covers the file from here on
constexpr uint32_t kMaxWidth = 65536;  // a sum of 65536 products of 8-bit numbers still fits in 32 bits
constexpr uint32_t kMaxOperations = 4096;

// Bits of the detail of dense (the first) and dense_int8.
constexpr uint32_t kBias = 1, kLowData = 2, kLowCodes = 4;
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
    kClip
};
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
