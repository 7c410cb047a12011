// Layers of floats. Included by kernels.cpp, within a level.
#pragma once

size_t dense_floats(size_t n_in, size_t n_out) {
    return n_out <= kNarrow ? n_out * spanned(n_in) : padded_outputs(n_out) * n_in;
}

void pack_dense(const float* weights, size_t n_in, size_t n_out, float* packed) {
    std::memset(packed, 0, sizeof(float) * dense_floats(n_in, n_out));
    if (n_out <= kNarrow) {
        for (size_t i = 0; i < n_out; ++i)
            std::memcpy(packed + i * spanned(n_in), weights + i * n_in, sizeof(float) * n_in);
        return;
    }
    for_panels(n_out, [&](size_t first, size_t b) {
        float* panel = packed + first * n_in;
        for (size_t i = first; i < first + b * kLanes && i < n_out; ++i)
            for (size_t j = 0; j < n_in; ++j) panel[j * b * kLanes + (i - first)] = weights[i * n_in + j];
    });
}

// add(to, from) for the sum of C chains in the first; without a loop, which would keep the chains in memory.
template <int C, class F>
REGKD_INLINE void in_pairs(F add) {
    static_assert(C == 2 || C == 4);
    add(0, 1);
    if (C == 4) add(2, 3), add(0, 2);
}

// y[i] = bias[i] + sum_j W[i][j] x[j] for the B * kLanes outputs of a panel.
template <int B, int C>
REGKD_INLINE void dense_panel(const float* panel, const float* bias, const float* x, size_t n_in, const Finish& finish,
                              float* y) {
    Vec sum[C][B] = {};
    size_t j = 0;
    for (; j + C <= n_in; j += C)
        for (int c = 0; c < C; ++c) {
            const Vec value = all<Vec>(x[j + c]);
            for (int b = 0; b < B; ++b)
                sum[c][b] = fused(load_vec(panel + ((j + c) * B + b) * kLanes), value, sum[c][b]);
        }
    for (; j < n_in; ++j)
        for (int b = 0; b < B; ++b)
            sum[0][b] = fused(load_vec(panel + (j * B + b) * kLanes), all<Vec>(x[j]), sum[0][b]);
    in_pairs<C>([&](int to, int from) {
        for (int b = 0; b < B; ++b) sum[to][b] += sum[from][b];
    });
    with_activation(finish, [&](auto g) {
        for (int b = 0; b < B; ++b) store_vec(y + b * kLanes, g(sum[0][b] + load_vec(bias + b * kLanes)));
    });
}

// The same sums for kTogether rows and S of the panel's B registers of outputs: chain after chain, so that the sums of
// one chain fit in the registers. Chains and their order are those of dense_panel.
template <int B, int C, int S>
REGKD_INLINE void dense_panel_together(const float* panel, const float* bias, const float* x, size_t n_in,
                                       size_t x_stride, size_t y_stride, float* y) {
    constexpr int kRows = kTogether;
    const size_t whole = n_in / C * C;
    Vec total[C][kRows][S];
    for (int c = 0; c < C; ++c) {
        Vec sum[kRows][S] = {};
        const auto add = [&](size_t j) {
            Vec w[S];
            for (int b = 0; b < S; ++b) w[b] = load_vec(panel + (j * B + b) * kLanes);
            for (int r = 0; r < kRows; ++r) {
                const Vec value = all<Vec>(x[r * x_stride + j]);
                for (int b = 0; b < S; ++b) sum[r][b] = fused(w[b], value, sum[r][b]);
            }
        };
        for (size_t j = c; j < whole; j += C) add(j);
        if (c == 0)
            for (size_t j = whole; j < n_in; ++j) add(j);
        for (int r = 0; r < kRows; ++r)
            for (int b = 0; b < S; ++b) total[c][r][b] = sum[r][b];
    }
    in_pairs<C>([&](int to, int from) {
        for (int r = 0; r < kRows; ++r)
            for (int b = 0; b < S; ++b) total[to][r][b] += total[from][r][b];
    });
    for (int r = 0; r < kRows; ++r)
        for (int b = 0; b < S; ++b)
            store_vec(y + r * y_stride + b * kLanes, total[0][r][b] + load_vec(bias + b * kLanes));
}

void dense(const float* packed, const float* bias, const float* x, size_t n_in, size_t n_out, const Finish& finish,
           float* y) {
    if (n_out <= kNarrow) {
        // Answers are gathered in one register: a whole row is read behind a store of a single value only after long.
        Vec answers{};
        for (size_t i = 0; i < n_out; ++i) {
            const float* row = packed + i * spanned(n_in);
            Vec sum[4] = {};
            size_t j = 0;
            for (; j + 4 * kLanes <= spanned(n_in); j += 4 * kLanes)
                for (size_t c = 0; c < 4; ++c)
                    sum[c] = fused(load_vec(row + j + c * kLanes), load_vec(x + j + c * kLanes), sum[c]);
            for (; j < spanned(n_in); j += kLanes) sum[0] = fused(load_vec(row + j), load_vec(x + j), sum[0]);
            const float answer = across((sum[0] + sum[1]) + (sum[2] + sum[3])) + bias[i];
            answers = lane_numbers() == static_cast<int32_t>(i) ? all<Vec>(answer) : answers;
        }
        with_activation(finish, [&](auto g) { answers = g(answers); });
        if (finish.times) answers *= load_vec(finish.times);
        if (finish.plus) answers += load_vec(finish.plus);
        store_vec(y, answers);
        for (size_t i = kLanes; i < kSpan; i += kLanes) store_vec(y + i, Vec{});
        return;
    }
    for_panels(n_out, [&](size_t first, size_t b) {
        const float* panel = packed + first * n_in;
        if (b == 4)
            dense_panel<4, 2>(panel, bias + first, x, n_in, finish, y + first);
        else if (b == 2)
            dense_panel<2, 4>(panel, bias + first, x, n_in, finish, y + first);
        else
            dense_panel<1, 4>(panel, bias + first, x, n_in, finish, y + first);
    });
    for (size_t i = padded_outputs(n_out); i < spanned(n_out); i += kLanes) store_vec(y + i, Vec{});
}

void dense_together(const float* packed, const float* bias, const float* x, size_t n_in, size_t n_out, size_t x_stride,
                    size_t y_stride, const Finish& finish, float* y) {
    if (n_out <= kNarrow) {
        for (size_t r = 0; r < kTogether; ++r)
            dense(packed, bias, x + r * x_stride, n_in, n_out, finish, y + r * y_stride);
        return;
    }
    for_panels(n_out, [&](size_t first, size_t b) {
        const float* panel = packed + first * n_in;
        const float* offset = bias + first;
        float* to = y + first;
        if (b == 4 && kManyRegisters) {
            dense_panel_together<4, 2, 4>(panel, offset, x, n_in, x_stride, y_stride, to);
        } else if (b == 4) {
            dense_panel_together<4, 2, 2>(panel, offset, x, n_in, x_stride, y_stride, to);
            dense_panel_together<4, 2, 2>(panel + 2 * kLanes, offset + 2 * kLanes, x, n_in, x_stride, y_stride,
                                          to + 2 * kLanes);
        } else if (b == 2) {
            dense_panel_together<2, 4, 2>(panel, offset, x, n_in, x_stride, y_stride, to);
        } else {
            dense_panel_together<1, 4, 1>(panel, offset, x, n_in, x_stride, y_stride, to);
        }
    });
    for (size_t r = 0; r < kTogether; ++r) activate(finish.kind, finish.alpha, y + r * y_stride, n_out);
    for (size_t r = 0; r < kTogether; ++r)
        for (size_t i = padded_outputs(n_out); i < spanned(n_out); i += kLanes) store_vec(y + r * y_stride + i, Vec{});
}
