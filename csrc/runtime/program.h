// A native engine file, read and found valid: the operations in order, every width and every number checked.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "format.h"
#include "regkd/engine.h"

namespace regkd {
namespace runtime {

struct Operation {
    Kind kind;
    uint32_t n_in, n_out;
    Activation activation = Activation::kIdentity;
    float number = 0;               // scale of the data (dense_int8, quantize), alpha (activation)
    std::vector<float> values;      // [n] constants | [n_out, n_in] weights | [2] bounds of clip
    std::vector<float> scale;       // [n_out] of dense_int8: number * r
    std::vector<float> bias;        // [n_out] or empty
    std::vector<int8_t> codes;      // [n_out, n_in] of dense_int8
    bool low_data = false;          // dense_int8: what the rounding of the data leaves over is multiplied too
    std::vector<int8_t> low_codes;  // dense_int8: what the codes leave over of the weights, [n_out, n_in] or empty
    std::vector<float> low_data_scale, low_codes_scale;  // [n_out] of these products
    Window window{};                                     // windows, depthwise
    uint32_t features = 0, steps = 0;                    // gru: values of a step, and steps
    bool sequence = false;                               // gru: all states are the result, not the last one alone
    std::vector<float> recurrence, recurrence_bias;      // gru: [3 h, h], [3 h]; `values` and `bias` are those of v
};

struct Program {
    uint32_t inputs = 0, outputs = 0;
    std::vector<std::string> names;  // [inputs + outputs] or empty
    std::vector<Operation> operations;
};

// Read a file from memory; any byte sequence gives a program or a status that says what is wrong and where.
Status read_program(const unsigned char* bytes, size_t size, Program& program);

// CRC-32 of IEEE 802.3, as zlib computes it.
uint32_t crc32(const unsigned char* bytes, size_t size);

}  // namespace runtime
}  // namespace regkd
