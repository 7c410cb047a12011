// What changes from step to step outside the networks: weights of the terms, the learning rate, and one parameter's
// update.
#pragma once

#include "network.h"

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

// base^n by squaring: a few dozen products, no library function.
REGKD_INLINE double power(double base, int64_t n) {
    double result = 1.0;
    for (; n > 0; n >>= 1) {
        if (n & 1) result *= base;
        base *= base;
        if (base == 0.0 && n > 1) return 0.0;
    }
    return result;
}

// (1 + cos(pi f)) / 2 for f in [0, 1], to 1e-15: cos^2(pi f / 2) with the argument folded to [0, pi / 4].
REGKD_INLINE double half_cosine(double f) {
    const bool folded = f > 0.5;  // then sin^2 of the rest
    const double x = (folded ? 1.0 - f : f) * 1.57079632679489661923, z = x * x;
    double c = -1.0 / 87178291200.0;  // -x^14 / 14! + ...
    c = c * z + 1.0 / 479001600.0;
    c = c * z - 1.0 / 3628800.0;
    c = c * z + 1.0 / 40320.0;
    c = c * z - 1.0 / 720.0;
    c = c * z + 1.0 / 24.0;
    c = c * z - 0.5;
    c = c * z + 1.0;
    return folded ? 1.0 - c * c : c * c;
}

// The parts of StepNow, each by itself: on the device different threads make them.
REGKD_INLINE float rate_at(const Job& job, int64_t t) {
    const double f = static_cast<double>(t) / static_cast<double>(job.total_steps);
    double rate = job.rate;
    if (job.rate_schedule == kLinearRate) rate *= 1.0 - f;
    if (job.rate_schedule == kCosineRate) rate *= half_cosine(f);
    return static_cast<float>(rate);
}
REGKD_INLINE float left_of_power(const Job& job, float beta, int64_t t) {  // Adam: 1 - beta^(t+1)
    const bool adam = job.optimizer == kAdam || job.optimizer == kAdamW;
    return adam ? static_cast<float>(1.0 - power(static_cast<double>(beta), t + 1)) : 1.0f;
}

REGKD_PHASE StepNow step_now(const Job& job, int64_t t) {
    StepNow now;
    now.step = static_cast<uint32_t>(t);
    now.t = t;
    for (int i = 0; i < kTerms; ++i) now.weight[i] = weight_at(job.weight[i], t, job.total_steps);
    now.rate = rate_at(job, t);
    now.correction1 = left_of_power(job, job.beta1, t);
    now.correction2 = square_root(left_of_power(job, job.beta2, t));
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
