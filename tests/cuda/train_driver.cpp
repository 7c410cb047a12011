// The training kernel on host arrays as C functions, for the tests: a Job is filled in by Python (jobs.py lays it out).
#include "../../csrc/cuda/train.cu"

#include <cstring>

using namespace regkd;

extern "C" {

int64_t job_bytes() { return sizeof(Job); }

// What the launch would be: [members, blocks, threads, student, teacher, arena (floats in shared memory), shared bytes,
// tiles, scratch floats].
int plan(const Job* jobs, int32_t members, int64_t shared_limit, int threads, int64_t resident, int32_t* out,
         int64_t* workspace_bytes) {
    const cuda::Plan p = cuda::plan_blocks(cuda::plan_shared(jobs, members, shared_limit, threads), resident);
    const int32_t all[9] = {p.members,      p.blocks,       p.threads, p.student_floats, p.teacher_floats,
                            p.arena_floats, p.shared_bytes, p.tiles,   p.scratch_floats};
    std::memcpy(out, all, sizeof(all));
    *workspace_bytes = p.workspace_bytes;
    return p.blocks;
}

int train(const Job* jobs, int32_t members, int64_t shared_limit, int threads, int64_t resident,
          unsigned char* workspace, int32_t steps, int64_t offset, const int64_t* step_on_device) {
    const cuda::Plan p = cuda::plan_blocks(cuda::plan_shared(jobs, members, shared_limit, threads), resident);
    return cuda::train({jobs, workspace, p, steps, offset, step_on_device, {}, false}, nullptr);
}

// One step of a job that travels with the launch; its losses go to the table's first row.
int one_step(const Job* job, int64_t shared_limit, int threads, int64_t resident, unsigned char* workspace,
             const int64_t* step_on_device) {
    const cuda::Plan p = cuda::plan_blocks(cuda::plan_shared(job, 1, shared_limit, threads), resident);
    return cuda::train({nullptr, workspace, p, 1, 0, step_on_device, *job, true}, nullptr);
}

int64_t barriers_met() { return cuda_on_cpu::barriers_of_launch; }
}
