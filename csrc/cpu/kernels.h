// What a SIMD level offers to the rest of the library: plain functions on plain data, so that nothing compiled for a
// level is ever shared with another through the linker.
#pragma once

#include <cstddef>

#include "../core/job.h"

namespace regkd {

struct Barrier;  // pool.h
using WaitFunction = void (*)(Barrier*);

// One job while it runs. Sizes come from Kernels::measure; the runtime allocates, 64-byte aligned.
struct JobRun {
    Job job;
    int64_t steps;
    // set by measure
    int64_t params;          // P
    int64_t partial_floats;  // of one group's gradient, padded layout
    int64_t arena_floats;    // of one thread
    int32_t tiles, groups;   // tile i adds to group i % groups; groups depend on the job alone
    double flops;            // multiply-adds times two of one step, networks only
    double activations;      // activations evaluated in one step
    // set by the runtime
    float* partials;   // [groups, partial_floats]
    float* arenas;     // [threads, arena_floats]
    float* flat;       // [P + 16 (threads + 1)] summed gradient; thread i uses it shifted by 16 i
    double* sums;      // [tiles, 2]
    int32_t next[2];   // group to take next, for odd and even steps
    Barrier* barrier;  // null with one thread
    WaitFunction wait;
};

// S against labels and teacher outputs: see csrc/core/job.h for the formulas. All [N, o] or [N].
struct LossCall {
    Job constants;         // base, base_a, base_b, nu, margin, imitate, delta, drop_outliers and the row_ arrays
    const float* student;  // [N, o]
    const float* y;        // [N, o] or null
    const float* t;        // [N, o] or null
    int64_t n;
    int32_t outputs;
    float* gradient;  // [N, o] of the mean over rows, null: not wanted
    double value;     // mean over rows, written
};

struct Kernels {
    const char* level;
    int32_t vector_floats;
    void (*measure)(JobRun*);
    void (*steps)(JobRun*, int thread, int threads);
    void (*perturb)(const float* x, const float* sigma, int64_t samples, int64_t features, int32_t draws, uint64_t seed,
                    int64_t step, int32_t stream, float* out);
    void (*matching_loss)(LossCall*, float* scratch);
    void (*predict)(const Network*, const float* x, int64_t begin, int64_t end, float* arena, float* y,
                    float* jacobian);
    int64_t (*predict_floats)(const Network*);
    void (*activate)(int32_t kind, const float* z, int64_t n, float* a, float* s1, float* s2);
    void (*permute)(uint64_t seed, uint64_t epoch, int64_t n, int32_t* out);
};

}  // namespace regkd
