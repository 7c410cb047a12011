// The native back end: a program whose weights are packed for one instruction set, and two buffers of values between
// which the layers go back and forth.
#include <cmath>
#include <cstdint>
#include <cstring>

#include "backend.h"
#include "gather.h"
#include "packed.h"

namespace regkd {
namespace runtime {

namespace {

constexpr size_t kSmallWindow = 2048;  // weights of a layer that is applied to windows

class Native final : public Engine::Backend {
  public:
    Native(Program&& program, const Kernels& kernels) : kernels_(kernels) {
        inputs = program.inputs;
        outputs = program.outputs;
        names = std::move(program.names);
        name = "native";
        level = kernels.level;
        size_t widest = inputs, gates = 0, window = 0;
        const Operation* windows = nullptr;
        for (const Operation& op : program.operations) {
            most(widest, op.n_out);
            together_ = together_ && op.kind < Kind::kChannelsLast;
            if (op.kind == Kind::kWindows) {
                windows = &op;
                continue;
            }
            if (does_nothing(op) || (!windows && !steps_.empty() && joined(op, steps_.back()))) continue;
            steps_.push_back(pack(op, kernels));
            Step& step = steps_.back();
            if (op.kind == Kind::kGru) most(gates, step.bias.size());
            if (!windows) continue;
            step.spread = true;
            step.window = windows->window;
            if (op.kind == Kind::kDenseInt8 && op.n_in <= kMaxTaps && op.n_in * op.n_out <= kSmallWindow &&
                !step.split()) {
                const std::vector<float> codes_as_floats(op.codes.begin(), op.codes.end());
                step.code_weights = Aligned<float>(kernels.dense_floats(op.n_in, op.n_out));
                kernels.pack_dense(codes_as_floats.data(), op.n_in, op.n_out, step.code_weights.data());
            }
            most(window, spanned(op.n_in));
            most(window, spanned(op.n_out));
            most(widest, step.window.places() * op.n_out);
            windows = nullptr;
        }
        if (!steps_.empty()) {
            const Step& first = steps_[0];
            standardised_ = first.kind == Kind::kSubtract;
            direct_ = first.kind == Kind::kDense && !first.spread && first.n_out > kNarrow;
        }
        stride_ = spanned(widest);
        for (Aligned<float>& rows : rows_) rows = Aligned<float>((together_ ? kTogether : 1) * stride_);
        codes_ = Aligned<unsigned char>(kernels.codes_bytes(stride_));
        part_ = Aligned<float>(stride_);
        none_ = Aligned<float>(stride_);
        window_ = window;
        patches_ = Aligned<float>(kTogether * window);
        places_ = Aligned<float>(kTogether * window);
        patch_codes_ = Aligned<unsigned char>(window ? kernels.codes_bytes(window) : 0);
        if (!together_) scratch_ = Aligned<float>(stride_);
        for (Aligned<float>* row : {&of_input_, &of_state_, &state_}) *row = Aligned<float>(gates);
    }

    Status infer(const float* x, size_t rows, float* y) noexcept override {
        if (!kernels_.finite(x, rows * inputs)) return first_not_finite(x, rows);
        size_t row = 0;
        for (; together_ && row + kTogether <= rows; row += kTogether)
            tile<kTogether>(x + row * inputs, y + row * outputs);
        for (; row < rows; ++row) tile<1>(x + row * inputs, y + row * outputs);
        return {};
    }

  private:
    Status first_not_finite(const float* x, size_t rows) const noexcept {
        for (size_t k = 0; k < rows * inputs; ++k)
            if (!std::isfinite(x[k]))
                return Status(StatusCode::kNotFinite, "input %zu of row %zu is %g, expected a finite number.",
                              k % inputs, k / inputs, static_cast<double>(x[k]));
        return {};
    }

    static void most(size_t& found, size_t value) { found = value > found ? value : found; }

    template <size_t Rows>
    void tile(const float* x, float* y) noexcept {
        float* v = rows_[0].data();
        float* other = rows_[1].data();
        const Step* step = steps_.data();
        const Step* const end = step + steps_.size();
        if (standardised_) {
            for (size_t r = 0; r < Rows; ++r) standardise(*step, x + r * inputs, v + r * stride_);
            ++step;
        } else if (Rows == 1 && direct_) {
            apply_dense(*step++, x, v);
        } else {
            for (size_t r = 0; r < Rows; ++r) {
                std::memcpy(v + r * stride_, x + r * inputs, sizeof(float) * inputs);
                for (size_t i = inputs; i < spanned(inputs); ++i) v[r * stride_ + i] = 0;
            }
        }
        for (; step != end; ++step) {
            if (step->kind == Kind::kDense && Rows == kTogether) {
                kernels_.dense_together(step->weights.data(), step->bias.data(), v, step->n_in, step->n_out, stride_,
                                        stride_, step->finish, other);
            } else {
                for (size_t r = 0; r < Rows; ++r) apply(*step, v + r * stride_, other + r * stride_);
            }
            if (step->moves()) std::swap(v, other);
        }
        if (outputs == 1) {
            for (size_t r = 0; r < Rows; ++r) y[r] = v[r * stride_];
        } else {
            for (size_t r = 0; r < Rows; ++r) std::memcpy(y + r * outputs, v + r * stride_, sizeof(float) * outputs);
        }
    }

    void standardise(const Step& step, const float* x, float* y) noexcept {
        kernels_.standardise(x, step.constants.data(), step.divisor.data(), step.n_out, y);
    }

    void apply_dense(const Step& step, const float* x, float* y) noexcept {
        kernels_.dense(step.weights.data(), step.bias.data(), x, step.n_in, step.n_out, step.finish, y);
    }

    // One row: layers write to `other`, everything else works in place.
    void apply(const Step& step, float* v, float* other) noexcept {
        if (step.spread) return convolve(step, v, other);
        switch (step.kind) {
            case Kind::kDense:
                return apply_dense(step, v, other);
            case Kind::kDenseInt8:
                if (step.split()) return dense_split(step, v, other);
                kernels_.quantize(step.number, v, step.n_in, codes_.data());
                return kernels_.dense_int8(step.codes.data(), step.start.data(), step.scale.data(), step.bias.data(),
                                           codes_.data(), step.n_in, step.n_out, other);
            case Kind::kActivation:
                return kernels_.activate(step.activation, step.number, v, step.n_out);
            case Kind::kQuantize:
                return step.low_data ? quantize_twice(step, v) : kernels_.fake_quantize(step.number, v, step.n_out);
            case Kind::kChannelsLast:
                return channels_last(step, v, other);
            case Kind::kDepthwise:
                return depthwise(step, v, other);
            case Kind::kAverage:
                return kernels_.average(v, step.n_in / step.n_out, step.n_out, other);
            case Kind::kGru:
                return gru(step, v, other);
            case Kind::kClip:
                return kernels_.clip(step.low, step.high, v, step.n_out);
            case Kind::kSubtract:
                if (step.divisor.data()) return standardise(step, v, v);
                [[fallthrough]];
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

    // v becomes its rounded value and what that left over, rounded in finer steps.
    void quantize_twice(const Step& step, float* v) noexcept {
        std::memcpy(part_.data(), v, sizeof(float) * spanned(step.n_in));
        kernels_.fake_quantize(step.number, part_.data(), step.n_in);
        kernels_.constant(Kind::kSubtract, part_.data(), v, step.n_in);
        kernels_.fake_quantize(step.low_number, v, step.n_in);
        kernels_.constant(Kind::kAdd, part_.data(), v, step.n_in);
    }

    void channels_last(const Step& step, const float* v, float* y) noexcept {
        const size_t channels = step.features, places = step.n_in / channels;
        for (size_t p = 0; p < places; ++p)
            for (size_t c = 0; c < channels; ++c) y[p * channels + c] = v[c * places + p];
    }

    // A layer applied to every window. In INT8 a small one multiplies its codes as floats, whose sums are exact, for
    // several windows at once: that is quicker than integers for one window after the other.
    void convolve(const Step& step, float* v, float* y) noexcept {
        const Window& w = step.window;
        const size_t places = w.places(), n = step.n_out;
        float* const patch = patches_.data();
        float* const found = places_.data();
        const bool as_floats = step.code_weights.data();
        if (step.kind == Kind::kDense || as_floats) {
            const float* const weights = as_floats ? step.code_weights.data() : step.weights.data();
            const float* const bias = as_floats ? none_.data() : step.bias.data();
            if (as_floats) kernels_.code_values(step.number, v, w.values());
            const bool whole = n % kSpan == 0;  // places of whole spans are written where they belong
            for (size_t p = 0; p < places; p += kTogether) {
                const size_t count = places - p < kTogether ? places - p : kTogether;
                const float* const inside = n > kNarrow ? in_a_row(w, p, count, v) : nullptr;
                const float* const x = inside ? inside : patch;
                const size_t x_stride = inside ? w.stride_x * w.channels : window_, y_stride = whole ? n : window_;
                float* const to = whole ? y + p * n : found;
                for (size_t r = 0; !inside && r < count; ++r)
                    gather(w, p + r, v, sizeof(float), 0, patch + r * window_);
                if (count == kTogether)
                    kernels_.dense_together(weights, bias, x, step.n_in, n, x_stride, y_stride, step.finish, to);
                else
                    for (size_t r = 0; r < count; ++r)
                        kernels_.dense(weights, bias, x + r * x_stride, step.n_in, n, step.finish, to + r * y_stride);
                for (size_t r = 0; r < count; ++r) {
                    if (as_floats) {
                        kernels_.constant(Kind::kMultiply, step.scale.data(), to + r * y_stride, n);
                        kernels_.constant(Kind::kAdd, step.bias.data(), to + r * y_stride, n);
                    }
                    if (!whole) std::memcpy(y + (p + r) * n, found + r * window_, sizeof(float) * n);
                }
            }
            return;
        }
        if (!step.split()) kernels_.quantize(step.number, v, w.values(), codes_.data());
        for (size_t p = 0; p < places; ++p) {
            if (step.split()) {
                gather(w, p, v, sizeof(float), 0, patch);
                dense_split(step, patch, found);
            } else {
                gather(w, p, codes_.data(), 4 / kernels_.group, kernels_.offset, patch_codes_.data());
                kernels_.dense_int8(step.codes.data(), step.start.data(), step.scale.data(), step.bias.data(),
                                    patch_codes_.data(), step.n_in, n, found);
            }
            std::memcpy(y + p * n, found, sizeof(float) * n);
        }
    }

    // In INT8 codes are multiplied as floats, which hold the sums of kMaxTaps products exactly. `v` is used up.
    void depthwise(const Step& step, float* v, float* y) noexcept {
        const bool integers = step.number > 0;
        float* codes = v;
        if (integers) {
            codes = scratch_.data();
            std::memcpy(codes, v, sizeof(float) * spanned(step.n_in));
            kernels_.code_values(step.number, codes, step.n_in);
        }
        kernels_.depthwise(step.window, step.weights.data(), step.scale.data(), step.bias.data(), codes, y);
        if (!step.split()) return;
        if (step.low_weights.data()) {
            kernels_.depthwise(step.window, step.low_weights.data(), step.low_codes_scale.data(), none_.data(), codes,
                               part_.data());
            kernels_.constant(Kind::kAdd, part_.data(), y, step.n_out);
        }
        if (step.low_data) {
            std::memcpy(codes, v, sizeof(float) * spanned(step.n_in));
            kernels_.fake_quantize(step.number, codes, step.n_in);
            kernels_.constant(Kind::kSubtract, codes, v, step.n_in);
            kernels_.code_values(step.low_number, v, step.n_in);
            kernels_.depthwise(step.window, step.weights.data(), step.low_data_scale.data(), none_.data(), v,
                               part_.data());
            kernels_.constant(Kind::kAdd, part_.data(), y, step.n_out);
        }
    }

    void gru(const Step& step, const float* v, float* y) noexcept {
        const size_t units = step.sequence ? step.n_out / step.times : step.n_out, gates = step.bias.size();
        std::memset(state_.data(), 0, sizeof(float) * spanned(units));
        for (size_t t = 0; t < step.times; ++t) {
            kernels_.dense(step.weights.data(), step.bias.data(), v + t * step.features, step.features, gates, {},
                           of_input_.data());
            kernels_.dense(step.recurrence.data(), step.recurrence_bias.data(), state_.data(), units, gates, {},
                           of_state_.data());
            kernels_.recur(of_input_.data(), of_state_.data(), units, state_.data());
            if (step.sequence || t + 1 == step.times)
                std::memcpy(y + (step.sequence ? t * units : 0), state_.data(), sizeof(float) * units);
        }
    }

    const Kernels& kernels_;
    std::vector<Step> steps_;
    // Whether the first step reads the caller's row itself: it subtracts (a scaler), or it is a wide layer and the row
    // alone.
    bool standardised_ = false, direct_ = false;
    bool together_ = true;    // whether rows of a request may be taken together
    size_t stride_;           // floats from one row to the next
    Aligned<float> rows_[2];  // [kTogether, stride_] each
    Aligned<unsigned char> codes_;
    Aligned<float> part_, none_;       // [stride_]: one product of several, and a bias of 0
    size_t window_ = 0;                // floats from one window to the next
    Aligned<float> patches_, places_;  // [kTogether, window_]: windows, and what a layer makes of them
    Aligned<unsigned char> patch_codes_;
    Aligned<float> scratch_;                      // [stride_]
    Aligned<float> of_input_, of_state_, state_;  // of a GRU: gates
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
