// matching_loss on the device: the base losses of csrc/core/loss.h for outputs of any network, value and gradient in
// one pass.
#pragma once

#include "common.h"

#include "../core/loss.h"

namespace regkd {
namespace cuda {

struct LossCall {
    Job constants;         // base, base_a, base_b, nu, margin, imitate, delta, drop_outliers and the row_ arrays
    const float* student;  // [N, o]
    const float* y;        // [N, o] or null
    const float* t;        // [N, o] or null
    int64_t n;
    int32_t outputs;
    float* gradient;           // [N, o] of the mean over rows, null: not wanted
    double* value;             // the mean over rows
    unsigned char* workspace;  // loss_workspace_bytes, zeroed before its first use
};

int64_t loss_workspace_bytes(int64_t n, int32_t outputs);

Status matching_loss(const LossCall& call, Stream stream);

}  // namespace cuda
}  // namespace regkd
