#include "perturb.h"

#include "launch.h"

#include "../core/philox.h"

namespace regkd {
namespace cuda {

// A thread makes the four normals of one counter: (sample, draw, quad of features), quads fastest so that a warp
// writes neighbouring addresses. Product and sum are rounded one by one, as on the CPU: the bits are equal.
__global__ void perturb_kernel(PerturbJob job) {
    const int32_t quads = (job.features + 3) / 4;
    const int64_t items = job.samples * job.draws * quads;
    const uint32_t step = job.step + (job.step_on_device ? static_cast<uint32_t>(*job.step_on_device) : 0u);
    for (int64_t item = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; item < items;
         item += static_cast<int64_t>(gridDim.x) * blockDim.x) {
        const int64_t point = item / quads;  // b K + k
        const int32_t quad = static_cast<int32_t>(item - point * quads);
        const int64_t sample = point / job.draws;
        const uint32_t draw = static_cast<uint32_t>(point - sample * job.draws);
        float n[4];
        REGKD_LEVEL::normal_quad<float>(job.seed, kPerturb, step, static_cast<uint32_t>(sample), draw,
                                        static_cast<uint32_t>(quad), n);
        const int32_t first = 4 * quad, some = job.features - first < 4 ? job.features - first : 4;
        for (int32_t i = 0; i < some; ++i) {
            const float shift = job.sigma[first + i] * n[i];
            job.out[point * job.features + first + i] = job.x[sample * job.features + first + i] + shift;
        }
    }
}

Status perturb(const PerturbJob& job, Stream stream) {
    const int64_t items = job.samples * job.draws * ((job.features + 3) / 4);
    if (items == 0) return 0;
    const int64_t blocks = (items + 255) / 256;
    const Grid grid = {static_cast<unsigned>(blocks < 4096 ? blocks : 4096), 1, 256, 0, false};
    return launch(perturb_kernel, grid, stream, job);
}

}  // namespace cuda
}  // namespace regkd
