// Many steps of one job on one thread of several: tiles are taken from a counter, gradients of a group of tiles add up
// in one buffer, and the buffers are summed in a fixed order. The result is the same for every number of threads.
#pragma once

#include "../core/step.h"
#include "cpu_block.h"
#include "kernels.h"

namespace regkd {
namespace REGKD_LEVEL {

inline int widest_layer(const Network& net) {
    int n = 1;
    for (int l = 0; l <= net.layers; ++l) n = net.widths[l] > n ? net.widths[l] : n;
    return n;
}

inline void measure_run(JobRun* run) {
    const Job& job = run->job;
    run->params = parameter_count(job.student);
    run->partial_floats = padded_count(job.student);
    run->tiles = tile_count(job, kTile);
    // Few groups for large students (their gradients are the traffic), many for small ones (their tiles are the
    // balance).
    int64_t groups = 65536 / run->partial_floats;
    groups = groups < 4 ? 4 : (groups > 16 ? 16 : groups);
    run->groups = static_cast<int32_t>(run->tiles < groups ? run->tiles : groups);
    run->arena_floats = make_arena(job).floats + 2 * kTile * static_cast<int64_t>(pitch(widest_layer(job.student)));

    double teacher = 0, student = 0, units_t = 0, units_s = 0;
    for (int l = 1; l <= job.teacher.layers; ++l)
        teacher += static_cast<double>(job.teacher.widths[l]) * job.teacher.widths[l - 1];
    for (int l = 1; l <= job.student.layers; ++l)
        student += static_cast<double>(job.student.widths[l]) * job.student.widths[l - 1];
    for (int l = 1; l < job.teacher.layers; ++l) units_t += job.teacher.widths[l];
    for (int l = 1; l < job.student.layers; ++l) units_s += job.student.widths[l];
    run->flops = run->activations = 0;
    for (int kind = 0; kind < kPointKinds; ++kind) {
        if (!has_kind(job, kind)) continue;
        const bool gm = gm_on_kind(job, kind), seen = kind != kOriginal || job.t == nullptr || gm;
        const double cotangents = gm ? cotangent_count(job) : 0, ascent = kind == kAscended ? job.ascent_steps : 0;
        const double points = static_cast<double>(job.batch) * (kind == kPerturbed ? job.draws : 1);
        const double t = (seen ? 1 : 0) + cotangents + 2 * ascent, s = 3 + 3 * cotangents + 2 * ascent;
        run->flops += 2 * points * (t * teacher + s * student);
        run->activations += points * (((seen ? 1 : 0) + ascent) * units_t + (1 + ascent) * units_s);
    }
}

// Rows of the gradient: W_1's, then b_1 as one row, W_2's ... Calls f(padded offset, flat offset, length) for those
// that begin in [begin, end) of the flat array.
template <class Function>
inline void gradient_rows(const Network& net, int64_t begin, int64_t end, Function f) {
    int64_t from = 0, flat = 0;
    for (int l = 1; l <= net.layers; ++l) {
        const int n_in = net.widths[l - 1], n_out = net.widths[l];
        for (int j = 0; j <= n_out; ++j) {
            const int length = j < n_out ? n_in : n_out;
            if (flat >= begin && flat < end) f(from, flat, length);
            from += j < n_out ? pitch(length) : padded(length);
            flat += length;
        }
    }
}

// Where thread `i` of `threads` begins: a row's start, so that rows are not shared.
inline int64_t share_begin(const Network& net, int64_t params, int i, int threads) {
    const int64_t wanted = params * i / threads;
    if (wanted <= 0) return 0;
    if (i >= threads) return params;
    int64_t found = params;
    gradient_rows(net, 0, params, [&](int64_t, int64_t flat, int) {
        if (flat >= wanted && flat < found) found = flat;
    });
    return found;
}

// Sums the groups' gradients of this thread's rows and lets the optimizer have them.
inline void finish_step(JobRun* run, const StepNow& now, int thread, int64_t begin, int64_t end) {
    const Job& job = run->job;
    float* flat = run->flat + kPad * thread;
    gradient_rows(job.student, begin, end, [&](int64_t from, int64_t to, int length) {
        for (int k = 0; k < padded(length); k += kVec) {
            Vec sum = load_vec(run->partials + from + k);
            for (int g = 1; g < run->groups; ++g)
                sum = sum + load_vec(run->partials + g * run->partial_floats + from + k);
            store_vec(flat + to + k, sum);  // the overlap past `length` is the next row's, or slack
        }
    });
    if (job.grad)
        for (int64_t i = begin; i < end; ++i) job.grad[i] = flat[i];
    if (job.optimizer == kGradientOnly) return;
    int64_t i = begin;
    const bool adam = job.optimizer != kRmsprop;
    for (; i + kVec <= end; i += kVec) {
        Vec p = load_vec(job.params + i), first = load_vec(job.state1 + i);
        Vec second = adam ? load_vec(job.state2 + i) : all<Vec>(0.0f);
        update(job, now, load_vec(flat + i), p, first, second);
        store_vec(job.params + i, p);
        store_vec(job.state1 + i, first);
        if (adam) store_vec(job.state2 + i, second);
    }
    for (; i < end; ++i) {
        float unused = 0.0f;
        update(job, now, flat[i], job.params[i], job.state1[i], adam ? job.state2[i] : unused);
    }
}

// The losses of a step from the sums of every tile [tile_count, 2], in the order of tiles.
inline void step_losses(const Job& job, const StepNow& now, const double* sums, int tiles, double* out) {
    double sum[kTerms] = {};
    for (int i = 0; i < tiles; ++i) {
        sum[term_of(tile_at(job, i, kTile).kind)] += sums[2 * i];
        sum[kTermGm] += sums[2 * i + 1];
    }
    write_losses(job, now, sum, out);
}

template <Order kOrder>
inline void run_steps(JobRun* run, int thread, int threads) {
    const Job& job = run->job;
    const Arena at = make_arena(job);
    float* arena = run->arenas + run->arena_floats * thread;
    Rows student = student_rows(at, arena), teacher = teacher_rows(at, arena);
    place_weights(job.student, job.params, student);
    place_weights(job.teacher, job.teacher.params, teacher);
    float* transposed = arena + at.floats;
    const int64_t half = static_cast<int64_t>(kTile) * pitch(widest_layer(job.student));
    const int64_t begin = share_begin(job.student, run->params, thread, threads);
    const int64_t end = share_begin(job.student, run->params, thread + 1, threads);
    for (int64_t i = 0; i < run->steps; ++i) {
        const StepNow now = step_now(job, job.first_step + i);
        int32_t* next = &run->next[i & 1];
        for (;;) {
            const int32_t group = threads > 1 ? __atomic_fetch_add(next, 1, __ATOMIC_RELAXED) : (*next)++;
            if (group >= run->groups) break;
            float* grad = run->partials + group * run->partial_floats;
            for (int tile = group; tile < run->tiles; tile += run->groups) {
                const Tile where = tile_at(job, tile, kTile);
                const CpuBlock<kOrder> block(where.count, transposed, half);
                run_tile(block, job, now, at, where, arena, student, teacher, grad, tile != group,
                         run->sums + 2 * tile);
            }
        }
        if (threads > 1) run->wait(run->barrier);
        if (thread == 0) {
            run->next[(i & 1) ^ 1] = 0;
            if (job.losses) step_losses(job, now, run->sums, run->tiles, job.losses + i * (1 + kTerms));
        }
        finish_step(run, now, thread, begin, end);
        if (threads > 1) run->wait(run->barrier);
    }
}

}  // namespace REGKD_LEVEL
}  // namespace regkd
