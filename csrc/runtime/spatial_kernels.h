// Operations on values with places or steps. Included by kernels.cpp, within a level.
//
// A place's channels follow one another without gaps: what a full register writes behind the last channel belongs to
// the next place and is written again by it.
#pragma once

// The taps of a window at one place that meet values: rows [first, last) of the kernel, likewise columns.
struct Taps {
    size_t first, last;
    Taps(size_t place, size_t stride, size_t pad, size_t kernel, size_t size) {
        const size_t at = place * stride;  // the kernel begins `pad` before it
        first = at < pad ? pad - at : 0;
        last = at + kernel > size + pad ? size + pad - at : kernel;
    }
};

// y[place, c] = scale[c] * sum over taps of w[tap, c] x[place + tap, c] + bias[c]; a row of w is spanned(channels)
// floats.
void depthwise(const runtime::Window& window, const float* w, const float* scale, const float* bias, const float* x,
               float* y) {
    const size_t channels = window.channels, row = spanned(channels);
    for (size_t py = 0; py < window.places_y; ++py) {
        const Taps down(py, window.stride_y, window.above, window.rows, window.height);
        for (size_t px = 0; px < window.places_x; ++px) {
            const Taps along(px, window.stride_x, window.left, window.columns, window.width);
            for (size_t c = 0; c < channels; c += kLanes) {
                Vec sum[2] = {};
                for (size_t ky = down.first; ky < down.last; ++ky) {
                    const size_t iy = py * window.stride_y + ky - window.above;
                    const float* tap = w + (ky * window.columns + along.first) * row + c;
                    const float* from =
                        x + (iy * window.width + px * window.stride_x + along.first - window.left) * channels + c;
                    size_t k = along.first;
                    for (; k + 2 <= along.last; k += 2, tap += 2 * row, from += 2 * channels) {
                        sum[0] = fused(load_vec(tap), load_vec(from), sum[0]);
                        sum[1] = fused(load_vec(tap + row), load_vec(from + channels), sum[1]);
                    }
                    if (k < along.last) sum[0] = fused(load_vec(tap), load_vec(from), sum[0]);
                }
                store_vec(y + c, fused(sum[0] + sum[1], load_vec(scale + c), load_vec(bias + c)));
            }
            y += channels;
        }
    }
}

void average(const float* x, size_t places, size_t channels, float* y) {
    for (size_t c = 0; c < channels; c += kLanes) {
        Vec sum[2] = {};
        size_t p = 0;
        for (; p + 2 <= places; p += 2) {
            sum[0] += load_vec(x + p * channels + c);
            sum[1] += load_vec(x + (p + 1) * channels + c);
        }
        if (p < places) sum[0] += load_vec(x + p * channels + c);
        store_vec(y + c, (sum[0] + sum[1]) / static_cast<float>(places));
    }
}

// One step of a GRU. From the input and from the state: gates z, r, n, spanned(units) floats each.
void recur(const float* input, const float* own, size_t units, float* state) {
    const size_t row = spanned(units);
    for (size_t i = 0; i < units; i += kLanes) {
        const Vec z = logistic(load_vec(input + i) + load_vec(own + i));
        const Vec r = logistic(load_vec(input + row + i) + load_vec(own + row + i));
        Vec n, s1, s2;
        activation<kTanh, 0>(fused(r, load_vec(own + 2 * row + i), load_vec(input + 2 * row + i)), n, s1, s2);
        store_vec(state + i, fused(z, load_vec(state + i) - n, n));
    }
}
