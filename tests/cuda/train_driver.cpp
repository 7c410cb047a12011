// The training kernel on host arrays as C functions, for the tests: a Job is filled in by Python (jobs.py lays it out).
#include "../../csrc/cuda/small.cu"
#include "../../csrc/cuda/train.cu"

#include <algorithm>
#include <cstring>

using namespace regkd;

static int32_t largest_cluster = 1;

static cuda::Plan make_plan(const Job* jobs, int32_t members, int64_t shared_limit, int threads, int64_t resident) {
    const cuda::SmallDevice device = {shared_limit, static_cast<int32_t>(resident), true, largest_cluster,
                                      threads / cuda::kWarp};
    return cuda::plan_blocks(cuda::plan_shared(jobs, members, shared_limit, threads), resident, device, threads);
}

extern "C" {

// A device whose clusters have so many blocks; 1: none.
void set_cluster(int32_t blocks) { largest_cluster = blocks; }

int64_t job_bytes() { return sizeof(Job); }

// What the launch would be: [members, blocks, threads, student, teacher, arena (floats in shared memory), shared bytes,
// tiles, members that go the small path, whether their blocks are a cluster, scratch
// floats].
int plan(const Job* jobs, int32_t members, int64_t shared_limit, int threads, int64_t resident, int32_t* out,
         int64_t* workspace_bytes) {
    const cuda::Plan p = make_plan(jobs, members, shared_limit, threads, resident);
    const bool small = p.small.members == members;
    const int32_t all[11] = {members,
                             small ? p.small.blocks : p.blocks,
                             small ? p.small.threads : p.threads,
                             p.student_floats,
                             p.teacher_floats,
                             p.arena_floats,
                             std::max(p.shared_bytes, p.small.shared_bytes),
                             std::max(p.tiles, p.small.tiles),
                             p.small.members,
                             p.small.clustered,
                             p.scratch_floats};
    std::memcpy(out, all, sizeof(all));
    *workspace_bytes = p.workspace_bytes;
    return p.blocks;
}

// Tiles that the busiest warp of a launch of one member has in a step, one after the other; 0: not the small path.
int32_t tiles_in_turn(const Job* job, int64_t shared_limit, int threads, int64_t resident) {
    const cuda::SmallPlan& small = make_plan(job, 1, shared_limit, threads, resident).small;
    if (!small.members) return 0;
    const int32_t warps = small.blocks * small.warps, groups = (small.groups + warps - 1) / warps;
    return groups * ((small.tiles + small.groups - 1) / small.groups);
}

int train(const Job* jobs, int32_t members, int64_t shared_limit, int threads, int64_t resident,
          unsigned char* workspace, int32_t steps, int64_t offset, const int64_t* step_on_device) {
    const cuda::Plan p = make_plan(jobs, members, shared_limit, threads, resident);
    return cuda::train({jobs, workspace, p, steps, offset, step_on_device, {}, false}, nullptr);
}

// One step of a job that travels with the launch; its losses go to the table's first row.
int one_step(const Job* job, int64_t shared_limit, int threads, int64_t resident, unsigned char* workspace,
             const int64_t* step_on_device) {
    const cuda::Plan p = make_plan(job, 1, shared_limit, threads, resident);
    return cuda::train({nullptr, workspace, p, 1, 0, step_on_device, *job, true}, nullptr);
}

int64_t barriers_met() { return cuda_on_cpu::barriers_of_launch; }
}
