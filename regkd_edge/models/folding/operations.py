"""The operations of torch that a symbolic row can go through, by the names that graphs have for them."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from .shapes import (
    attribute,
    chunked,
    concatenated,
    converted,
    flattened,
    index_selected,
    indexed,
    item,
    reshaped,
    selected,
    size,
    sliced,
    split,
    squeezed,
    stacked,
    unbound,
    unsqueezed,
)
from .sums import (
    added,
    addmm,
    any_batch_norm,
    batch_norm_of_aten,
    clamped,
    divided,
    dropout,
    linear,
    matmul,
    maximum,
    minimum,
    multiplied,
    negated,
    power,
    prelu,
    reduced,
    subtracted,
    subtracted_from,
)

__all__ = ["ELEMENTWISE", "FUNCTIONS", "OPERATIONS", "SAME"]

ELEMENTWISE = (
    nn.ReLU, nn.LeakyReLU, nn.ELU, nn.SiLU, nn.GELU, nn.Tanh, nn.Softplus, nn.Sigmoid, nn.Hardtanh, nn.ReLU6, nn.CELU,
    nn.SELU, nn.Mish, nn.Hardswish, nn.Hardsigmoid, nn.Softsign, nn.LogSigmoid, nn.Tanhshrink, nn.Threshold,
)  # fmt: skip
SAME = {
    "contiguous", "clone", "detach", "float", "double", "alias", "identity", "lift_fresh_copy",
    "requires_grad_", "type_as", "positive", "_assert_tensor_metadata",
}  # fmt: skip
# Functions of single numbers; what they compute is evaluated, not looked up.
FUNCTIONS = {
    "relu", "leaky_relu", "elu", "silu", "gelu", "tanh", "softplus", "sigmoid", "erf", "exp", "log", "log1p", "expm1",
    "square", "abs", "hardtanh", "relu6", "celu", "selu", "mish", "hardswish",
    "hardsigmoid", "reciprocal", "sqrt", "rsqrt", "sin", "cos", "logsigmoid",
}  # fmt: skip
OPERATIONS: dict[str, Callable] = {
    "linear": linear, "matmul": matmul, "mm": matmul, "addmm": addmm, "batch_norm": any_batch_norm,
    "_native_batch_norm_legit_no_training": lambda *a: (batch_norm_of_aten(*a),), "dropout": dropout,
    "alpha_dropout": dropout, "feature_dropout": dropout, "add": added, "iadd": added, "radd": added,
    "sub": subtracted, "subtract": subtracted, "isub": subtracted, "rsub": subtracted_from, "mul": multiplied,
    "multiply": multiplied, "imul": multiplied, "div": divided, "truediv": divided, "divide": divided,
    "true_divide": divided, "itruediv": divided, "pow": power, "maximum": maximum, "max": maximum, "minimum": minimum,
    "min": minimum, "clamp": clamped, "clip": clamped, "clamp_min": maximum, "clamp_max": minimum, "prelu": prelu,
    "_prelu_kernel": prelu, "mean": reduced(True), "sum": reduced(False), "neg": negated,
    "addcmul": lambda b, x, y, value=1: added(b, multiplied(x, y * value)), "view": reshaped, "reshape": reshaped,
    "_unsafe_view": reshaped, "flatten": flattened, "squeeze": squeezed, "unsqueeze": unsqueezed, "getitem": item,
    "slice": sliced, "select": selected, "index_select": index_selected, "index": indexed, "split": split,
    "split_with_sizes": split, "chunk": chunked, "unbind": unbound, "cat": concatenated, "concat": concatenated,
    "concatenate": concatenated, "stack": stacked, "hstack": lambda t: concatenated(t, 1), "size": size,
    "sym_size": size, "getattr": attribute, "to": converted, "_to_copy": converted, "dim": lambda x: 2,
    "ndimension": lambda x: 2,
}  # fmt: skip
