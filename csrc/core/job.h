// One training job, as plain data: what the Python side fills in and both back ends read. Pointers are host pointers
// for csrc/cpu and device pointers for csrc/cuda. Arrays are row-major and dense.
//
// Parameters of a network are one flat array: W_1 [n_1, n_0] row-major, b_1 [n_1], W_2 [n_2, n_1], b_2 [n_2], ...
#pragma once

#include "portable.h"

namespace regkd {

enum Activation : int32_t {
    kIdentity,
    kRelu,
    kLeakyRelu,
    kElu,
    kSilu,
    kGelu,
    kGeluTanh,
    kTanh,
    kSoftplus,
    kActivations
};

// L_base, a value per row: w_i * (value below), averaged over the batch. S the student's output, t the stored T(x).
enum Base : int32_t {
    kNone,
    kSquares,  // a_i |S-y|^2 + b_i |S-t|^2: labels, mimic, blend, ail and their kin; a, b numbers or [N]
    kHuber,    // sum over outputs of huber(S-y; delta)
    kTbr,      // sum of huber(S-y; 1) + nu [ |S-y|^2 + margin > error_i ] (|S-y|^2, or |S-t|^2 with imitate)
    kTor,      // outlier_i ? (drop_outliers ? 0 : sqrt(|S-t| + 1e-7)) : |S-y|^2
    kBases
};
enum AscentRule : int32_t { kRmspropAscent, kSign, kNormalised, kAscentRules };
enum Optimizer : int32_t { kGradientOnly, kRmsprop, kAdam, kAdamW, kOptimizers };
enum RateSchedule : int32_t { kConstantRate, kLinearRate, kCosineRate, kRateSchedules };
enum Term : int32_t { kTermBase, kTermPm, kTermAbm, kTermGm, kTerms };
enum PointKind : int32_t { kOriginal, kPerturbed, kAscended, kPointKinds };  // bit 1 << kind in gm_on

struct Network {
    int32_t layers;                  // weight matrices; 0: no such network
    int32_t widths[kMaxLayers + 1];  // d, hidden widths, o
    int32_t activation;              // of every hidden layer; the output is linear
    int32_t padded;                  // 1: params lie as the device keeps them in shared memory (row_stride), else 0
    const float* params;             // [P] flat
};

// A term's weight at step t of T: start + (end - start) * min(1, (t / hold + 1) * hold / T), integer division, in
// double. A term is active, and its points exist, unless start == end == 0, whatever its value at one step.
struct Weight {
    float start, end;
    int64_t hold;
};

struct Job {
    // -- networks. student.params is ignored: `params` is the student's, updated in place.
    Network student, teacher;
    float* params;  // [P]
    float* grad;    // [P] the gradient of the last step, null: not wanted
    float* state1;  // [P] RMSprop: square average; Adam: first moment
    float* state2;  // [P] Adam: second moment

    // -- data, in standardised space
    const float* x;            // [N, d]; null: inputs are N(0, I) from stream INPUT
    const float* y;            // [N, o] labels, null when the base reads none
    const float* t;            // [N, o] the teacher's answers; null: the teacher is evaluated in every step
    const float* row_weight;   // [N] w_i, null: 1
    const float* row_a;        // [N] a_i of kSquares, null: base_a
    const float* row_b;        // [N] b_i of kSquares, null: base_b
    const float* row_error;    // [N] e_i of tbr
    const float* row_outlier;  // [N] 1 for an outlier, else 0 (tor)
    const float* sigma;        // [d] standard deviation of a perturbation
    const float* low;          // [d] bounds of synthetic inputs, null: none
    const float* high;         // [d]
    int64_t rows;              // N
    int32_t shuffle;           // 1: minibatches follow perm(seed, epoch); 0: row = position % N

    // -- points of a step
    int32_t batch;  // B anchors
    int32_t draws;  // K perturbed points an anchor, exist when w_pm is active or gm_on has their bit
    int32_t ascent_steps;
    int32_t ascent_rule;         // AscentRule
    int32_t ascent_from_anchor;  // x0 = from_anchor * x + ascent_sigma * eps
    float ascent_sigma;
    float ascent_size;               // step length (RMSprop: learning rate)
    float ascent_ridge;              // 1e-5 in Zhou & Chiam: of |S|^2
    float ascent_decay;              // 1e-5 in Zhou & Chiam: weight decay of x
    float ascent_alpha, ascent_eps;  // RMSprop's, 0.99 and 1e-8
    int32_t gm_on;                   // bits of PointKind
    int32_t cotangents;              // 0: one pass per output (exact); C > 0: C random-sign projections

    // -- objective
    int32_t base;           // Base
    float base_a, base_b;   // kSquares
    float nu, margin;       // kTbr
    int32_t imitate;        // kTbr
    float delta;            // kHuber
    int32_t drop_outliers;  // kTor
    Weight weight[kTerms];  // w_base, w_pm, w_abm, w_gm

    // -- optimizer, with torch's semantics
    int32_t optimizer;  // Optimizer
    float rate, weight_decay;
    float alpha, beta1, beta2, eps;
    int32_t rate_schedule;  // RateSchedule: 1 | 1 - t/T | (1 + cos(pi t/T)) / 2
    int64_t total_steps;    // T

    // -- place in the run
    uint64_t seed;
    int64_t first_step;  // t of this call's first step; Adam's count is t + 1
    double* losses;      // [n_steps, 1 + kTerms] weighted total, then unweighted terms; null: not recorded
};

}  // namespace regkd
