// Engine::load(bytes) and infer: any bytes are a status with a sentence, or an engine that answers.
#include <regkd/engine.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "program.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t largest);

// Size and checksum of the header are set right after each change but one in eight: else they alone would refuse it.
extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t largest, unsigned seed) {
    size = LLVMFuzzerMutate(data, size, largest);
    if (size < 20 || seed % 8 == 0) return size;
    std::memcpy(data, "\x89RKDN\r\n\x1a", 8);
    for (int b = 0; b < 4; ++b) data[16 + b] = static_cast<uint8_t>(size >> 8 * b);
    const unsigned crc = regkd::runtime::crc32(data + 16, size - 16);
    for (int b = 0; b < 4; ++b) data[12 + b] = static_cast<uint8_t>(crc >> 8 * b);
    return size;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    regkd::Engine engine;
    const regkd::Status status = regkd::Engine::load(data, size, engine);
    if (!status.ok()) {
        if (!*status.message() || engine.loaded()) std::abort();
        return 0;
    }
    if (!engine.loaded() || !engine.inputs() || !engine.outputs()) std::abort();
    for (size_t i = 0; i < engine.inputs(); ++i) (void)std::strlen(engine.input_name(i));
    for (size_t i = 0; i < engine.outputs(); ++i) (void)std::strlen(engine.output_name(i));
    std::vector<float> x(3 * engine.inputs(), 0.25f), y(3 * engine.outputs());
    if (!engine.infer(x.data(), 3, y.data()).ok()) std::abort();
    return 0;
}
