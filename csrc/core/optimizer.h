// What changes from step to step outside the networks: weights of the terms, the learning rate, and one parameter's
// update.
#pragma once

#include "network.h"

#ifndef __CUDACC__
#include <math.h>
#endif

namespace regkd {
namespace REGKD_LEVEL {

// Constants of one step, from (job, t) alone.
struct StepNow {
    uint32_t step;
    int64_t t;
    float weight[kTerms];
    float rate;
    float correction1;  // Adam: 1 - beta1^(t+1)
    float correction2;  // Adam: sqrt(1 - beta2^(t+1))
};

REGKD_INLINE float weight_at(const Weight& w, int64_t t, int64_t total) {
    const int64_t reached = (t / w.hold + 1) * w.hold;
    const double f = reached >= total ? 1.0 : static_cast<double>(reached) / static_cast<double>(total);
    return static_cast<float>(w.start + (static_cast<double>(w.end) - w.start) * f);
}

REGKD_PHASE StepNow step_now(const Job& job, int64_t t) {
    StepNow now;
    now.step = static_cast<uint32_t>(t);
    now.t = t;
    for (int i = 0; i < kTerms; ++i) now.weight[i] = weight_at(job.weight[i], t, job.total_steps);
    const double f = static_cast<double>(t) / static_cast<double>(job.total_steps);
    double rate = job.rate;
    if (job.rate_schedule == kLinearRate) rate *= 1.0 - f;
    if (job.rate_schedule == kCosineRate) rate *= 0.5 * (1.0 + cos(3.14159265358979323846 * f));
    now.rate = static_cast<float>(rate);
    const bool adam = job.optimizer == kAdam || job.optimizer == kAdamW;
    const double n = static_cast<double>(t + 1);
    now.correction1 = adam ? static_cast<float>(1.0 - pow(static_cast<double>(job.beta1), n)) : 1.0f;
    now.correction2 = adam ? static_cast<float>(sqrt(1.0 - pow(static_cast<double>(job.beta2), n))) : 1.0f;
    return now;
}

// torch.optim.RMSprop, Adam and AdamW: p, first and second are changed in place. F: a vector of parameters or one.
template <class F>
REGKD_INLINE void update(const Job& job, const StepNow& now, F g, F& p, F& first, F& second) {
    if (job.optimizer == kAdamW)
        p = p * (1.0f - now.rate * job.weight_decay);
    else
        g = g + p * job.weight_decay;
    if (job.optimizer == kRmsprop) {
        first = first * job.alpha + g * g * (1.0f - job.alpha);
        p = p - g * now.rate / (square_root(first) + job.eps);
    } else {
        first = first + (g - first) * (1.0f - job.beta1);
        second = second * job.beta2 + g * g * (1.0f - job.beta2);
        p = p - first * (now.rate / now.correction1) / (square_root(second) / now.correction2 + job.eps);
    }
}

}  // namespace REGKD_LEVEL
}  // namespace regkd
