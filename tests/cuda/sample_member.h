// A job with every term and odd shapes, its arrays in host vectors: what the sanitizers run, on threads of the CPU and
// on a device.
#pragma once

#include <cstdint>
#include <vector>

#include "../../csrc/cuda/plan.h"

using namespace regkd;

inline std::vector<float> numbers(int64_t n, unsigned seed) {
    std::vector<float> out(static_cast<size_t>(n));
    for (float& v : out) {
        seed = seed * 1664525u + 1013904223u;
        v = static_cast<float>(seed >> 8) / 16777216.0f - 0.5f;
    }
    return out;
}

struct Member {
    std::vector<float> params, teacher, state1, state2, grad, x, y, t, sigma;
    std::vector<double> losses;
    Job job = {};

    // `second`: units of the second hidden layers. By default a batch makes two tiles of every kind, the second with
    // one live lane.
    Member(int hidden, unsigned seed, int second = 6, int batch = 33) {
        const int d = 5, o = 2, rows = batch + 37, steps = 2;
        job.student = {3, {d, hidden, second, o}, kTanh, 0, nullptr};
        job.teacher = {3, {d, 12, second + 1, o}, kSilu, 0, nullptr};
        const int64_t count = REGKD_LEVEL::parameter_count(job.student);
        params = numbers(count, seed);
        teacher = numbers(REGKD_LEVEL::parameter_count(job.teacher), seed + 1);
        state1.assign(count, 0.0f);
        state2.assign(count, 0.0f);
        grad.assign(count, 0.0f);
        x = numbers(rows * d, seed + 2);
        y = numbers(rows * o, seed + 3);
        t = numbers(rows * o, seed + 4);
        sigma.assign(d, 0.1f);
        losses.assign(5 * steps, 0.0);
        job.params = params.data();
        job.teacher.params = teacher.data();
        job.state1 = state1.data();
        job.state2 = state2.data();
        job.grad = grad.data();
        job.x = x.data();
        job.y = y.data();
        job.t = t.data();
        job.sigma = sigma.data();
        job.losses = losses.data();
        job.rows = rows;
        job.shuffle = 1;
        job.batch = batch;
        job.draws = 1;
        job.ascent_steps = 1;
        job.ascent_rule = kNormalised;
        job.ascent_from_anchor = 1;
        job.ascent_sigma = job.ascent_size = 0.1f;
        job.gm_on = 7;
        job.base = kSquares;
        job.base_a = job.base_b = 0.5f;
        for (Weight& w : job.weight) w = {1.0f, 0.5f, 1};
        job.optimizer = kAdam;
        job.rate = 1e-2f;
        job.beta1 = 0.9f;
        job.beta2 = 0.999f;
        job.eps = 1e-8f;
        job.total_steps = steps;
        job.seed = seed;
    }
};
