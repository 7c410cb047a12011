// One step of training as work on tiles: which points there are, what each adds to the losses and to the gradient.
// The order of tiles and the grouping of their gradients are fixed by the job, never by the number of threads.
#pragma once

#include "ascent.h"
#include "loss.h"
#include "optimizer.h"
#include "permutation.h"

namespace regkd {
namespace REGKD_LEVEL {

// Up to `size` (at most 32) points of one kind: anchors first .. first + count - 1, draw k.
struct Tile {
    int kind, draw, first, count;
};

REGKD_INLINE int anchor_tiles(const Job& job, int size) { return (job.batch + size - 1) / size; }
REGKD_INLINE int tile_count(const Job& job, int size) {
    const int kinds = has_kind(job, kAscended) + (has_kind(job, kPerturbed) ? job.draws : 0) + has_kind(job, kOriginal);
    return kinds * anchor_tiles(job, size);
}
// Ascended points first: they cost most, so a thread that takes the last tile is not left alone with a long one.
REGKD_INLINE Tile tile_at(const Job& job, int index, int size) {
    const int per = anchor_tiles(job, size), slice = index / per, first = (index - slice * per) * size;
    const int left = job.batch - first, count = left < size ? left : size;
    const int ascended = has_kind(job, kAscended), perturbed = has_kind(job, kPerturbed) ? job.draws : 0;
    if (slice < ascended) return {kAscended, 0, first, count};
    if (slice < ascended + perturbed) return {kPerturbed, slice - ascended, first, count};
    return {kOriginal, 0, first, count};
}

REGKD_INLINE float gm_points(const Job& job) {
    const int n =
        gm_on_kind(job, kOriginal) + (gm_on_kind(job, kPerturbed) ? job.draws : 0) + gm_on_kind(job, kAscended);
    return static_cast<float>(n) * static_cast<float>(job.batch);
}

// x of the tile's points, before any ascent; index holds each lane's row, losses are 0.
template <class Block>
REGKD_PHASE void make_points(Block block, const Job& job, const StepNow& now, const Tile& tile, const Arena& at,
                             float* base) {
    using F = typename Block::F;
    using U = typename Block::U;
    const int d = job.student.widths[0];
    float *x = base + at.x, *live = base + at.live, *value_loss = base + at.value_loss, *gm_loss = base + at.gm_loss;
    int32_t* index = reinterpret_cast<int32_t*>(base + at.index);
    const bool gaussian = job.x == nullptr;
    const uint32_t n = static_cast<uint32_t>(job.rows);
    // The tile's rows follow each other in the stream of epochs; most tiles lie in one epoch, whose keys are made once.
    const uint64_t start =
        gaussian ? 0
                 : static_cast<uint64_t>(now.t) * static_cast<uint64_t>(job.batch) + static_cast<uint64_t>(tile.first);
    const uint64_t epoch = gaussian ? 0 : start / n, offset = start - epoch * n;
    const int bits = row_bits(n);
    // On the host once for the tile; on the device every thread makes its own, after the walk below.
    RowKeys keys = {};
    if constexpr (sizeof(F) > sizeof(float)) {
        if (!gaussian && job.shuffle) keys = row_keys(job.seed, epoch);
    }
    block.lanes([&](int lane) {
        live[lane] = lane < tile.count ? 1.0f : 0.0f;
        value_loss[lane] = gm_loss[lane] = 0.0f;
        if (gaussian) return;
        uint64_t i = offset + static_cast<uint64_t>(lane < tile.count ? lane : 0), passed = 0;
        for (; i >= n; i -= n) ++passed;
        uint32_t row = static_cast<uint32_t>(i);
        if (job.shuffle) {
            if (sizeof(F) == sizeof(float) || passed > 0)
                row = permute_row(row_keys(job.seed, epoch + passed), row, n, bits);
            else
                row = permute_row(keys, row, n, bits);
        }
        index[lane] = static_cast<int32_t>(row);
    });
    if (!gaussian) block.barrier();
    const bool ascended = tile.kind == kAscended, anchored = !ascended || job.ascent_from_anchor;
    block.rows((d + 3) / 4, [&](int q, int s) {
        const U sample = block.lane_numbers(s) + static_cast<uint32_t>(tile.first);
        const uint32_t quad = static_cast<uint32_t>(q);
        F anchor[4], noise[4];
        if (anchored && gaussian) normal_quad<F, U>(job.seed, kInput, now.step, sample, 0u, quad, anchor);
        if (tile.kind != kOriginal)
            normal_quad<F, U>(job.seed, ascended ? kAscent : kPerturb, now.step, sample,
                              static_cast<uint32_t>(tile.draw), quad, noise);
        for (int i = 0; i < 4 && 4 * q + i < d; ++i) {
            const int j = 4 * q + i;
            F v = all<F>(0.0f);
            if (anchored) v = gaussian ? clamped(job, j, anchor[i]) : block.gather(job.x, index, d, j, s);
            if (tile.kind != kOriginal)
                v = clamped(job, j, v + noise[i] * (ascended ? job.ascent_sigma : job.sigma[j]));
            block.store(x + j * Block::kPitch + s, v);
        }
    });
    block.barrier();
}

// The rows' labels and constants, for the base loss. Needs the index of make_points.
template <class Block>
REGKD_PHASE void gather_rows(Block block, const Job& job, const Arena& at, float* base) {
    const int o = outputs_of(job);
    const int32_t* index = reinterpret_cast<const int32_t*>(base + at.index);
    float *y = base + at.y, *t = base + at.t, *terms = base + at.row_terms, *live = base + at.live;
    block.rows(o, [&](int j, int s) {
        if (job.y) block.store(y + j * Block::kPitch + s, block.gather(job.y, index, o, j, s));
        if (job.t) block.store(t + j * Block::kPitch + s, block.gather(job.t, index, o, j, s));
    });
    block.lanes([&](int lane) {
        const int64_t i = job.x ? index[lane] : 0;
        terms[lane] = live[lane] * (job.row_weight ? job.row_weight[i] : 1.0f);
        terms[Block::kPitch + lane] = job.row_a ? job.row_a[i] : job.base_a;
        terms[2 * Block::kPitch + lane] = job.row_b ? job.row_b[i] : job.base_b;
        terms[3 * Block::kPitch + lane] = job.row_error ? job.row_error[i] : 0.0f;
        terms[4 * Block::kPitch + lane] = job.row_outlier ? job.row_outlier[i] : 0.0f;
    });
}

REGKD_INLINE bool has_base(const Job& job, const Tile& tile) {
    return tile.kind == kOriginal && job.base != kNone && is_active(job.weight[kTermBase]);
}

// v of cotangent number c: a unit vector, or random signs of the point.
template <class Block>
REGKD_PHASE void make_cotangent(Block block, const Job& job, const StepNow& now, const Tile& tile, int c, float* v) {
    using F = typename Block::F;
    using U = typename Block::U;
    const int o = outputs_of(job);
    const int slot = tile.kind == kOriginal ? 0 : (tile.kind == kPerturbed ? 1 + tile.draw : 1 + job.draws);
    block.rows(o, [&](int j, int s) {
        F value = all<F>(j == c ? 1.0f : 0.0f);
        if (job.cotangents > 0) {
            U w[4];
            philox_words<U>(job.seed, kCotangent, now.step, block.lane_numbers(s) + static_cast<uint32_t>(tile.first),
                            static_cast<uint32_t>(slot * job.cotangents + c), static_cast<uint32_t>(j >> 2), w);
            const U word = (j & 2) ? ((j & 1) ? w[3] : w[2]) : ((j & 1) ? w[1] : w[0]);
            value = to_signed(word) < 0 ? all<F>(-1.0f) : all<F>(1.0f);
        }
        block.store(v + j * Block::kPitch + s, value);
    });
}

// Passes 1 and 2 of the teacher alone.
template <class Block>
REGKD_PHASE void run_teacher(Block block, const Network& net, const Rows& rows, float* y, const float* v, float* g,
                             const float* x) {
    forward_alone(block, net, net.layers, rows, 1, y, x);
    pull_back_alone(block, net, net.layers, rows, v, g);
}

// Points of a tile, with the labels and constants of their rows. Reads no parameters. A barrier must follow.
template <class Block>
REGKD_INLINE void prepare_tile(Block block, const Job& job, const StepNow& now, const Tile& tile, const Arena& at,
                               float* base) {
    make_points(block, job, now, tile, at, base);
    if (has_base(job, tile)) gather_rows(block, job, at, base);
}

// Adds one tile: its value loss and its gradient-matching loss (sums over points, unweighted) to sums[0], sums[1], and
// the gradient of the weighted objective to grad (padded layout). add == false: grad is set. Ends with a barrier.
// Places: Rows, or what a Block's own passes take in their stead; those are found by the Block's type.
template <class Block, class Places>
REGKD_INLINE void run_prepared(Block block, const Job& job, const StepNow& now, const Arena& at, const Tile& tile,
                               float* base, const Places& student, const Places& teacher, float* grad, bool add,
                               double* sums) {
    const bool gm = gm_on_kind(job, tile.kind), original = tile.kind == kOriginal;
    const bool base_on = has_base(job, tile);
    const bool bend = gm && is_curved(job.student.activation);
    // Buffers are named by offset and job is read where it is used: on the device, what lives across phases costs
    // registers.
    const auto buffer = [&](int32_t offset) { return base + offset; };

    if (tile.kind == kAscended) ascend(block, job, at, base, student, teacher);

    const bool stored = original && job.t != nullptr, ask = gm || !stored;
    bool teacher_first = Block::kInPlace && gm && one_by_one(job);  // with pass 2: its buffers are the student's
    int asked = ask ? job.teacher.layers : 0, pulled = job.teacher.layers;
    if constexpr (Block::kInPlace) {
        if (teacher_first) {
            make_cotangent(block, job, now, tile, 0, buffer(at.v));
            run_teacher(block, job.teacher, teacher, buffer(at.teacher_y), buffer(at.v), buffer(at.teacher_g),
                        buffer(at.x));
            asked = pulled = 0;
        }
    }
    if constexpr (Block::kShallow) {
        if (asked > 0 && block.is_shallow(job.teacher) && (!gm || cotangent_count(job) == 1)) {
            if (gm) make_cotangent(block, job, now, tile, 0, buffer(at.v));
            block.run_shallow(job.teacher, teacher, buffer(at.x), gm ? buffer(at.v) : nullptr, buffer(at.teacher_y),
                              buffer(at.teacher_g));
            teacher_first = true;
            asked = pulled = 0;
        }
    }
    forward(block, job.teacher, asked, teacher, gm ? 1 : 0, buffer(at.teacher_y), job.student, student, bend ? 2 : 1,
            buffer(at.student_y), buffer(at.x));

    const float batch = static_cast<float>(job.batch);
    if (base_on) {
        float* terms = buffer(at.row_terms);
        constexpr int pitch = Block::kPitch;
        const RowTerms row = {terms, terms + pitch, terms + 2 * pitch, terms + 3 * pitch, terms + 4 * pitch};
        const float* t = stored ? buffer(at.t) : (job.teacher.layers > 0 ? buffer(at.teacher_y) : nullptr);
        base_loss(block, base_constants(job), outputs_of(job), buffer(at.student_y), job.y ? buffer(at.y) : nullptr, t,
                  row, now.weight[kTermBase] / batch, buffer(at.c), buffer(at.value_loss));
    } else {
        float scale = 0.0f;
        if (tile.kind == kPerturbed) scale = now.weight[kTermPm] / (batch * static_cast<float>(job.draws));
        if (tile.kind == kAscended) scale = now.weight[kTermAbm] / batch;
        match(block, outputs_of(job), buffer(at.student_y), buffer(at.teacher_y), buffer(at.live), scale, 1.0f,
              buffer(at.c), buffer(at.value_loss));
    }

    const int count = gm ? cotangent_count(job) : 0;
    if (gm) {
        const float share = job.cotangents > 0 ? 1.0f / static_cast<float>(count) : 1.0f;
        const float scale = now.weight[kTermGm] / gm_points(job) * share;
        REGKD_ROLLED
        for (int i = 0; i < count; ++i) {
            if (!teacher_first) make_cotangent(block, job, now, tile, i, buffer(at.v));
            block.barrier();
            pull_back(block, job.teacher, pulled, teacher, buffer(at.v), buffer(at.teacher_g), job.student, student,
                      buffer(at.v), buffer(at.student_g));
            match(block, job.student.widths[0], buffer(at.student_g), buffer(at.teacher_g), buffer(at.live), scale,
                  share, buffer(at.r), buffer(at.gm_loss));
            block.barrier();
            push_forward(block, job.student, buffer(at.r), student, i == 0);
            if (count > 1) {
                tangent_gradient(block, job.student, buffer(at.v), buffer(at.r), student, grad, add || i > 0);
                block.barrier();
            }
        }
    } else {
        block.barrier();
    }
    // Several cotangents have left their part of the gradient behind; one goes along with the values'.
    gradient(block, job.student, buffer(at.x), buffer(at.c), count == 1 ? buffer(at.v) : nullptr,
             count == 1 ? buffer(at.r) : nullptr, student, bend && job.student.layers > 1, grad, add || count > 1, add);
    block.lane_sums(buffer(at.value_loss), buffer(at.gm_loss), tile.count, sums);
    block.barrier();
}

template <class Block, class Places>
REGKD_INLINE void run_tile(Block block, const Job& job, const StepNow& now, const Arena& at, const Tile& tile,
                           float* base, const Places& student, const Places& teacher, float* grad, bool add,
                           double* sums) {
    prepare_tile(block, job, now, tile, at, base);
    run_prepared(block, job, now, at, tile, base, student, teacher, grad, add, sums);
}

// Which term the tile's value loss belongs to.
REGKD_INLINE int term_of(int kind) { return kind == kOriginal ? kTermBase : (kind == kPerturbed ? kTermPm : kTermAbm); }

// Means from the terms' sums over all points. out [1 + kTerms]: the weighted total, then the terms.
REGKD_INLINE void write_losses(const Job& job, const StepNow& now, const double* sum, double* out) {
    const double batch = job.batch;
    double term[kTerms];
    term[kTermBase] = job.base != kNone && is_active(job.weight[kTermBase]) ? sum[kTermBase] / batch : 0.0;
    term[kTermPm] = is_active(job.weight[kTermPm]) ? sum[kTermPm] / (batch * job.draws) : 0.0;
    term[kTermAbm] = is_active(job.weight[kTermAbm]) ? sum[kTermAbm] / batch : 0.0;
    term[kTermGm] = any_gm(job) ? sum[kTermGm] / static_cast<double>(gm_points(job)) : 0.0;
    double total = 0.0;
    for (int i = 0; i < kTerms; ++i) {
        total += static_cast<double>(now.weight[i]) * term[i];
        out[1 + i] = term[i];
    }
    out[0] = total;
}

}  // namespace REGKD_LEVEL
}  // namespace regkd
