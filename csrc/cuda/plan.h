// How a set of jobs is laid out on a device: blocks, shared memory, workspace. Plain host arithmetic, no CUDA call, so
// it can be tested without a device; `resident` comes from the device (train.h).
#pragma once

#include "common.h"

#include "../core/step.h"

namespace regkd {
namespace cuda {

// 8 warps of 255 registers. 16 warps of 128 spill, and the phases of a small network have no work for them.
constexpr int kTrainThreads = 256;

// What a block keeps in shared memory besides buffers: written by one thread, read by all, so it costs no registers.
struct Header {
    Job job;  // params and teacher.params point to the shared copies when there are any
    REGKD_LEVEL::Arena at;
    REGKD_LEVEL::StepNow now;
    int64_t step, end;  // of this launch, from job.first_step
    int64_t row;        // of the table of losses, for this step
    float* params;      // the student's, in global memory
    unsigned* barrier;  // [2] of the member: blocks arrived, generation
    double* sums;       // [tiles, 2] of the member
    float* gradients;   // [blocks, grad_floats] of the member
    int64_t grad_floats;
    float* arena;      // of this block
    float* student;    // shared copy of the weights, null: none
    int32_t tiles;     // of the member in a step
    int32_t partials;  // blocks that have a tile
};

// One launch: `blocks` a member, all members alike. Sizes are the largest over the members, in floats unless said.
struct Plan {
    int32_t members, blocks, threads;
    int32_t student_floats, teacher_floats, arena_floats;  // in shared memory; 0: they stay in global memory
    int32_t shared_bytes;
    int32_t tiles;                // most over the members
    int64_t grad_floats;          // of one block's partial gradient, padded layout
    int64_t arena_global_floats;  // of one block, when the arena does not fit in shared memory
    int64_t member_bytes;         // of the workspace: barrier [2 words, 128 bytes], sums, gradients, arenas
    int64_t workspace_bytes;      // zero it once before the first launch; launches leave it fit for the next
};

REGKD_BOTH int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

REGKD_BOTH int32_t fixed_shared_floats(int threads) {
    return static_cast<int32_t>(round_up(sizeof(Header), 16) / 4) +
           threads / kWarp * kRowsAWarp * kTile;  // header, parts of sums
}

// Weights of the student first (every product reads them), then the buffers of a tile, then the teacher's weights: what
// finds no room is read from global memory through the caches. `shared_limit`: maximum bytes per block.
inline Plan plan_shared(const Job* jobs, int32_t members, int64_t shared_limit, int threads) {
    Plan p = {};
    p.members = members;
    p.threads = threads;
    int64_t student = 0, teacher = 0, arena = 0;
    const auto raise = [](int64_t& most, int64_t n) { most = n > most ? n : most; };
    for (int32_t i = 0; i < members; ++i) {
        const Job& job = jobs[i];
        raise(student, round_up(REGKD_LEVEL::parameter_count(job.student), 4));
        raise(teacher, round_up(REGKD_LEVEL::parameter_count(job.teacher), 4));
        raise(arena, REGKD_LEVEL::make_arena(job).floats);
        raise(p.grad_floats, REGKD_LEVEL::padded_count(job.student));
        const int32_t tiles = REGKD_LEVEL::tile_count(job);
        p.tiles = tiles > p.tiles ? tiles : p.tiles;
    }
    int64_t left = shared_limit / 4 - fixed_shared_floats(threads);
    const auto take = [&left](int64_t floats) {
        if (floats > left) return int32_t{0};
        left -= floats;
        return static_cast<int32_t>(floats);
    };
    // A tile's buffers are read and written in every phase: they go first when both do not fit.
    if (student + arena > left && arena <= left) {
        p.arena_floats = take(arena);
        p.student_floats = take(student);
    } else {
        p.student_floats = take(student);
        p.arena_floats = take(arena);
    }
    p.teacher_floats = take(teacher);
    p.arena_global_floats = p.arena_floats ? 0 : arena;
    p.shared_bytes = 4 * (fixed_shared_floats(threads) + p.student_floats + p.arena_floats + p.teacher_floats);
    return p;
}

// `resident`: blocks of this shape the device holds at once. More than one block a member needs all of them resident.
inline Plan plan_blocks(Plan p, int64_t resident) {
    int64_t blocks = resident / p.members;
    if (blocks > p.tiles) blocks = p.tiles;
    p.blocks = static_cast<int32_t>(blocks < 1 ? 1 : blocks);
    p.member_bytes = 128 + round_up(static_cast<int64_t>(p.tiles) * 2 * 8, 128) +
                     round_up(4 * p.grad_floats * p.blocks, 128) + round_up(4 * p.arena_global_floats * p.blocks, 128);
    p.workspace_bytes = p.member_bytes * p.members;
    return p;
}

}  // namespace cuda
}  // namespace regkd
