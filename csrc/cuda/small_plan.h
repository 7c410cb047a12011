// Which jobs take the small path (small.cu), and how such a job lies in a block's shared memory: plain arithmetic, the
// same on host and device.
#pragma once

#include "common.h"

#include "../core/step.h"

namespace regkd {
namespace cuda {

constexpr int kSmallSamples = 4;        // of a tile, a warp's; rows of its buffers are as long
constexpr int kSmallWarps = 8;          // of a block, at most
constexpr int kSmallBytes = 98 * 1024;  // of shared memory: what devices from sm_80 on give a block
constexpr int kSmallTiles = 256;        // of a step; more rows go to the tiles of 32 of train.cu
constexpr int kClusterBlocks = 16;      // the most that a cluster can have
constexpr int kSmallMapped = 1 << 16;   // floats of the student's weights in shared memory that the map can name

// Products with few rows and long sums share out each row's terms over a warp; the others have 2 rows per lane, and
// where that leaves lanes idle they share sums over `split` of them.
REGKD_BOTH bool is_few(int rows, int terms) { return rows <= 4 || (rows <= 32 && terms >= 16 * rows); }
REGKD_BOTH int split_of(int rows) { return rows <= 8 ? 8 : (rows <= 16 ? 4 : (rows <= 32 ? 2 : 1)); }

// Floats from a row of n weights to the next: rows that lanes read at once begin in different banks.
REGKD_BOTH int small_stride(int n) { return n <= 8 ? 8 : (n <= 16 ? 16 : (n + 1) / 2 * 2); }

// Where a network lies: weights in floats from the block's shared memory, buffers from the begin of a warp's own. W
// [n_out, n_in] and its transpose are kept as the products need them: 0 stands for none. Entry l of buffers belongs to
// hidden layer l.
struct Places {
    int32_t w[kMaxLayers + 1], transposed[kMaxLayers + 1], bias[kMaxLayers + 1];
    int32_t a[kMaxLayers], s1[kMaxLayers], s2[kMaxLayers], u[kMaxLayers], d[kMaxLayers], t[kMaxLayers], m[kMaxLayers],
        q[kMaxLayers];
};

REGKD_BOTH bool needs_rows(int n_in, int n_out) { return is_few(n_out, n_in) || !is_few(n_in, n_out); }
REGKD_BOTH bool needs_columns(int n_in, int n_out) { return !is_few(n_out, n_in) || is_few(n_in, n_out); }

// Weights of a network from `at` on; returns where they end.
REGKD_BOTH int32_t place_network(const Network& net, int32_t at, Places& places) {
    REGKD_ROLLED
    for (int l = 1; l <= net.layers; ++l) {
        const int n_in = net.widths[l - 1], n_out = net.widths[l];
        const auto take = [&at](int32_t floats) {
            const int32_t begin = at;
            at += (floats + 31) / 32 * 32;
            return begin;
        };
        places.w[l] = needs_rows(n_in, n_out) ? take(n_out * small_stride(n_in)) : 0;
        places.transposed[l] = needs_columns(n_in, n_out) ? take(n_in * small_stride(n_out)) : 0;
        places.bias[l] = take(n_out);
    }
    return at;
}

REGKD_BOTH void place_buffers(const REGKD_LEVEL::Arena& at, Places& student, Places& teacher) {
    for (int l = 1; l < kMaxLayers; ++l) {
        student.a[l] = at.a[l];
        student.s1[l] = at.s1[l];
        student.s2[l] = at.s2[l];
        student.u[l] = at.u[l];
        student.d[l] = at.d[l];
        student.t[l] = at.tangent[l];
        student.m[l] = at.m[l];
        teacher.a[l] = teacher.u[l] = teacher.d[l] = at.teacher_a[l & 1];
        teacher.s1[l] = at.teacher_s1[l];
        teacher.s2[l] = teacher.t[l] = teacher.m[l] = teacher.q[l] = 0;
        student.q[l] = at.s2[l] ? at.s2[l] : at.q[l & 1];
    }
}

// What becomes of a finished value v of row j and sample s.
enum class After : int32_t {
    kKeep,      // out = v + bias
    kActivate,  // z = v + bias; out = s(z), b = s'(z), c = s''(z), of `kind`
    kScale,     // c = v, out = b v: u and d of pass 2
    kTangent,   // out = b v, and m (+)= c u v: t and m of pass 3
    kReturn,    // out = b v + m: q of pass 4
};

// A product and what follows: v[j] = sum_k M[j, k] in[k] for j < n, k < terms. All that it needs lies in shared memory
// from the launch's begin on: made up again in every phase, addresses would cost more than the arithmetic.
struct alignas(16) Work {
    int32_t matrix, stride, n, terms;  // M's rows are `stride` apart where split is 0, its columns else
    int32_t in, out, bias, b;          // buffers but for bias; 0: none
    int32_t c, m, u, kind;
    After after;
    int32_t split;  // 0: few rows
    int32_t unused[2];
};
struct alignas(16) OuterSize {
    int32_t n_out, n_in, across, down;  // items of an outer product, 4 columns by 1 or 4 rows each
    int32_t items;
    uint32_t reciprocal;  // 2^32 / across, rounded up: an item's row is the upper half of a product
};

// Entry l - 1 belongs to layer l.
struct Works {
    Work forward[kMaxLayers], pull[kMaxLayers], push[kMaxLayers], back[kMaxLayers];
    OuterSize outer[kMaxLayers];
    Places at;
};

// `columns`: the product is with the transpose of W_l.
REGKD_BOTH Work work_of(const Network& net, const Places& at, int l, bool columns) {
    Work work = {};
    const int n_in = net.widths[l - 1], n_out = net.widths[l];
    work.n = columns ? n_in : n_out;
    work.terms = columns ? n_out : n_in;
    const bool few = is_few(work.n, work.terms);
    work.matrix = few != columns ? at.w[l] : at.transposed[l];
    work.stride = small_stride(few ? work.terms : work.n);
    work.split = few ? 0 : split_of(work.n);
    return work;
}

// Layer l of all passes. `y`, `g`: the network's outputs, and its gradient by the inputs.
REGKD_BOTH void make_works(const Network& net, Works& works, int l, const REGKD_LEVEL::Arena& buffers, int32_t y,
                           int32_t g) {
    const Places& at = works.at;
    const bool last = l == net.layers;
    Work work = work_of(net, at, l, false);
    work.in = l == 1 ? buffers.x : at.a[l - 1];
    work.after = last ? After::kKeep : After::kActivate;
    work.out = last ? y : at.a[l];
    work.bias = at.bias[l];
    if (!last) {
        work.b = at.s1[l];
        work.c = at.s2[l];
        work.kind = net.activation;
    }
    works.forward[l - 1] = work;
    work.in = l == 1 ? buffers.r : at.t[l - 1];
    work.after = After::kTangent;
    work.out = last ? 0 : at.t[l];
    work.bias = 0;
    work.m = !last && REGKD_LEVEL::is_curved(net.activation) ? at.m[l] : 0;
    work.u = last ? 0 : at.u[l];
    works.push[l - 1] = work;

    work = work_of(net, at, l, true);
    work.in = last ? buffers.v : at.d[l];
    work.after = l == 1 ? After::kKeep : After::kScale;
    work.out = l == 1 ? g : at.d[l - 1];
    if (l > 1) {
        work.b = at.s1[l - 1];
        work.c = at.u[l - 1] == at.d[l - 1] ? 0 : at.u[l - 1];
    }
    works.pull[l - 1] = work;
    work.in = last ? buffers.c : at.q[l];
    work.after = After::kReturn;
    work.out = l == 1 ? 0 : at.q[l - 1];
    work.c = 0;
    work.m = l > 1 ? at.m[l - 1] : 0;  // where pass 3 left something
    works.back[l - 1] = work;

    OuterSize outer;
    outer.n_in = net.widths[l - 1];
    outer.n_out = net.widths[l];
    outer.across = (outer.n_in + 3) / 4;
    outer.down = outer.n_out == 1 ? 1 : (outer.n_out + 3) / 4;
    outer.items = outer.across * outer.down;
    outer.reciprocal = static_cast<uint32_t>(0xFFFFFFFFu / static_cast<uint32_t>(outer.across) + 1);
    works.outer[l - 1] = outer;
}

struct SmallCut {
    int32_t tiles;   // of a step
    int32_t groups;  // tile i adds to gradient i % groups
};

// A group per tile while a step has few.
REGKD_BOTH SmallCut small_cut(const Job& job) {
    constexpr int kGroups = 64;
    SmallCut cut;
    cut.tiles = REGKD_LEVEL::tile_count(job, kSmallSamples);
    const int each = (cut.tiles + kGroups - 1) / kGroups;
    cut.groups = (cut.tiles + each - 1) / each;
    return cut;
}

REGKD_BOTH int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

REGKD_BOTH int64_t dense_count(const Network& net) {
    int64_t total = 0;
    for (int l = 1; l <= net.layers; ++l) total += static_cast<int64_t>(net.widths[l]) * (net.widths[l - 1] + 1);
    return total;
}

// What a block keeps in shared memory besides the networks and the tile.
struct SmallHeader {
    Job job;
    REGKD_LEVEL::Arena at;
    Works student, teacher;
    REGKD_LEVEL::StepNow now[2];  // of even and odd steps
    SmallCut cut;
    int64_t step, row;  // as in Header
    unsigned* barrier;  // [2] of the member: blocks arrived, generation
    double* sums;       // [2, tiles, 2] of the member, for even and odd steps
    float* gradients;   // [groups, grad_floats] of the member, each laid out like the parameters
    int64_t grad_floats;
    int32_t parameters;
    int32_t map;  // [parameters] where a parameter lies: floats from `weights` of W, and of its transpose << 16
    int32_t weights, arena, arena_floats;  // arena: the first warp's
};

struct SmallSize {
    int32_t student, teacher, map, arena;  // floats from the begin of shared memory
    int32_t each;                          // of a warp's arena
};

REGKD_BOTH int32_t small_header_floats() { return static_cast<int32_t>((sizeof(SmallHeader) + 127) / 128 * 32); }

REGKD_BOTH SmallSize small_size(const Job& job, Places& student, Places& teacher, REGKD_LEVEL::Arena& at) {
    SmallSize size;
    at = REGKD_LEVEL::make_arena(job, kSmallSamples, true);
    size.student = small_header_floats();
    size.teacher = place_network(job.student, size.student, student);
    size.map = place_network(job.teacher, size.teacher, teacher);
    size.arena = size.map + static_cast<int32_t>((dense_count(job.student) + 31) / 32 * 32);
    size.each = (at.floats + 31) / 32 * 32;
    place_buffers(at, student, teacher);
    return size;
}

// A function of the job alone, so that an ensemble's members go the way that they go alone.
REGKD_BOTH bool is_small(const Job& job) {
    if (dense_count(job.student) + dense_count(job.teacher) > kSmallBytes / 4) return false;
    if (REGKD_LEVEL::tile_count(job, kSmallSamples) > kSmallTiles) return false;
    Places student, teacher;
    REGKD_LEVEL::Arena at;
    const SmallSize size = small_size(job, student, teacher, at);
    return 4 * (size.arena + size.each) <= kSmallBytes && size.teacher - size.student < kSmallMapped;
}

}  // namespace cuda
}  // namespace regkd
