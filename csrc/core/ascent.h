// Input ascent: from x, a few steps towards points where student and teacher disagree.
//   G = grad_x (1/B) [ -|S-T|^2 + ridge |S|^2 ] + decay * x,  x moves against G (Zhou & Chiam 2023 with rmsprop)
#pragma once

#include "block.h"

namespace regkd {
namespace REGKD_LEVEL {

// Into the box of feature j.
template <class F>
REGKD_INLINE F clamped(const Job& job, int j, F v) {
    if (job.low) v = at_least(v, job.low[j]);
    if (job.high) v = at_most(v, job.high[j]);
    return v;
}

template <class Block, class Places>
REGKD_PHASE void ascend(Block block, const Job& job, const Arena& at, float* base, const Places& student,
                        const Places& teacher) {
    using F = typename Block::F;
    const int d = job.student.widths[0], o = outputs_of(job);
    float *x = base + at.x, *square = base + at.square, *to_s = base + at.c, *to_t = base + at.v;
    float *g_s = base + at.student_g, *g_t = base + at.teacher_g, *y_s = base + at.student_y,
          *y_t = base + at.teacher_y;
    float* length = to_t;  // of G, by lane, once the cotangents are used
    const float scale = 1.0f / static_cast<float>(job.batch);
    // One output: J^T v is v J^T 1, which need not wait for the answer.
    bool at_once = false;
    if constexpr (Block::kShallow) at_once = o == 1 && block.is_shallow(job.teacher);
    const int asked = at_once ? 0 : job.teacher.layers;

    REGKD_ROLLED
    for (int step = 0; step < job.ascent_steps; ++step) {
        if constexpr (Block::kShallow) {
            if (at_once) {
                block.rows(1, [&](int, int s) { block.store(to_t + s, all<F>(1.0f)); });
                block.run_shallow(job.teacher, teacher, x, to_t, y_t, g_t);
            }
        }
        forward(block, job.teacher, asked, teacher, 1, y_t, job.student, student, 1, y_s, x);
        block.rows(o, [&](int j, int s) {
            const F out = block.load(y_s + j * Block::kPitch + s);
            const F gap = (out - block.load(y_t + j * Block::kPitch + s)) * (2.0f * scale);
            block.store(to_s + j * Block::kPitch + s, out * (2.0f * scale * job.ascent_ridge) - gap);
            block.store(to_t + j * Block::kPitch + s, gap);
        });
        block.barrier();
        pull_back(block, job.teacher, asked, teacher, to_t, g_t, job.student, student, to_s, g_s);
        if (at_once) {
            block.rows(d, [&](int j, int s) {
                const int i = j * Block::kPitch + s;
                block.store(g_t + i, block.load(g_t + i) * block.load(to_t + s));
            });
            block.barrier();
        }
        if (job.ascent_rule == kNormalised) {
            block.rows(1, [&](int, int s) {
                F sum = all<F>(1e-24f);
                for (int j = 0; j < d; ++j) {
                    const int i = j * Block::kPitch + s;
                    const F g = block.load(g_s + i) + block.load(g_t + i) + block.load(x + i) * job.ascent_decay;
                    sum = sum + g * g;
                }
                block.store(length + s, square_root(sum));
            });
            block.barrier();
        }
        block.rows(d, [&](int j, int s) {
            const int i = j * Block::kPitch + s;
            const F zero = all<F>(0.0f), now = block.load(x + i);
            const F g = block.load(g_s + i) + block.load(g_t + i) + now * job.ascent_decay;
            F move;
            if (job.ascent_rule == kRmspropAscent) {
                const F before = step == 0 ? zero : block.load(square + i);
                const F v = before * job.ascent_alpha + g * g * (1.0f - job.ascent_alpha);
                block.store(square + i, v);
                move = g / (square_root(v) + job.ascent_eps);
            } else if (job.ascent_rule == kSign) {
                move = g > 0.0f ? all<F>(1.0f) : (g < 0.0f ? all<F>(-1.0f) : zero);
            } else {
                move = g / block.load(length + s);
            }
            block.store(x + i, clamped(job, j, now - move * job.ascent_size));
        });
        block.barrier();
    }
}

}  // namespace REGKD_LEVEL
}  // namespace regkd
