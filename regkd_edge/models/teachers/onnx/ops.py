"""ONNX operators of tabular and small convolutional networks in torch, one function each.

Every function takes the inputs as a list (None where an optional one is left out) and the attributes as a mapping, and
gives one tensor, or a tuple of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .layers import LAYERS
from .windows import WINDOWS

__all__ = ["OPERATORS", "TYPES"]

#: ONNX element types as torch types. Half precision is computed in float32: the graph itself gives the answers.
TYPES = {
    1: torch.float32, 2: torch.uint8, 3: torch.int8, 5: torch.int16, 6: torch.int32, 7: torch.int64, 9: torch.bool,
    10: torch.float32, 11: torch.float64, 16: torch.float32,
}  # fmt: skip

_FILLED = 1 << 26  # numbers
Inputs = list[Any]
Attributes = Mapping[str, Any]


def _unary(function: Callable[[Tensor], Tensor]) -> Callable:
    return lambda i, a: function(i[0])


def _binary(function: Callable[[Any, Any], Tensor]) -> Callable:
    return lambda i, a: function(i[0], i[1])


def _integers(value: Any) -> list[int]:
    return [int(v) for v in (value.tolist() if isinstance(value, Tensor) else value)]


def _sizes(value: Any) -> list[int]:
    """A shape of something that is filled, where no input of that size is needed to write it down."""
    sizes = _integers(value)
    if math.prod(sizes) > _FILLED:
        raise ValueError(f"a constant of {math.prod(sizes):,} numbers")
    return sizes


def _axes(i: Inputs, a: Attributes, at: int = 1) -> list[int] | None:
    """Axes as an attribute (older operator sets) or as an input."""
    if a.get("axes") is not None:
        return list(a["axes"])
    return _integers(i[at]) if len(i) > at and i[at] is not None else None


def _gemm(i: Inputs, a: Attributes) -> Tensor:
    x, w = i[0], i[1]
    x = x.T if a.get("transA", 0) else x
    w = w if a.get("transB", 0) else w.T
    alpha, beta = a.get("alpha", 1.0), a.get("beta", 1.0)
    y = F.linear(x, w if alpha == 1 else w * alpha)
    if len(i) > 2 and i[2] is not None:
        y = y + (i[2] if beta == 1 else i[2] * beta)
    return y


def _batch_norm(i: Inputs, a: Attributes) -> Tensor:
    if a.get("training_mode", 0):
        raise NotImplementedError("BatchNormalization in training mode")
    x, weight, bias, mean, var = i[:5]
    return F.batch_norm(x, mean, var, weight, bias, False, 0.0, a.get("epsilon", 1e-5))


def _layer_norm(i: Inputs, a: Attributes) -> Tensor:
    x, axis = i[0], a.get("axis", -1)
    shape = list(x.shape[axis:])
    return F.layer_norm(x, shape, i[1], i[2] if len(i) > 2 else None, a.get("epsilon", 1e-5))


def _clip(i: Inputs, a: Attributes) -> Tensor:
    low = i[1] if len(i) > 1 and i[1] is not None else a.get("min")
    high = i[2] if len(i) > 2 and i[2] is not None else a.get("max")
    low, high = (None if v is None else float(v) for v in (low, high))
    return i[0] if low is None and high is None else i[0].clamp(low, high)


def _reduce(function: Callable[[Tensor, Any, bool], Tensor]) -> Callable:
    def run(i: Inputs, a: Attributes) -> Tensor:
        axes, keep = _axes(i, a), bool(a.get("keepdims", 1))
        if axes is None and a.get("noop_with_empty_axes", 0):
            return i[0]
        return function(i[0], list(range(i[0].ndim)) if axes is None else axes, keep)

    return run


def _reshape(i: Inputs, a: Attributes) -> Tensor:
    shape = _integers(i[1] if len(i) > 1 else a["shape"])
    x = i[0]
    if not a.get("allowzero", 0):
        shape = [x.shape[k] if size == 0 else size for k, size in enumerate(shape)]
    return torch.reshape(x, shape)  # also to a scalar


def _squeeze(i: Inputs, a: Attributes) -> Tensor:
    axes = _axes(i, a)
    return i[0].squeeze() if axes is None else i[0].squeeze(axes[0] if len(axes) == 1 else tuple(axes))


def _unsqueeze(i: Inputs, a: Attributes) -> Tensor:
    x, axes = i[0], _axes(i, a)
    for axis in sorted(axes):
        x = x.unsqueeze(axis)
    return x


def _slice(i: Inputs, a: Attributes) -> Tensor:
    x = i[0]
    if len(i) > 1:
        starts, ends = _integers(i[1]), _integers(i[2])
        axes = _integers(i[3]) if len(i) > 3 and i[3] is not None else list(range(len(starts)))
        steps = _integers(i[4]) if len(i) > 4 and i[4] is not None else [1] * len(starts)
    else:
        starts, ends, steps = list(a["starts"]), list(a["ends"]), [1] * len(a["starts"])
        axes = list(a.get("axes", range(len(starts))))
    if min(steps) < 1:
        raise NotImplementedError("a slice backwards")
    index: list[Any] = [slice(None)] * (x.ndim if isinstance(x, Tensor) else 2)
    for axis, start, end, step in zip(axes, starts, ends, steps):
        index[axis] = slice(start, None if end >= 2**31 - 1 else end, step)
    return x[tuple(index)]


def _gather(i: Inputs, a: Attributes) -> Tensor:
    x, index, axis = i[0], i[1], a.get("axis", 0)
    if axis in (1, -1) and index.ndim == 1:
        return x[:, index.tolist()] if axis == 1 else x[..., index.tolist()]
    axis = axis + x.ndim if axis < 0 else axis
    index = index.long()
    index = torch.where(index < 0, index + x.shape[axis], index)
    out = x.index_select(axis, index.reshape(-1))
    return torch.reshape(out, (*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]))  # also to a scalar


def _split(i: Inputs, a: Attributes) -> tuple[Tensor, ...]:
    x, axis = i[0], a.get("axis", 0)
    if len(i) > 1 and i[1] is not None:
        return torch.split(x, _integers(i[1]), axis)
    if "split" in a:
        return torch.split(x, list(a["split"]), axis)
    return torch.chunk(x, a["num_outputs"] if "num_outputs" in a else a["outputs"], axis)


def _softmax(function: Callable) -> Callable:
    return lambda i, a: function(i[0], dim=a.get("axis", -1))


def _gelu(i: Inputs, a: Attributes) -> Tensor:
    return F.gelu(i[0], approximate=_text(a.get("approximate", "none")))


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _mod(i: Inputs, a: Attributes) -> Tensor:
    return torch.fmod(i[0], i[1]) if a.get("fmod", 0) else torch.remainder(i[0], i[1])


def _power(i: Inputs, a: Attributes) -> Tensor:
    x, power = i
    return x ** (power.item() if isinstance(power, Tensor) and power.numel() == 1 else power)


def _constant_of_shape(i: Inputs, a: Attributes) -> Tensor:
    value = a.get("value")
    fill = torch.zeros(1) if value is None else torch.from_numpy(np.array(value))
    return fill.reshape(-1)[0].expand(_sizes(i[0])).clone()


def _scaler(i: Inputs, a: Attributes) -> Tensor:  # of ai.onnx.ml, the StandardScaler of scikit-learn
    offset, scale = torch.tensor(a["offset"]), torch.tensor(a["scale"])
    return (i[0].float() - offset) * scale


def _linear_regressor(i: Inputs, a: Attributes) -> Tensor:  # of ai.onnx.ml
    if _text(a.get("post_transform", "NONE")) != "NONE":
        raise NotImplementedError("LinearRegressor with a transform")
    weights = torch.tensor(a["coefficients"]).reshape(a.get("targets", 1), -1)
    return F.linear(i[0].float(), weights, torch.tensor(a["intercepts"]) if a.get("intercepts") else None)


def _where(i: Inputs, a: Attributes) -> Tensor:
    return torch.where(i[0], i[1], i[2])


def _fold(function: Callable) -> Callable:
    def run(i: Inputs, a: Attributes) -> Tensor:
        total = i[0]
        for value in i[1:]:
            total = function(total, value)
        return total

    return run


OPERATORS: dict[str, Callable[[Inputs, Attributes], Any]] = {
    "Gemm": _gemm, "MatMul": _binary(torch.matmul), "Add": _binary(lambda x, y: x + y),
    "Sub": _binary(lambda x, y: x - y), "Mul": _binary(lambda x, y: x * y), "Div": _binary(lambda x, y: x / y),
    "Pow": _power, "Sum": _fold(torch.add), "Max": _fold(torch.maximum), "Min": _fold(torch.minimum),
    "Mod": _mod, "Neg": _unary(torch.neg), "Abs": _unary(torch.abs), "Sqrt": _unary(torch.sqrt),
    "Exp": _unary(torch.exp),
    "Log": _unary(torch.log), "Erf": _unary(torch.erf), "Sin": _unary(torch.sin), "Cos": _unary(torch.cos),
    "Reciprocal": _unary(torch.reciprocal), "Relu": _unary(F.relu), "Sigmoid": _unary(torch.sigmoid),
    "Tanh": _unary(torch.tanh), "Softplus": _unary(F.softplus), "Softsign": _unary(F.softsign),
    "Mish": _unary(F.mish), "HardSwish": _unary(F.hardswish), "Gelu": _gelu, "Identity": lambda i, a: i[0],
    "Dropout": lambda i, a: i[0], "Swish": lambda i, a: i[0] * torch.sigmoid(i[0] * a.get("alpha", 1.0)),
    "LeakyRelu": lambda i, a: F.leaky_relu(i[0], a.get("alpha", 0.01)),
    "Elu": lambda i, a: F.elu(i[0], a.get("alpha", 1.0)),
    "Celu": lambda i, a: F.celu(i[0], a.get("alpha", 1.0)), "Selu": _unary(F.selu),
    "PRelu": lambda i, a: i[0].clamp(min=0) + i[0].clamp(max=0) * i[1], "Clip": _clip,
    "HardSigmoid": lambda i, a: (i[0] * a.get("alpha", 0.2) + a.get("beta", 0.5)).clamp(0.0, 1.0),
    "BatchNormalization": _batch_norm, "LayerNormalization": _layer_norm,
    "Softmax": _softmax(torch.softmax), "LogSoftmax": _softmax(torch.log_softmax),
    "GlobalAveragePool": lambda i, a: i[0].mean(tuple(range(2, i[0].ndim)), keepdim=True),
    "GlobalMaxPool": lambda i, a: i[0].amax(tuple(range(2, i[0].ndim)), keepdim=True),
    "ReduceMean": _reduce(lambda x, d, k: x.mean(d, keepdim=k)),
    "ReduceSum": _reduce(lambda x, d, k: x.sum(d, keepdim=k)),
    "ReduceMax": _reduce(lambda x, d, k: x.amax(d, keepdim=k)),
    "ReduceMin": _reduce(lambda x, d, k: x.amin(d, keepdim=k)),
    "ReduceL1": _reduce(lambda x, d, k: x.abs().sum(d, keepdim=k)),
    "ReduceL2": _reduce(lambda x, d, k: x.square().sum(d, keepdim=k).sqrt()),
    "ReduceSumSquare": _reduce(lambda x, d, k: x.square().sum(d, keepdim=k)),
    "ReduceLogSumExp": _reduce(lambda x, d, k: x.logsumexp(d, keepdim=k)),
    "Concat": lambda i, a: torch.cat(i, a["axis"]), "Slice": _slice, "Gather": _gather, "Split": _split,
    "Reshape": _reshape, "Flatten": lambda i, a: i[0].flatten(1) if a.get("axis", 1) == 1 else _no_flatten(),
    "Squeeze": _squeeze, "Unsqueeze": _unsqueeze,
    "Transpose": lambda i, a: i[0].permute(list(a.get("perm", range(i[0].ndim)[::-1]))),
    "Tile": lambda i, a: i[0].repeat(_integers(i[1])),
    "Expand": lambda i, a: i[0] * torch.ones(_sizes(i[1]), dtype=i[0].dtype),
    "Shape": lambda i, a: torch.tensor(i[0].shape)[a.get("start", 0) : a.get("end")],
    "ConstantOfShape": _constant_of_shape, "Cast": lambda i, a: i[0].to(TYPES[a["to"]]), "Where": _where,
    "Equal": _binary(torch.eq), "Greater": _binary(torch.gt), "GreaterOrEqual": _binary(torch.ge),
    "Less": _binary(torch.lt), "LessOrEqual": _binary(torch.le), "And": _binary(torch.logical_and),
    "Or": _binary(torch.logical_or), "Not": _unary(torch.logical_not), "Floor": _unary(torch.floor),
    "Round": _unary(torch.round), "Ceil": _unary(torch.ceil), "Sign": _unary(torch.sign),
    "Scaler": _scaler, "LinearRegressor": _linear_regressor, **LAYERS,
    **WINDOWS,
}  # fmt: skip


def _no_flatten() -> Tensor:
    raise NotImplementedError("Flatten of the rows")
