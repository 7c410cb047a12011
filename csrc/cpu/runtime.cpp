#include "runtime.h"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <stdexcept>

#include "pool.h"

#define REGKD_LEVELS_X86 REGKD_ONE(v2) REGKD_ONE(v3) REGKD_ONE(v4)
#if defined(__x86_64__)
#define REGKD_LEVELS REGKD_LEVELS_X86
#else
#define REGKD_LEVELS REGKD_ONE(neon)
#endif

#define REGKD_ONE(name) extern "C" const regkd::Kernels* regkd_kernels_##name();
REGKD_LEVELS
#undef REGKD_ONE

namespace regkd {
namespace {

bool runs(const std::string& level) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    const bool v2 = __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt");
    const bool v3 = v2 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
    const bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
                    __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    return level == "v2" ? v2 : (level == "v3" ? v3 : v4);
#else
    return level == "neon";
#endif
}

std::vector<const Kernels*> all_kernels() {
    std::vector<const Kernels*> found;
#define REGKD_ONE(name) \
    if (runs(#name)) found.push_back(regkd_kernels_##name());
    REGKD_LEVELS
#undef REGKD_ONE
    return found;
}

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

// A second thread costs two barriers a step (under a microsecond together when both run): not worth it below about 10
// microseconds of work, taken as 16 multiply-adds and half an activation a nanosecond.
int useful_threads(const JobRun& run, int threads) {
    const double ns = run.flops / 64 + run.activations * 1.0;
    const int most = static_cast<int>(ns / 8000) + 1;
    int n = threads > 0 ? threads : usable_cpus();
    if (threads <= 0 && n > most) n = most;
    if (n > run.groups) n = run.groups;
    return n < 1 ? 1 : n;
}

std::string network_refusal(const Network& net, const char* name) {
    if (net.layers < 1 || net.layers > kMaxLayers)
        return std::string("the ") + name + " has " + std::to_string(net.layers) + " layers, the fused core has 1 to " + std::to_string(kMaxLayers);
    if (net.activation < 0 || net.activation >= kActivations) return std::string("the ") + name + "'s activation is not one of the fused core's";
    for (int l = 0; l <= net.layers; ++l) {
        if (net.widths[l] < 1) return std::string("the ") + name + " has a layer of width " + std::to_string(net.widths[l]);
        if (l > 0 && l < net.layers && net.widths[l] > kMaxWidth)
            return std::string("the ") + name + " has a layer of " + std::to_string(net.widths[l]) + " units, the fused core has at most " +
                   std::to_string(kMaxWidth);
    }
    return "";
}

}  // namespace

std::vector<std::string> available_levels() {
    std::vector<std::string> names;
    for (const Kernels* k : all_kernels()) names.push_back(k->level);
    return names;
}

const Kernels& kernels(const std::string& level) {
    if (level.empty()) return kernels();
    for (const Kernels* k : all_kernels())
        if (level == k->level) return *k;
    std::string known;
    for (const std::string& name : available_levels()) known += (known.empty() ? "" : ", ") + name;
    throw std::runtime_error("SIMD level '" + level + "' is not available on this CPU; available: " + known);
}

const Kernels& kernels() {
    const char* wanted = std::getenv("REGKD_EDGE_SIMD");
    if (wanted && *wanted) return kernels(std::string(wanted));
    static const Kernels* widest = all_kernels().back();
    return *widest;
}

std::string refusal(const Job& job) {
    const auto active = [&](int term) { return job.weight[term].start != 0 || job.weight[term].end != 0; };
    std::string why = network_refusal(job.student, "student");
    if (!why.empty()) return why;
    const bool teacher = job.teacher.layers != 0;
    if (teacher) {
        why = network_refusal(job.teacher, "teacher");
        if (!why.empty()) return why;
        if (job.teacher.widths[0] != job.student.widths[0] || job.teacher.widths[job.teacher.layers] != job.student.widths[job.student.layers])
            return "teacher and student differ in inputs or outputs";
    }
    if (job.base < 0 || job.base >= kBases) return "the base is not one of the fused core's";
    if (job.optimizer < 0 || job.optimizer >= kOptimizers) return "the optimizer is not one of the fused core's";
    if (job.rate_schedule < 0 || job.rate_schedule >= kRateSchedules) return "the learning rate's schedule is not one of the fused core's";
    if (job.ascent_rule < 0 || job.ascent_rule >= kAscentRules) return "the ascent rule is not one of the fused core's";
    if (job.batch < 1) return "a step needs a batch of at least 1 point";
    if (job.x && (job.rows < 1 || job.rows > INT32_MAX)) return "the fused core takes 1 to 2^31 - 1 rows";
    if (job.draws < 0 || job.draws > 65535 || job.ascent_steps < 0) return "draws must be 0 to 65535 and ascent steps at least 0";
    if (job.cotangents < 0 || static_cast<int64_t>(job.cotangents) * (job.draws + 2) > 65535)
        return "cotangents times (draws + 2) must not pass 65535";
    for (int i = 0; i < kTerms; ++i)
        if (job.weight[i].hold < 1) return "a weight must be held for at least 1 step";
    if (job.total_steps < 1) return "the run's total number of steps must be at least 1";
    if ((active(kTermPm) || active(kTermAbm) || active(kTermGm)) && !teacher) return "matching terms need a teacher that is an MLP";
    if (active(kTermPm) && job.draws < 1) return "perturbation matching needs at least 1 draw";
    if (active(kTermPm) && !job.sigma) return "perturbation matching needs sigma";
    if (active(kTermGm) && job.draws > 0 && (job.gm_on & 2) && !job.sigma) return "perturbed points need sigma";
    if (active(kTermBase) && job.base != kNone) {
        const bool reads_t = (job.base == kSquares && (job.row_b || job.base_b != 0)) || (job.base == kTbr && job.imitate) ||
                             (job.base == kTor && !job.drop_outliers);
        const bool reads_y = job.base != kSquares || job.row_a || job.base_a != 0;
        if (reads_y && (!job.y || !job.x)) return "this base needs labelled rows";
        if (reads_t && !teacher && !job.t) return "this base needs a teacher, or its stored answers";
        if (job.base == kTbr && !job.row_error) return "tbr needs the teacher's error of every row";
        if (job.base == kTor && !job.row_outlier) return "tor needs the outlier flag of every row";
    }
    bool any = active(kTermBase) && job.base != kNone;
    for (int i = kTermPm; i < kTerms; ++i) any = any || active(i);
    if (!any) return "no term of the objective is active";
    return "";
}

Cost cost(const Job& job, int threads) {
    JobRun run;
    prepare(run, kernels(), job, 0);
    return {run.flops, run.activations, run.params, run.arena_floats * 4, run.tiles, run.groups, useful_threads(run, threads)};
}

void run_jobs(std::vector<Job>& jobs, int64_t steps, int threads, const std::string& level) {
    const Kernels& k = kernels(level);
    for (const Job& job : jobs) {
        const std::string why = refusal(job);
        if (!why.empty()) throw std::invalid_argument("the fused core cannot run this step: " + why);
        if (job.optimizer == kGradientOnly && (steps != 1 || !job.grad))
            throw std::invalid_argument("without an optimizer a call is one step and needs `grad`");
        if (!job.params || (job.optimizer != kGradientOnly && (!job.state1 || (job.optimizer != kRmsprop && !job.state2))))
            throw std::invalid_argument("parameters or optimizer state are missing");
    }
    const int available = threads > 0 ? threads : usable_cpus();
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
        struct One {
            const Kernels* k;
            JobRun* run;
            int threads;
        } one{&k, &run, useful_threads(run, threads)};
        supply(run, own, one.threads);
        run_on_pool(
            one.threads,
            [](void* context, int granted) {
                One& o = *static_cast<One*>(context);
                o.threads = granted;
                o.run->barrier->threads = granted;
            },
            [](void* context, int thread) {
                One& o = *static_cast<One*>(context);
                o.k->steps(o.run, thread, o.threads);
            },
            &one);
    }
}

void predict(const Network& net, const float* x, int64_t n, float* y, float* jacobian, int threads) {
    const std::string why = network_refusal(net, "network");
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
