// Runs a set of jobs through csrc/cpu/train.h, for builds that pytest makes with sanitizers and without.
//   core_driver orders     every job forwards, backwards and shuffled: the same bits
//   core_driver threads    every job on 1 and on 3 threads of the pool: the same bits
//   core_driver noise      a hash of the bits of 80,000 normals and of a permutation, to compare between machines
//   core_driver unsynchronised   threads without their barrier: for ThreadSanitizer, which must see it
//   core_driver planted    a phase whose items read each other must differ between orders, or the check above is blind
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "cpu/pool.h"
#include "cpu/train.h"

using namespace regkd;
using namespace regkd::REGKD_LEVEL;

namespace {

Network network(std::vector<int> widths, int activation) {
    Network net = {};
    net.layers = static_cast<int>(widths.size()) - 1;
    for (size_t i = 0; i < widths.size(); ++i) net.widths[i] = widths[i];
    net.activation = activation;
    return net;
}

struct Case {
    const char* name;
    Job job = {};
    std::vector<float> params, teacher, state1, state2, grad, x, y, row, sigma, bound;
    std::vector<double> losses;

    Case(const char* called, std::vector<int> student, std::vector<int> of, int activation, int batch, int rows)
        : name(called) {
        job.student = network(student, activation);
        if (!of.empty()) job.teacher = network(of, kTanh);
        params.resize(parameter_count(job.student));
        teacher.resize(parameter_count(job.teacher));
        x.resize(static_cast<size_t>(rows) * student.front());
        y.resize(static_cast<size_t>(rows) * student.back());
        row.resize(rows);
        sigma.assign(student.front(), 0.1f);
        bound.assign(student.front(), 1.5f);
        uint32_t state = 12345;
        for (auto* v : {&params, &teacher, &x, &y, &row})
            for (float& f : *v) {
                state = state * 1664525u + 1013904223u;
                f = (static_cast<float>(state >> 8) * 5.96e-8f - 0.5f) * (v == &x || v == &y ? 3.0f : 0.6f);
            }
        job.batch = batch;
        job.rows = rows;
        job.shuffle = 1;
        job.draws = 2;
        job.base = kSquares;
        job.base_a = job.base_b = 0.5f;
        job.nu = 0.5f;
        job.delta = 1.0f;
        job.gm_on = 7;
        job.ascent_from_anchor = 1;
        job.ascent_sigma = 0.1f;
        job.ascent_size = 0.1f;
        job.ascent_alpha = 0.99f;
        job.ascent_eps = 1e-8f;
        for (Weight& w : job.weight) w = {0.0f, 0.0f, 1};
        job.weight[kTermBase] = {1.0f, 1.0f, 1};
        job.rate = 1e-2f;
        job.alpha = 0.99f;
        job.beta1 = 0.9f;
        job.beta2 = 0.999f;
        job.eps = 1e-8f;
        job.optimizer = kAdam;
        job.total_steps = 100;
        job.seed = 99;
    }
};

std::vector<Case> cases() {
    std::vector<Case> all;
    all.emplace_back("every term, 3 outputs", std::vector<int>{5, 19, 11, 3}, std::vector<int>{5, 33, 3}, kSilu, 45,
                     70);
    all.back().job.ascent_steps = 2;
    for (Weight& w : all.back().job.weight) w = {1.0f, 0.3f, 2};
    all.emplace_back("random signs, 7 outputs", std::vector<int>{4, 9, 7}, std::vector<int>{4, 12, 7}, kTanh, 33, 33);
    all.back().job.cotangents = 2;
    all.back().job.weight[kTermGm] = all.back().job.weight[kTermPm] = {0.5f, 0.5f, 1};
    all.emplace_back("one layer, one input", std::vector<int>{1, 1}, std::vector<int>{1, 5, 1}, kTanh, 3, 2);
    all.back().job.weight[kTermGm] = all.back().job.weight[kTermPm] = {0.5f, 0.5f, 1};
    all.emplace_back("labels, no teacher", std::vector<int>{6, 40, 40, 2}, std::vector<int>{}, kGelu, 64, 100);
    all.back().job.base_b = 0.0f;
    all.emplace_back("tbr", std::vector<int>{6, 8, 1}, std::vector<int>{6, 8, 1}, kRelu, 20, 50);
    all.back().job.base = kTbr;
    all.emplace_back("tor", std::vector<int>{6, 8, 2}, std::vector<int>{6, 8, 2}, kElu, 20, 50);
    all.back().job.base = kTor;
    all.emplace_back("data-free, normalised ascent in a box", std::vector<int>{12, 50, 1}, std::vector<int>{12, 70, 1},
                     kTanh, 50, 1);
    all.back().job.ascent_steps = 2;
    all.back().job.ascent_rule = kNormalised;
    all.back().job.ascent_from_anchor = 0;
    all.back().job.base_a = 0.0f;
    all.back().job.weight[kTermAbm] = {1.0f, 0.0f, 10};
    all.back().job.optimizer = kRmsprop;
    return all;
}

void no_wait(Barrier*) {}

// The bytes that a run of four steps leaves, in the given order and on so many threads.
template <Order kOrder>
std::string outcome(Case c, int threads, WaitFunction wait = wait_at) {
    Job& job = c.job;
    c.state1.assign(c.params.size(), 0.0f);
    c.state2 = c.grad = c.state1;
    c.losses.assign(4 * (1 + kTerms), 0.0);
    job.params = c.params.data();
    job.teacher.params = c.teacher.data();
    job.state1 = c.state1.data();
    job.state2 = c.state2.data();
    job.grad = c.grad.data();
    job.sigma = c.sigma.data();
    job.losses = c.losses.data();
    if (std::strncmp(c.name, "data-free", 9) != 0) {
        job.x = c.x.data();
        job.y = c.y.data();
    } else {
        job.high = c.bound.data();
    }
    std::vector<float> flags;
    for (float f : c.row) flags.push_back(f > 0 ? 1.0f : 0.0f);
    job.row_error = job.row_weight = c.row.data();
    job.row_outlier = flags.data();

    JobRun run = {};
    run.job = job;
    run.steps = 4;
    measure_run(&run);
    std::vector<float> partials(run.groups * run.partial_floats), arenas(run.arena_floats * threads),
        flat(run.params + 16 * (threads + 1));
    std::vector<double> sums(2 * run.tiles);
    Barrier barrier{threads, 0, 0};
    run.partials = partials.data();
    run.arenas = arenas.data();
    run.flat = flat.data();
    run.sums = sums.data();
    run.barrier = &barrier;
    run.wait = wait;
    struct Context {
        JobRun* run;
        int threads;
    } context{&run, threads};
    run_on_pool(
        threads,
        [](void* p, int granted) {
            static_cast<Context*>(p)->threads = granted;
            static_cast<Context*>(p)->run->barrier->threads = granted;
        },
        [](void* p, int thread) {
            run_steps<kOrder>(static_cast<Context*>(p)->run, thread, static_cast<Context*>(p)->threads);
        },
        &context);
    std::string bytes(reinterpret_cast<const char*>(c.params.data()), c.params.size() * sizeof(float));
    bytes.append(reinterpret_cast<const char*>(c.grad.data()), c.grad.size() * sizeof(float));
    bytes.append(reinterpret_cast<const char*>(c.losses.data()), c.losses.size() * sizeof(double));
    return bytes;
}

int differences = 0;
void same(const char* what, const Case& c, const std::string& a, const std::string& b) {
    if (a == b) return;
    std::printf("%s: '%s' differs\n", what, c.name);
    ++differences;
}

// FNV-1a over the bits.
uint64_t noise_hash() {
    uint64_t hash = 1469598103934665603ull;
    const auto add = [&](uint32_t word) { hash = (hash ^ word) * 1099511628211ull; };
    for (uint32_t sample = 0; sample < 20000; sample += kVec) {
        Vec normals[4];
        normal_quad(0x1234567890abcdefull, kPerturb, 7u, CpuBlock<>::lane_numbers(0) + sample, 1u, 2u, normals);
        for (int i = 0; i < kVec; ++i)
            for (const Vec& n : normals) add(static_cast<uint32_t>(as_int(n[i])));
    }
    const RowKeys keys = row_keys(5, 6);
    for (uint32_t i = 0; i < 1000; ++i) add(permute_row(keys, i, 1000, row_bits(1000)));
    return hash;
}

template <Order kOrder>
float planted() {
    alignas(64) float rows[8 * kTile];
    for (int i = 0; i < 8 * kTile; ++i) rows[i] = static_cast<float>(i % 7);
    const CpuBlock<kOrder> block(kTile, nullptr, 0);
    block.rows(8, [&](int j, int s) {
        if (j > 0)
            block.store(rows + j * kTile + s,
                        block.load(rows + j * kTile + s) + block.load(rows + (j - 1) * kTile + s));
    });
    return rows[7 * kTile];
}

}  // namespace

int main(int, char** argv) {
    const std::string mode = argv[1];
    int checked = 0;
    if (mode == "planted") {
        const float a = planted<Order::kForwards>(), b = planted<Order::kBackwards>(), c = planted<Order::kShuffled>();
        std::printf("planted: %s\n", a != b && a != c ? "seen" : "missed");
        return 0;
    }
    if (mode == "noise") {
        std::printf("%016llx\n", static_cast<unsigned long long>(noise_hash()));
        return 0;
    }
    if (mode == "unsynchronised") {
        outcome<Order::kForwards>(cases()[0], 3, no_wait);
        return 0;
    }
    for (const Case& c : cases()) {
        const std::string forwards = outcome<Order::kForwards>(c, 1);
#ifndef REGKD_FORWARDS_ONLY  // sanitizers: a third of the code to compile
        if (mode == "orders") {
            same("backwards", c, forwards, outcome<Order::kBackwards>(c, 1));
            same("shuffled", c, forwards, outcome<Order::kShuffled>(c, 1));
        }
#endif
        if (mode == "threads") same("three threads", c, forwards, outcome<Order::kForwards>(c, 3));
        ++checked;
    }
    std::printf("%d jobs, %d differences\n", checked, differences);
    return differences != 0;
}
