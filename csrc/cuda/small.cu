// The training kernel for small networks: tiles of 4 samples, a warp each, both networks and a tile's buffers in shared
// memory, and a member's blocks one cluster of multiprocessors where the device has clusters.
#ifndef REGKD_PHASE
#define REGKD_PHASE __host__ __device__ __forceinline__  // known offsets in shared memory, no calls
#endif

#include "small_passes.h"
#include "train.h"

namespace regkd {
namespace cuda {

namespace {

__device__ __forceinline__ SmallHeader& small_header() { return *reinterpret_cast<SmallHeader*>(block_shared()); }

// All blocks of a member meet in two halves, with work in between that reads nothing of the others.
struct Meeting {
    unsigned generation;

    __device__ __forceinline__ void arrive(bool clustered) {
        if (gridDim.x == 1) return;
        if (clustered) {
            cluster_arrive();
            return;
        }
        barrier();
        if (threadIdx.x != 0) return;
        unsigned* words = small_header().barrier;
        generation = load_acquire(words + 1);
        if (add_acquire_release(words, 1) == gridDim.x - 1) {
            store_release(words, 0);
            store_release(words + 1, generation + 1);
        }
    }
    __device__ __forceinline__ void wait(bool clustered) {
        if (gridDim.x > 1 && clustered) {
            cluster_wait();
            return;
        }
        if (gridDim.x > 1 && threadIdx.x == 0)
            while (load_acquire(small_header().barrier + 1) == generation) wait_a_little();
        barrier();
    }
};

// A network's weights from their dense layout in global memory to W and its transpose; `map`: where each went.
REGKD_CALL void copy_network(const float* from, const Network& net, const Places& at, int32_t* map, int32_t begin) {
    REGKD_ROLLED
    for (int l = 1; l <= net.layers; ++l) {
        const int n_in = net.widths[l - 1], n_out = net.widths[l], weights = n_in * n_out;
        const int stride = small_stride(n_in), column = small_stride(n_out);
        for (int i = thread_index(); i < weights + n_out; i += thread_count()) {
            const int j = static_cast<int>(static_cast<unsigned>(i) / static_cast<unsigned>(n_in)), k = i - j * n_in;
            int first = at.w[l] + j * stride + k, second = at.transposed[l] + k * column + j;
            if (i >= weights)
                first = second = at.bias[l] + i - weights;
            else if (!at.w[l])
                first = second;
            else if (!at.transposed[l])
                second = first;
            *shared_at(first) = *shared_at(second) = from[i];
            if (map) map[i] = (first - begin) | (second - begin) << 16;
        }
        from += weights + n_out;
        if (map) map += weights + n_out;
    }
}

// A parameter's places in shared memory.
__device__ __forceinline__ void spread(int i, float value) {
    const SmallHeader& shared = small_header();
    const uint32_t where = static_cast<uint32_t>(reinterpret_cast<const int32_t*>(shared_at(shared.map))[i]);
    *shared_at(shared.weights + static_cast<int>(where & 0xFFFF)) = value;
    *shared_at(shared.weights + static_cast<int>(where >> 16)) = value;
}

// All parameters, from where other blocks have moved them; 8 loads are under way at a time.
__device__ __forceinline__ void reload(const float* params, int parameters) {
    REGKD_ROLLED
    for (int first = thread_index(); first < parameters; first += 8 * thread_count()) {
        float value[8];
        for (int k = 0; k < 8; ++k) {
            const int at = first + k * thread_count();
            value[k] = at < parameters ? params[at] : 0.0f;
        }
        for (int k = 0; k < 8; ++k) {
            const int at = first + k * thread_count();
            if (at < parameters) spread(at, value[k]);
        }
    }
}

// The member's job, its buffers and its weights. False: the job goes another way, and the block has nothing to do.
__device__ __forceinline__ bool small_set_up(const TrainCall& call) {
    SmallHeader& shared = small_header();
    const int32_t* words = reinterpret_cast<const int32_t*>(call.jobs ? call.jobs + blockIdx.y : &call.job);
    for (unsigned i = threadIdx.x; i < sizeof(Job) / 4; i += blockDim.x)
        reinterpret_cast<int32_t*>(&shared.job)[i] = words[i];
    barrier();
    const Plan& plan = call.plan;
    if (threadIdx.x == 0) {
        unsigned char* at = call.workspace + plan.member_bytes * blockIdx.y;
        shared.barrier = reinterpret_cast<unsigned*>(at);
        at += 128;
        shared.sums = reinterpret_cast<double*>(at);
        at += round_up(static_cast<int64_t>(plan.small.tiles) * 32, 128);
        shared.gradients = reinterpret_cast<float*>(at);
        shared.grad_floats = plan.small.grad_floats;
        const bool mine = plan.members == plan.small.members || is_small(shared.job);
        const SmallSize size = small_size(shared.job, shared.student.at, shared.teacher.at, shared.at);
        shared.weights = size.student;
        shared.map = size.map;
        shared.arena = mine ? size.arena : 0;
        shared.arena_floats = size.each;
        shared.parameters = static_cast<int32_t>(dense_count(shared.job.student));
        shared.cut = small_cut(shared.job);
        shared.step = call.offset + (call.step_on_device ? *call.step_on_device : 0);
        shared.row = call.first_row ? 0 : shared.step;
    }
    barrier();
    if (!shared.arena) return false;
    const Job& job = shared.job;
    const int l = thread_index() + 1;
    if (l <= job.student.layers)
        make_works(job.student, shared.student, l, shared.at, shared.at.student_y, shared.at.student_g);
    if (l <= job.teacher.layers)
        make_works(job.teacher, shared.teacher, l, shared.at, shared.at.teacher_y, shared.at.teacher_g);
    copy_network(job.teacher.params, job.teacher, shared.teacher.at, nullptr, 0);
    copy_network(job.params, job.student, shared.student.at, reinterpret_cast<int32_t*>(shared_at(shared.map)),
                 shared.weights);
    return true;
}

// The constants of a step, each by a warp of its own.
__device__ __forceinline__ void small_begin(int64_t i) {
    SmallHeader& shared = small_header();
    const Job& job = shared.job;
    const int64_t t = job.first_step + shared.step + i;
    REGKD_LEVEL::StepNow& now = shared.now[i & 1];
    const int from_end = thread_count() - 1 - thread_index(), lane = from_end % kWarp;
    const int warps = thread_count() / kWarp, warp = from_end / kWarp;
    if (warp == 0 && lane < kTerms) now.weight[lane] = REGKD_LEVEL::weight_at(job.weight[lane], t, job.total_steps);
    if (lane) return;
    if (warp == 1 % warps) {
        now.rate = REGKD_LEVEL::rate_at(job, t);
        now.t = t;
        now.step = static_cast<uint32_t>(t);
    }
    if (warp == 2 % warps) now.correction1 = REGKD_LEVEL::left_of_power(job, job.beta1, t);
    if (warp == 3 % warps) now.correction2 = REGKD_LEVEL::square_root(REGKD_LEVEL::left_of_power(job, job.beta2, t));
}

__device__ __forceinline__ SmallBlock own_block() {
    const SmallHeader& shared = small_header();
    return {shared.arena + thread_index() / kWarp * shared.arena_floats};
}

REGKD_CALL void small_points(int tile, int64_t i) {
    SmallHeader& shared = small_header();
    const SmallBlock team = own_block();
    REGKD_LEVEL::StepNow now;  // of which points read no more than this
    now.t = shared.job.first_step + shared.step + i;
    now.step = static_cast<uint32_t>(now.t);
    REGKD_LEVEL::prepare_tile(team, shared.job, now, REGKD_LEVEL::tile_at(shared.job, tile, kSmallSamples), shared.at,
                              shared_at(team.base));
}

// One tile whose points are there: its losses to the member's sums, its gradient to its group's.
REGKD_CALL void small_work_tile(int tile, int group, int64_t i) {
    SmallHeader& shared = small_header();
    const SmallBlock team = own_block();
    REGKD_LEVEL::run_prepared(team, shared.job, shared.now[i & 1], shared.at,
                              REGKD_LEVEL::tile_at(shared.job, tile, kSmallSamples), shared_at(team.base),
                              shared.student, shared.teacher, shared.gradients + group * shared.grad_floats,
                              tile != group, shared.sums + 2 * (tile + (i & 1) * shared.cut.tiles));
}

// A warp adds up the losses of a step's tiles: lanes in turns, then a tree.
REGKD_CALL void small_losses(int64_t i) {
    const SmallHeader& shared = small_header();
    const Job& job = shared.job;
    const int lane = thread_index() % kWarp;
    const double* sums = shared.sums + 2 * (i & 1) * shared.cut.tiles;
    double sum[kTerms] = {};
    REGKD_ROLLED
    for (int tile = lane; tile < shared.cut.tiles; tile += kWarp) {
        const int term = REGKD_LEVEL::term_of(REGKD_LEVEL::tile_at(job, tile, kSmallSamples).kind);
        const double value = sums[2 * tile];
        for (int k = 0; k < kTermGm; ++k) sum[k] += term == k ? value : 0.0;
        sum[kTermGm] += sums[2 * tile + 1];
    }
    for (int other = 1; other < kWarp; other <<= 1)
        for (double& s : sum) s += from_lane_xor(s, other);
    if (lane == 0) REGKD_LEVEL::write_losses(job, shared.now[i & 1], sum, job.losses + (shared.row + i) * (1 + kTerms));
}

// A parameter and what the optimizer knows of it. Its thread is the only one that touches them.
struct Kept {
    float p, first, second;
};
__device__ __forceinline__ Kept kept(const Job& job, int i, int parameters, bool adam) {
    if (i >= parameters || job.optimizer == kGradientOnly) return {};
    return {job.params[i], job.state1[i], adam ? job.state2[i] : 0.0f};
}

// The groups' gradients, added in their order: 16 loads are under way at a time. -0 is what adds nothing to any number.
__device__ __forceinline__ float summed(const float* part, int groups, int64_t stride) {
    float g = *part;
    part += stride;
    int left = groups - 1;
    REGKD_ROLLED
    for (; left >= 16; left -= 16) {
        float next[16];
        for (int k = 0; k < 16; ++k, part += stride) next[k] = *part;
        for (int k = 0; k < 16; ++k) g += next[k];
    }
    if (left == 0) return g;
    float next[15];
    for (int k = 0; k < 15; ++k, part += stride) next[k] = k < left ? *part : -0.0f;
    for (int k = 0; k < 15; ++k) g += next[k];
    return g;
}

}  // namespace

// Grid (blocks, members). A step: every warp that works on tiles adds up the gradients of its groups'; the member's
// blocks meet, and make the first points of the next step meanwhile; the sums go to the optimizer; they meet again.
__global__ void __launch_bounds__(kSmallWarps* kWarp, 1) small_kernel(const __grid_constant__ TrainCall call) {
    if (!small_set_up(call)) return;
    const SmallHeader& shared = small_header();
    const Job& job = shared.job;
    const bool clustered = call.plan.small.clustered != 0;
    const int groups = shared.cut.groups, tiles = shared.cut.tiles, parameters = shared.parameters;
    const int block = static_cast<int>(blockIdx.x), blocks = static_cast<int>(gridDim.x);
    const int warps = call.plan.small.warps, warp = thread_index() / kWarp;
    const int own = warp < warps ? block + warp * blocks : groups;  // the warp's first group
    // Parameters are shared out evenly over the blocks, warp by warp.
    const int span = static_cast<int>(round_up((parameters + blocks - 1) / blocks, kWarp));
    const int mine = block * span + thread_index(), past = (block + 1) * span;
    const int end = parameters < past ? parameters : past;
    const bool adam = job.optimizer == kAdam || job.optimizer == kAdamW;
    const bool keeps_losses = job.losses && block == blocks - 1 && thread_count() - thread_index() <= kWarp;
    Meeting meeting = {0};
    small_begin(0);
    barrier();
    bool prepared = false;
    for (int64_t i = 0; i < call.steps; ++i) {
        if (keeps_losses && i > 0) small_losses(i - 1);  // this warp has no tile where others have one
        for (int group = own; group < groups; group += blocks * warps)
            for (int tile = group; tile < tiles; tile += groups) {
                if (!prepared) small_points(tile, i);
                prepared = false;
                small_work_tile(tile, group, i);
            }
        meeting.arrive(clustered);
        Kept now = kept(job, mine, end, adam);
        if (i + 1 < call.steps) {
            small_begin(i + 1);
            if (own < groups) small_points(own, i + 1);
            prepared = true;
        }
        meeting.wait(clustered);
        for (int at = mine; at < end; at += thread_count()) {
            const float g = summed(shared.gradients + at, groups, shared.grad_floats);
            if (job.grad) job.grad[at] = g;
            if (job.optimizer == kGradientOnly) continue;
            if (at != mine) now = kept(job, at, end, adam);
            REGKD_LEVEL::update(job, shared.now[i & 1], g, now.p, now.first, now.second);
            job.params[at] = now.p;
            job.state1[at] = now.first;
            if (adam) job.state2[at] = now.second;
            if (blocks == 1) spread(at, now.p);
        }
        meeting.arrive(clustered);
        meeting.wait(clustered);
        if (blocks > 1 && job.optimizer != kGradientOnly) {
            reload(job.params, parameters);
            barrier();
        }
    }
    if (keeps_losses && call.steps > 0) small_losses(call.steps - 1);
}

#ifdef __CUDACC__  // asks the device
Status small_cluster(int64_t shared_bytes, int32_t* blocks) {
    const cudaError_t status = allow_shared(reinterpret_cast<const void*>(small_kernel));
    if (status != cudaSuccess) return status;
    return largest_cluster(small_kernel, 8 * kWarp, static_cast<size_t>(shared_bytes), kClusterBlocks, blocks);
}
#endif

Status train_small(const TrainCall& call, Stream stream) {
    const SmallPlan& plan = call.plan.small;
    const unsigned blocks = static_cast<unsigned>(plan.blocks);
    const Grid grid = {blocks,
                       static_cast<unsigned>(call.plan.members),
                       static_cast<unsigned>(plan.threads),
                       static_cast<size_t>(plan.shared_bytes),
                       plan.blocks > 1 && !plan.clustered,
                       plan.clustered ? blocks : 1};
    return launch(small_kernel, grid, stream, call);
}

}  // namespace cuda
}  // namespace regkd
