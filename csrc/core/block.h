// The Block policy: how one tile of 32 samples is worked on. csrc/cpu runs a tile on one thread, csrc/cuda on a block.
//
// A Block is passed by value and has
//   kPitch                   floats from a row of a buffer to the next, at least the tile's samples; kTile but for
//                            csrc/cuda/small_block.h
//   F, I, U                  lane types (portable.h); load(p), store(p, F), load_int(p) for p = row + s
//   fused(a, b, c)           a * b + c
//   barrier()                what was written before it is seen by all after it; no other call meets, so whatever one
//                            call writes and the next one reads needs a barrier between them
//   rows(n, f)               f(j, s) for j < n and every lane offset s of row j; items in any order
//   lanes(f)                 f(lane) for every lane of the tile
//   gather(x, index, d, j, s)  x[index[lane] * d + j] of the lanes at s
//   each(begin, end, f)      f(j, s) for rows begin <= j < end of the caller's own share
//   product(W, stride, n_out, n_in, in, bias, out, done)    out[j] = bias[j] + sum_k W[j, k] in[k]   (bias may be null)
//   product_transposed(W, stride, n_out, n_in, in, out, done)       out[k] = sum_j W[j, k] in[j]
//       rows of W are `stride` apart; done(begin, end) is called for every range of finished rows, by those who
//       computed them and with no barrier in between
//   outer(n_out, n_in, q, a, d, t, G, add, b, add_b)        G[j, k] (+)= sum_s q[j,s] a[k,s] + d[j,s] t[k,s]
//       rows of G are pitch(n_in) apart; d and t may be null; b[j] (+)= sum_s q[j,s], null: not wanted
//   squares(n, f, loss)      loss[lane] += sum over j < n of f(j, s), f(j, s) of every lane offset s
//   lane_sums(p, q, count, sums)   sums[0], sums[1] = the sums of p[0 .. count - 1] and q[...], as doubles
//   kInPlace                 a product's `out` may be its `in`; and two networks run one after the other, so that
//                            they can share buffers (make_arena's `in_place`)
//   kShallow                 is_shallow(net) names the teachers whose passes 1 and 2 run_shallow(net, rows, x, v, y, g)
//                            does in one walk: y = net(x), g = J^T v; v null: no g. None of their buffers is used
// Lanes past the tile's last sample may hold anything finite; `live` is 0 there and every sum is weighted by it.
//
// An Arena lays out a tile's buffers once: offsets in floats from a base that a back end allocates.
#pragma once

#include "network.h"

namespace regkd {
namespace REGKD_LEVEL {

struct Arena {
    int32_t x, live, y, t, row_terms, student_y, teacher_y, c, v, r, student_g, teacher_g, square, value_loss, gm_loss;
    int32_t index;  // ints: the row of each lane
    int32_t teacher_a[2], teacher_s1[kMaxLayers];
    int32_t a[kMaxLayers], s1[kMaxLayers], s2[kMaxLayers], u[kMaxLayers], d[kMaxLayers], tangent[kMaxLayers],
        m[kMaxLayers], q[2];
    int32_t floats;  // size; a multiple of a row
};

REGKD_INLINE bool is_active(const Weight& w) { return w.start != 0.0f || w.end != 0.0f; }
REGKD_INLINE bool has_kind(const Job& job, int kind) {
    const bool gm = is_active(job.weight[kTermGm]) && (job.gm_on >> kind & 1);
    if (kind == kOriginal) return (job.base != kNone && is_active(job.weight[kTermBase])) || gm;
    if (kind == kPerturbed) return job.draws > 0 && (is_active(job.weight[kTermPm]) || gm);
    return is_active(job.weight[kTermAbm]) || gm;
}
REGKD_INLINE bool gm_on_kind(const Job& job, int kind) {
    return is_active(job.weight[kTermGm]) && (job.gm_on >> kind & 1) && has_kind(job, kind);
}
REGKD_INLINE bool any_gm(const Job& job) {
    return gm_on_kind(job, kOriginal) || gm_on_kind(job, kPerturbed) || gm_on_kind(job, kAscended);
}
REGKD_INLINE int outputs_of(const Job& job) { return job.student.widths[job.student.layers]; }
REGKD_INLINE int cotangent_count(const Job& job) { return job.cotangents > 0 ? job.cotangents : outputs_of(job); }

// Nothing of the teacher but its answers and gradient is needed once the student runs: there is at most one cotangent
// and no search.
REGKD_INLINE bool one_by_one(const Job& job) {
    return !has_kind(job, kAscended) && (!any_gm(job) || cotangent_count(job) == 1);
}

// `samples`: floats of a row, those of the Block that works on it. `q_in_s2`: with gradient matching q takes the place
// of s'', which pass 4 does not need, and has none of its own. `in_place`: for a Block of that kind. Layers of the
// teacher lie in one buffer, and where networks run one by one the student's buffers take the teacher's place.
REGKD_PHASE Arena make_arena(const Job& job, int samples = kTile, bool q_in_s2 = false, bool in_place = false) {
    Arena at;
    int32_t end = 0;
    const auto take = [&end, samples](int rows) {
        const int32_t begin = end;
        end += rows * samples;
        return begin;
    };
    const int d = job.student.widths[0], o = outputs_of(job);
    const bool gm = any_gm(job), ascent = has_kind(job, kAscended), pull = gm || ascent;
    at.x = take(d);
    at.live = take(1);
    at.index = take(1);
    at.row_terms = take(5);
    at.value_loss = take(1);
    at.gm_loss = take(1);
    at.y = take(o);
    at.t = take(o);
    at.student_y = take(o);
    at.teacher_y = take(o);
    at.c = take(o);
    at.v = take(o);
    at.teacher_g = pull ? take(d) : 0;
    at.square = ascent ? take(d) : 0;
    int wide_t[2] = {}, wide_s[2] = {};  // of odd and even layers
    for (int l = 1; l < kMaxLayers; ++l) {
        int &t = wide_t[l & 1], &s = wide_s[l & 1];
        if (l < job.teacher.layers && job.teacher.widths[l] > t) t = job.teacher.widths[l];
        if (l < job.student.layers && job.student.widths[l] > s) s = job.student.widths[l];
    }
    // Two of the teacher's layers in turn; what pass 2 leaves takes their place. One hidden layer needs one.
    const int32_t shared = end;
    if (in_place) {
        at.teacher_a[0] = at.teacher_a[1] = take(wide_t[0] > wide_t[1] ? wide_t[0] : wide_t[1]);
    } else {
        at.teacher_a[0] = take(wide_t[0]);
        at.teacher_a[1] = take(wide_t[1]);
    }
    for (int l = 1; l < kMaxLayers; ++l)
        at.teacher_s1[l] = pull && l < job.teacher.layers ? take(job.teacher.widths[l]) : 0;
    const int32_t teacher_end = end;
    if (in_place && one_by_one(job)) end = shared;
    at.r = pull ? take(d) : 0;
    at.student_g = pull ? take(d) : 0;
    for (int i = 0; i < 2; ++i) at.q[i] = take(gm && q_in_s2 ? 0 : wide_s[i]);
    const bool keep_m = gm && cotangent_count(job) > 1;
    for (int l = 1; l < kMaxLayers; ++l) {
        const int n = l < job.student.layers ? job.student.widths[l] : 0;
        at.a[l] = take(n);
        at.s1[l] = take(n);
        at.s2[l] = gm ? take(n) : 0;
        at.u[l] = pull ? take(n) : 0;
        at.d[l] = gm ? take(n) : at.u[l];
        at.tangent[l] = gm ? take(n) : 0;
        at.m[l] = keep_m ? take(n) : at.u[l];
    }
    at.floats = end > teacher_end ? end : teacher_end;
    return at;
}

REGKD_INLINE Rows student_rows(const Arena& at, float* base) {
    Rows rows = {};
    for (int l = 1; l < kMaxLayers; ++l) {
        rows.a[l] = base + at.a[l];
        rows.s1[l] = base + at.s1[l];
        rows.s2[l] = base + at.s2[l];
        rows.u[l] = base + at.u[l];
        rows.d[l] = base + at.d[l];
        rows.t[l] = base + at.tangent[l];
        rows.m[l] = base + at.m[l];
    }
    rows.q[0] = base + at.q[0];
    rows.q[1] = base + at.q[1];
    return rows;
}
// Only a, s1, u and d: passes 1 and 2.
REGKD_INLINE Rows teacher_rows(const Arena& at, float* base) {
    Rows rows = {};
    for (int l = 1; l < kMaxLayers; ++l) {
        rows.a[l] = rows.u[l] = rows.d[l] = base + at.teacher_a[l & 1];
        rows.s1[l] = base + at.teacher_s1[l];
    }
    return rows;
}

}  // namespace REGKD_LEVEL
}  // namespace regkd
