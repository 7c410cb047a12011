// What an application does: load an engine, answer rows; four threads with an engine each.
#include <regkd/engine.h>

#include <cstdio>
#include <thread>
#include <vector>

int main(int argc, char** argv) {
    regkd::Engine engine;
    const regkd::Status status = regkd::Engine::load(argc > 1 ? argv[1] : "", engine);
    if (!status.ok()) {
        std::printf("code %d: %s\n", static_cast<int>(status.code()), status.message());
        return 3;
    }
    std::vector<float> x(engine.inputs(), 0.5f), y(engine.outputs());
    if (!engine.infer(x.data(), 1, y.data()).ok()) return 4;
    std::vector<std::thread> threads;
    bool same[4] = {};
    for (bool& result : same)
        threads.emplace_back([&] {
            regkd::Engine own;
            std::vector<float> answer(y.size());
            result = regkd::Engine::load(argv[1], own).ok();
            for (int i = 0; i < 1000; ++i) result = result && own.infer(x.data(), 1, answer.data()).ok() && answer == y;
        });
    for (std::thread& thread : threads) thread.join();
    if (!(same[0] && same[1] && same[2] && same[3])) return 5;
    for (float value : y) std::printf("%.9g\n", static_cast<double>(value));

    // Errors are values, also where nothing is loaded.
    regkd::Engine empty;
    if (empty.infer(x.data(), 1, y.data()).code() != regkd::StatusCode::kInvalidArgument) return 6;
    if (engine.infer(nullptr, 1, y.data()).code() != regkd::StatusCode::kInvalidArgument) return 7;
    if (!engine.infer(nullptr, 0, nullptr).ok()) return 8;
    x[0] = x[0] / 0.0f;
    if (engine.infer(x.data(), 1, y.data()).code() != regkd::StatusCode::kNotFinite) return 9;
    if (regkd::Engine::load(nullptr, empty).code() != regkd::StatusCode::kInvalidArgument) return 10;
    if (empty.loaded() || *empty.backend() || *empty.input_name(0) || empty.inputs()) return 11;
    empty = std::move(engine);
    return empty.loaded() && !engine.loaded() ? 0 : 12;
}
