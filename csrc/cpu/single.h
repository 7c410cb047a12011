// One job on as many threads as serve it.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <mutex>

#include "pool.h"
#include "runtime.h"

namespace regkd {

// A guess at one step on one thread: 64 GFLOP/s and an activation a nanosecond.
inline double guessed_ns(const JobRun& run) { return run.flops / 64 + run.activations; }

// A second thread costs two barriers a step (about a microsecond when both run): not worth it below 8 microseconds of work.
inline int useful_threads(const JobRun& run, int threads) {
    int n = threads > 0 ? threads : usable_cpus();
    const double most = guessed_ns(run) / 8000 + 1;
    if (threads <= 0 && n > most) n = static_cast<int>(most);
    if (n > run.groups) n = run.groups;
    return n < 1 ? 1 : n;
}

using Clock = std::chrono::steady_clock;

// On a machine with other work, two threads that wait for each other can be slower than one. So for every size of job
// (a power of two of the guessed time) both are tried now and then and the faster one is used: the bits are the same.
struct Trial {
    Clock::time_point at{};
    bool alone = false;
};
inline std::mutex trial_lock;
inline Trial trials[64];
constexpr auto kTrialEvery = std::chrono::milliseconds(200);
constexpr double kTrialNs = 1e6;

struct Single {
    Single(const Kernels& kernels, JobRun& of, int at_most) : k(kernels), run(of), threads(at_most) {}
    const Kernels& k;
    JobRun& run;
    int threads;

    // Advances the run by `steps` and says how long a step took.
    double advance(int64_t steps, int wanted) {
        run.steps = steps;
        run.next[0] = run.next[1] = 0;
        granted_ = 1;
        const auto begin = Clock::now();
        run_on_pool(
            wanted,
            [](void* self, int granted) {
                Single& s = *static_cast<Single*>(self);
                s.granted_ = granted;
                s.run.barrier->threads = granted;
            },
            [](void* self, int thread) {
                Single& s = *static_cast<Single*>(self);
                s.k.steps(&s.run, thread, s.granted_);
            },
            this);
        run.job.first_step += steps;
        if (run.job.losses) run.job.losses += steps * (1 + kTerms);
        return std::chrono::duration<double, std::nano>(Clock::now() - begin).count() / static_cast<double>(steps);
    }

    void all(int64_t steps, bool free_choice) {
        if (!free_choice || threads == 1) {
            if (steps > 0) advance(steps, threads);
            return;
        }
        const double ns = guessed_ns(run);
        Trial& known = trials[static_cast<int>(std::log2(ns + 1)) & 63];
        const int64_t sample = std::max<int64_t>(4, static_cast<int64_t>(kTrialNs / ns));
        const int64_t slice = std::max<int64_t>(sample, static_cast<int64_t>(5e7 / ns));
        while (steps > 0) {
            Trial now;
            {
                std::lock_guard<std::mutex> hold(trial_lock);
                now = known;
            }
            if (steps >= 3 * sample && Clock::now() - now.at > kTrialEvery) {
                const double together = advance(sample, threads), alone = advance(sample, 1);
                std::lock_guard<std::mutex> hold(trial_lock);
                known = {Clock::now(), alone <= together};
                steps -= 2 * sample;
            } else {
                const int64_t n = std::min(steps, slice);
                advance(n, now.alone ? 1 : threads);
                steps -= n;
            }
        }
    }

  private:
    int granted_ = 1;
};

}  // namespace regkd
