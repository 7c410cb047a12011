"""ONNX operators that slide over places: convolutions and pools, with every way to pad them, and padding itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["WINDOWS"]

Inputs = list[Any]
Attributes = Mapping[str, Any]

_MODES = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _pads(a: Attributes, x: Tensor, kernel: list[int]) -> tuple[list[int], list[int]]:
    """Places that are added before and after each axis of x [n, c, ...]."""
    auto, axes = _text(a.get("auto_pad", "NOTSET")), len(kernel)
    if auto.startswith("SAME"):  # TensorFlow's: ceil(size / stride) windows, the odd place at the named end
        whole = []
        strides, dilations = (a.get(name, [1] * axes) for name in ("strides", "dilations"))
        for size, k, stride, dilation in zip(x.shape[2:], kernel, strides, dilations):
            whole.append(max(((size + stride - 1) // stride - 1) * stride + dilation * (k - 1) + 1 - size, 0))
        less, more = [p // 2 for p in whole], [p - p // 2 for p in whole]
        return (less, more) if auto == "SAME_UPPER" else (more, less)
    pads = list(a.get("pads") or [0] * 2 * axes) if auto == "NOTSET" else [0] * 2 * axes
    return pads[:axes], pads[axes:]


def _padded(x: Tensor, begin: list[int], end: list[int], value: float = 0.0) -> Tensor:
    flat = [p for pair in reversed(list(zip(begin, end))) for p in pair]
    return F.pad(x, flat, value=value)


def _conv(i: Inputs, a: Attributes) -> Tensor:
    kernel = list(i[1].shape[2:])
    begin, end = _pads(a, i[0], kernel)
    x, padding = (i[0], begin) if begin == end else (_padded(i[0], begin, end), [0] * len(kernel))
    function = (F.conv1d, F.conv2d, F.conv3d)[len(kernel) - 1]
    ones = [1] * len(kernel)
    bias = i[2] if len(i) > 2 else None
    return function(x, i[1], bias, a.get("strides", ones), padding, a.get("dilations", ones), groups=a.get("group", 1))


def _max_pool(i: Inputs, a: Attributes) -> Tensor:
    kernel = list(a["kernel_shape"])
    ones = [1] * len(kernel)
    begin, end = _pads(a, i[0], kernel)
    function = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[len(kernel) - 1]
    x = _padded(i[0], begin, end, -torch.inf) if any(begin + end) else i[0]
    dilations, upwards = a.get("dilations", ones), bool(a.get("ceil_mode", 0))
    return function(x, kernel, a.get("strides", ones), 0, dilations, ceil_mode=upwards)


def _average_pool(i: Inputs, a: Attributes) -> Tensor:
    kernel = list(a["kernel_shape"])
    ones = [1] * len(kernel)
    if any(d != 1 for d in a.get("dilations", ones)):
        raise NotImplementedError("AveragePool with dilations")
    begin, end = _pads(a, i[0], kernel)
    function = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[len(kernel) - 1]
    strides, upwards = a.get("strides", ones), bool(a.get("ceil_mode", 0))
    if begin == end and all(2 * p <= k for p, k in zip(begin, kernel)):
        return function(i[0], kernel, strides, begin, upwards, bool(a.get("count_include_pad", 0)))
    mean = function(_padded(i[0], begin, end), kernel, strides, 0, upwards)
    if a.get("count_include_pad", 0):
        return mean
    return mean / function(_padded(torch.ones_like(i[0][:1, :1]), begin, end), kernel, strides, 0, upwards)


def _pad(i: Inputs, a: Attributes) -> Tensor:
    x, mode = i[0], _MODES[_text(a.get("mode", "constant"))]
    pads = [int(p) for p in (i[1].tolist() if len(i) > 1 else a["pads"])]
    value = float(i[2]) if len(i) > 2 and i[2] is not None else float(a.get("value", 0.0))
    axes = [int(k) % x.ndim for k in i[3].tolist()] if len(i) > 3 and i[3] is not None else list(range(x.ndim))
    before, after = [0] * x.ndim, [0] * x.ndim
    for axis, first, last in zip(axes, pads[: len(axes)], pads[len(axes) :]):
        before[axis], after[axis] = first, last
    if mode == "constant":
        return _padded(x, before, after, value)
    if before[:2] + after[:2] != [0] * 4:
        raise NotImplementedError(f"Pad of rows or channels by {mode}")
    flat = [p for pair in reversed(list(zip(before[2:], after[2:]))) for p in pair]
    return F.pad(x, flat, mode)


WINDOWS: dict[str, Callable[[Inputs, Attributes], Any]] = {
    "Conv": _conv, "MaxPool": _max_pool, "AveragePool": _average_pool, "Pad": _pad,
}  # fmt: skip
