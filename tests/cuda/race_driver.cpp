// A program for ThreadSanitizer: all kernels, two members of two blocks each, two steps with every term. Exit status 0
// and the number of block barriers on stdout; 66 when the sanitizer saw a race (CUDA_ON_CPU_SKIP_BARRIER=n plants one).
#include "../../csrc/cuda/matching_loss.cu"
#include "../../csrc/cuda/perturb.cu"
#include "../../csrc/cuda/small.cu"
#include "../../csrc/cuda/train.cu"
#include "sample_member.h"

#include <cmath>
#include <cstdio>

// A launch for `members` jobs with so many blocks of 2 warps in all. `shared`: 97 kB are too few for the small path.
static cuda::Plan plan_of(const Job* jobs, int members, int kilobytes, int blocks) {
    const int64_t shared = kilobytes * 1024;
    const cuda::SmallDevice device = {shared, blocks, true, 1, 2};
    return cuda::plan_blocks(cuda::plan_shared(jobs, members, shared, 64), blocks, device, 64);
}

int main() {
    Member a(9, 1), b(36, 2);  // 36 inputs of a layer of 6: two warps share its sums
    const Job jobs[2] = {a.job, b.job};
    const cuda::Plan plan = plan_of(jobs, 2, 97, 4);
    std::vector<double> workspace(static_cast<size_t>(plan.workspace_bytes) / 8 + 16);
    unsigned char* at =
        reinterpret_cast<unsigned char*>((reinterpret_cast<uintptr_t>(workspace.data()) + 127) & ~uintptr_t{127});
    if (plan.blocks != 2) return 1;
    cuda::train({jobs, at, plan, 2, 0, nullptr, {}, false}, nullptr);
    std::printf("%ld\n", cuda_on_cpu::barriers_of_launch.load());
    cuda::train({nullptr, at, plan_of(jobs, 1, 97, 2), 1, 0, nullptr, jobs[0], true}, nullptr);

    const cuda::Plan small = plan_of(jobs, 2, 99, 4);
    std::vector<double> its(static_cast<size_t>(small.workspace_bytes) / 8 + 16);
    at = reinterpret_cast<unsigned char*>((reinterpret_cast<uintptr_t>(its.data()) + 127) & ~uintptr_t{127});
    if (small.small.members != 2 || small.small.blocks != 2) return 1;
    cuda::train({jobs, at, small, 2, 0, nullptr, {}, false}, nullptr);

    std::vector<float> out(a.x.size() * 2);
    cuda::perturb({a.x.data(), a.sigma.data(), out.data(), 70, 2, 5, 1, 0, nullptr}, nullptr);
    std::vector<double> space(static_cast<size_t>(cuda::loss_workspace_bytes(70, 2)) / 8 + 1);
    double value = 0.0;
    cuda::matching_loss({a.job, a.t.data(), a.y.data(), nullptr, 70, 2, out.data(), &value,
                         reinterpret_cast<unsigned char*>(space.data())},
                        nullptr);
    return std::isfinite(value) && std::isfinite(a.losses[0]) && std::isfinite(b.losses[5]) ? 0 : 1;
}
