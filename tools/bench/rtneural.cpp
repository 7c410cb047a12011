// One student in two libraries, in turns in one process: regkd_runtime's engine file and RTNeural's model whose sizes
// are known when it is compiled (Eigen); and a second engine file, of the student with scalers. FEATURES, WIDTH and
// ACTIVATION are set by rtneural.py.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <vector>

#include "RTNeural/RTNeural.h"
#include "regkd/engine.h"

namespace {

using Model = RTNeural::ModelT<float, FEATURES, 1, RTNeural::DenseT<float, FEATURES, WIDTH>,
                               RTNeural::ACTIVATION<float, WIDTH>, RTNeural::DenseT<float, WIDTH, WIDTH>,
                               RTNeural::ACTIVATION<float, WIDTH>, RTNeural::DenseT<float, WIDTH, 1>>;

template <class Layer>
void load(std::ifstream& file, Layer& layer, int in, int out) {  // weight [out, in], then bias [out]
    std::vector<std::vector<float>> weight(out, std::vector<float>(in));
    std::vector<float> bias(out);
    for (auto& row : weight)
        for (float& value : row) file >> value;
    for (float& value : bias) file >> value;
    layer.setWeights(weight);
    layer.setBias(bias.data());
}

template <class Call>
double nanoseconds(Call call, int calls) {  // per call
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < calls; ++i) call(i & 255);
    return std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - start).count() / calls;
}

}  // namespace

int main(int, char** argv) {  // engine folder, weights, rounds, calls per round, engine folder with scalers
    regkd::Engine engine;
    regkd::Engine scaled;
    regkd::Status status = regkd::Engine::load(argv[1], engine);
    if (status.ok()) status = regkd::Engine::load(argv[5], scaled);
    if (!status.ok()) return std::fprintf(stderr, "%s\n", status.message()), 1;
    std::ifstream file(argv[2]);
    static Model model;
    load(file, model.get<0>(), FEATURES, WIDTH);
    load(file, model.get<2>(), WIDTH, WIDTH);
    load(file, model.get<4>(), WIDTH, 1);
    alignas(64) static float x[256][(FEATURES + 15) / 16 * 16];
    for (auto& row : x)
        for (int j = 0; j < FEATURES; ++j)
            row[j] = static_cast<float>(std::rand()) / static_cast<float>(RAND_MAX) * 4 - 2;
    float worst = 0, largest = 0, y = 0;
    volatile float sink = 0;
    for (auto& row : x) {
        if (!engine.infer(row, 1, &y).ok()) return 1;
        worst = std::max(worst, std::abs(model.forward(row) - y));
        largest = std::max(largest, std::abs(y));
    }
    if (!(worst <= 1e-3f * largest)) return std::fprintf(stderr, "the answers differ by %g of %g\n", worst, largest), 1;
    const int rounds = std::atoi(argv[3]), calls = std::atoi(argv[4]);
    for (int round = 0; round < rounds; ++round) {
        const auto timed = [&](regkd::Engine& one) {
            return nanoseconds(
                [&](int i) {
                    (void)one.infer(x[i], 1, &y);
                    sink = y;
                },
                calls);
        };
        const double ours = timed(engine), ours_scaled = timed(scaled);
        const double theirs = nanoseconds([&](int i) { sink = model.forward(x[i]); }, calls);
        std::printf("%.2f %.2f %.2f\n", ours, theirs, ours_scaled);
    }
    std::fprintf(stderr, "%s\n", engine.level());
}
