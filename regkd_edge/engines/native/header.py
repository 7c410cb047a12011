"""A native engine as one C99 header, for devices without an operating system."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable

import numpy as np

from ...errors import UserError
from ...graph.formats import low_scale
from .file import CONSTANT, Operation, Program

__all__ = ["header_of"]

_OPERATOR = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/"}
# The activation s(z) in C; %a stands for alpha.
_FORMULA = {
    "identity": "z",
    "relu": "z > 0.0f ? z : 0.0f",
    "leaky_relu": "z > 0.0f ? z : %a * z",
    "elu": "z > 0.0f ? z : %a * expm1f(z)",
    "silu": "z / (1.0f + expf(-z))",
    "gelu": "z * (0.5f + 0.5f * erff(z * 0.707106781f))",
    "gelu_tanh": "z * (0.5f + 0.5f * tanhf(0.797884561f * (z + 0.044715f * z * z * z)))",
    "tanh": "tanhf(z)",
    "softplus": "(z > 0.0f ? z : 0.0f) + log1pf(expf(z > 0.0f ? -z : z))",
    "sigmoid": "1.0f / (1.0f + expf(-z))",
}
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


def header_of(program: Program, prefix: str, origin: str) -> str:
    """Return the text of the header.

    Parameters
    ----------
    prefix : str
        A C identifier that every name starts with; in capitals, that every macro starts with.
    origin : str
        Source of the engine, for the comment at the top.
    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", prefix):
        raise UserError(
            f"prefix '{prefix}' is not a C identifier.", "Use letters, digits and underscores, for example 'regkd'."
        )
    tables, body, used = [], [], set()
    n, source, target = program.inputs, "a", "b"
    for k, op in enumerate(program.operations):
        used.add(op.kind)
        if op.kind in CONSTANT:
            tables.append(_table(f"{prefix}_c{k}", op.values))
            body.append(f"for (i = 0; i < {n}; ++i) {source}[i] = {source}[i] {_OPERATOR[op.kind]} {prefix}_c{k}[i];")
        elif op.kind == "activation":
            formula = _FORMULA[op.activation].replace("%a", _number(op.number))
            used.update(re.findall(r"\b[a-z0-9]+f\b(?=\()", formula))
            body.append(f"for (i = 0; i < {n}; ++i) {{ const float z = {source}[i]; {source}[i] = {formula}; }}")
        elif op.kind == "clip":
            low, high = map(_number, op.values)
            body.append(
                f"for (i = 0; i < {n}; ++i) {source}[i] = {source}[i] > {low} ? ({source}[i] < {high} ? {source}[i] : {high}) : {low};"
            )
        elif op.kind == "quantize":
            body.append(
                f"for (i = 0; i < {n}; ++i) {source}[i] = (float){prefix}_code({source}[i], {_number(op.number)}) * {_number(op.number)};"
            )
        else:
            bias = "0"
            if op.bias is not None:
                tables.append(_table(f"{prefix}_b{k}", op.bias))
                bias = f"{prefix}_b{k}"
            if op.kind == "dense":
                tables.append(_table(f"{prefix}_w{k}", op.values))
                body.append(f"{prefix}_dense({prefix}_w{k}, {bias}, {source}, {n}, {op.width}, {target});")
            else:
                used |= {"add_int8"} if op.low_data or op.low_codes is not None else set()
                more_tables, lines = _integer_layer(op, prefix, k, bias, source, n, target)
                tables += more_tables
                body += lines
            source, target, n = target, source, op.width
    functions = [
        text
        for text, kinds in (
            (_DENSE, {"dense"}),
            (_CODES, {"quantize", "dense_int8"}),
            (_DENSE_INT8, {"dense_int8"}),
            (_ADD_INT8, {"add_int8"}),
        )
        if kinds & used
    ]
    libm = sorted(used & {"erff", "expf", "expm1f", "log1pf", "tanhf"})
    return _assemble(
        program, prefix, origin, tables, [text.replace("@", prefix) for text in functions], body, libm, source
    )


def _integer_layer(
    op: Operation, prefix: str, k: int, bias: str, source: str, n: int, target: str
) -> tuple[list[str], list[str]]:
    """Return the tables and the statements of a dense_int8; ``source`` is used up where the data are in two parts."""

    def scaled(scale: np.ndarray, number: float) -> np.ndarray:
        return (scale.astype(np.float64) * np.float64(np.float32(number))).astype(np.float32)

    w, m, step, low = f"{prefix}_w{k}", op.width, _number(op.number), float(low_scale(op.number))
    tables = [_table(w, op.codes), _table(f"{prefix}_s{k}", scaled(op.scale, op.number))]
    lines = [f"{prefix}_dense_int8({w}, {prefix}_s{k}, {bias}, {step}, {source}, {n}, {m}, q, {target});"]
    if op.low_codes is not None:
        tables += [
            _table(f"{w}_low", op.low_codes),
            _table(f"{prefix}_s{k}_low_w", scaled(low_scale(op.scale), op.number)),
        ]
        lines.append(f"{prefix}_add_int8({w}_low, {prefix}_s{k}_low_w, {step}, {source}, {n}, {m}, q, {target});")
    if op.low_data:
        tables.append(_table(f"{prefix}_s{k}_low_v", scaled(op.scale, low)))
        lines += [
            f"for (i = 0; i < {n}; ++i) {source}[i] -= (float){prefix}_code({source}[i], {step}) * {step};",
            f"{prefix}_add_int8({w}, {prefix}_s{k}_low_v, {_number(low)}, {source}, {n}, {m}, q, {target});",
        ]
    return tables, lines


def _assemble(
    program: Program,
    prefix: str,
    origin: str,
    tables: list[str],
    functions: list[str],
    body: list[str],
    libm: list[str],
    last: str,
) -> str:
    capitals = prefix.upper()
    widest = max([program.inputs, *(op.width for op in program.operations)])
    codes = max([0, *(op.codes.shape[1] for op in program.operations if op.codes is not None)])
    needs = f"It calls {', '.join(libm)} of libm." if libm else "It calls no library."
    names = [
        f"   x[{i}]  {name}" if i < program.inputs else f"   y[{i - program.inputs}]  {name}"
        for i, name in enumerate(map(_comment, program.names))
    ]
    head = [
        f"/* A regression network by regkd-edge, from {_comment(origin)}.",
        *textwrap.wrap(
            f"C99, no heap, no state: about {program.stack_bytes} bytes of stack and {program.constant_bytes} bytes of constants. {needs} In exactly one source file, define {capitals}_IMPLEMENTATION before including it.",
            116, initial_indent="   ", subsequent_indent="   ",
        ),
        f"   {prefix}_infer takes {program.inputs} inputs in raw units and gives {program.outputs} outputs in raw units. It returns 0, or 1 + the index of an",
        "   input that is not finite; the outputs are then untouched.",
        *names,
        "*/",
    ]  # fmt: skip
    lines = [
        *head,
        f"#ifndef {capitals}_H",
        f"#define {capitals}_H",
        f"#define {capitals}_INPUTS {program.inputs}",
        f"#define {capitals}_OUTPUTS {program.outputs}",
        "#ifdef __cplusplus",
        'extern "C"',
        "#endif",
        f"int {prefix}_infer(const float *x, float *y);",
        f"#endif /* {capitals}_H */",
        "",
        f"#ifdef {capitals}_IMPLEMENTATION",
        "#include <float.h>",
        "#include <stdint.h>",
        *(["#include <math.h>"] if libm else []),
        "",
        *tables,
        "",
        *functions,
        f"int {prefix}_infer(const float *x, float *y)",
        "{",
        f"    float a[{widest}], b[{widest}];",
        *([f"    int8_t q[{codes}];"] if codes else []),
        "    int i;",
        f"    for (i = 0; i < {program.inputs}; ++i) {{",
        "        if (!(x[i] >= -FLT_MAX && x[i] <= FLT_MAX)) return 1 + i;",
        "        a[i] = x[i];",
        "    }",
        *(f"    {line}" for line in body),
        f"    for (i = 0; i < {program.outputs}; ++i) y[i] = {last}[i];",
        "    return 0;",
        "}",
        f"#endif /* {capitals}_IMPLEMENTATION */",
        "",
    ]
    return "\n".join(lines)


def _comment(text: str) -> str:
    """Return text that cannot end the comment around it."""
    return re.sub(r"[^\x20-\x7e]", "?", text.replace("*/", "* /").replace("/*", "/ *").replace("??", "? ?"))


def _number(value: float) -> str:
    """Return a C literal of exactly this float32: nine digits identify it."""
    text = f"{np.float32(value):.9g}"
    return (text if re.search(r"[.e]", text) else f"{text}.0") + "f"


def _table(name: str, values: np.ndarray) -> str:
    kind, items = (
        ("int8_t", map(str, values.reshape(-1).tolist()))
        if values.dtype == np.int8
        else ("float", map(_number, values.reshape(-1)))
    )
    return f"static const {kind} {name}[{values.size}] = {{\n{_wrapped(items)}\n}};"


def _wrapped(items: Iterable[str]) -> str:
    return textwrap.fill(", ".join(items), 118, initial_indent="    ", subsequent_indent="    ", break_long_words=False)
