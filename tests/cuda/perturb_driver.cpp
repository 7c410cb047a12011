// The perturb kernel as a C function on host arrays, for the tests.
#include "../../csrc/cuda/perturb.cu"

extern "C" int perturb(const float* x, const float* sigma, float* out, int64_t samples, int32_t draws, int32_t features,
                       uint64_t seed, uint32_t step, const int64_t* step_on_device) {
    const regkd::cuda::PerturbJob job = {x, sigma, out, samples, draws, features, seed, step, step_on_device};
    return regkd::cuda::perturb(job, nullptr);
}
