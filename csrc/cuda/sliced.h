// The Block for wide networks and many rows: as DeviceBlock with tiles of 32 in shared memory, but for its products.
//
// A product of n rows by 32 samples is cut into at most 8 items of 64 rows and a slice of the terms. A warp takes an
// item: a thread holds 8 rows by 8 samples in registers, so 16 loads of 16 bytes serve 256 multiply-adds. Weights that
// do not lie in shared memory come through the item's own ring of two stages of 16 terms by asynchronous copies; no
// other warp reads them, so no barrier of the block is met. The item's sums go to scratch memory where its ring was;
// the block meets, and the warps add up the slices and finish their rows. So `out` may be `in`.
#pragma once

#include "block.h"

namespace regkd {
namespace cuda {

constexpr int kStageTerms = 16;

struct SlicedBlock : DeviceBlock<true, 5> {
    static constexpr bool kInPlace = true;

    float* scratch;  // [kScratchFloats], shared memory

    REGKD_BOTH explicit SlicedBlock(float* scratch_floats) : DeviceBlock<true, 5>{5, false}, scratch(scratch_floats) {}

    template <class Done>
    REGKD_BOTH void product(const float* w, int stride, int n_out, int n_in, const float* in, const float* bias,
                            float* out, const Done& done) const {
        run<false>(w, stride, n_out, n_in, in, bias, out, done);
    }
    template <class Done>
    REGKD_BOTH void product_transposed(const float* w, int stride, int n_out, int n_in, const float* in, float* out,
                                       const Done& done) const {
        run<true>(w, stride, n_in, n_out, in, nullptr, out, done);
    }

  private:
    // A lane's place in an item: 8 row groups by 4 sample groups, neighbours in both directions among neighbours.
    REGKD_BOTH int row_group() const { return (lane() & 1) | (lane() >> 1 & 2) | (lane() >> 2 & 4); }
    REGKD_BOTH int sample_group() const { return (lane() >> 1 & 1) | (lane() >> 2 & 2); }

    template <bool kTransposed, class Done>
    REGKD_BOTH void run(const float* w, int stride, int n, int terms, const float* in, const float* bias, float* out,
                        const Done& done) const {
        if (is_few(n, terms)) {  // never in place: hidden layers have more units
            finish_rows(n,
                        in_shared(w) ? multiply<kTransposed, true>(w, stride, n, terms, in, bias, out)
                                     : multiply<kTransposed, false>(w, stride, n, terms, in, bias, out),
                        done);
            return;
        }
        if (in_shared(w))
            items<kTransposed, true>(w, stride, n, terms, in);
        else
            items<kTransposed, false>(w, stride, n, terms, in);
        barrier();
        const int share = 4 * ((n + 4 * warp_count() - 1) / (4 * warp_count())), begin = warp_index() * share;
        const int end = begin + share < n ? begin + share : n;
        if (begin >= end) return;
        add_slices(begin, end, n, terms, bias, out);
        warp_barrier();
        done(begin, end);
    }

    // Sums of rows begin .. end - 1 over the slices.
    REGKD_PHASE void add_slices(int begin, int end, int n, int terms, const float* bias, float* out) const {
        const float* parts = assume_shared(scratch);
        out = assume_shared(out);
        const int count = slices_of(n, terms).count;
        if (count == 1)
            add_slices_of<1>(begin, end, count, parts, bias, out);
        else if (count == 2)
            add_slices_of<2>(begin, end, count, parts, bias, out);
        else if (count == 4)
            add_slices_of<4>(begin, end, count, parts, bias, out);
        else if (count == 8)
            add_slices_of<8>(begin, end, count, parts, bias, out);
        else
            add_slices_of<0>(begin, end, count, parts, bias, out);
    }
    template <int kCount>
    REGKD_BOTH void add_slices_of(int begin, int end, int given, const float* parts, const float* bias,
                                  float* out) const {
        const int count = kCount ? kCount : given, quad = 4 * (lane() & 7);
        REGKD_ROLLED_BY(2)
        for (int row = begin + (lane() >> 3); row < end; row += 4) {
            const int block = static_cast<int>(static_cast<unsigned>(row) / kItemRows);
            const float* part = parts + (row + block * (count - 1) * kItemRows) * kItemPitch + quad;
            float4 sum = load4(part);
            for (int i = 1; i < count; ++i) {
                const float4 more = load4(part + i * kItemFloats);
                sum = {sum.x + more.x, sum.y + more.y, sum.z + more.z, sum.w + more.w};
            }
            const float b = bias ? bias[row] : 0.0f;
            *reinterpret_cast<float4*>(out + row * kTile + quad) = float4{sum.x + b, sum.y + b, sum.z + b, sum.w + b};
        }
    }

    template <bool kTransposed, bool kWeightsShared>
    REGKD_PHASE void items(const float* w, int stride, int n, int terms, const float* in) const {
        w = kWeightsShared ? assume_shared(w) : assume_global(w);
        in = assume_shared(in);
        float* const all = assume_shared(scratch);
        const Slices cut = slices_of(n, terms);
        REGKD_ROLLED
        for (int item = warp_index(); item < row_blocks(n) * cut.count; item += warp_count()) {
            const int block = item / cut.count, begin = (item - block * cut.count) * cut.length;
            const int end = begin + cut.length < terms ? begin + cut.length : terms;
            const int first = block * kItemRows, left = n - first;
            float* own = all + item * kItemFloats;
            if (left > 32)
                one_item<8, kTransposed, kWeightsShared>(w, stride, first, left, begin, end, in, own);
            else if (left > 16)
                one_item<4, kTransposed, kWeightsShared>(w, stride, first, left, begin, end, in, own);
            else
                one_item<2, kTransposed, kWeightsShared>(w, stride, first, left, begin, end, in, own);
        }
    }

    // R rows by 8 samples per thread: rows 8 i + group, or in a transposed product those of whole quads of columns.
    template <int R, bool kTransposed, bool kWeightsShared>
    REGKD_BOTH void one_item(const float* w, int stride, int first, int left, int begin, int end, const float* in,
                             float* own) const {
        const int group = row_group(), samples = 4 * sample_group();
        const float* x = in + begin * kTile + samples;
        float sum[R][8] = {};
        if constexpr (kWeightsShared) {
            if constexpr (kTransposed) {
                const int last = (left - 1) / kColumns<R> * kColumns<R>;  // rows are padded to whole quads
                const int column = kColumns<R> * group, second = column + 32;
                const float* p = w + begin * stride + first;
                add_columns<R>(p + (column < last ? column : last), p + (second < last ? second : last), stride,
                               end - begin, x, sum);
            } else {
                const float* row[R];
                for (int i = 0; i < R; ++i) {
                    const int j = 8 * i + group;
                    row[i] = w + (first + (j < left ? j : left - 1)) * stride + begin;
                }
                add_rows<R>(row, 0, end - begin, x, sum);
            }
        } else {
            const bool aligned = (stride & 3) == 0 && (reinterpret_cast<uintptr_t>(w) & 15) == 0;
            const bool whole = aligned && left >= 8 * R;
            constexpr int kStage = 8 * R * kStageTerms;
            int at = 0;  // of the stage in the ring: a pointer that changes is no longer known to be shared
            REGKD_ROLLED
            for (int k = begin - 2 * kStageTerms; k < end; k += kStageTerms) {
                if (k >= begin) {
                    const int count = end - k < kStageTerms ? end - k : kStageTerms;
                    wait_for_copies<1>();
                    warp_barrier();
                    if constexpr (kTransposed) {
                        const float* p = own + at + kColumns<R> * group;
                        add_columns<R>(p, p + 32, 8 * R, count, x, sum);
                    } else {
                        const float* row[R];
                        for (int i = 0; i < R; ++i) row[i] = own + at + (8 * i + group) * kStageTerms;
                        add_rows<R>(row, stage_swizzle(group), count, x, sum);
                    }
                    x += kStageTerms * kTile;
                    warp_barrier();
                }
                const int next = k + 2 * kStageTerms, count = end - next < kStageTerms ? end - next : kStageTerms;
                if (whole && count == kStageTerms)
                    copy_whole_stage<R, kTransposed>(w, stride, first, next, own + at);
                else if (aligned && count > 0)
                    copy_stage<R, kTransposed, 4>(w, stride, first, left, next, count, own + at);
                else if (count > 0)
                    copy_stage<R, kTransposed, 1>(w, stride, first, left, next, count, own + at);
                copies_end();
                at = kStage - at;
            }
        }
        float* to = own + (kTransposed ? kColumns<R> : 1) * group * kItemPitch + samples;
        for (int i = 0; i < R; ++i) {
            const int row = !kTransposed ? 8 * i : (i & 3) + 8 * (i & 4);
            put4(to + row * kItemPitch, sum[i]);
            put4(to + row * kItemPitch + 16, sum[i] + 4);
        }
    }

    // Consecutive columns of a lane in a transposed product, of which R = 8 has a second set 32 further on.
    template <int R>
    static constexpr int kColumns = R == 2 ? 2 : 4;

    // Quads of a staged row are permuted, so that 8 rows of a load meet different banks.
    REGKD_BOTH static int stage_swizzle(int row) { return 4 * (row >> 1 & 3); }

    // `count` terms from k on of the item's weights, N floats at a time: rows of 16 terms, or 16 rows of columns.
    template <int R, bool kTransposed, int N>
    REGKD_BOTH void copy_stage(const float* w, int stride, int first, int left, int k, int count, float* to) const {
        if constexpr (kTransposed) {
            constexpr int kEach = 8 * R / N;
            const int column = N * (lane() & (kEach - 1)), rows = kWarp < kEach ? 1 : kWarp / kEach;
            const float* from = w + k * stride + first;
            REGKD_ROLLED
            for (int j = lane() / kEach; j < count; j += rows)
                for (int c = column; c < 8 * R; c += N * kWarp)
                    copy_later<4 * N>(to + j * 8 * R + c, from + j * stride + (c < left ? c : left - N));
        } else {
            constexpr int kEach = kStageTerms / N;
            const int term = N * (lane() & (kEach - 1));
            if (term >= count) return;
            REGKD_ROLLED
            for (int j = lane() / kEach; j < 8 * R; j += kWarp / kEach)
                copy_later<4 * N>(to + j * kStageTerms + (term ^ stage_swizzle(j)),
                                  w + (first + (j < left ? j : left - 1)) * stride + k + term);
        }
    }

    // The same for 16 terms of a whole block, 16 bytes at a time: places follow each other at fixed distances.
    template <int R, bool kTransposed>
    REGKD_BOTH void copy_whole_stage(const float* w, int stride, int first, int k, float* to) const {
        constexpr int kEach = kTransposed ? 2 * R : kStageTerms / 4, kRows = kWarp / kEach;  // lanes per row
        constexpr int kPitch = kTransposed ? 8 * R : kStageTerms, kCount = (kTransposed ? kStageTerms : 8 * R) / kRows;
        const int row = lane() / kEach, place = 4 * (lane() & (kEach - 1));
        const float* from = w + (kTransposed ? (k + row) * stride + first : (first + row) * stride + k) + place;
        to += row * kPitch + (kTransposed ? place : place ^ stage_swizzle(row));
        const int64_t step = static_cast<int64_t>(kRows) * stride;
        for (int i = 0; i < kCount; ++i) {
            copy_later<16>(to + i * kRows * kPitch, from);
            from += step;
        }
    }

    REGKD_BOTH static void add_scaled8(float* sum, float w, const float4& x0, const float4& x1) {
        add_scaled(sum, w, x0);
        add_scaled(sum + 4, w, x1);
    }

    // row[i]: where this row's terms begin; quad q of them lies at 4 q ^ swizzle. x: of the first term.
    template <int R>
    REGKD_BOTH static void add_rows(const float* const (&row)[R], int swizzle, int terms, const float* x,
                                    float (&sum)[R][8]) {
        int k = 0;
        REGKD_ROLLED
        for (; k + 4 <= terms; k += 4) {
            float4 x0[4], x1[4];
            for (int t = 0; t < 4; ++t) {
                x0[t] = load4(x + t * kTile);
                x1[t] = load4(x + t * kTile + 16);
            }
            for (int i = 0; i < R; ++i) {
                const float4 v = load4(row[i] + (k ^ swizzle));
                add_scaled8(sum[i], v.x, x0[0], x1[0]);
                add_scaled8(sum[i], v.y, x0[1], x1[1]);
                add_scaled8(sum[i], v.z, x0[2], x1[2]);
                add_scaled8(sum[i], v.w, x0[3], x1[3]);
            }
            x += 4 * kTile;
        }
        REGKD_ROLLED
        for (; k < terms; ++k) {
            const float4 x0 = load4(x), x1 = load4(x + 16);
            for (int i = 0; i < R; ++i) add_scaled8(sum[i], row[i][k ^ swizzle], x0, x1);
            x += kTile;
        }
    }

    // p, second: where this lane's columns of the first term begin; those of the next are `stride` further on.
    template <int R>
    REGKD_BOTH static void add_columns(const float* p, const float* second, int stride, int terms, const float* x,
                                       float (&sum)[R][8]) {
        REGKD_ROLLED_BY(4)
        for (int k = 0; k < terms; ++k) {
            const float4 x0 = load4(x), x1 = load4(x + 16);
            if constexpr (R == 2) {
                const float a = p[0], b = p[1];
                add_scaled8(sum[0], a, x0, x1);
                add_scaled8(sum[1], b, x0, x1);
            } else {
                const float4 v = load4(p);
                add_scaled8(sum[0], v.x, x0, x1);
                add_scaled8(sum[1], v.y, x0, x1);
                add_scaled8(sum[2], v.z, x0, x1);
                add_scaled8(sum[3], v.w, x0, x1);
                if constexpr (R == 8) {
                    const float4 u = load4(second);
                    add_scaled8(sum[4], u.x, x0, x1);
                    add_scaled8(sum[5], u.y, x0, x1);
                    add_scaled8(sum[6], u.z, x0, x1);
                    add_scaled8(sum[7], u.w, x0, x1);
                    second += stride;
                }
            }
            p += stride;
            x += kTile;
        }
    }
};

}  // namespace cuda
}  // namespace regkd
