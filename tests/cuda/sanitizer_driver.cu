// A program for compute-sanitizer on a device: all kernels on small odd shapes, several blocks a member. Prints the
// losses; exit status 1 when a call fails or a loss is not finite, 77 when there is no device. Built by
// tools/gpu_check.
#include "../../csrc/cuda/matching_loss.cu"
#include "../../csrc/cuda/perturb.cu"
#include "../../csrc/cuda/small.cu"  // after it: inlined phases would take the other kernel long to compile
#include "../../csrc/cuda/train.cu"
#include "sample_member.h"

#include <cmath>
#include <cstdio>

namespace {

bool good = true;

void expect(int status, const char* what) {
    if (status == cudaSuccess) return;
    std::fprintf(stderr, "%s: %s\n", what, cudaGetErrorString(static_cast<cudaError_t>(status)));
    good = false;
}

// A copy on the device, released with the program.
template <class T>
T* upload(const std::vector<T>& host) {
    void* p = nullptr;
    expect(cudaMalloc(&p, host.size() * sizeof(T)), "cudaMalloc");
    expect(cudaMemcpy(p, host.data(), host.size() * sizeof(T), cudaMemcpyHostToDevice), "cudaMemcpy");
    return static_cast<T*>(p);
}

Job on_device(const Member& m) {
    Job job = m.job;
    job.params = upload(m.params);
    job.teacher.params = upload(m.teacher);
    job.state1 = upload(m.state1);
    job.state2 = upload(m.state2);
    job.grad = upload(m.grad);
    job.x = upload(m.x);
    job.y = upload(m.y);
    job.t = upload(m.t);
    job.sigma = upload(m.sigma);
    job.losses = upload(m.losses);
    return job;
}

}  // namespace

int main() {
    int count = 0;
    if (cudaGetDeviceCount(&count) != cudaSuccess || count == 0) {
        std::fprintf(stderr, "no CUDA device\n");
        return 77;
    }
    cudaDeviceProp device;
    expect(cudaGetDeviceProperties(&device, 0), "properties");
    const Member a(9, 1), b(36, 2), wide(66, 3, 9, 345);  // the last: too many rows for the small path, so slices
    const std::vector<Job> jobs = {on_device(a), on_device(b), on_device(wide)};
    // Three blocks a member: tiles are shared out unevenly. `shared`: too little of it for the small path, then enough.
    cuda::SmallDevice small = {device.sharedMemPerBlockOptin, 6, true, 1, cuda::kSmallWarps};
    expect(cuda::small_cluster(small.shared_bytes, &small.cluster), "clusters");
    const auto plan_of = [&](int members, int64_t shared) {
        cuda::Plan plan = cuda::plan_shared(jobs.data(), members, shared, 0);
        int64_t resident = 0;
        if (plan.small.members < members)
            expect(cuda::resident_blocks(plan, device.multiProcessorCount, true, &resident), "planning");
        return cuda::plan_blocks(plan, resident < 6 ? resident : 6, small);
    };
    for (int64_t shared : {int64_t{cuda::kSmallBytes - 1}, small.shared_bytes}) {
        for (int32_t cluster : {1, small.cluster}) {
            small.cluster = cluster;
            const cuda::Plan plan = plan_of(2, shared);
            unsigned char* workspace = upload(std::vector<unsigned char>(static_cast<size_t>(plan.workspace_bytes), 0));
            expect(cuda::train({upload(jobs), workspace, plan, 2, 0, nullptr, {}, false}, nullptr), "train");
        }
    }
    const cuda::Plan alone = plan_of(1, small.shared_bytes);
    unsigned char* its = upload(std::vector<unsigned char>(static_cast<size_t>(alone.workspace_bytes), 0));
    expect(cuda::train({nullptr, its, alone, 1, 0, nullptr, jobs[0], true}, nullptr), "a job in the launch");

    int64_t resident = 0;
    cuda::Plan sliced = cuda::plan_shared(&jobs[2], 1, static_cast<int64_t>(device.sharedMemPerBlockOptin), 0);
    expect(cuda::resident_blocks(sliced, device.multiProcessorCount, true, &resident), "planning");
    sliced = cuda::plan_blocks(sliced, resident, small);
    unsigned char* scratch = upload(std::vector<unsigned char>(static_cast<size_t>(sliced.workspace_bytes), 0));
    expect(cuda::train({nullptr, scratch, sliced, 1, 0, nullptr, jobs[2], true}, nullptr), "products in slices");

    float* out = upload(std::vector<float>(a.x.size() * 2));
    expect(cuda::perturb({jobs[0].x, jobs[0].sigma, out, 70, 2, 5, 1, 0, nullptr}, nullptr), "perturb");
    unsigned char* space =
        upload(std::vector<unsigned char>(static_cast<size_t>(cuda::loss_workspace_bytes(70, 2)), 0));
    double* value = upload(std::vector<double>(1));
    expect(cuda::matching_loss({jobs[0], jobs[0].t, jobs[0].y, nullptr, 70, 2, out, value, space}, nullptr),
           "matching_loss");
    expect(cudaDeviceSynchronize(), "the kernels");

    double losses[3] = {}, mean = 0.0;
    for (int i = 0; i < 3; ++i)
        expect(cudaMemcpy(&losses[i], jobs[static_cast<size_t>(i)].losses, sizeof(double), cudaMemcpyDeviceToHost),
               "losses");
    expect(cudaMemcpy(&mean, value, sizeof(double), cudaMemcpyDeviceToHost), "value");
    std::printf("%.9g %.9g %.9g %.9g\n", losses[0], losses[1], losses[2], mean);
    const bool finite = std::isfinite(losses[0]) && std::isfinite(losses[1]) && std::isfinite(losses[2]);
    return good && finite && std::isfinite(mean) ? 0 : 1;
}
