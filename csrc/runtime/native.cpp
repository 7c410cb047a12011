// The native back end: a program whose weights are packed for one instruction set, and two buffers of values between
// which the layers go back and forth.
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <new>

#include "backend.h"
#include "kernels.h"
#include "program.h"

namespace regkd {
namespace runtime {

namespace {

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

  private:
    T* data_ = nullptr;
    size_t count_ = 0;
};

Aligned<float> padded(const std::vector<float>& values, size_t n, float filler) {
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
    Aligned<float> weights;        // of dense, packed
    Aligned<unsigned char> codes;  // of dense_int8, packed
    Aligned<int32_t> start;
    Aligned<float> scale, bias;
    bool low_data;                     // of dense_int8 with data in two parts
    float low_number;                  // step of their low part
    Aligned<float> low_data_scale;     // of the product of that part
    Aligned<unsigned char> low_codes;  // packed low part of the weights, where there is one
    Aligned<int32_t> low_start;
    Aligned<float> low_codes_scale;
    bool split() const { return low_data || low_codes.data(); }
};

// Where the sums of an integer product begin, so that what is added to every code of the data falls out.
Aligned<int32_t> start_of(const std::vector<int8_t>& codes, size_t n_in, size_t n_out, const Kernels& kernels) {
    Aligned<int32_t> start(spanned(n_out));
    for (size_t i = 0; i < n_out; ++i) {
        int32_t sum = 0;
        for (size_t j = 0; j < n_in; ++j) sum += codes[i * n_in + j];
        start.data()[i] = -kernels.offset * sum;
    }
    return start;
}

Aligned<unsigned char> packed_codes(const std::vector<int8_t>& codes, size_t n_in, size_t n_out,
                                    const Kernels& kernels) {
    Aligned<unsigned char> packed(kernels.dense_int8_bytes(n_in, n_out));
    kernels.pack_dense_int8(codes.data(), n_in, n_out, packed.data());
    return packed;
}

Step pack(const Operation& op, const Kernels& kernels) {
    Step step{};
    step.kind = op.kind;
    step.activation = op.activation;
    step.n_in = op.n_in;
    step.n_out = op.n_out;
    step.number = op.number;
    if (op.kind == Kind::kClip) {
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
        if (op.low_data) {
            step.low_data = true;
            step.low_number = op.number / kLowSteps;
            step.low_data_scale = padded(op.low_data_scale, op.n_out, 0);
        }
        if (!op.low_codes.empty()) {
            step.low_codes = packed_codes(op.low_codes, op.n_in, op.n_out, kernels);
            step.low_start = start_of(op.low_codes, op.n_in, op.n_out, kernels);
            step.low_codes_scale = padded(op.low_codes_scale, op.n_out, 0);
        }
    } else if (!op.values.empty()) {
        step.constants = padded(op.values, op.n_out, op.kind == Kind::kDivide ? 1.0f : 0.0f);
    }
    return step;
}

class Native final : public Engine::Backend {
  public:
    Native(Program&& program, const Kernels& kernels) : kernels_(kernels) {
        inputs = program.inputs;
        outputs = program.outputs;
        names = std::move(program.names);
        name = "native";
        level = kernels.level;
        size_t widest = inputs, codes = 0;
        for (const Operation& op : program.operations) {
            steps_.push_back(pack(op, kernels));
            widest = op.n_out > widest ? op.n_out : widest;
            if (op.kind == Kind::kDenseInt8 && kernels.codes_bytes(op.n_in) > codes)
                codes = kernels.codes_bytes(op.n_in);
        }
        stride_ = spanned(widest);
        for (Aligned<float>& rows : rows_) rows = Aligned<float>(kTogether * stride_);
        codes_ = Aligned<unsigned char>(codes);
        part_ = Aligned<float>(stride_);
        none_ = Aligned<float>(stride_);
    }

    Status infer(const float* x, size_t rows, float* y) noexcept override {
        for (size_t row = 0; row < rows; ++row)
            for (size_t i = 0; i < inputs; ++i)
                if (!std::isfinite(x[row * inputs + i]))
                    return Status(StatusCode::kNotFinite, "input %zu of row %zu is %g, expected a finite number.", i,
                                  row, static_cast<double>(x[row * inputs + i]));
        size_t row = 0;
        for (; row + kTogether <= rows; row += kTogether) tile<kTogether>(x + row * inputs, y + row * outputs);
        for (; row < rows; ++row) tile<1>(x + row * inputs, y + row * outputs);
        return {};
    }

  private:
    template <size_t Rows>
    void tile(const float* x, float* y) noexcept {
        float* v = rows_[0].data();
        float* other = rows_[1].data();
        for (size_t r = 0; r < Rows; ++r) {
            std::memcpy(v + r * stride_, x + r * inputs, sizeof(float) * inputs);
            for (size_t i = inputs; i < spanned(inputs); ++i) v[r * stride_ + i] = 0;
        }
        for (const Step& step : steps_) {
            if (step.kind == Kind::kDense && Rows == kTogether) {
                kernels_.dense_together(step.weights.data(), step.bias.data(), v, step.n_in, step.n_out, stride_,
                                        other);
            } else {
                for (size_t r = 0; r < Rows; ++r) apply(step, v + r * stride_, other + r * stride_);
            }
            if (step.kind == Kind::kDense || step.kind == Kind::kDenseInt8) std::swap(v, other);
        }
        for (size_t r = 0; r < Rows; ++r) std::memcpy(y + r * outputs, v + r * stride_, sizeof(float) * outputs);
    }

    // One row: layers write to `other`, everything else works in place.
    void apply(const Step& step, float* v, float* other) noexcept {
        switch (step.kind) {
            case Kind::kDense:
                return kernels_.dense(step.weights.data(), step.bias.data(), v, step.n_in, step.n_out, other);
            case Kind::kDenseInt8:
                if (step.split()) return dense_split(step, v, other);
                kernels_.quantize(step.number, v, step.n_in, codes_.data());
                return kernels_.dense_int8(step.codes.data(), step.start.data(), step.scale.data(), step.bias.data(),
                                           codes_.data(), step.n_in, step.n_out, other);
            case Kind::kActivation:
                return kernels_.activate(step.activation, step.number, v, step.n_out);
            case Kind::kQuantize:
                return kernels_.fake_quantize(step.number, v, step.n_out);
            case Kind::kClip:
                return kernels_.clip(step.low, step.high, v, step.n_out);
            default:
                return kernels_.constant(step.kind, step.constants.data(), v, step.n_out);
        }
    }

    // A dense_int8 with data or weights in two parts: the sum of its products, then the bias. `v` is used up.
    void dense_split(const Step& step, float* v, float* y) noexcept {
        const auto multiply = [&](const Step& s, const unsigned char* codes, const int32_t* start, const float* scale,
                                  float* to) {
            kernels_.dense_int8(codes, start, scale, none_.data(), codes_.data(), s.n_in, s.n_out, to);
        };
        kernels_.quantize(step.number, v, step.n_in, codes_.data());
        multiply(step, step.codes.data(), step.start.data(), step.scale.data(), y);
        if (step.low_codes.data()) {
            multiply(step, step.low_codes.data(), step.low_start.data(), step.low_codes_scale.data(), part_.data());
            kernels_.constant(Kind::kAdd, part_.data(), y, step.n_out);
        }
        if (step.low_data) {
            std::memcpy(part_.data(), v, sizeof(float) * spanned(step.n_in));
            kernels_.fake_quantize(step.number, part_.data(), step.n_in);
            kernels_.constant(Kind::kSubtract, part_.data(), v, step.n_in);
            kernels_.quantize(step.low_number, v, step.n_in, codes_.data());
            multiply(step, step.codes.data(), step.start.data(), step.low_data_scale.data(), part_.data());
            kernels_.constant(Kind::kAdd, part_.data(), y, step.n_out);
        }
        kernels_.constant(Kind::kAdd, step.bias.data(), y, step.n_out);
    }

    const Kernels& kernels_;
    std::vector<Step> steps_;
    size_t stride_;           // floats from one row to the next
    Aligned<float> rows_[2];  // [kTogether, stride_] each
    Aligned<unsigned char> codes_;
    Aligned<float> part_, none_;  // [stride_]: one product of several, and a bias of 0
};

}  // namespace

Status load_native(const unsigned char* bytes, size_t size, const Options& options,
                   std::unique_ptr<Engine::Backend>& backend) {
    const Kernels* kernels = find_kernels(options.level);
    if (!kernels)
        return Status(StatusCode::kInvalidArgument, "this build or this processor has no level '%s'.",
                      options.level ? options.level : "");
    Program program;
    const Status status = read_program(bytes, size, program);
    if (status.ok()) backend.reset(new Native(std::move(program), *kernels));
    return status;
}

}  // namespace runtime
}  // namespace regkd
