#include "runtime.h"

#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>

#include "single.h"

namespace regkd {
namespace {

struct Free {
    void operator()(void* p) const { std::free(p); }
};
template <class T>
using Buffer = std::unique_ptr<T[], Free>;
template <class T>
Buffer<T> allocate(int64_t n) {
    const size_t bytes = (static_cast<size_t>(n) * sizeof(T) + 127) / 64 * 64;
    void* p = std::aligned_alloc(64, bytes);
    if (!p) throw std::bad_alloc();
    std::memset(p, 0, bytes);
    return Buffer<T>(static_cast<T*>(p));
}

// Memory that is kept between calls and grows as needed. Fresh memory is zero; every phase writes what it reads, so
// what an earlier call left is never seen.
template <class T>
class Kept {
  public:
    T* of(int64_t n) {
        if (n > size_) {
            size_ = 0;
            buffer_ = allocate<T>(n);
            size_ = n;
        }
        return buffer_.get();
    }
    int64_t bytes() const { return size_ * static_cast<int64_t>(sizeof(T)); }

  private:
    Buffer<T> buffer_;
    int64_t size_ = 0;
};

struct RunBuffers {
    Kept<float> partials, arenas, flat;
    Kept<double> sums;
    Barrier barrier{1, 0, 0};
    int64_t bytes() const { return partials.bytes() + arenas.bytes() + flat.bytes() + sums.bytes(); }
};

void prepare(JobRun& run, const Kernels& k, const Job& job, int64_t steps) {
    run = {};
    run.job = job;
    run.steps = steps;
    k.measure(&run);
}
void supply(JobRun& run, RunBuffers& own, int threads) {
    own.barrier = {threads, 0, 0};
    run.partials = own.partials.of(run.groups * run.partial_floats + 16);
    run.arenas = own.arenas.of(run.arena_floats * threads);
    run.flat = own.flat.of(run.params + 16 * (threads + 1));
    run.sums = own.sums.of(2 * run.tiles + 2);
    run.barrier = &own.barrier;
    run.wait = wait_at;
}

void check(const Job& job, int64_t steps) {
    const std::string why = refusal(job);
    if (!why.empty()) throw std::invalid_argument("the fused core cannot run this step: " + why);
    if (job.optimizer == kGradientOnly && (steps != 1 || !job.grad))
        throw std::invalid_argument("without an optimizer a call is one step and needs `grad`");
    if (job.rate_schedule != kConstantRate && job.first_step + steps > job.total_steps)
        throw std::invalid_argument("the learning rate's schedule ends at step " + std::to_string(job.total_steps) +
                                    ", this call would go to " + std::to_string(job.first_step + steps));
    if (!job.params || (job.optimizer != kGradientOnly && (!job.state1 || (job.optimizer != kRmsprop && !job.state2))))
        throw std::invalid_argument("parameters or optimizer state are missing");
}

void run_alone(const Kernels& k, const Job& job, int64_t steps, int threads, int at_most, RunBuffers& own) {
    JobRun run;
    prepare(run, k, job, steps);
    const int n = useful_threads(run, threads, at_most);
    supply(run, own, n);
    Single{k, run, n}.all(steps, threads <= 0);
}

}  // namespace

Cost cost(const Job& job, int threads) {
    JobRun run;
    prepare(run, kernels(), job, 0);
    return {run.flops,
            run.activations,
            run.params,
            run.arena_floats * 4,
            run.tiles,
            run.groups,
            useful_threads(run, threads, 0)};
}

void run_jobs(std::vector<Job>& jobs, int64_t steps, int threads, const std::string& level, int at_most) {
    const Kernels& k = kernels(level);
    for (const Job& job : jobs) check(job, steps);
    const int available = threads > 0 ? threads : free_threads(at_most);
    if (jobs.size() > 1 && available > 1) {
        // A job on a thread: no barrier at all. The longest jobs should come first; they run in the caller's order.
        const int n = jobs.size() < static_cast<size_t>(available) ? static_cast<int>(jobs.size()) : available;
        std::vector<JobRun> runs(jobs.size());
        std::vector<RunBuffers> own(jobs.size());
        for (size_t i = 0; i < jobs.size(); ++i) {
            prepare(runs[i], k, jobs[i], steps);
            supply(runs[i], own[i], 1);
        }
        struct Many {
            const Kernels* k;
            std::vector<JobRun>* runs;
            int32_t next;
        } many{&k, &runs, 0};
        run_on_pool(
            n, [](void*, int) {},
            [](void* context, int) {
                Many& m = *static_cast<Many*>(context);
                for (;;) {
                    const int32_t i = __atomic_fetch_add(&m.next, 1, __ATOMIC_RELAXED);
                    if (i >= static_cast<int32_t>(m.runs->size())) return;
                    m.k->steps(&(*m.runs)[i], 0, 1);
                }
            },
            &many);
        return;
    }
    for (const Job& job : jobs) {
        RunBuffers own;
        run_alone(k, job, steps, threads, at_most, own);
    }
}

void gradient_step(Job job, const std::vector<const float*>& student, const std::vector<const float*>& teacher,
                   int at_most) {
    // A small step takes less time than fresh memory for it: every calling thread keeps its own, unless it is large.
    constexpr int64_t kKeptBytes = 32 << 20;
    struct Scratch {
        Kept<float> student, teacher;
        RunBuffers run;
        int64_t bytes() const { return student.bytes() + teacher.bytes() + run.bytes(); }
    };
    static thread_local Scratch kept;
    const auto gather = [](const Network& net, const std::vector<const float*>& parts, const char* name,
                           Kept<float>& flat) {
        const std::string why = refusal(net, name);
        if (!why.empty()) throw std::invalid_argument("the fused core cannot run this step: " + why);
        if (parts.size() != 2 * static_cast<size_t>(net.layers))
            throw std::invalid_argument(std::string("the ") + name + " of " + std::to_string(net.layers) +
                                        " layers has " + std::to_string(parts.size()) + " tensors");
        int64_t floats = 0;
        for (int l = 1; l <= net.layers; ++l) floats += static_cast<int64_t>(net.widths[l]) * (net.widths[l - 1] + 1);
        float* const begin = flat.of(floats);
        float* to = begin;
        for (size_t i = 0; i < parts.size(); ++i) {
            const int l = static_cast<int>(i / 2) + 1;
            const int64_t n = static_cast<int64_t>(net.widths[l]) * (i % 2 ? 1 : net.widths[l - 1]);
            std::memcpy(to, parts[i], static_cast<size_t>(n) * sizeof(float));
            to += n;
        }
        return begin;
    };
    job.params = gather(job.student, student, "student", kept.student);
    job.optimizer = kGradientOnly;
    if (job.teacher.layers > 0) job.teacher.params = gather(job.teacher, teacher, "teacher", kept.teacher);
    check(job, 1);
    run_alone(kernels(), job, 1, 0, at_most, kept.run);
    if (kept.bytes() > kKeptBytes) kept = Scratch{};
}

void predict(const Network& net, const float* x, int64_t n, float* y, float* jacobian, int threads) {
    const std::string why = refusal(net, "network");
    if (!why.empty()) throw std::invalid_argument("the fused core cannot run this network: " + why);
    const Kernels& k = kernels();
    struct Rows {
        const Kernels* k;
        const Network* net;
        const float* x;
        int64_t n;
        float *y, *jacobian, *arenas;
        int64_t floats;
        int threads;
    } rows{&k, &net, x, n, y, jacobian, nullptr, k.predict_floats(&net), 1};
    int wanted = threads > 0 ? threads : usable_cpus();
    if (n < 512) wanted = 1;
    const Buffer<float> arenas = allocate<float>(rows.floats * wanted);
    rows.arenas = arenas.get();
    run_on_pool(
        wanted, [](void* context, int granted) { static_cast<Rows*>(context)->threads = granted; },
        [](void* context, int thread) {
            const Rows& r = *static_cast<Rows*>(context);
            const int64_t tiles = (r.n + kTile - 1) / kTile;
            const int64_t begin = tiles * thread / r.threads * kTile, last = tiles * (thread + 1) / r.threads * kTile;
            r.k->predict(r.net, r.x, begin, last < r.n ? last : r.n, r.arenas + r.floats * thread, r.y, r.jacobian);
        },
        &rows);
}

double matching_loss(LossCall& call) {
    const Buffer<float> scratch = allocate<float>((4 * static_cast<int64_t>(call.outputs) + 8) * kTile);
    kernels().matching_loss(&call, scratch.get());
    return call.value;
}

}  // namespace regkd
