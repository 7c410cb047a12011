"""C functions that a header is made of; ``@`` stands for its prefix."""

from __future__ import annotations

__all__ = ["FUNCTIONS"]

_DENSE = """\
static void @_dense(const float *w, const float *b, const float *v, int n, int m, float *y)
{
    for (int i = 0; i < m; ++i, w += n) {
        float sum = 0.0f;
        for (int j = 0; j < n; ++j) sum += w[j] * v[j];
        y[i] = b ? sum + b[i] : sum;
    }
}
"""
_CODES = """\
/* round(v / scale), ties to even, saturated to -128..127: written out, so that no compiler option changes it */
static int8_t @_code(float v, float scale)
{
    float t = v / scale;
    t = t >= -128.0f ? t : -128.0f;
    t = t <= 127.0f ? t : 127.0f;
    int32_t code = (int32_t)t;
    const float rest = t - (float)code;
    if (rest > 0.5f || (rest == 0.5f && (code & 1))) ++code;
    if (rest < -0.5f || (rest == -0.5f && (code & 1))) --code;
    return (int8_t)code;
}
"""
_DENSE_INT8 = """\
static void @_dense_int8(const int8_t *w, const float *scale, const float *b, float step, const float *v, int n, int m, int8_t *q, float *y)
{
    for (int j = 0; j < n; ++j) q[j] = @_code(v[j], step);
    for (int i = 0; i < m; ++i, w += n) {
        int32_t sum = 0;
        for (int j = 0; j < n; ++j) sum += (int32_t)w[j] * q[j];
        y[i] = b ? (float)sum * scale[i] + b[i] : (float)sum * scale[i];
    }
}
"""
_ADD_INT8 = """\
static void @_add_int8(const int8_t *w, const float *scale, float step, const float *v, int n, int m, int8_t *q, float *y)
{
    for (int j = 0; j < n; ++j) q[j] = @_code(v[j], step);
    for (int i = 0; i < m; ++i, w += n) {
        int32_t sum = 0;
        for (int j = 0; j < n; ++j) sum += (int32_t)w[j] * q[j];
        y[i] += (float)sum * scale[i];
    }
}
"""
_WINDOW = """\
/* the values of one window, channels last; w: height, width, channels, rows, columns, strides, pads, places */
static void @_window(const float *v, const int *w, int place, float *p)
{
    const int top = place / w[10] * w[5] - w[7], left = place % w[10] * w[6] - w[8];
    for (int i = 0; i < w[3]; ++i)
        for (int j = 0; j < w[4]; ++j, p += w[2]) {
            const int y = top + i, x = left + j, inside = y >= 0 && y < w[0] && x >= 0 && x < w[1];
            for (int c = 0; c < w[2]; ++c) p[c] = inside ? v[(y * w[1] + x) * w[2] + c] : 0.0f;
        }
}
"""
_DEPTHWISE = """\
static void @_depthwise(const int *w, const float *t, const float *b, const float *v, float *y)
{
    for (int place = 0; place < w[9] * w[10]; ++place)
        for (int c = 0; c < w[2]; ++c) {
            float sum = b ? b[c] : 0.0f;
            for (int i = 0; i < w[3]; ++i)
                for (int j = 0; j < w[4]; ++j) {
                    const int yy = place / w[10] * w[5] - w[7] + i, xx = place % w[10] * w[6] - w[8] + j;
                    if (yy >= 0 && yy < w[0] && xx >= 0 && xx < w[1])
                        sum += t[(i * w[4] + j) * w[2] + c] * v[(yy * w[1] + xx) * w[2] + c];
                }
            *y++ = sum;
        }
}
"""
_DEPTHWISE_INT8 = """\
/* adds to y, or with b of a first product sets it */
static void @_depthwise_int8(const int *w, const int8_t *t, const float *scale, const float *b, int add, float step, const float *v, float *y)
{
    for (int place = 0; place < w[9] * w[10]; ++place)
        for (int c = 0; c < w[2]; ++c, ++y) {
            int32_t sum = 0;
            for (int i = 0; i < w[3]; ++i)
                for (int j = 0; j < w[4]; ++j) {
                    const int yy = place / w[10] * w[5] - w[7] + i, xx = place % w[10] * w[6] - w[8] + j;
                    if (yy >= 0 && yy < w[0] && xx >= 0 && xx < w[1])
                        sum += (int32_t)t[(i * w[4] + j) * w[2] + c] * @_code(v[(yy * w[1] + xx) * w[2] + c], step);
                }
            *y = (float)sum * scale[c] + (add ? *y : b ? b[c] : 0.0f);
        }
}
"""
_WEIGHTS_INT8 = """\
/* weights in int8, in two parts where there is a low one; data in float */
static void @_weights_int8(const int8_t *w, const int8_t *low, const float *scale, const float *b, const float *v, int n, int m, float *y)
{
    for (int i = 0; i < m; ++i, w += n) {
        float sum = 0.0f;
        for (int j = 0; j < n; ++j) sum += ((float)w[j] + (low ? (float)low[i * n + j] / 254.0f : 0.0f)) * v[j];
        y[i] = sum * scale[i] + b[i];
    }
}
"""
_GATES = """\
/* one step of a gated recurrent unit; g: gates z, r, n from the input, then from the state */
static void @_gates(const float *g, int h, float *s)
{
    for (int j = 0; j < h; ++j) {
        const float z = 1.0f / (1.0f + expf(-(g[j] + g[3 * h + j])));
        const float r = 1.0f / (1.0f + expf(-(g[h + j] + g[4 * h + j])));
        const float n = tanhf(g[2 * h + j] + r * g[5 * h + j]);
        s[j] = n + z * (s[j] - n);
    }
}
"""

FUNCTIONS = {
    "dense": _DENSE,
    "code": _CODES,
    "dense_int8": _DENSE_INT8,
    "add_int8": _ADD_INT8,
    "window": _WINDOW,
    "depthwise": _DEPTHWISE,
    "depthwise_int8": _DEPTHWISE_INT8,
    "weights_int8": _WEIGHTS_INT8,
    "gates": _GATES,
}
"""Text by name, in the order in which a header has them."""
