// The CPU back end as the bindings see it: choice of SIMD level, checks, memory, and jobs on threads.
#pragma once

#include <string>
#include <vector>

#include "kernels.h"

namespace regkd {

std::vector<std::string> available_levels();  // of this CPU, from the plainest to the widest
// The level in use: the widest one, or the one REGKD_EDGE_SIMD names. Throws std::runtime_error when that one is not
// available.
const Kernels& kernels();
const Kernels& kernels(const std::string& level);

// Why the core cannot run this job, in one sentence; empty: it can.
std::string refusal(const Job& job);
std::string refusal(const Network& net, const char* name);

struct Cost {
    double flops, activations;  // of one step
    int64_t params, arena_bytes;
    int32_t tiles, groups, threads;
};
Cost cost(const Job& job, int threads);

// Advances every job by `steps`. threads 0: as many as useful, but no more than `at_most` (0: no bound). level "": the
// one in use.
void run_jobs(std::vector<Job>& jobs, int64_t steps, int threads, const std::string& level, int at_most = 0);
// One step's losses and gradient of a job without an optimizer; the networks are given by their tensors, W_1, b_1, W_2
// ...
void gradient_step(Job job, const std::vector<const float*>& student, const std::vector<const float*>& teacher,
                   int at_most);
void predict(const Network& net, const float* x, int64_t n, float* y, float* jacobian, int threads);
double matching_loss(LossCall& call);

}  // namespace regkd
