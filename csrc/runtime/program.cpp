#include "program.h"

#include <cmath>
#include <cstring>

namespace regkd {
namespace runtime {

namespace {

uint32_t word(const unsigned char* p) {
    return static_cast<uint32_t>(p[0]) | static_cast<uint32_t>(p[1]) << 8 | static_cast<uint32_t>(p[2]) << 16 |
           static_cast<uint32_t>(p[3]) << 24;
}
float number(const unsigned char* p) {
    const uint32_t bits = word(p);
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
}

template <class... Values>
Status corrupt(const char* format, Values... values) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-security"
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    return Status(StatusCode::kCorrupt, format, values...);
#pragma GCC diagnostic pop
}

// A cursor that never passes the end of the file. Sizes are compared before anything is allocated, so a file cannot ask
// for more memory than a small multiple of its own length.
struct Cursor {
    const unsigned char* at;
    const unsigned char* end;

    bool holds(uint64_t bytes) const { return bytes <= static_cast<uint64_t>(end - at); }
    bool take(uint32_t& value) {
        if (!holds(4)) return false;
        value = word(at);
        at += 4;
        return true;
    }
    bool take(float& value) {
        if (!holds(4)) return false;
        value = number(at);
        at += 4;
        return true;
    }
    bool take(std::vector<float>& values, uint64_t count) {
        if (!holds(4 * count)) return false;
        values.resize(count);
        for (uint64_t i = 0; i < count; ++i) values[i] = number(at + 4 * i);
        at += 4 * count;
        return true;
    }
    bool take(std::vector<int8_t>& values, uint64_t count) {
        if (!holds((count + 3) / 4 * 4)) return false;
        values.resize(count);
        std::memcpy(values.data(), at, count);
        at += count;
        return skip_zeros((4 - count % 4) % 4);
    }
    bool skip_zeros(uint64_t count) {
        if (!holds(count)) return false;
        for (uint64_t i = 0; i < count; ++i)
            if (at[i]) return false;
        at += count;
        return true;
    }
};

bool all_finite(const std::vector<float>& values) {
    for (float value : values)
        if (!std::isfinite(value)) return false;
    return true;
}
bool all_positive(const std::vector<float>& values) {
    for (float value : values)
        if (!(value > 0)) return false;
    return true;
}

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
    if (kind < static_cast<uint32_t>(Kind::kAdd) || kind > static_cast<uint32_t>(Kind::kClip))
        return corrupt("operation %u has the unknown kind %u.", index, kind);
    op.kind = static_cast<Kind>(kind);
    op.n_in = width;
    const bool dense = op.kind == Kind::kDense || op.kind == Kind::kDenseInt8;
    const bool scaled = op.kind == Kind::kDenseInt8 || op.kind == Kind::kQuantize;
    const bool activation = op.kind == Kind::kActivation;
    if (op.n_out < 1 || op.n_out > kMaxWidth)
        return corrupt("operation %u has width %u, expected 1 to %u.", index, op.n_out, kMaxWidth);
    if (!dense && op.n_out != width)
        return corrupt("operation %u has width %u behind %u values.", index, op.n_out, width);
    const uint32_t most = op.kind == Kind::kDenseInt8 ? kBias | kLowData | kLowCodes
                          : dense                     ? kBias
                          : activation                ? static_cast<uint32_t>(Activation::kCount) - 1
                                                      : 0;
    if (detail > most) return corrupt("operation %u has detail %u, expected at most %u.", index, detail, most);
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
            whole = cursor.take(op.values, width);
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
        case Kind::kActivation:
        case Kind::kQuantize:
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
    if (op.kind == Kind::kDenseInt8) {
        const std::vector<float> steps = op.scale;
        const auto scaled_by = [&](float data, bool low) {
            std::vector<float> found(steps);
            for (float& value : found)
                value = static_cast<float>(static_cast<double>(low ? value / kLowSteps : value) *
                                           static_cast<double>(data));
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
    }
    return {};
}

}  // namespace

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
    if (version != kVersion)
        return Status(StatusCode::kUnsupported,
                      "the engine has format version %u, this library reads %u. Build the engine again.", version,
                      kVersion);
    if (word(bytes + 16) != size) return corrupt("the file has %zu bytes, its header says %u.", size, word(bytes + 16));
    const uint32_t met = crc32(bytes + kChecksumEnd, size - kChecksumEnd), expected = word(bytes + 12);
    if (met != expected) return corrupt("the checksum is %08x, the header says %08x.", met, expected);

    program.inputs = word(bytes + 20);
    program.outputs = word(bytes + 24);
    const uint32_t operations = word(bytes + 28);
    if (program.inputs < 1 || program.inputs > kMaxWidth)
        return corrupt("the engine has %u inputs, expected 1 to %u.", program.inputs, kMaxWidth);
    if (program.outputs < 1 || program.outputs > kMaxWidth)
        return corrupt("the engine has %u outputs, expected 1 to %u.", program.outputs, kMaxWidth);
    if (operations < 1 || operations > kMaxOperations)
        return corrupt("the engine has %u operations, expected 1 to %u.", operations, kMaxOperations);
    if (word(bytes + 36)) return corrupt("the reserved word of the header is %u, expected 0.", word(bytes + 36));
    Cursor cursor{bytes + kHeaderBytes, bytes + size};
    Status status = read_names(cursor, word(bytes + 32), program);
    uint32_t width = program.inputs;
    for (uint32_t i = 0; status.ok() && i < operations; ++i) {
        Operation op{};
        status = read_operation(cursor, i, width, op);
        width = op.n_out;
        program.operations.push_back(std::move(op));
    }
    if (!status.ok()) return status;
    if (width != program.outputs)
        return corrupt("the last operation has width %u, expected %u outputs.", width, program.outputs);
    if (cursor.at != cursor.end)
        return corrupt("%zu bytes follow the last operation.", static_cast<size_t>(cursor.end - cursor.at));
    return {};
}

}  // namespace runtime
}  // namespace regkd
