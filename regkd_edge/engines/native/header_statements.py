"""The statements and tables of a C header, operation by operation."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable

import numpy as np

from ...graph.formats import low_scale
from .operations import CONSTANT, Operation, Program, window_words

__all__ = ["Statements"]

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


class Statements:
    """Tables and statements of a program, operation by operation; values go back and forth between ``a`` and ``b``."""

    def __init__(self, program: Program, prefix: str) -> None:
        self.program, self.prefix = program, prefix
        self.tables: list[str] = []
        self.body: list[str] = []
        self.used: set[str] = set()  # functions, ours and of libm
        self.source, self.target = "a", "b"
        self.windows: Operation | None = None  # what the next layer is applied to

    def write(self) -> None:
        for k, (op, before, behind) in enumerate(self.program.sized()):
            if op.kind in CONSTANT:
                self.constant(k, op, before)
            elif op.kind == "windows":
                self.windows = op
                self.window_table(k, op)
            elif op.kind in ("dense", "dense_int8"):
                self.layer(k, op, before)
            else:
                getattr(self, op.kind)(k, op, before, behind)

    def each(self, n: int, statement: str) -> None:
        """A statement for every value of the source, ``$``."""
        self.body.append(f"for (i = 0; i < {n}; ++i) {statement.replace('$', f'{self.source}[i]')}")

    def swap(self) -> None:
        self.source, self.target = self.target, self.source

    def table(self, name: str, values: np.ndarray | None) -> str:
        """The name of a stored array, ``0`` where there is none."""
        if values is None:
            return "0"
        self.tables.append(_table(f"{self.prefix}_{name}", values))
        return f"{self.prefix}_{name}"

    def call(self, function: str, *arguments: object) -> str:
        self.used.add(function)
        return f"{self.prefix}_{function}({', '.join(map(str, arguments))});"

    def code(self, value: str, step: str) -> str:
        self.used.add("code")
        return f"(float){self.prefix}_code({value}, {step}) * {step}"

    # -- value by value -----------------------------------------------------------------------------------------------
    def constant(self, k: int, op: Operation, n: int) -> None:
        at = "i" if op.values.size == n else "0" if op.values.size == 1 else f"i % {op.values.size}"
        self.each(n, f"$ = $ {_OPERATOR[op.kind]} {self.table(f'c{k}', op.values)}[{at}];")

    def activation(self, k: int, op: Operation, n: int, _: int) -> None:
        formula = _FORMULA[op.activation].replace("%a", _number(op.number))
        self.used.update(re.findall(r"\b[a-z0-9]+f\b(?=\()", formula))
        self.body.append(
            f"for (i = 0; i < {n}; ++i) {{ const float z = {self.source}[i]; {self.source}[i] = {formula}; }}"
        )

    def clip(self, k: int, op: Operation, n: int, _: int) -> None:
        low, high = map(_number, op.values)
        self.each(n, f"$ = $ > {low} ? ($ < {high} ? $ : {high}) : {low};")

    def quantize(self, k: int, op: Operation, n: int, _: int) -> None:
        if not op.low_data:
            self.each(n, f"$ = {self.code('$', _number(op.number))};")
            return
        low = self.code("$", _number(low_scale(op.number)))
        self.each(n, f"{{ const float t = {self.code('$', _number(op.number))}; $ -= t; $ = {low} + t; }}")

    # -- layers -------------------------------------------------------------------------------------------------------
    def layer(self, k: int, op: Operation, n: int) -> None:
        """A dense or dense_int8, at once or for every window."""
        if self.windows is None:
            self.body += self.product(k, op, self.source, n, self.target)
        else:
            window, self.windows = self.windows, None
            lines = self.product(k, op, "p", window.width, f"{self.target} + k * {op.width}")
            gather = self.call("window", self.source, f"{self.prefix}_g{k - 1}", "k", "p")
            self.body += [
                f"for (k = 0; k < {window.window.places}; ++k) {{",
                *(f"    {line}" for line in (gather, *lines)),
                "}",
            ]
        self.swap()

    def product(self, k: int, op: Operation, source: str, n: int, target: str) -> list[str]:
        bias, m = self.table(f"b{k}", op.bias), op.width
        if op.codes is None:
            return [self.call("dense", self.table(f"w{k}", op.values), bias, source, n, m, target)]
        step, low = _number(op.number), float(low_scale(op.number))
        self.used.add("code")
        weights, scale = self.table(f"w{k}", op.codes), self.table(f"s{k}", _scaled(op.scale, op.number))
        lines = [self.call("dense_int8", weights, scale, bias, step, source, n, m, "q", target)]
        if op.low_codes is not None:
            names = (
                self.table(f"w{k}_low", op.low_codes),
                self.table(f"s{k}_low_w", _scaled(low_scale(op.scale), op.number)),
            )
            lines.append(self.call("add_int8", *names, step, source, n, m, "q", target))
        if op.low_data:
            scale = self.table(f"s{k}_low_v", _scaled(op.scale, low))
            lines += [
                f"for (i = 0; i < {n}; ++i) {source}[i] -= {self.code(f'{source}[i]', step)};",
                self.call("add_int8", weights, scale, _number(low), source, n, m, "q", target),
            ]
        return lines

    # -- places and steps ---------------------------------------------------------------------------------------------
    def window_table(self, k: int, op: Operation) -> str:
        return self.table(f"g{k}", np.array(window_words(op.window), np.int32))

    def channels_last(self, k: int, op: Operation, n: int, _: int) -> None:
        places = n // op.channels
        self.body.append(
            f"for (i = 0; i < {n}; ++i) {self.target}[i % {places} * {op.channels} + i / {places}] = {self.source}[i];"
        )
        self.swap()

    def average(self, k: int, op: Operation, n: int, channels: int) -> None:
        self.body += [
            f"for (k = 0; k < {channels}; ++k) {{",
            "    float sum = 0.0f;",
            f"    for (i = k; i < {n}; i += {channels}) sum += {self.source}[i];",
            f"    {self.target}[k] = sum / {_number(n // channels)};",
            "}",
        ]
        self.swap()

    def depthwise(self, k: int, op: Operation, n: int, _: int) -> None:
        window, bias = self.window_table(k, op), self.table(f"b{k}", op.bias)
        if op.codes is None:
            weights = self.table(f"w{k}", op.values)
            self.body.append(self.call("depthwise", window, weights, bias, self.source, self.target))
            self.swap()
            return
        self.used.add("code")
        step, low = _number(op.number), float(low_scale(op.number))
        weights = self.table(f"w{k}", op.codes)

        def add(weights: str, name: str, scale: np.ndarray, step: str, first: int) -> str:
            scales = self.table(name, scale)
            return self.call(
                "depthwise_int8", window, weights, scales, bias, int(not first), step, self.source, self.target
            )

        self.body.append(add(weights, f"s{k}", _scaled(op.scale, op.number), step, 1))
        if op.low_codes is not None:
            rest = self.table(f"w{k}_low", op.low_codes)
            self.body.append(add(rest, f"s{k}_low_w", _scaled(low_scale(op.scale), op.number), step, 0))
        if op.low_data:
            self.each(n, f"$ -= {self.code('$', step)};")
            self.body.append(add(weights, f"s{k}_low_v", _scaled(op.scale, low), _number(low), 0))
        self.swap()

    def gru(self, k: int, op: Operation, n: int, _: int) -> None:
        units, features = op.units, n // op.steps

        def product(of: Operation, name: str, values: str, n: int, target: str) -> str:
            bias = self.table(f"b{name}", of.bias)
            if of.codes is None:
                return self.call("dense", self.table(f"w{name}", of.values), bias, values, n, 3 * units, target)
            weights, low = self.table(f"w{name}", of.codes), self.table(f"w{name}_low", of.low_codes)
            scale = self.table(f"s{name}", of.scale)
            return self.call("weights_int8", weights, low, scale, bias, values, n, 3 * units, target)

        self.used |= {"expf", "tanhf"}
        keep = f"for (i = 0; i < {units}; ++i) {self.target}[{f'k * {units} + ' if op.sequence else ''}i] = s[i];"
        self.body += [
            f"for (i = 0; i < {units}; ++i) s[i] = 0.0f;",
            f"for (k = 0; k < {op.steps}; ++k) {{",
            f"    {product(op, str(k), f'{self.source} + k * {features}', features, 'g')}",
            f"    {product(op.recurrence, f'{k}_state', 's', units, f'g + {3 * units}')}",
            f"    {self.call('gates', 'g', units, 's')}",
            *([f"    {keep}"] if op.sequence else []),
            "}",
            *([] if op.sequence else [keep]),
        ]
        self.swap()


def _scaled(scale: np.ndarray, number: float) -> np.ndarray:
    """Steps of products: those of the weights times that of the data."""
    return (scale.astype(np.float64) * np.float64(np.float32(number))).astype(np.float32)


def _number(value: float) -> str:
    """Return a C literal of exactly this float32: nine digits identify it."""
    text = f"{np.float32(value):.9g}"
    return (text if re.search(r"[.e]", text) else f"{text}.0") + "f"


def _table(name: str, values: np.ndarray) -> str:
    kind = {"int8": "int8_t", "int32": "int"}.get(values.dtype.name, "float")
    items = map(_number if kind == "float" else str, values.reshape(-1).tolist())
    return f"static const {kind} {name}[{values.size}] = {{\n{_wrapped(items)}\n}};"


def _wrapped(items: Iterable[str]) -> str:
    return textwrap.fill(", ".join(items), 118, initial_indent="    ", subsequent_indent="    ", break_long_words=False)
