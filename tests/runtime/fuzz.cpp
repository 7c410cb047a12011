// Mutations of a native engine file, half of them with a right checksum: each is a status or an engine that answers.
// Built with the sanitizers, which end the program at the first step out of bounds.
#include <regkd/engine.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <vector>

#include "program.h"

static unsigned long long state = 88172645463325252ull;  // xorshift64
static unsigned pick(unsigned n) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return static_cast<unsigned>(state >> 20) % n;
}

int main(int argc, char** argv) {
    if (argc != 3) return 2;
    std::ifstream file(argv[1], std::ios::binary);
    const std::vector<unsigned char> good((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    const unsigned char values[] = {0, 1, 2, 3, 127, 128, 255};
    int loaded = 0, refused = 0;
    for (int i = 0; i < std::atoi(argv[2]); ++i) {
        std::vector<unsigned char> bytes = good;
        for (unsigned k = 1 + pick(4); k; --k) {
            // Half of the strokes go to the header and the first operation, where the sizes are.
            const size_t at = pick(2) ? pick(64) : pick(static_cast<unsigned>(bytes.size()));
            bytes[at] = pick(3) ? values[pick(7)] : static_cast<unsigned char>(pick(256));
        }
        if (pick(4) == 0) bytes.resize(pick(static_cast<unsigned>(bytes.size()) + 1));
        if (pick(2) && bytes.size() >= 20) {
            const unsigned size = static_cast<unsigned>(bytes.size());
            for (int b = 0; b < 4; ++b) bytes[16 + b] = static_cast<unsigned char>(size >> 8 * b);
            const unsigned crc = regkd::runtime::crc32(bytes.data() + 16, bytes.size() - 16);
            for (int b = 0; b < 4; ++b) bytes[12 + b] = static_cast<unsigned char>(crc >> 8 * b);
            std::memcpy(bytes.data(), good.data(), 12);
        }
        // An allocation of exactly the file's size: a read behind its end is seen.
        std::vector<unsigned char> exact(bytes.begin(), bytes.end());
        regkd::Engine engine;
        const regkd::Status status =
            regkd::Engine::load(exact.data() ? exact.data() : good.data(), exact.size(), engine);
        if (!status.ok()) {
            ++refused;
            if (!*status.message()) return 3;
            continue;
        }
        ++loaded;
        std::vector<float> x(3 * engine.inputs(), 0.25f), y(3 * engine.outputs());
        if (!engine.infer(x.data(), 3, y.data()).ok()) return 4;
    }
    std::printf("%d loaded, %d refused\n", loaded, refused);
    return loaded && refused ? 0 : 5;
}
