#include "spatial.h"

namespace regkd {
namespace runtime {

namespace {

Status beyond(unsigned index) {
    return corrupt("the numbers of operation %u end behind the end of the file, or their padding is not 0.", index);
}

Status read_window(Cursor& cursor, unsigned index, Operation& op) {
    Window& w = op.window;
    uint32_t* const words[kWindowWords] = {&w.height,   &w.width, &w.channels, &w.rows,     &w.columns, &w.stride_y,
                                           &w.stride_x, &w.above, &w.left,     &w.places_y, &w.places_x};
    for (uint32_t* word : words)
        if (!cursor.take(*word)) return beyond(index);
    for (uint32_t size :
         {w.height, w.width, w.channels, w.rows, w.columns, w.stride_y, w.stride_x, w.places_y, w.places_x})
        if (size < 1 || size > kMaxWidth) return corrupt("operation %u has a window of size %u.", index, size);
    const auto inside = [](uint32_t size, uint32_t kernel, uint32_t stride, uint32_t pad, uint32_t places) {
        return pad < kernel && static_cast<uint64_t>(places - 1) * stride < static_cast<uint64_t>(size) + pad;
    };
    if (!inside(w.height, w.rows, w.stride_y, w.above, w.places_y) ||
        !inside(w.width, w.columns, w.stride_x, w.left, w.places_x))
        return corrupt("a window of operation %u lies outside of its values.", index);
    if (static_cast<uint64_t>(w.height) * w.width > kMaxValues || w.values() != op.n_in)
        return corrupt("operation %u reads windows of %ux%ux%u values behind %u.", index, w.height, w.width, w.channels,
                       op.n_in);
    return {};
}

// Codes with a scale per row of `across` numbers, as float32 weights.
bool take_codes(Cursor& cursor, uint64_t rows, uint64_t across, bool low, std::vector<float>& values) {
    std::vector<float> scale;
    std::vector<int8_t> codes, rest;
    if (!cursor.take(scale, rows) || !cursor.take(codes, rows * across) || (low && !cursor.take(rest, rows * across)))
        return false;
    values.resize(rows * across);
    for (uint64_t i = 0; i < rows; ++i)
        for (uint64_t j = i * across; j < (i + 1) * across; ++j)
            values[j] = static_cast<float>(codes[j]) * scale[i] +
                        (low ? static_cast<float>(rest[j]) * (scale[i] / kLowSteps) : 0.0f);
    for (float& value : scale) value = value > 0 ? value : NAN;
    return all_finite(scale) || (values.assign(1, NAN), true);
}

Status read_depthwise(Cursor& cursor, unsigned index, uint32_t detail, Operation& op) {
    Status status = read_window(cursor, index, op);
    if (!status.ok()) return status;
    const uint64_t channels = op.window.channels, taps = op.window.taps();
    if (taps > kMaxTaps)
        return corrupt("operation %u has %u taps, expected at most %u.", index,
                       static_cast<unsigned>(taps > kMaxValues ? kMaxValues : taps), kMaxTaps);
    if (op.window.places() * channels != op.n_out)
        return corrupt("operation %u has width %u, which are not its places and channels.", index, op.n_out);
    const bool integers = detail & kInt8;
    if ((detail & ~(kBias | kInt8 | (integers ? kLowData | kLowCodes : 0))) || (integers && !(op.number > 0)) ||
        (!integers && op.number != 0))
        return corrupt("operation %u has detail %u and the number %g.", index, detail, static_cast<double>(op.number));
    bool whole;
    if (integers) {
        op.low_data = (detail & kLowData) != 0;
        whole = cursor.take(op.scale, channels) && (!(detail & kBias) || cursor.take(op.bias, channels)) &&
                cursor.take(op.codes, taps * channels) &&
                (!(detail & kLowCodes) || cursor.take(op.low_codes, taps * channels));
    } else {
        whole = cursor.take(op.values, taps * channels) && (!(detail & kBias) || cursor.take(op.bias, channels));
    }
    if (!whole) return beyond(index);
    if (!all_finite(op.values) || !all_finite(op.scale) || !all_finite(op.bias))
        return corrupt("operation %u holds a number that is not finite.", index);
    return integers ? finish_scales(index, op) : Status();
}

Status read_gru(Cursor& cursor, unsigned index, uint32_t detail, Operation& op) {
    if (!cursor.take(op.features) || !cursor.take(op.steps)) return beyond(index);
    op.sequence = (detail & kSequence) != 0;
    const bool integers = detail & kInt8, low = detail & kLowCodes;
    if (detail & ~(kInt8 | kSequence | (integers ? kLowCodes : 0)))
        return corrupt("operation %u has detail %u.", index, detail);
    if (op.number != 0) return corrupt("operation %u has the number %g.", index, static_cast<double>(op.number));
    if (op.steps < 1 || op.features < 1 || static_cast<uint64_t>(op.steps) * op.features != op.n_in)
        return corrupt("operation %u reads %u steps of %u values behind %u.", index, op.steps, op.features, op.n_in);
    if (op.sequence && op.n_out % op.steps)
        return corrupt("operation %u gives %u values in %u steps.", index, op.n_out, op.steps);
    const uint64_t units = op.sequence ? op.n_out / op.steps : op.n_out, gates = 3 * units;
    if (gates > kMaxWidth || op.features > kMaxWidth)
        return corrupt("operation %u has %u units on %u values.", index, static_cast<unsigned>(units), op.features);
    const bool whole =
        (integers ? take_codes(cursor, gates, op.features, low, op.values) &&
                        take_codes(cursor, gates, units, low, op.recurrence)
                  : cursor.take(op.values, gates * op.features) && cursor.take(op.recurrence, gates * units)) &&
        cursor.take(op.bias, gates) && cursor.take(op.recurrence_bias, gates);
    if (!whole) return beyond(index);
    for (const std::vector<float>* numbers : {&op.values, &op.recurrence, &op.bias, &op.recurrence_bias})
        if (!all_finite(*numbers))
            return corrupt("operation %u holds a number that is not finite or a scale that is not above 0.", index);
    return {};
}

}  // namespace

Status read_spatial(Cursor& cursor, unsigned index, uint32_t detail, Operation& op) {
    if (op.kind == Kind::kDepthwise) return read_depthwise(cursor, index, detail, op);
    if (op.kind == Kind::kGru) return read_gru(cursor, index, detail, op);
    if (op.number != 0) return corrupt("operation %u has the number %g.", index, static_cast<double>(op.number));
    switch (op.kind) {
        case Kind::kChannelsLast:
            if (op.n_out != op.n_in || detail < 1 || op.n_in % detail)
                return corrupt("operation %u has width %u and %u channels behind %u values.", index, op.n_out, detail,
                               op.n_in);
            op.features = detail;
            return {};
        case Kind::kAverage:
            if (detail || op.n_in % op.n_out)
                return corrupt("operation %u averages %u values over %u channels.", index, op.n_in, op.n_out);
            return {};
        default: {
            if (detail) return corrupt("operation %u has detail %u, expected 0.", index, detail);
            const Status status = read_window(cursor, index, op);
            if (status.ok() && (op.n_out > kMaxWidth || op.window.taps() * op.window.channels != op.n_out))
                return corrupt("operation %u has width %u, which are not the values of a window.", index, op.n_out);
            return status;
        }
    }
}

}  // namespace runtime
}  // namespace regkd
