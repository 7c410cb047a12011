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

// A second thread costs two barriers per step (about a microsecond when both run): not worth it below 8 microseconds of
// work. `at_most` bounds a free choice (0: no bound but the CPUs).
inline int free_threads(int at_most) {
    const int cpus = usable_cpus();
    return at_most > 0 && at_most < cpus ? at_most : cpus;
}
inline int useful_threads(const JobRun& run, int threads, int at_most) {
    int n = threads > 0 ? threads : free_threads(at_most);
    const double most = guessed_ns(run) / 8000 + 1;
    if (threads <= 0 && n > most) n = static_cast<int>(most);
    if (n > run.groups) n = run.groups;
    return n < 1 ? 1 : n;
}

using Clock = std::chrono::steady_clock;

// On a machine with other work, two threads that wait for each other can be slower than one. So for every size of job
// (a power of two of the guessed time) both are tried now and then, over calls if need be, and the faster one is used
// until the next trial. The bits are the same either way. A thread that has just been woken may share the caller's CPU
// until the kernel moves it, and threads of an OpenMP library spin for some 10 ms after their work: the first 20 ms
// together are not counted, and one thread must win twice before the other is given up.
class Trial {
  public:
    struct Share {
        bool alone;
        int64_t steps;
    };
    // What to do next of `steps` steps, each guessed at `ns`.
    Share next(int64_t steps, double ns) {
        const std::unique_lock<std::mutex> hold(lock_, std::try_to_lock);
        if (!hold) return {false, steps};
        const int64_t sample = std::max<int64_t>(4, static_cast<int64_t>(1.5e6 / ns));
        if (trying_ == 0 && Clock::now() - settled_ > pause_) {
            begin();
        }
        if (trying_ == 0) return {alone_, std::min(steps, std::max<int64_t>(sample, static_cast<int64_t>(5e7 / ns)))};
        return {trying_ == kAlone, std::min(steps, std::max<int64_t>(1, sample - static_cast<int64_t>(done_)))};
    }
    // `share` took that long altogether.
    void took(Share share, double ns, double guessed) {
        const std::unique_lock<std::mutex> hold(lock_, std::try_to_lock);
        if (!hold || trying_ == 0 || share.alone != (trying_ == kAlone)) return;
        if (trying_ != kWarmUp) spent_[share.alone] += ns;
        done_ += static_cast<double>(share.steps);
        if (done_ < std::max(4.0, std::floor(1.5e6 / guessed))) return;
        if (trying_ == kWarmUp && Clock::now() - began_ < kWarmingUp) {
            done_ = 0;
            return;
        }
        if (trying_ != kWarmUp) spent_[share.alone] /= done_;
        done_ = 0;
        if (--trying_ > 0) return;
        // On a busy machine the trial itself is dear: as long as one thread wins, ask less and less often.
        const bool won = spent_[1] <= spent_[0];
        if (won && !alone_ && !won_) {
            won_ = true;
            return begin();
        }
        alone_ = won;
        won_ = false;
        pause_ = alone_ ? std::min(2 * pause_, kLongestPause) : kShortestPause;
        settled_ = Clock::now();
    }

  private:
    enum { kAlone = 1, kTogether = 2, kWarmUp = 3 };
    void begin() {
        trying_ = kWarmUp;
        began_ = Clock::now();
        spent_[0] = spent_[1] = done_ = 0;
    }
    static constexpr std::chrono::milliseconds kShortestPause{200}, kLongestPause{3200}, kWarmingUp{20};
    std::mutex lock_;  // tried, never waited for: a child forked while it is held only loses its trials
    Clock::time_point settled_{}, began_{};
    std::chrono::milliseconds pause_ = kShortestPause;
    bool alone_ = false, won_ = false;  // won_: one thread has won the trial before this one
    int trying_ = 0;                    // what is being timed; 0: settled
    double spent_[2] = {};              // together, alone: ns, then ns per step
    double done_ = 0;
};
// Calls of a few steps, where each pays for waking a thread, are judged apart from calls of many.
inline Trial trials[2][64];
inline Trial& trial_of(double ns, int64_t steps) {
    return trials[ns * static_cast<double>(steps) > 2e6][static_cast<int>(std::log2(ns + 1)) & 63];
}

struct Single {
    Single(const Kernels& kernels, JobRun& of, int at_most) : k(kernels), run(of), threads(at_most) {}
    const Kernels& k;
    JobRun& run;
    int threads;

    void advance(int64_t steps, int wanted) {
        run.steps = steps;
        run.next[0] = run.next[1] = 0;
        granted_ = 1;
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
    }

    void all(int64_t steps, bool free_choice) {
        if (!free_choice || threads == 1) {
            if (steps > 0) advance(steps, threads);
            return;
        }
        const double ns = guessed_ns(run);
        Trial& trial = trial_of(ns, steps);
        while (steps > 0) {
            const Trial::Share share = trial.next(steps, ns);
            const auto begin = Clock::now();
            advance(share.steps, share.alone ? 1 : threads);
            trial.took(share, std::chrono::duration<double, std::nano>(Clock::now() - begin).count(), ns);
            steps -= share.steps;
        }
    }

  private:
    int granted_ = 1;
};

}  // namespace regkd
