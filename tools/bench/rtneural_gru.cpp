// One recurrent student in two libraries, in turns in one process: regkd_runtime's engine file and RTNeural's GRU and
// Dense layers whose sizes are known when they are compiled (Eigen); and a second engine file, of the student with
// scalers. A request is a window [STEPS, FEATURES]. STEPS, FEATURES and UNITS are set by rtneural.py.
// The comparison itself is that of rtneural.cpp, written out again: behind a shared function template g++ 12 no longer
// inlines the model of RTNeural, and the peer would look slower than it is (mlp:32,32 83 ns in place of 61).
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

using Matrix = std::vector<std::vector<float>>;

Matrix rows(std::ifstream& file, int count, int width) {
    Matrix read(count, std::vector<float>(width));
    for (auto& row : read)
        for (float& value : row) file >> value;
    return read;
}

struct Model {
    RTNeural::GRULayerT<float, FEATURES, UNITS> gru;
    RTNeural::DenseT<float, UNITS, 1> dense;

    explicit Model(std::ifstream& file) {
        gru.setWVals(rows(file, FEATURES, 3 * UNITS));
        gru.setUVals(rows(file, UNITS, 3 * UNITS));
        gru.setBVals(rows(file, 2, 3 * UNITS));  // of the inputs, of the state
        dense.setWeights(rows(file, 1, UNITS));
        dense.setBias(rows(file, 1, 1)[0].data());
    }

    float forward(const float* window) {
        gru.reset();
        for (int t = 0; t < STEPS; ++t)
            gru.forward(Eigen::Map<const Eigen::Matrix<float, FEATURES, 1>>(window + t * FEATURES));
        dense.forward(gru.outs);
        return dense.outs(0);
    }
};

template <class Call>
double nanoseconds(Call call, int calls) {  // per call
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < calls; ++i) call(i & 63);
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
    static Model model(file);
    alignas(64) static float x[64][STEPS * FEATURES];
    for (auto& row : x)
        for (float& value : row) value = static_cast<float>(std::rand()) / static_cast<float>(RAND_MAX) * 4 - 2;
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
