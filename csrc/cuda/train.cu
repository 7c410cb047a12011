#include "train.h"

#include "block.h"

namespace regkd {
namespace cuda {

namespace {

__device__ __forceinline__ DeviceBlock this_block() {
    const int thread = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);
    float* scratch = block_shared() + round_up(sizeof(Header), 16) / 4;
    return {thread, threads, thread & (kWarp - 1), thread / kWarp, threads / kWarp, scratch};
}

__device__ __forceinline__ Header& header() { return *reinterpret_cast<Header*>(block_shared()); }

// All blocks of a member meet. Needs them resident (cooperative launch). The last to arrive opens the next generation,
// so the two words are fit for the next barrier and the next launch.
REGKD_CALL void member_barrier() {
    barrier();
    unsigned* words = header().barrier;
    const unsigned blocks = gridDim.x;
    if (blocks == 1) return;
    if (threadIdx.x == 0) {
        const unsigned generation = load_acquire(words + 1);
        if (add_acquire_release(words, 1) == blocks - 1) {
            store_release(words, 0);
            store_release(words + 1, generation + 1);
        } else {
            while (load_acquire(words + 1) == generation) wait_a_little();
        }
    }
    barrier();
}

__device__ __forceinline__ void copy_floats(float* to, const float* from, int64_t n) {
    for (int64_t i = threadIdx.x; i < n; i += blockDim.x) to[i] = from[i];
}

// The member's job, its buffers and its weights. One thread writes the header.
REGKD_CALL void set_up(const TrainCall& call) {
    Header& shared = header();
    const int32_t* words = reinterpret_cast<const int32_t*>(call.jobs ? call.jobs + blockIdx.y : &call.job);
    for (unsigned i = threadIdx.x; i < sizeof(Job) / 4; i += blockDim.x)
        reinterpret_cast<int32_t*>(&shared.job)[i] = words[i];
    barrier();
    const Plan& plan = call.plan;
    float* weights = block_shared() + fixed_shared_floats(plan.threads);
    float* const student = weights;
    float* const arena = student + plan.student_floats;
    float* const teacher = arena + plan.arena_floats;
    if (plan.teacher_floats)
        copy_floats(teacher, shared.job.teacher.params, REGKD_LEVEL::parameter_count(shared.job.teacher));
    barrier();
    if (threadIdx.x == 0) {
        unsigned char* at = call.workspace + plan.member_bytes * blockIdx.y;
        shared.barrier = reinterpret_cast<unsigned*>(at);
        at += 128;
        shared.sums = reinterpret_cast<double*>(at);
        at += round_up(static_cast<int64_t>(plan.tiles) * 16, 128);
        shared.gradients = reinterpret_cast<float*>(at);
        at += round_up(4 * plan.grad_floats * plan.blocks, 128);
        shared.grad_floats = plan.grad_floats;
        shared.arena = plan.arena_floats ? arena : reinterpret_cast<float*>(at) + plan.arena_global_floats * blockIdx.x;
        shared.student = plan.student_floats ? student : nullptr;
        shared.params = shared.job.params;
        if (plan.student_floats) shared.job.params = student;
        if (plan.teacher_floats) shared.job.teacher.params = teacher;
        shared.at = REGKD_LEVEL::make_arena(shared.job);
        shared.tiles = REGKD_LEVEL::tile_count(shared.job);
        shared.step = call.offset + (call.step_on_device ? *call.step_on_device : 0);
        shared.end = shared.step + call.steps;
        shared.row = call.first_row ? 0 : shared.step;
        shared.partials = shared.tiles < plan.blocks ? shared.tiles : plan.blocks;
    }
    barrier();
}

REGKD_CALL void begin_step() {
    Header& shared = header();
    if (threadIdx.x == 0) shared.now = REGKD_LEVEL::step_now(shared.job, shared.job.first_step + shared.step);
    if (shared.student) copy_floats(shared.student, shared.params, REGKD_LEVEL::parameter_count(shared.job.student));
    barrier();
}

// One tile: its losses to the member's sums, its gradient to the block's partial.
REGKD_CALL void work_tile(const DeviceBlock& team, int tile) {
    Header& shared = header();
    REGKD_LEVEL::run_tile(team, shared.job, shared.now, shared.at, REGKD_LEVEL::tile_at(shared.job, tile), shared.arena,
                          shared.gradients + blockIdx.x * shared.grad_floats, tile >= static_cast<int>(gridDim.x),
                          shared.sums + 2 * tile);
}

// Sums the partial gradients in the order of blocks and lets the optimizer have them; parameters are shared out over
// all threads of the member's blocks.
REGKD_CALL void finish_step() {
    Header& shared = header();
    const Job& job = shared.job;
    if (threadIdx.x == 0) {
        if (blockIdx.x == 0 && job.losses)
            REGKD_LEVEL::step_losses(job, shared.now, shared.sums, job.losses + shared.row * (1 + kTerms));
        ++shared.row;
        ++shared.step;
    }
    const bool adam = job.optimizer == kAdam || job.optimizer == kAdamW;
    int64_t flat = 0, from = 0;
    for (int l = 1; l <= job.student.layers; ++l) {
        const int n_in = job.student.widths[l - 1], n_out = job.student.widths[l], pitch = REGKD_LEVEL::pitch(n_in);
        const int weights = n_in * n_out, all = weights + n_out;
        for (int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x); i < all;
             i += static_cast<int>(gridDim.x * blockDim.x)) {
            const int row = i / n_in;
            const float* part = shared.gradients + from +
                                (i < weights ? row * pitch + (i - row * n_in) : n_out * pitch + (i - weights));
            float g = part[0];
            for (int b = 1; b < shared.partials; ++b) g += part[b * shared.grad_floats];
            const int64_t at = flat + i;
            if (job.grad) job.grad[at] = g;
            if (job.optimizer == kGradientOnly) continue;
            float p = shared.params[at], first = job.state1[at], second = adam ? job.state2[at] : 0.0f;
            REGKD_LEVEL::update(job, shared.now, g, p, first, second);
            shared.params[at] = p;
            job.state1[at] = first;
            if (adam) job.state2[at] = second;
        }
        flat += all;
        from += REGKD_LEVEL::padded_params(job.student, l);
    }
}

}  // namespace

// Grid (blocks, members). A step: every block adds up the gradients of its tiles; the member's blocks meet; the sums go
// to the optimizer; they meet again. One block a member needs no meeting and no cooperative launch.
__global__ void __launch_bounds__(kTrainThreads, 1) train_kernel(const __grid_constant__ TrainCall call) {
    set_up(call);
    while (header().step < header().end) {
        begin_step();
        const DeviceBlock team = this_block();
        for (int tile = static_cast<int>(blockIdx.x); tile < header().tiles; tile += static_cast<int>(gridDim.x))
            work_tile(team, tile);
        member_barrier();
        finish_step();
        member_barrier();
    }
}

const char* refuse(const Job* jobs, int32_t members, int64_t shared_limit) {
    if (4 * static_cast<int64_t>(fixed_shared_floats(kTrainThreads)) > shared_limit)
        return "the device gives a block too little shared memory";
    for (int32_t i = 0; i < members; ++i)
        if (jobs[i].rows >= int64_t{1} << 31) return "more than 2^31 - 1 rows";
    return nullptr;
}

#ifdef __CUDACC__  // asks the device
Status resident_blocks(const Plan& plan, int32_t multiprocessors, bool cooperative, int64_t* blocks) {
    *blocks = 0;
    cudaError_t status = allow_shared(reinterpret_cast<const void*>(train_kernel));
    if (status != cudaSuccess) return status;
    int each = 0;
    status = cudaOccupancyMaxActiveBlocksPerMultiprocessor(&each, train_kernel, plan.threads,
                                                           static_cast<size_t>(plan.shared_bytes));
    *blocks = cooperative ? static_cast<int64_t>(each) * multiprocessors : (each > 0 ? 1 : 0);
    return status;
}
#endif

Status train(const TrainCall& call, Stream stream) {
    const Plan& plan = call.plan;
    const Grid grid = {static_cast<unsigned>(plan.blocks), static_cast<unsigned>(plan.members),
                       static_cast<unsigned>(plan.threads), static_cast<size_t>(plan.shared_bytes), plan.blocks > 1};
    return launch(train_kernel, grid, stream, call);
}

}  // namespace cuda
}  // namespace regkd
