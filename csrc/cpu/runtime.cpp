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

struct RunBuffers {
    Buffer<float> partials, arenas, flat;
    Buffer<double> sums;
    Barrier barrier{1, 0, 0};
};

void prepare(JobRun& run, const Kernels& k, const Job& job, int64_t steps) {
    run = {};
    run.job = job;
    run.steps = steps;
    k.measure(&run);
}
void supply(JobRun& run, RunBuffers& own, int threads) {
    own.partials = allocate<float>(run.groups * run.partial_floats + 16);
    own.arenas = allocate<float>(run.arena_floats * threads);
    own.flat = allocate<float>(run.params + 16 * (threads + 1));
    own.sums = allocate<double>(2 * run.tiles + 2);
    own.barrier = {threads, 0, 0};
    run.partials = own.partials.get();
    run.arenas = own.arenas.get();
    run.flat = own.flat.get();
    run.sums = own.sums.get();
    run.barrier = &own.barrier;
    run.wait = wait_at;
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
    for (const Job& job : jobs) {
        const std::string why = refusal(job);
        if (!why.empty()) throw std::invalid_argument("the fused core cannot run this step: " + why);
        if (job.optimizer == kGradientOnly && (steps != 1 || !job.grad))
            throw std::invalid_argument("without an optimizer a call is one step and needs `grad`");
        if (job.rate_schedule != kConstantRate && job.first_step + steps > job.total_steps)
            throw std::invalid_argument("the learning rate's schedule ends at step " + std::to_string(job.total_steps) +
                                        ", this call would go to " + std::to_string(job.first_step + steps));
        if (!job.params ||
            (job.optimizer != kGradientOnly && (!job.state1 || (job.optimizer != kRmsprop && !job.state2))))
            throw std::invalid_argument("parameters or optimizer state are missing");
    }
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
    for (Job& job : jobs) {
        JobRun run;
        RunBuffers own;
        prepare(run, k, job, steps);
        const int n = useful_threads(run, threads, at_most);
        supply(run, own, n);
        Single{k, run, n}.all(steps, threads <= 0);
    }
}

void gradient_step(Job job, const std::vector<const float*>& student, const std::vector<const float*>& teacher,
                   int at_most) {
    const auto gather = [](const Network& net, const std::vector<const float*>& parts, const char* name) {
        const std::string why = refusal(net, name);
        if (!why.empty()) throw std::invalid_argument("the fused core cannot run this step: " + why);
        if (parts.size() != 2 * static_cast<size_t>(net.layers))
            throw std::invalid_argument(std::string("the ") + name + " of " + std::to_string(net.layers) +
                                        " layers has " + std::to_string(parts.size()) + " tensors");
        int64_t floats = 0;
        for (int l = 1; l <= net.layers; ++l) floats += static_cast<int64_t>(net.widths[l]) * (net.widths[l - 1] + 1);
        Buffer<float> flat = allocate<float>(floats);
        float* to = flat.get();
        for (size_t i = 0; i < parts.size(); ++i) {
            const int l = static_cast<int>(i / 2) + 1;
            const int64_t n = static_cast<int64_t>(net.widths[l]) * (i % 2 ? 1 : net.widths[l - 1]);
            std::memcpy(to, parts[i], static_cast<size_t>(n) * sizeof(float));
            to += n;
        }
        return flat;
    };
    const Buffer<float> ours = gather(job.student, student, "student");
    Buffer<float> theirs;
    job.params = ours.get();
    job.optimizer = kGradientOnly;
    if (job.teacher.layers > 0) {
        theirs = gather(job.teacher, teacher, "teacher");
        job.teacher.params = theirs.get();
    }
    std::vector<Job> jobs = {job};
    run_jobs(jobs, 1, 0, "", at_most);
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
