#include "program.h"

#include "cursor.h"
#include "spatial.h"

namespace regkd {
namespace runtime {

namespace {

Status read_names(Cursor& cursor, uint32_t bytes, Program& program) {
    if (!bytes) return {};
    if (!cursor.holds((static_cast<uint64_t>(bytes) + 3) / 4 * 4))
        return corrupt("the names end behind the end of the file.");
    const std::string text(reinterpret_cast<const char*>(cursor.at), bytes);
    if (text.find('\0') != std::string::npos) return corrupt("a name holds a zero byte.");
    cursor.at += bytes;
    if (!cursor.skip_zeros((4 - bytes % 4) % 4)) return corrupt("the names are not padded with zeros.");
    for (size_t begin = 0;;) {
        const size_t stop = text.find('\n', begin);
        program.names.push_back(text.substr(begin, stop == std::string::npos ? stop : stop - begin));
        if (stop == std::string::npos) break;
        begin = stop + 1;
    }
    const size_t expected = static_cast<size_t>(program.inputs) + program.outputs;
    if (program.names.size() != expected)
        return corrupt("the file has %zu names, expected %zu.", program.names.size(), expected);
    return {};
}

Status read_operation(Cursor& cursor, unsigned index, uint32_t width, Operation& op) {
    uint32_t kind, detail;
    if (!cursor.take(kind) || !cursor.take(op.n_out) || !cursor.take(detail) || !cursor.take(op.number))
        return corrupt("operation %u ends behind the end of the file.", index);
    if (kind < static_cast<uint32_t>(Kind::kAdd) || kind > static_cast<uint32_t>(Kind::kGru))
        return corrupt("operation %u has the unknown kind %u.", index, kind);
    op.kind = static_cast<Kind>(kind);
    op.n_in = width;
    const bool dense = op.kind == Kind::kDense || op.kind == Kind::kDenseInt8;
    const bool scaled = op.kind == Kind::kDenseInt8 || op.kind == Kind::kQuantize;
    const bool activation = op.kind == Kind::kActivation;
    const uint32_t widest = dense ? kMaxWidth : kMaxValues;
    if (op.n_out < 1 || op.n_out > widest)
        return corrupt("operation %u has width %u, expected 1 to %u.", index, op.n_out, widest);
    if (dense && width > kMaxWidth)
        return corrupt("operation %u multiplies %u values, expected at most %u.", index, width, kMaxWidth);
    if (is_spatial(op.kind)) return read_spatial(cursor, index, detail, op);
    if (!dense && op.n_out != width)
        return corrupt("operation %u has width %u behind %u values.", index, op.n_out, width);
    const bool constant = op.kind <= Kind::kDivide;
    const uint32_t most = op.kind == Kind::kDenseInt8  ? kBias | kLowData | kLowCodes
                          : dense                      ? kBias
                          : activation                 ? static_cast<uint32_t>(Activation::kCount) - 1
                          : op.kind == Kind::kQuantize ? kLowData
                          : constant                   ? width - 1
                                                       : 0;
    const bool fits = op.kind != Kind::kQuantize || detail != 1;
    if (detail > most || !fits) return corrupt("operation %u has detail %u, expected at most %u.", index, detail, most);
    if (constant && detail && width % detail)
        return corrupt("operation %u repeats %u constants over %u values.", index, detail, width);
    if (!std::isfinite(op.number) || (scaled && !(op.number > 0)) || (!scaled && !activation && op.number != 0))
        return corrupt("operation %u has the number %g.", index, static_cast<double>(op.number));
    if (activation) op.activation = static_cast<Activation>(detail);

    const uint64_t products = static_cast<uint64_t>(op.n_in) * op.n_out;
    bool whole = true;
    switch (op.kind) {
        case Kind::kAdd:
        case Kind::kSubtract:
        case Kind::kMultiply:
        case Kind::kDivide:
            whole = cursor.take(op.values, detail ? detail : width);
            for (uint32_t i = 0; whole && detail && i < width - detail; ++i) op.values.push_back(op.values[i]);
            break;
        case Kind::kDense:
            whole = cursor.take(op.values, products) && (!(detail & kBias) || cursor.take(op.bias, op.n_out));
            break;
        case Kind::kDenseInt8:
            op.low_data = (detail & kLowData) != 0;
            whole = cursor.take(op.scale, op.n_out) && (!(detail & kBias) || cursor.take(op.bias, op.n_out)) &&
                    cursor.take(op.codes, products) && (!(detail & kLowCodes) || cursor.take(op.low_codes, products));
            break;
        case Kind::kClip:
            whole = cursor.take(op.values, 2);
            break;
        case Kind::kQuantize:
            op.low_data = detail == kLowData;
            break;
        default:
            break;
    }
    if (!whole)
        return corrupt("the numbers of operation %u end behind the end of the file, or their padding is not 0.", index);
    if (!all_finite(op.values) || !all_finite(op.scale) || !all_finite(op.bias))
        return corrupt("operation %u holds a number that is not finite.", index);
    if (op.kind == Kind::kDivide)
        for (float value : op.values)
            if (value == 0) return corrupt("operation %u divides by 0.", index);
    if (op.kind == Kind::kClip && op.values[0] > op.values[1])
        return corrupt("operation %u clips to an empty range.", index);
    return op.kind == Kind::kDenseInt8 || op.kind == Kind::kQuantize ? finish_scales(index, op) : Status();
}

}  // namespace

Status finish_scales(unsigned index, Operation& op) {
    const std::vector<float> steps = op.scale;
    const auto scaled_by = [&](float data, bool low) {
        std::vector<float> found(steps);
        for (float& value : found)
            value =
                static_cast<float>(static_cast<double>(low ? value / kLowSteps : value) * static_cast<double>(data));
        return found;
    };
    op.scale = scaled_by(op.number, false);
    if (op.low_data) op.low_data_scale = scaled_by(op.number / kLowSteps, false);
    if (!op.low_codes.empty()) op.low_codes_scale = scaled_by(op.number, true);
    for (const std::vector<float>* scale : {&op.scale, &op.low_data_scale, &op.low_codes_scale})
        if (!all_positive(*scale) || !all_finite(*scale))
            return corrupt("operation %u has a scale that is not above 0.", index);
    if (op.low_data && !(op.number / kLowSteps > 0))
        return corrupt("operation %u has a scale that is not above 0.", index);
    return {};
}

uint32_t crc32(const unsigned char* bytes, size_t size) {
    uint32_t crc = 0xFFFFFFFFu;
    for (size_t i = 0; i < size; ++i) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0u);
    }
    return ~crc;
}

Status read_program(const unsigned char* bytes, size_t size, Program& program) {
    if (size < kHeaderBytes)
        return corrupt("the file has %zu bytes, a native engine has at least %zu.", size, kHeaderBytes);
    if (std::memcmp(bytes, kMagic, sizeof kMagic) != 0)
        return corrupt("the file does not start as a native engine does.");
    const uint32_t version = word(bytes + 8);
    if (version < 1 || version > kVersion)
        return Status(StatusCode::kUnsupported,
                      "the engine has format version %u, this library reads 1 to %u. Build the engine again.", version,
                      kVersion);
    if (word(bytes + 16) != size) return corrupt("the file has %zu bytes, its header says %u.", size, word(bytes + 16));
    const uint32_t met = crc32(bytes + kChecksumEnd, size - kChecksumEnd), expected = word(bytes + 12);
    if (met != expected) return corrupt("the checksum is %08x, the header says %08x.", met, expected);

    program.inputs = word(bytes + 20);
    program.outputs = word(bytes + 24);
    const uint32_t operations = word(bytes + 28);
    if (program.inputs < 1 || program.inputs > kMaxValues)
        return corrupt("the engine has %u inputs, expected 1 to %u.", program.inputs, kMaxValues);
    if (program.outputs < 1 || program.outputs > kMaxWidth)
        return corrupt("the engine has %u outputs, expected 1 to %u.", program.outputs, kMaxWidth);
    if (operations < 1 || operations > kMaxOperations)
        return corrupt("the engine has %u operations, expected 1 to %u.", operations, kMaxOperations);
    if (word(bytes + 36)) return corrupt("the reserved word of the header is %u, expected 0.", word(bytes + 36));
    Cursor cursor{bytes + kHeaderBytes, bytes + size};
    Status status = read_names(cursor, word(bytes + 32), program);
    uint32_t width = program.inputs;
    uint64_t constants = 0;
    for (uint32_t i = 0; status.ok() && i < operations; ++i) {
        Operation op{};
        status = read_operation(cursor, i, width, op);
        if (status.ok() && op.kind <= Kind::kDivide) constants += op.values.size();
        if (constants > 8 * uint64_t{kMaxValues})
            return corrupt("the constants up to operation %u are more than %u values.", i, 8 * kMaxValues);
        const Operation* before = program.operations.empty() ? nullptr : &program.operations.back();
        width = op.n_out;
        if (status.ok() && before && before->kind == Kind::kWindows) {
            const uint64_t all = before->window.places() * op.n_out;
            if (op.kind != Kind::kDense && op.kind != Kind::kDenseInt8)
                return corrupt("operation %u is not dense, and windows precede it.", i);
            if (all > kMaxValues) return corrupt("operation %u makes more than %u values.", i, kMaxValues);
            width = static_cast<uint32_t>(all);
        }
        program.operations.push_back(std::move(op));
    }
    if (!status.ok()) return status;
    if (program.operations.back().kind == Kind::kWindows) return corrupt("no dense follows the last windows.");
    if (width != program.outputs)
        return corrupt("the last operation has width %u, expected %u outputs.", width, program.outputs);
    if (cursor.at != cursor.end)
        return corrupt("%zu bytes follow the last operation.", static_cast<size_t>(cursor.end - cursor.at));
    return {};
}

}  // namespace runtime
}  // namespace regkd
