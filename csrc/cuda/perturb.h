// perturb on the device: x~[b, k, j] = x[b, j] + sigma_j * eps, with the noise of csrc/core/philox.h (stream PERTURB).
#pragma once

#include "common.h"

namespace regkd {
namespace cuda {

struct PerturbJob {
    const float* x;      // [B, d]
    const float* sigma;  // [d]
    float* out;          // [B, K, d]
    int64_t samples;     // B < 2^32
    int32_t draws;       // K < 2^16
    int32_t features;    // d
    uint64_t seed;
    uint32_t step;
    const int64_t* step_on_device;  // added to `step` when not null: a captured graph moves on by changing it
};

Status perturb(const PerturbJob& job, Stream stream);

}  // namespace cuda
}  // namespace regkd
