// A program's operations with their weights packed for one instruction set.
#pragma once

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>
#include <vector>

#include "kernels.h"
#include "program.h"

namespace regkd {
namespace runtime {

// Zero-filled memory for registers of any width.
template <class T>
class Aligned {
  public:
    Aligned() = default;
    explicit Aligned(size_t count) : count_(count) {
        const size_t bytes = (count * sizeof(T) + 63) / 64 * 64 + 64;  // a full register may be read at the last item
        data_ = static_cast<T*>(std::aligned_alloc(64, bytes));
        if (!data_) throw std::bad_alloc();
        std::memset(data_, 0, bytes);
    }
    Aligned(Aligned&& other) noexcept : data_(other.data_), count_(other.count_) { other.data_ = nullptr; }
    Aligned& operator=(Aligned&& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(count_, other.count_);
        return *this;
    }
    ~Aligned() { std::free(data_); }
    T* data() const { return data_; }
    size_t size() const { return count_; }

  private:
    T* data_ = nullptr;
    size_t count_ = 0;
};

inline Aligned<float> padded(const std::vector<float>& values, size_t n, float filler) {
    Aligned<float> row(spanned(n));
    for (size_t i = 0; i < spanned(n); ++i) row.data()[i] = i < values.size() ? values[i] : filler;
    return row;
}

struct Step {
    Kind kind;
    Activation activation;
    size_t n_in, n_out;
    float number, low, high;
    Aligned<float> constants;      // of add, subtract, multiply, divide
    Aligned<float> divisor;        // of subtract: of the division behind it, where there is one
    Aligned<float> weights;        // of dense, packed
    Finish finish;                 // of dense: what is behind it
    Aligned<float> factor, plus;   // of finish
    Aligned<unsigned char> codes;  // of dense_int8, packed
    Aligned<int32_t> start;
    Aligned<float> scale, bias;
    bool low_data;                     // of dense_int8 with data in two parts
    float low_number;                  // step of their low part
    Aligned<float> low_data_scale;     // of the product of that part
    Aligned<unsigned char> low_codes;  // packed low part of the weights, where there is one
    Aligned<int32_t> low_start;
    Aligned<float> low_codes_scale;
    Window window;  // of depthwise, and of a layer that is applied to every window (spread)
    bool spread, sequence;
    Aligned<float> code_weights;  // of a small dense_int8 for windows: codes as floats, whose sums are exact
    size_t features, times;       // gru, channels_last
    Aligned<float> low_weights;   // of depthwise, codes as floats
    Aligned<float> recurrence, recurrence_bias;  // gru
    // Whether the result is written beside the values, not over them.
    bool moves() const {
        return kind == Kind::kDense || kind == Kind::kDenseInt8 || (kind >= Kind::kChannelsLast && kind <= Kind::kGru);
    }
    bool split() const { return low_data || low_codes.data(); }
};

// Where the sums of an integer product begin, so that what is added to every code of the data falls out.
inline Aligned<int32_t> start_of(const std::vector<int8_t>& codes, size_t n_in, size_t n_out, const Kernels& kernels) {
    Aligned<int32_t> start(spanned(n_out));
    for (size_t i = 0; i < n_out; ++i) {
        int32_t sum = 0;
        for (size_t j = 0; j < n_in; ++j) sum += codes[i * n_in + j];
        start.data()[i] = -kernels.offset * sum;
    }
    return start;
}

inline Aligned<unsigned char> packed_codes(const std::vector<int8_t>& codes, size_t n_in, size_t n_out,
                                           const Kernels& kernels) {
    Aligned<unsigned char> packed(kernels.dense_int8_bytes(n_in, n_out));
    kernels.pack_dense_int8(codes.data(), n_in, n_out, packed.data());
    return packed;
}

// Rows of spanned(across) floats of [rows, across] numbers.
template <class T>
inline Aligned<float> padded_rows(const std::vector<T>& values, size_t rows, size_t across) {
    Aligned<float> padded(rows * spanned(across));
    for (size_t i = 0; i < rows * across; ++i)
        padded.data()[i / across * spanned(across) + i % across] = static_cast<float>(values[i]);
    return padded;
}

// The gates of a GRU, each with spanned(units) outputs.
inline Aligned<float> packed_gates(const std::vector<float>& weights, size_t n_in, size_t units,
                                   const Kernels& kernels) {
    const size_t row = spanned(units);
    std::vector<float> wider(3 * row * n_in);
    for (size_t i = 0; i < 3 * units; ++i)
        std::memcpy(&wider[(i / units * row + i % units) * n_in], &weights[i * n_in], sizeof(float) * n_in);
    Aligned<float> packed(kernels.dense_floats(n_in, 3 * row));
    kernels.pack_dense(wider.data(), n_in, 3 * row, packed.data());
    return packed;
}

inline void pack_depthwise(const Operation& op, Step& step) {
    const size_t channels = op.window.channels, taps = op.window.taps();
    if (op.kind == Kind::kDepthwise && !op.codes.empty()) {
        step.weights = padded_rows(op.codes, taps, channels);
        step.scale = padded(op.scale, channels, 0);
        if (!op.low_codes.empty()) step.low_weights = padded_rows(op.low_codes, taps, channels);
    } else {
        step.weights = padded_rows(op.values, taps, channels);
        step.scale = padded(std::vector<float>(channels, 1.0f), channels, 0);
    }
    step.bias = padded(op.bias, channels, 0);
}

inline void pack_gru(const Operation& op, const Kernels& kernels, Step& step) {
    step.features = op.features;
    step.times = op.steps;
    step.sequence = op.sequence;
    const size_t units = op.sequence ? op.n_out / op.steps : op.n_out;
    step.weights = packed_gates(op.values, op.features, units, kernels);
    step.recurrence = packed_gates(op.recurrence, units, units, kernels);
    step.bias = padded_rows(op.bias, 3, units);
    step.recurrence_bias = padded_rows(op.recurrence_bias, 3, units);
}

inline Step pack(const Operation& op, const Kernels& kernels) {
    Step step{};
    step.kind = op.kind;
    step.activation = op.activation;
    step.n_in = op.n_in;
    step.n_out = op.n_out;
    step.number = op.number;
    step.window = op.window;
    step.features = op.features;
    if (op.low_data) {
        step.low_data = true;
        step.low_number = op.number / kLowSteps;
        step.low_data_scale = padded(op.low_data_scale, op.low_data_scale.empty() ? 1 : op.low_data_scale.size(), 0);
    }
    if (!op.low_codes.empty()) step.low_codes_scale = padded(op.low_codes_scale, op.low_codes_scale.size(), 0);
    if (op.kind == Kind::kDepthwise) {
        pack_depthwise(op, step);
    } else if (op.kind == Kind::kGru) {
        pack_gru(op, kernels, step);
    } else if (op.kind == Kind::kClip) {
        step.low = op.values[0];
        step.high = op.values[1];
    } else if (op.kind == Kind::kDense) {
        step.weights = Aligned<float>(kernels.dense_floats(op.n_in, op.n_out));
        kernels.pack_dense(op.values.data(), op.n_in, op.n_out, step.weights.data());
        step.bias = padded(op.bias, op.n_out, 0);
    } else if (op.kind == Kind::kDenseInt8) {
        step.codes = packed_codes(op.codes, op.n_in, op.n_out, kernels);
        step.start = start_of(op.codes, op.n_in, op.n_out, kernels);
        step.scale = padded(op.scale, op.n_out, 0);
        step.bias = padded(op.bias, op.n_out, 0);
        if (!op.low_codes.empty()) {
            step.low_codes = packed_codes(op.low_codes, op.n_in, op.n_out, kernels);
            step.low_start = start_of(op.low_codes, op.n_in, op.n_out, kernels);
        }
    } else if (!op.values.empty()) {
        step.constants = padded(op.values, op.n_out, op.kind == Kind::kDivide ? 1.0f : 0.0f);
    }
    return step;
}

// Whether an operation gives its values back, bit for bit.
inline bool does_nothing(const Operation& op) {
    if (op.kind > Kind::kDivide) return op.kind == Kind::kActivation && op.activation == Activation::kIdentity;
    const bool sum = op.kind == Kind::kAdd || op.kind == Kind::kSubtract;
    const float neutral = op.kind == Kind::kAdd ? -0.0f : op.kind == Kind::kSubtract ? 0.0f : 1.0f;
    for (const float c : op.values)
        if (c != neutral || (sum && std::signbit(c) != std::signbit(neutral))) return false;
    return true;
}

// Make an operation a part of the step before it, where that saves a pass over the values and leaves every bit: a
// dense's activation, a small dense's product and sum (the scaler of the outputs), the division behind a subtraction
// (the scaler of the inputs). Returns whether it did.
inline bool joined(const Operation& op, Step& before) {
    Finish& finish = before.finish;
    const bool scaled = finish.times || finish.plus;
    const bool small = before.kind == Kind::kDense && !before.spread && before.n_out <= kNarrow;
    if (op.kind == Kind::kActivation && before.kind == Kind::kDense && finish.kind == Activation::kIdentity &&
        !scaled) {
        finish.kind = op.activation;
        finish.alpha = op.number;
    } else if (op.kind == Kind::kMultiply && small && !scaled) {
        before.factor = padded(op.values, op.n_out, 0);
        finish.times = before.factor.data();
    } else if (op.kind == Kind::kAdd && small && !finish.plus) {
        before.plus = padded(op.values, op.n_out, 0);
        finish.plus = before.plus.data();
    } else if (op.kind == Kind::kDivide && before.kind == Kind::kSubtract && !before.divisor.data()) {
        before.divisor = padded(op.values, op.n_out, 1);
    } else {
        return false;
    }
    return true;
}

}  // namespace runtime
}  // namespace regkd
