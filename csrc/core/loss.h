// Losses of outputs: value and gradient in one pass over a tile of [features][32] buffers.
#pragma once

#include "activation.h"

namespace regkd {
namespace REGKD_LEVEL {

// What a row brings to its base loss besides S, y and t; lane buffers [32].
struct RowTerms {
    const float* weight;   // w_i, 0 for a lane without a sample
    const float* a;        // kSquares
    const float* b;        // kSquares
    const float* error;    // kTbr: e_i
    const float* outlier;  // kTor
};

struct BaseConstants {
    int base;
    float nu, margin, delta;
    bool imitate, drop_outliers;
};

REGKD_INLINE BaseConstants base_constants(const Job& job) {
    return {job.base, job.nu, job.margin, job.delta, job.imitate != 0, job.drop_outliers != 0};
}

// huber(r; delta) = r^2 / 2 for |r| < delta, else delta (|r| - delta / 2); slope is its derivative.
template <class F>
REGKD_INLINE F huber(F r, float delta, F& slope) {
    const F size = absolute(r);
    const F clipped = at_least(at_most(r, delta), -delta);
    slope = clipped;
    return size < delta ? r * r * 0.5f : (size - 0.5f * delta) * delta;
}

// loss[lane] += w_i * value; c[j][lane] = scale * w_i * d value / d S_j. y or t may be null when the base reads
// neither.
template <class Block>
REGKD_INLINE void base_loss(Block block, const BaseConstants& k, int outputs, const float* student, const float* y,
                            const float* t, const RowTerms& row, float scale, float* c, float* loss) {
    using F = typename Block::F;
    block.rows(1, [&](int, int s) {
        const F w = block.load(row.weight + s), zero = all<F>(0.0f);
        F to_y = zero, to_t = zero, smooth = zero;  // |S-y|^2, |S-t|^2, sum of huber
        for (int j = 0; j < outputs; ++j) {
            const int at = j * Block::kPitch + s;
            const F out = block.load(student + at);
            if (y) {
                const F r = out - block.load(y + at);
                F slope;
                to_y = to_y + r * r;
                smooth = smooth + huber(r, k.base == kTbr ? 1.0f : k.delta, slope);
            }
            if (t) {
                const F r = out - block.load(t + at);
                to_t = to_t + r * r;
            }
        }
        // value = of_y |S-y|^2 + of_t |S-t|^2 + of_smooth sum huber (+ root of |S-t|)
        F of_y = zero, of_t = zero, of_smooth = zero, value = zero;
        if (k.base == kSquares) {
            of_y = block.load(row.a + s);
            of_t = block.load(row.b + s);
        } else if (k.base == kHuber) {
            of_smooth = all<F>(1.0f);
        } else if (k.base == kTbr) {
            const F gate = to_y + k.margin > block.load(row.error + s) ? all<F>(k.nu) : zero;
            of_smooth = all<F>(1.0f);
            (k.imitate ? of_t : of_y) = gate;
        } else if (k.base == kTor) {
            const F outlier = block.load(row.outlier + s);
            of_y = 1.0f - outlier;
            if (!k.drop_outliers) {
                const F distance = square_root(to_t);
                const F root = square_root(distance + 1e-7f);
                value = outlier * root;
                // d root / d S = (S - t) / (2 distance root): `of_t` is half of it, for squares bring the factor 2
                const F slope = outlier / (distance * root * 4.0f);
                of_t = distance > 0.0f ? slope : zero;
            }
        }
        if (k.base != kTor) value = of_t * to_t;
        value = value + of_y * to_y + of_smooth * smooth;
        block.store(loss + s, block.load(loss + s) + w * value);
        for (int j = 0; j < outputs; ++j) {
            const int at = j * Block::kPitch + s;
            const F out = block.load(student + at);
            F slope = zero;
            if (y) {
                const F r = out - block.load(y + at);
                F bent;
                huber(r, k.base == kTbr ? 1.0f : k.delta, bent);
                slope = slope + of_y * r * 2.0f + of_smooth * bent;
            }
            if (t) slope = slope + of_t * (out - block.load(t + at)) * 2.0f;
            block.store(c + at, w * slope * scale);
        }
    });
}

// loss[lane] += share * live |S-T|^2; c = scale * live * 2 (S-T). S and T: n outputs, or n input gradients.
template <class Block>
REGKD_PHASE void match(Block block, int n, const float* student, const float* teacher, const float* live, float scale,
                       float share, float* c, float* loss) {
    using F = typename Block::F;
    block.rows(n, [&](int j, int s) {
        const int at = j * Block::kPitch + s;
        block.store(c + at,
                    block.load(live + s) * (block.load(student + at) - block.load(teacher + at)) * (2.0f * scale));
    });
    block.squares(
        n,
        [&](int j, int s) {
            const F r = block.load(student + j * Block::kPitch + s) - block.load(teacher + j * Block::kPitch + s);
            return r * r * (block.load(live + s) * share);
        },
        loss);
}

}  // namespace REGKD_LEVEL
}  // namespace regkd
