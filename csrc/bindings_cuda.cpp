// regkd_edge._core.cuda: the CUDA back end as plain functions of addresses. Arrays lie in device memory; nothing here
// allocates device memory or waits for the device, so every call may be made while a CUDA graph is captured.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <stdexcept>

#include "cpu/runtime.h"
#include "cuda/device.h"
#include "cuda/matching_loss.h"
#include "cuda/perturb.h"
#include "cuda/train.h"

namespace py = pybind11;
using namespace regkd;

namespace {

template <class T>
T* pointer(uintptr_t address) {
    return reinterpret_cast<T*>(address);
}

std::vector<Job> copies_of(const std::vector<const Job*>& jobs) {
    if (jobs.empty()) throw std::invalid_argument("no jobs: a launch needs at least one");
    std::vector<Job> out;
    for (const Job* job : jobs) out.push_back(*job);
    return out;
}

cuda::Plan make_plan(const std::vector<const Job*>& pointers, int device_index) {
    const std::vector<Job> jobs = copies_of(pointers);
    for (const Job& job : jobs) {
        const std::string why = refusal(job);
        if (!why.empty()) throw std::invalid_argument("the fused core cannot run this step: " + why);
    }
    const cuda::Device device = cuda::device(device_index);
    const int32_t members = static_cast<int32_t>(jobs.size());
    if (const char* why = cuda::refuse(jobs.data(), members, device.shared_bytes))
        throw std::invalid_argument(std::string("the CUDA back end cannot run this step: ") + why);
    const cuda::OnDevice here(device_index);
    cuda::Plan plan = cuda::plan_shared(jobs.data(), members, device.shared_bytes, 0);
    int64_t resident = 0;
    const bool cooperative = device.cooperative != 0;
    cuda::SmallDevice small = {device.shared_bytes, device.multiprocessors, cooperative, 1, cuda::kSmallWarps};
    if (plan.small.members < members) {
        cuda::check(cuda::resident_blocks(plan, device.multiprocessors, cooperative, &resident), "planning the launch");
        if (resident < 1)
            throw std::invalid_argument("the CUDA back end cannot run this step: not one block of " +
                                        std::to_string(plan.shared_bytes) + " bytes fits the device");
    }
    if (plan.small.members > 0)
        cuda::check(cuda::small_cluster(device.shared_bytes, &small.cluster), "planning the launch");
    return cuda::plan_blocks(plan, resident, small);
}

// Of the small path's launch where all members go it, else of the other.
bool all_small(const cuda::Plan& plan) { return plan.small.members == plan.members; }
int32_t shared_bytes_of(const cuda::Plan& plan) {
    return std::max(all_small(plan) ? 0 : plan.shared_bytes, plan.small.shared_bytes);
}

// A plan belongs to the device it was made for: another may have less shared memory.
void check_fits(const cuda::Plan& plan, int device_index) {
    const cuda::Device device = cuda::device(device_index);
    if (shared_bytes_of(plan) > device.shared_bytes)
        throw std::invalid_argument("the plan needs " + std::to_string(shared_bytes_of(plan)) +
                                    " bytes of shared memory per block and device " + std::to_string(device.index) +
                                    " gives " + std::to_string(device.shared_bytes) + "; make a plan for this device");
}

}  // namespace

void bind_cuda(py::module_& core) {
    py::module_ module =
        core.def_submodule("cuda", "The fused core on CUDA devices. Addresses are device memory unless said.");
    module.def(
        "device_count",
        [] {
            std::string why;
            const int32_t count = cuda::device_count(why);
            return py::make_tuple(count, why);
        },
        "(usable devices, why there are none).");
    module.def(
        "device",
        [](int index) {
            const cuda::Device d = cuda::device(index < 0 ? cuda::current_device() : index);
            py::dict out;
            out["index"] = d.index;
            out["name"] = d.name;
            out["capability"] = py::make_tuple(d.major, d.minor);
            out["multiprocessors"] = d.multiprocessors;
            out["shared_bytes"] = d.shared_bytes;
            out["cooperative"] = d.cooperative != 0;
            return out;
        },
        py::arg("index") = -1, "What the kernels need to know of a device; -1: the calling thread's current one.");
    module.def(
        "perturb",
        [](uintptr_t x, uintptr_t sigma, int64_t samples, int features, int draws, uint64_t seed, int64_t step,
           uintptr_t out, int device, uintptr_t stream, uintptr_t step_address) {
            if (draws < 0 || draws > 65535)
                throw std::invalid_argument("draws must be 0 to 65535, got " + std::to_string(draws));
            const cuda::OnDevice here(device);
            const cuda::PerturbJob job = {pointer<const float>(x),
                                          pointer<const float>(sigma),
                                          pointer<float>(out),
                                          samples,
                                          draws,
                                          features,
                                          seed,
                                          static_cast<uint32_t>(step),
                                          pointer<const int64_t>(step_address)};
            cuda::check(cuda::perturb(job, pointer<void>(stream)), "perturb");
        },
        py::arg("x"), py::arg("sigma"), py::arg("samples"), py::arg("features"), py::arg("draws"), py::arg("seed"),
        py::arg("step"), py::arg("out"), py::arg("device"), py::arg("stream"), py::arg("step_address") = 0,
        "out [samples, draws, features] = x + sigma * eps. step_address: an int64 in device memory that is added to "
        "step.");
    module.def("loss_workspace_bytes", &cuda::loss_workspace_bytes, py::arg("n"), py::arg("outputs"),
               "Bytes of matching_loss's workspace; zero it once.");
    module.def(
        "matching_loss",
        [](const Job& constants, uintptr_t student, uintptr_t y, uintptr_t t, int64_t n, int outputs,
           uintptr_t gradient, uintptr_t value, uintptr_t workspace, int device, uintptr_t stream) {
            if (n < 1) throw std::invalid_argument("matching_loss needs at least one row, got " + std::to_string(n));
            const cuda::OnDevice here(device);
            const cuda::LossCall call = {
                constants, pointer<const float>(student), pointer<const float>(y), pointer<const float>(t),          n,
                outputs,   pointer<float>(gradient),      pointer<double>(value),  pointer<unsigned char>(workspace)};
            cuda::check(cuda::matching_loss(call, pointer<void>(stream)), "matching_loss");
        },
        py::arg("constants"), py::arg("student"), py::arg("y"), py::arg("t"), py::arg("n"), py::arg("outputs"),
        py::arg("gradient"), py::arg("value"), py::arg("workspace"), py::arg("device"), py::arg("stream"),
        "value (one float64) = mean base loss of outputs [n, o]; gradient [n, o], 0: not wanted.");
    py::class_<cuda::Plan>(module, "Plan", "How a set of jobs is laid out on a device.")
        .def_readonly("members", &cuda::Plan::members)
        .def_property_readonly("small_members", [](const cuda::Plan& p) { return p.small.members; })
        .def_property_readonly("clustered", [](const cuda::Plan& p) { return p.small.clustered != 0; })
        .def_property_readonly("blocks", [](const cuda::Plan& p) { return all_small(p) ? p.small.blocks : p.blocks; })
        .def_property_readonly("threads",
                               [](const cuda::Plan& p) { return all_small(p) ? p.small.threads : p.threads; })
        .def_property_readonly("shared_bytes", &shared_bytes_of)
        .def_property_readonly("student_in_shared",
                               [](const cuda::Plan& p) { return all_small(p) || p.student_floats > 0; })
        .def_property_readonly("teacher_in_shared",
                               [](const cuda::Plan& p) { return all_small(p) || p.teacher_floats > 0; })
        .def_property_readonly("buffers_in_shared",
                               [](const cuda::Plan& p) { return all_small(p) || p.arena_floats > 0; })
        .def_readonly("workspace_bytes", &cuda::Plan::workspace_bytes,
                      "Allocate on the device, 256-byte aligned, and zero it once.");
    module.def("plan", &make_plan, py::arg("jobs"), py::arg("device"),
               "The launch for these jobs (an ensemble advances together). Asks for attributes and occupancy, waits "
               "for nothing.");
    module.def(
        "train",
        [](const cuda::Plan& plan, uintptr_t jobs, uintptr_t workspace, int steps, int64_t offset, int device,
           uintptr_t stream, uintptr_t step_address) {
            check_fits(plan, device);
            const cuda::OnDevice here(device);
            const cuda::TrainCall call = {pointer<const Job>(jobs),
                                          pointer<unsigned char>(workspace),
                                          plan,
                                          steps,
                                          offset,
                                          pointer<const int64_t>(step_address),
                                          {},
                                          false};
            cuda::check(cuda::train(call, pointer<void>(stream)), "train");
        },
        py::arg("plan"), py::arg("jobs"), py::arg("workspace"), py::arg("steps"), py::arg("offset"), py::arg("device"),
        py::arg("stream"), py::arg("step_address") = 0,
        "Advances every job by `steps` from its first_step + offset (+ the int64 at step_address). jobs: the jobs' "
        "to_bytes(), joined, copied to the "
        "device; losses are written from row offset (+ that int64) on.");
    module.def(
        "train_one",
        [](const cuda::Plan& plan, const Job& job, uintptr_t workspace, int steps, int device, uintptr_t stream,
           uintptr_t step_address) {
            if (plan.members != 1)
                throw std::invalid_argument("the plan is for " + std::to_string(plan.members) + " jobs, not for one");
            check_fits(plan, device);
            const cuda::OnDevice here(device);
            const cuda::TrainCall call = {nullptr, pointer<unsigned char>(workspace),    plan, steps,
                                          0,       pointer<const int64_t>(step_address), job,  true};
            cuda::check(cuda::train(call, pointer<void>(stream)), "train_one");
        },
        py::arg("plan"), py::arg("job"), py::arg("workspace"), py::arg("steps"), py::arg("device"), py::arg("stream"),
        py::arg("step_address") = 0,
        "The same for one job, which travels with the launch: nothing is copied from the host, so a captured graph may "
        "hold it. Losses are written from the first row on.");
}
