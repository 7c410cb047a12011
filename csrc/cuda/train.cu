#include "train.h"

#include "sliced.h"

namespace regkd {
namespace cuda {

namespace {

__device__ __forceinline__ Header& header() { return *reinterpret_cast<Header*>(block_shared()); }
__device__ __forceinline__ float* scratch() { return block_shared() + header_floats(); }

// All blocks of a member meet. Needs them resident (cooperative launch). The last to arrive opens the next generation,
// so the two words are fit for the next barrier and the next launch.
REGKD_CALL void member_barrier() {
    barrier();
    const unsigned blocks = gridDim.x;
    if (blocks == 1) return;
    if (threadIdx.x == 0) {
        unsigned* words = header().barrier;
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

// A network's weights from their dense layout in global memory to padded rows in shared memory, all under way at once.
REGKD_CALL void copy_weights(float* to, const float* from, const Network& net) {
    Network padded = net;
    padded.padded = 1;
    to = assume_shared(to);
    from = assume_global(from);
    REGKD_ROLLED
    for (int l = 1; l <= net.layers; ++l) {
        const int n_in = net.widths[l - 1], n_out = net.widths[l], stride = REGKD_LEVEL::row_stride(padded, n_in);
        if ((n_in & 3) == 0 && (reinterpret_cast<uintptr_t>(from) & 15) == 0) {
            const int quads = n_in / 4;
            for (int i = thread_index(); i < n_out * quads; i += thread_count()) {
                const int j = static_cast<int>(static_cast<unsigned>(i) / static_cast<unsigned>(quads));
                copy_later<16>(to + j * stride + 4 * (i - j * quads), from + 4 * i);
            }
        } else {
            for (int i = thread_index(); i < n_out * n_in; i += thread_count()) {
                const int j = static_cast<int>(static_cast<unsigned>(i) / static_cast<unsigned>(n_in));
                copy_later<4>(to + j * stride + i - j * n_in, from + i);
            }
        }
        to += n_out * stride;
        from += static_cast<int64_t>(n_out) * n_in;
        for (int j = thread_index(); j < n_out; j += thread_count()) copy_later<4>(to + j, from + j);
        to += (n_out + 3) / 4 * 4;
        from += n_out;
    }
    wait_for_copies<0>();
}

// The member's job, its buffers and its weights. One thread writes the header. False: the job goes the small path.
REGKD_CALL bool set_up(const TrainCall& call) {
    Header& shared = header();
    const int32_t* words = reinterpret_cast<const int32_t*>(call.jobs ? call.jobs + blockIdx.y : &call.job);
    for (unsigned i = threadIdx.x; i < sizeof(Job) / 4; i += blockDim.x)
        reinterpret_cast<int32_t*>(&shared.job)[i] = words[i];
    barrier();
    const Plan& plan = call.plan;
    if (plan.small.members > 0 && is_small(shared.job)) return false;
    float* const arena = scratch() + plan.scratch_floats;
    float* const student = arena + plan.arena_floats;
    float* const teacher = student + plan.student_floats;
    if (plan.teacher_floats) copy_weights(teacher, shared.job.teacher.params, shared.job.teacher);
    if (plan.student_floats) copy_weights(student, shared.job.params, shared.job.student);
    barrier();
    if (threadIdx.x == 0) {
        unsigned char* at = call.workspace + plan.member_bytes * blockIdx.y;
        shared.barrier = reinterpret_cast<unsigned*>(at);
        at += 128;
        shared.sums = reinterpret_cast<double*>(at);
        at += round_up(static_cast<int64_t>(plan.tiles) * 16, 128);
        shared.gradients = reinterpret_cast<float*>(at);
        at += round_up(4 * plan.grad_floats * plan.groups, 128);
        shared.grad_floats = plan.grad_floats;
        shared.arena = plan.arena_floats ? arena : reinterpret_cast<float*>(at) + plan.arena_global_floats * blockIdx.x;
        shared.student = plan.student_floats ? student : nullptr;
        shared.params = shared.job.params;
        if (plan.student_floats) {
            shared.job.params = student;
            shared.job.student.padded = 1;
        }
        if (plan.teacher_floats) {
            shared.job.teacher.params = teacher;
            shared.job.teacher.padded = 1;
        }
        shared.cut = cut_of(shared.job);
        shared.at = REGKD_LEVEL::make_arena(shared.job, kTile, false, plan.arena_floats && shared.cut.sliced);
        shared.student_rows = REGKD_LEVEL::student_rows(shared.at, shared.arena);
        shared.teacher_rows = REGKD_LEVEL::teacher_rows(shared.at, shared.arena);
        REGKD_LEVEL::place_weights(shared.job.student, shared.job.params, shared.student_rows);
        REGKD_LEVEL::place_weights(shared.job.teacher, shared.job.teacher.params, shared.teacher_rows);
        shared.step = call.offset + (call.step_on_device ? *call.step_on_device : 0);
        shared.row = call.first_row ? 0 : shared.step;
    }
    barrier();
    return true;
}

// The constants of a step, each by a thread of its own, and the weights that other blocks have moved.
REGKD_CALL void begin_step(int64_t i) {
    Header& shared = header();
    const Job& job = shared.job;
    const int64_t t = job.first_step + shared.step + i;
    const int thread = thread_index(), last = thread_count() - thread - 1;
    if (thread < kTerms) shared.now.weight[thread] = REGKD_LEVEL::weight_at(job.weight[thread], t, job.total_steps);
    if (thread == kWarp) {
        shared.now.rate = REGKD_LEVEL::rate_at(job, t);
        shared.now.t = t;
        shared.now.step = static_cast<uint32_t>(t);
    }
    if (last < 2) {
        const float rest = REGKD_LEVEL::left_of_power(job, last ? job.beta2 : job.beta1, t);
        (last ? shared.now.correction2 : shared.now.correction1) = last ? REGKD_LEVEL::square_root(rest) : rest;
    }
    if (shared.student && i > 0 && gridDim.x > 1) copy_weights(shared.student, shared.params, job.student);
    barrier();
}

// One tile: its losses to the member's sums, its gradient to its group's.
template <class Block>
REGKD_CALL void work_tile(Block team, int tile, int group) {
    Header& shared = header();
    REGKD_LEVEL::run_tile(team, shared.job, shared.now, shared.at,
                          REGKD_LEVEL::tile_at(shared.job, tile, 1 << shared.cut.shift), shared.arena,
                          shared.student_rows, shared.teacher_rows, shared.gradients + group * shared.grad_floats,
                          tile != group, shared.sums + 2 * tile);
}

// A warp adds up the losses of a step's tiles: lanes in turns, then a tree.
REGKD_CALL void step_losses(const Header& shared, double* out) {
    const Job& job = shared.job;
    const int lane = thread_index() & (kWarp - 1);
    double sum[kTerms] = {};
    for (int i = lane; i < shared.cut.tiles; i += kWarp) {
        const int term = REGKD_LEVEL::term_of(REGKD_LEVEL::tile_at(job, i, 1 << shared.cut.shift).kind);
        const double value = shared.sums[2 * i];
        sum[kTermBase] += term == kTermBase ? value : 0.0;
        sum[kTermPm] += term == kTermPm ? value : 0.0;
        sum[kTermAbm] += term == kTermAbm ? value : 0.0;
        sum[kTermGm] += shared.sums[2 * i + 1];
    }
    for (int other = 1; other < kWarp; other <<= 1)
        for (double& s : sum) s += from_lane_xor(s, other);
    if (lane == 0) REGKD_LEVEL::write_losses(job, shared.now, sum, out);
}

// Sums the groups' gradients in their order and lets the optimizer have them; parameters are shared out over all
// threads of the member's blocks. With one block its copy of the weights moves along.
REGKD_CALL void finish_step(int64_t step) {
    Header& shared = header();
    const Job& job = shared.job;
    if (blockIdx.x == 0 && job.losses && thread_count() - thread_index() <= kWarp)
        step_losses(shared, job.losses + (shared.row + step) * (1 + kTerms));
    const bool adam = job.optimizer == kAdam || job.optimizer == kAdamW;
    float* copy = gridDim.x == 1 ? shared.student : nullptr;
    int64_t flat = 0, from = 0;
    REGKD_ROLLED
    for (int l = 1; l <= job.student.layers; ++l) {
        const int n_in = job.student.widths[l - 1], n_out = job.student.widths[l], pitch = REGKD_LEVEL::pitch(n_in);
        const int stride = REGKD_LEVEL::row_stride(job.student, n_in), weights = n_in * n_out, all = weights + n_out;
        for (int i = static_cast<int>(blockIdx.x) * thread_count() + thread_index(); i < all;
             i += static_cast<int>(gridDim.x) * thread_count()) {
            const int row = static_cast<int>(static_cast<unsigned>(i) / static_cast<unsigned>(n_in));
            const bool bias = i >= weights;
            const float* part =
                shared.gradients + from + (bias ? n_out * pitch + (i - weights) : row * pitch + (i - row * n_in));
            float g = part[0];
            REGKD_ROLLED_BY(16)  // so many loads under way: other blocks wrote them, so each comes from the L2
            for (int b = 1; b < shared.cut.groups; ++b) g += part[b * shared.grad_floats];
            const int64_t at = flat + i;
            if (job.grad) job.grad[at] = g;
            if (job.optimizer == kGradientOnly) continue;
            float p = shared.params[at], first = job.state1[at], second = adam ? job.state2[at] : 0.0f;
            REGKD_LEVEL::update(job, shared.now, g, p, first, second);
            shared.params[at] = p;
            job.state1[at] = first;
            if (adam) job.state2[at] = second;
            if (copy) copy[bias ? n_out * stride + (i - weights) : row * stride + (i - row * n_in)] = p;
        }
        flat += all;
        from += REGKD_LEVEL::padded_params(job.student, l);
        if (copy) copy += REGKD_LEVEL::layer_params(job.student, l);
    }
}

}  // namespace

// Grid (blocks, members). A step: every block adds up the gradients of its groups' tiles; the member's blocks meet; the
// sums go to the optimizer; they meet again. One block a member needs no meeting and no cooperative launch.
template <bool kShared>
__global__ void __launch_bounds__(kMaxThreads, 1) train_kernel(const __grid_constant__ TrainCall call) {
    if (!set_up(call)) return;
    for (int64_t i = 0; i < call.steps; ++i) {
        begin_step(i);
        const Cut cut = header().cut;
        for (int group = static_cast<int>(blockIdx.x); group < cut.groups; group += static_cast<int>(gridDim.x))
            for (int tile = group; tile < cut.tiles; tile += cut.groups) {
                if (!kShared)
                    work_tile(DeviceBlock<false, 0>{cut.shift, cut.sliced != 0}, tile, group);
                else if (cut.sliced)
                    work_tile(SlicedBlock(scratch()), tile, group);
                else if (cut.shift == kLargeShift)
                    work_tile(DeviceBlock<true, kLargeShift>{kLargeShift, false}, tile, group);
                else
                    work_tile(DeviceBlock<true, kSmallShift>{kSmallShift, false}, tile, group);
            }
        member_barrier();
        finish_step(i);
        member_barrier();
    }
}

const char* refuse(const Job* jobs, int32_t members, int64_t shared_limit) {
    if (4 * static_cast<int64_t>(header_floats()) > shared_limit)
        return "the device gives a block too little shared memory";
    for (int32_t i = 0; i < members; ++i)
        if (jobs[i].rows >= int64_t{1} << 31) return "more than 2^31 - 1 rows";
    return nullptr;
}

namespace {
auto kernel_of(const Plan& plan) { return plan.arena_floats ? train_kernel<true> : train_kernel<false>; }
}  // namespace

#ifdef __CUDACC__  // asks the device
Status resident_blocks(const Plan& plan, int32_t multiprocessors, bool cooperative, int64_t* blocks) {
    *blocks = 0;
    const auto kernel = kernel_of(plan);
    cudaError_t status = allow_shared(reinterpret_cast<const void*>(kernel));
    if (status != cudaSuccess) return status;
    int each = 0;
    status = cudaOccupancyMaxActiveBlocksPerMultiprocessor(&each, kernel, plan.threads,
                                                           static_cast<size_t>(plan.shared_bytes));
    *blocks = cooperative ? static_cast<int64_t>(each) * multiprocessors : (each > 0 ? 1 : 0);
    return status;
}
#endif

Status train(const TrainCall& call, Stream stream) {
    const Plan& plan = call.plan;
    if (plan.small.members > 0) {
        const Status status = train_small(call, stream);
        if (status != 0 || plan.small.members == plan.members) return status;
    }
    const Grid grid = {static_cast<unsigned>(plan.blocks), static_cast<unsigned>(plan.members),
                       static_cast<unsigned>(plan.threads), static_cast<size_t>(plan.shared_bytes), plan.blocks > 1};
    return launch(kernel_of(plan), grid, stream, call);
}

}  // namespace cuda
}  // namespace regkd
