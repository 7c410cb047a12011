// regkd_edge._core: jobs as plain fields, pointers as integers. Knows neither torch nor numpy; the Python side checks
// shapes, keeps the arrays alive during a call, and gives addresses of dense float32 memory.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <stdexcept>

#include "core/philox.h"
#include "cpu/pool.h"
#include "cpu/runtime.h"

namespace py = pybind11;
using namespace regkd;

void bind_step(py::module_& module);
#ifdef REGKD_HAS_CUDA
void bind_cuda(py::module_& module);
#endif
#ifndef REGKD_CUDA_ARCHITECTURES
#define REGKD_CUDA_ARCHITECTURES ""
#endif

namespace {

const std::vector<std::string> kActivationNames = {"identity", "relu",      "leaky_relu", "elu",     "silu",
                                                   "gelu",     "gelu_tanh", "tanh",       "softplus"};
const std::vector<std::string> kBaseNames = {"none", "squares", "huber", "tbr", "tor"};
const std::vector<std::string> kAscentNames = {"rmsprop", "sign", "normalised"};
const std::vector<std::string> kOptimizerNames = {"none", "rmsprop", "adam", "adamw"};
const std::vector<std::string> kRateNames = {"constant", "linear", "cosine"};
const std::vector<std::string> kTermNames = {"base", "pm", "abm", "gm"};

int32_t index_of(const std::vector<std::string>& names, const std::string& name, const char* what) {
    for (size_t i = 0; i < names.size(); ++i)
        if (names[i] == name) return static_cast<int32_t>(i);
    std::string known;
    for (const auto& n : names) known += (known.empty() ? "" : ", ") + n;
    throw std::invalid_argument(std::string("unknown ") + what + " '" + name + "'; known: " + known);
}

template <class T>
T* pointer(uintptr_t address) {
    return reinterpret_cast<T*>(address);
}

Network make_network(const std::vector<int>& widths, const std::string& activation, uintptr_t params) {
    if (widths.size() < 2 || widths.size() > kMaxLayers + 1)
        throw std::invalid_argument("a network has 2 to " + std::to_string(kMaxLayers + 1) + " widths, got " +
                                    std::to_string(widths.size()));
    Network net = {};
    net.layers = static_cast<int32_t>(widths.size()) - 1;
    for (size_t i = 0; i < widths.size(); ++i) net.widths[i] = widths[i];
    net.activation = index_of(kActivationNames, activation, "activation");
    net.params = pointer<const float>(params);
    return net;
}

Job default_job() {
    Job job = {};
    job.shuffle = 1;
    job.batch = 1;
    job.ascent_from_anchor = 1;
    job.ascent_alpha = 0.99f;
    job.ascent_eps = 1e-8f;
    job.ascent_size = 0.1f;
    job.gm_on = 7;
    job.base = kSquares;
    job.nu = 0.5f;
    job.delta = 1.0f;
    for (Weight& w : job.weight) w.hold = 1;
    job.weight[kTermBase].start = job.weight[kTermBase].end = 1.0f;
    job.rate = 1e-3f;
    job.alpha = 0.99f;
    job.beta1 = 0.9f;
    job.beta2 = 0.999f;
    job.eps = 1e-8f;
    job.total_steps = 1;
    return job;
}

template <class T, T* Job::* Member>
void address(py::class_<Job>& type, const char* name) {
    type.def_property(
        name, [](const Job& j) { return reinterpret_cast<uintptr_t>(j.*Member); },
        [](Job& j, uintptr_t p) { j.*Member = pointer<T>(p); });
}
template <int32_t Job::* Member>
void choice(py::class_<Job>& type, const char* name, const std::vector<std::string>& names) {
    type.def_property(
        name, [&names](const Job& j) { return names.at(static_cast<size_t>(j.*Member)); },
        [&names, name](Job& j, const std::string& value) { j.*Member = index_of(names, value, name); });
}

void bind_job(py::module_& module) {
    py::class_<Job> type(module, "Job",
                         "One training job; fields are those of csrc/core/job.h. Pointers are integers, 0: none.");
    type.def(py::init(&default_job));
    type.def("copy", [](const Job& j) { return j; });
    type.def(
        "to_bytes", [](const Job& j) { return py::bytes(reinterpret_cast<const char*>(&j), sizeof(Job)); },
        "The struct as it lies in memory: what a CUDA kernel reads, once copied to the device.");
    type.def(
        "set_student",
        [](Job& j, const std::vector<int>& widths, const std::string& activation) {
            j.student = make_network(widths, activation, 0);
        },
        py::arg("widths"), py::arg("activation"));
    type.def(
        "set_teacher",
        [](Job& j, const std::vector<int>& widths, const std::string& activation, uintptr_t params) {
            j.teacher = make_network(widths, activation, params);
        },
        py::arg("widths"), py::arg("activation"), py::arg("params"));
    type.def(
        "set_weight",
        [](Job& j, const std::string& term, float start, float end, int64_t hold) {
            j.weight[index_of(kTermNames, term, "term")] = {start, end, hold};
        },
        py::arg("term"), py::arg("start"), py::arg("end"), py::arg("hold") = 1);
    address<float, &Job::params>(type, "params");
    address<float, &Job::grad>(type, "grad");
    address<float, &Job::state1>(type, "state1");
    address<float, &Job::state2>(type, "state2");
    address<const float, &Job::x>(type, "x");
    address<const float, &Job::y>(type, "y");
    address<const float, &Job::t>(type, "t");
    address<const float, &Job::row_weight>(type, "row_weight");
    address<const float, &Job::row_a>(type, "row_a");
    address<const float, &Job::row_b>(type, "row_b");
    address<const float, &Job::row_error>(type, "row_error");
    address<const float, &Job::row_outlier>(type, "row_outlier");
    address<const float, &Job::sigma>(type, "sigma");
    address<const float, &Job::low>(type, "low");
    address<const float, &Job::high>(type, "high");
    address<double, &Job::losses>(type, "losses");
#define REGKD_NUMBER(name) type.def_readwrite(#name, &Job::name)
    REGKD_NUMBER(rows);
    REGKD_NUMBER(shuffle);
    REGKD_NUMBER(batch);
    REGKD_NUMBER(draws);
    REGKD_NUMBER(ascent_steps);
    REGKD_NUMBER(ascent_from_anchor);
    REGKD_NUMBER(ascent_sigma);
    REGKD_NUMBER(ascent_size);
    REGKD_NUMBER(ascent_ridge);
    REGKD_NUMBER(ascent_decay);
    REGKD_NUMBER(ascent_alpha);
    REGKD_NUMBER(ascent_eps);
    REGKD_NUMBER(gm_on);
    REGKD_NUMBER(cotangents);
    REGKD_NUMBER(base_a);
    REGKD_NUMBER(base_b);
    REGKD_NUMBER(nu);
    REGKD_NUMBER(margin);
    REGKD_NUMBER(imitate);
    REGKD_NUMBER(delta);
    REGKD_NUMBER(drop_outliers);
    REGKD_NUMBER(rate);
    REGKD_NUMBER(weight_decay);
    REGKD_NUMBER(alpha);
    REGKD_NUMBER(beta1);
    REGKD_NUMBER(beta2);
    REGKD_NUMBER(eps);
    REGKD_NUMBER(total_steps);
    REGKD_NUMBER(seed);
    REGKD_NUMBER(first_step);
#undef REGKD_NUMBER
    choice<&Job::ascent_rule>(type, "ascent_rule", kAscentNames);
    choice<&Job::base>(type, "base", kBaseNames);
    choice<&Job::optimizer>(type, "optimizer", kOptimizerNames);
    choice<&Job::rate_schedule>(type, "rate_schedule", kRateNames);
}

}  // namespace

PYBIND11_MODULE(_core, module) {
    module.doc() = "The fused core of regkd-edge: csrc/core on the CPU and, where it was built, on CUDA devices.";
#ifdef REGKD_HAS_CUDA
    module.attr("has_cuda") = true;
    bind_cuda(module);
#else
    module.attr("has_cuda") = false;
#endif
    module.attr("cuda_architectures") = REGKD_CUDA_ARCHITECTURES;
    module.attr("ACTIVATIONS") = py::tuple(py::cast(kActivationNames));
    module.attr("BASES") = py::tuple(py::cast(kBaseNames));
    module.attr("ASCENT_RULES") = py::tuple(py::cast(kAscentNames));
    module.attr("OPTIMIZERS") = py::tuple(py::cast(kOptimizerNames));
    module.attr("RATE_SCHEDULES") = py::tuple(py::cast(kRateNames));
    module.attr("TERMS") = py::tuple(py::cast(kTermNames));
    module.attr("MAX_LAYERS") = kMaxLayers;
    module.attr("MAX_WIDTH") = kMaxWidth;
    module.def(
        "simd_level", [] { return std::string(kernels().level); },
        "The SIMD level in use (REGKD_EDGE_SIMD overrides the choice).");
    module.def("simd_levels_available", &available_levels,
               "SIMD levels that this CPU runs, from the plainest to the widest.");
    module.def("usable_cpus", &usable_cpus, "CPUs that this process may use.");
    bind_job(module);
    bind_step(module);

    module.def(
        "refuses",
        [](const Job& job) -> py::object {
            const std::string why = refusal(job);
            return why.empty() ? py::object(py::none()) : py::object(py::str(why));
        },
        py::arg("job"),
        "Why the core cannot run this job, in one sentence, or None. Reads which pointers are null, not what they "
        "point at.");
    module.def(
        "cost",
        [](const Job& job, int threads) {
            const std::string why = refusal(job);
            if (!why.empty()) throw std::invalid_argument("the fused core cannot run this step: " + why);
            const Cost c = cost(job, threads);
            py::dict out;
            out["flops"] = c.flops;
            out["activations"] = c.activations;
            out["params"] = c.params;
            out["arena_bytes"] = c.arena_bytes;
            out["tiles"] = c.tiles;
            out["groups"] = c.groups;
            out["threads"] = c.threads;
            return out;
        },
        py::arg("job"), py::arg("threads") = 0,
        "Work of one step: flops (networks only), activations, tiles, and the threads it would get.");
    module.def(
        "run",
        [](const std::vector<Job*>& jobs, int64_t steps, int threads, const std::string& level, int at_most) {
            std::vector<Job> copies;
            for (const Job* job : jobs) copies.push_back(*job);
            py::gil_scoped_release release;
            run_jobs(copies, steps, threads, level, at_most);
        },
        py::arg("jobs"), py::arg("steps"), py::arg("threads") = 0, py::arg("level") = "", py::arg("at_most") = 0,
        "Advances every job by `steps` from its first_step. threads 0: as many as useful, at most `at_most`; the "
        "result "
        "does not depend on it.");
    module.def(
        "gradient_step",
        [](const Job& job, const std::vector<uintptr_t>& student, const std::vector<uintptr_t>& teacher, int at_most) {
            const auto pointers = [](const std::vector<uintptr_t>& addresses) {
                std::vector<const float*> out;
                for (const uintptr_t a : addresses) out.push_back(pointer<const float>(a));
                return out;
            };
            py::gil_scoped_release release;
            gradient_step(job, pointers(student), pointers(teacher), at_most);
        },
        py::arg("job"), py::arg("student"), py::arg("teacher"), py::arg("at_most") = 0,
        "One step's losses and gradient, nothing updated. student, teacher: the addresses of W_1, b_1, W_2, ...");
    module.def(
        "predict",
        [](const std::vector<int>& widths, const std::string& activation, uintptr_t params, uintptr_t x, int64_t n,
           uintptr_t y, uintptr_t jacobian, int threads) {
            const Network net = make_network(widths, activation, params);
            py::gil_scoped_release release;
            predict(net, pointer<const float>(x), n, pointer<float>(y), pointer<float>(jacobian), threads);
        },
        py::arg("widths"), py::arg("activation"), py::arg("params"), py::arg("x"), py::arg("n"), py::arg("y"),
        py::arg("jacobian") = 0, py::arg("threads") = 0,
        "y [n, o] of an MLP at x [n, d] and, when `jacobian` is not 0, its Jacobian [n, o, d].");
    module.def(
        "perturb",
        [](uintptr_t x, uintptr_t sigma, int64_t samples, int64_t features, int draws, uint64_t seed, int64_t step,
           int stream, uintptr_t out, const std::string& level) {
            const Kernels& k = kernels(level);
            if (draws < 0 || draws > 65535)
                throw std::invalid_argument("draws must be 0 to 65535, got " + std::to_string(draws));
            py::gil_scoped_release release;
            k.perturb(pointer<const float>(x), pointer<const float>(sigma), samples, features, draws, seed, step,
                      stream, pointer<float>(out));
        },
        py::arg("x"), py::arg("sigma"), py::arg("samples"), py::arg("features"), py::arg("draws"), py::arg("seed"),
        py::arg("step"), py::arg("stream"), py::arg("out"), py::arg("level") = "",
        "out [samples, draws, features] = x + sigma * eps; x [samples, features], sigma [features].");
    module.def(
        "matching_loss",
        [](const Job& constants, uintptr_t student, uintptr_t y, uintptr_t t, int64_t n, int outputs,
           uintptr_t gradient) {
            LossCall call{constants,
                          pointer<const float>(student),
                          pointer<const float>(y),
                          pointer<const float>(t),
                          n,
                          outputs,
                          pointer<float>(gradient),
                          0.0};
            py::gil_scoped_release release;
            return matching_loss(call);
        },
        py::arg("constants"), py::arg("student"), py::arg("y"), py::arg("t"), py::arg("n"), py::arg("outputs"),
        py::arg("gradient") = 0,
        "Mean base loss of outputs [n, o] and its gradient; constants: a Job whose base, its constants and row_ arrays "
        "are set.");
    module.def(
        "activate",
        [](const std::string& kind, uintptr_t z, int64_t n, uintptr_t a, uintptr_t s1, uintptr_t s2,
           const std::string& level) {
            kernels(level).activate(index_of(kActivationNames, kind, "activation"), pointer<const float>(z), n,
                                    pointer<float>(a), pointer<float>(s1), pointer<float>(s2));
        },
        py::arg("kind"), py::arg("z"), py::arg("n"), py::arg("a"), py::arg("s1"), py::arg("s2"), py::arg("level") = "",
        "s, s' and s'' of an activation, for tests.");
    module.def(
        "philox",
        [](std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
            host::philox4x32(counter.data(), key[0], key[1]);
            return counter;
        },
        py::arg("counter"), py::arg("key"), "One Philox4x32-10 block, for its known answers.");
    module.def(
        "permute",
        [](uint64_t seed, uint64_t epoch, int64_t n, uintptr_t out) {
            if (n < 1 || n > INT32_MAX)
                throw std::invalid_argument("a permutation has 1 to 2^31 - 1 rows, got " + std::to_string(n));
            kernels().permute(seed, epoch, n, pointer<int32_t>(out));
        },
        py::arg("seed"), py::arg("epoch"), py::arg("n"), py::arg("out"),
        "out [n] int32: the order of rows of an epoch.");
}
