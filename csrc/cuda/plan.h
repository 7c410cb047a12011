// How a set of jobs is laid out on a device: tiles, blocks, shared memory, workspace. Plain host arithmetic, no CUDA
// call, so it can be tested without a device; `resident` comes from the device (train.h).
#pragma once

#include "slices.h"
#include "small_launch.h"

namespace regkd {
namespace cuda {

constexpr int kMaxThreads = 256;  // at 128 registers per thread the products spill
constexpr int kWideLayer = 64;    // hidden layers of more units have work for so many
constexpr int kFewThreads = 128;

// Tiles of a step have 8 samples while they are few, so that a step of a few hundred rows spreads over the device's
// multiprocessors; else 32, which costs half the instructions per row.
constexpr int kSmallShift = 3, kLargeShift = 5;
constexpr int kFewTiles = 66;  // half the multiprocessors of an H100

// How one job's step is cut up. Everything that decides a bit depends on the job alone.
struct Cut {
    int32_t shift;   // tiles have 2^shift samples
    int32_t tiles;   // of a step
    int32_t groups;  // tile i adds to gradient i % groups
    int32_t sliced;  // 1: products in slices (slices.h)
};

// Wide layers and many rows: products are worth being cut up. Few-row products write no layer there (block.h).
REGKD_BOTH bool has_long_products(const Job& job) {
    int widest = 1, slimmest = kSlicedWidth, any = 1;
    const auto look = [&](const Network& net) {
        for (int l = 0; l <= net.layers && net.layers > 0; ++l) {
            const int n = net.widths[l];
            any = n > any ? n : any;
            if (l == 0 || l == net.layers) continue;
            widest = n > widest ? n : widest;
            slimmest = n < slimmest ? n : slimmest;
        }
    };
    look(job.student);
    look(job.teacher);
    return widest > kWideLayer && slimmest > kFewRows && any <= kSlicedWidth;
}

// The gradient of every group takes memory and is read once by the optimizer.
REGKD_BOTH Cut cut_of(const Job& job) {
    constexpr int64_t kGroups = 128, kGradientFloats = int64_t{1} << 22;
    Cut cut = {kLargeShift, 0, 0, 0};
    if (REGKD_LEVEL::tile_count(job, 1 << kSmallShift) <= kFewTiles) cut.shift = kSmallShift;
    cut.sliced = cut.shift == kLargeShift && has_long_products(job);
    cut.tiles = REGKD_LEVEL::tile_count(job, 1 << cut.shift);
    int64_t groups = kGradientFloats / REGKD_LEVEL::padded_count(job.student);
    groups = groups < 8 ? 8 : (groups > kGroups ? kGroups : groups);
    cut.groups = static_cast<int32_t>(groups < cut.tiles ? groups : cut.tiles);
    return cut;
}

// What a block keeps in shared memory besides buffers and weights: written once or by few threads, read by all.
struct Header {
    Job job;  // params and teacher.params point to the shared copies when there are any
    REGKD_LEVEL::Arena at;
    REGKD_LEVEL::Rows student_rows, teacher_rows;
    REGKD_LEVEL::StepNow now;
    Cut cut;
    int64_t step;       // the launch's first, from job.first_step
    int64_t row;        // of the table of losses, for that step
    float* params;      // the student's, in global memory
    unsigned* barrier;  // [2] of the member: blocks arrived, generation
    double* sums;       // [tiles, 2] of the member
    float* gradients;   // [groups, grad_floats] of the member
    int64_t grad_floats;
    float* arena;    // of this block
    float* student;  // shared copy of the weights, null: none
};

// One launch: `blocks` a member, all members alike. Sizes are the largest over the members, in floats unless said.
struct Plan {
    int32_t members, blocks, threads;
    int32_t student_floats, teacher_floats, arena_floats;  // in shared memory; 0: they stay in global memory
    int32_t scratch_floats;  // before the arena, in shared memory as it is: of SlicedBlock, 0 without
    int32_t shared_bytes;
    int32_t tiles, groups;        // the largest over the members
    int64_t grad_floats;          // of one group's gradient, padded layout
    int64_t arena_global_floats;  // of one block, when the arena does not fit in shared memory
    int64_t member_bytes;         // of the workspace: barrier [2 words, 128 bytes], sums, gradients, arenas
    int64_t workspace_bytes;      // zero it once before the first launch; launches leave it fit for the next
    SmallPlan small;              // of the members that go the small path; what stands above is for the others
};

REGKD_BOTH int32_t header_floats() { return static_cast<int32_t>(round_up(sizeof(Header), 128) / 4); }

// Floats of a network's weights as they lie in shared memory.
REGKD_BOTH int64_t shared_floats(Network net) {
    net.padded = 1;
    return REGKD_LEVEL::parameter_count(net);
}

// Weights of the student first (every product reads them), then the buffers of a tile, then the teacher's weights: what
// finds no room is read from global memory through the caches. `shared_limit`: maximum bytes per block; `threads` 0: as
// many as the layers have work for.
inline Plan plan_shared(const Job* jobs, int32_t members, int64_t shared_limit, int threads) {
    Plan p = {};
    p.members = members;
    p.threads = threads;
    int64_t student = 0, teacher = 0, arena = 0, arena_outside = 0, scratch = 0;
    int32_t widest = 1;
    const auto raise = [](auto& most, auto n) { most = n > most ? n : most; };
    for (int32_t i = 0; i < members; ++i) {
        const Job& job = jobs[i];
        if (shared_limit >= kSmallBytes && is_small(job)) {
            add_small(p.small, job);
            continue;
        }
        raise(student, shared_floats(job.student));
        raise(teacher, shared_floats(job.teacher));
        const Cut cut = cut_of(job);
        raise(arena, static_cast<int64_t>(REGKD_LEVEL::make_arena(job, kTile, false, cut.sliced).floats));
        raise(arena_outside, static_cast<int64_t>(REGKD_LEVEL::make_arena(job).floats));
        if (cut.sliced) scratch = kScratchFloats;
        raise(p.grad_floats, REGKD_LEVEL::padded_count(job.student));
        raise(p.tiles, cut.tiles);
        raise(p.groups, cut.groups);
        for (int l = 1; l < kMaxLayers; ++l) {
            if (l < job.student.layers) raise(widest, job.student.widths[l]);
            if (l < job.teacher.layers) raise(widest, job.teacher.widths[l]);
        }
    }
    if (threads == 0) p.threads = widest > kWideLayer ? kMaxThreads : kFewThreads;
    int64_t left = shared_limit / 4 - header_floats();
    const auto take = [&left](int64_t floats) {
        if (floats > left) return int32_t{0};
        left -= floats;
        return static_cast<int32_t>(floats);
    };
    // A tile's buffers are read and written in every phase: they go first when both do not fit.
    const auto take_buffers = [&] {
        if (arena + scratch > left) return;
        p.arena_floats = take(arena);
        p.scratch_floats = take(scratch);
    };
    if (student + arena + scratch > left && arena + scratch <= left) {
        take_buffers();
        p.student_floats = take(student);
    } else {
        p.student_floats = take(student);
        take_buffers();
    }
    p.teacher_floats = take(teacher);
    p.arena_global_floats = p.arena_floats ? 0 : arena_outside;
    p.shared_bytes = 4 * (header_floats() + p.student_floats + p.scratch_floats + p.arena_floats + p.teacher_floats);
    return p;
}

// `resident`: blocks of this shape the device holds at once. More than one block a member needs all of them resident,
// or a cluster. `small`: the device, for the members that go the small path.
inline Plan plan_blocks(Plan p, int64_t resident, const SmallDevice& small, int threads = 0) {
    int64_t blocks = resident / p.members;
    if (blocks > p.groups) blocks = p.groups;
    p.blocks = static_cast<int32_t>(blocks < 1 ? 1 : blocks);
    p.member_bytes = 128 + round_up(static_cast<int64_t>(p.tiles) * 2 * 8, 128) +
                     round_up(4 * p.grad_floats * p.groups, 128) + round_up(4 * p.arena_global_floats * p.blocks, 128);
    if (p.small.members) plan_small_blocks(p.small, p.members, small, threads);
    if (p.small.member_bytes > p.member_bytes) p.member_bytes = p.small.member_bytes;
    p.workspace_bytes = p.member_bytes * p.members;
    return p;
}

}  // namespace cuda
}  // namespace regkd
