"""Modules that are MLPs in disguise: their graph (torch.fx) is followed with a symbolic row, see :class:`Chain`."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn

from .chain import Chain, NotAChain

__all__ = ["chain_of"]


def chain_of(module: nn.Module, width: int | None = None) -> Chain:
    """Follow a row of ``width`` inputs (told from the first linear layer without it) through a module.

    Raises
    ------
    NotAChain
        With what cannot be folded.
    """
    if width is None:
        width = next((m.in_features for m in module.modules() if isinstance(m, nn.Linear)), None)
    if width is None:
        raise NotAChain("no linear layer")
    try:
        graph = module if isinstance(module, fx.GraphModule) else _trace(module)
        with torch.no_grad():
            end = _Follow(graph).run(Chain(width))
    except NotAChain:
        raise
    except Exception as error:  # tracing and interpreting foreign code raises whatever it raises
        raise NotAChain(f"what torch.fx cannot follow ({type(error).__name__})") from error
    if not isinstance(end, Chain):
        raise NotAChain("several outputs")
    return end


def _trace(module: nn.Module) -> fx.GraphModule:
    level = logging.getLogger("torch.fx").level
    logging.getLogger("torch.fx").setLevel(logging.ERROR)
    try:
        return fx.symbolic_trace(module)
    finally:
        logging.getLogger("torch.fx").setLevel(level)


class _Rows:
    """The number of rows, which nothing but a reshape may depend on."""

    def __int__(self) -> int:
        raise NotAChain("a number of rows that is computed with")

    __index__ = __int__


class _Follow(fx.Interpreter):
    def run_node(self, n: fx.Node) -> Any:
        if n.op == "call_module" and not n.users:  # guards of an exported program
            return None
        return super().run_node(n)

    def call_module(self, target: str, args: tuple, kwargs: dict) -> Any:
        module = self.fetch_attr(target)
        if not _symbolic(args, kwargs):
            return module(*args, **kwargs)
        x = args[0] if args else next(iter(kwargs.values()))
        if isinstance(module, nn.Linear):
            return x.linear(module.weight, module.bias)
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            return _normalized(x, module.running_mean, module.running_var, module.weight, module.bias, module.eps)
        if isinstance(module, (nn.Identity, nn.modules.dropout._DropoutNd)):
            return x
        if isinstance(module, nn.Flatten) and module.start_dim == 1:
            return x
        if isinstance(module, _ELEMENTWISE):
            return x.each(module)
        raise NotAChain(f"a {type(module).__name__}")

    def call_function(self, target: Callable, args: tuple, kwargs: dict) -> Any:
        return self._apply(_name(target), target, args, kwargs)

    def call_method(self, target: str, args: tuple, kwargs: dict) -> Any:
        return self._apply(target, lambda x, *rest, **named: getattr(x, target)(*rest, **named), args, kwargs)

    def _apply(self, name: str, function: Callable, args: tuple, kwargs: dict) -> Any:
        if not _symbolic(args, kwargs):
            return function(*args, **kwargs)
        name = name.removesuffix("_") if not name.startswith("_") else name  # in place or not is the same here
        if name in _SAME:
            return args[0]
        if name in _OPERATIONS:
            return _OPERATIONS[name](*args, **kwargs)
        if name in _FUNCTIONS and isinstance(args[0], Chain) and not _symbolic(args[1:], kwargs):
            return args[0].each(lambda z: function(z, *args[1:], **kwargs))
        raise NotAChain(f"the operation '{name}'")


def _name(target: Callable) -> str:
    if isinstance(target, torch._ops.OpOverload):
        return target._schema.name.split("::")[-1]
    return getattr(target, "__name__", str(target))


def _symbolic(args: Any, kwargs: Any = ()) -> bool:
    if isinstance(args, dict):
        args = tuple(args.values())
    if isinstance(args, (tuple, list)):
        return any(_symbolic(a) for a in args) or (bool(kwargs) and _symbolic(kwargs))
    return isinstance(args, (Chain, _Rows))


# Linear maps


def _linear(x: Any, weight: Any, bias: Any = None) -> Chain:
    _constant(weight, bias)
    return x.linear(weight, bias)


def _matmul(x: Any, other: Any) -> Chain:
    if not isinstance(x, Chain):
        raise NotAChain("a product with the row on the right")
    _constant(other)
    return x.linear(other.T if other.ndim == 2 else other[None])


def _addmm(bias: Any, x: Any, other: Any, beta: float = 1, alpha: float = 1) -> Chain:
    _constant(bias)
    return _matmul(x, other * alpha).scaled(torch.ones(()), bias * beta)


def _normalized(x: Chain, mean, var, weight, bias, eps: float) -> Chain:
    if mean is None or var is None:
        raise NotAChain("a normalization by the batch")
    factor = (var.double() + eps).rsqrt() * (1 if weight is None else weight.double())
    return x.scaled(factor, (0 if bias is None else bias.double()) - mean.double() * factor)


def _batch_norm(x, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5) -> Chain:
    if training:
        raise NotAChain("a normalization by the batch")
    return _normalized(x, running_mean, running_var, weight, bias, eps)


def _batch_norm_of_aten(x, weight, bias, running_mean, running_var, *rest) -> Chain:
    # aten.batch_norm(..., training, momentum, eps, cudnn_enabled); _native_batch_norm_legit_no_training(..., momentum, eps)
    if rest[0] is True:
        raise NotAChain("a normalization by the batch")
    return _normalized(x, running_mean, running_var, weight, bias, rest[2] if len(rest) > 2 else rest[1])


def _any_batch_norm(x, *args, **kwargs) -> Chain:
    if len(args) >= 6 and isinstance(args[4], bool):  # aten has weight and bias first
        return _batch_norm_of_aten(x, *args)
    return _batch_norm(x, *args, **kwargs)


def _dropout(x: Chain, p: float = 0.5, training: bool = True, inplace: bool = False) -> Chain:
    if training and p > 0:
        raise NotAChain("a dropout that is always on")
    return x


# Sums and products


def _add(a: Any, b: Any, alpha: float = 1, **_: Any) -> Chain:
    if isinstance(a, Chain) and isinstance(b, Chain):
        same = a.weight is b.weight and a.bias is b.bias and (a.function or b.function)
        return a.with_other(b, lambda x, y: x + alpha * y) if same else a.plus(b, alpha)
    x, constant, factor = (a, b * alpha, 1.0) if isinstance(a, Chain) else (b, a, float(alpha))
    if _scalar(constant) is not None:
        return x.each(lambda z: z * factor + _scalar(constant))
    return x.scaled(torch.tensor(factor), _vector(constant, x.width))


def _sub(a: Any, b: Any, alpha: float = 1, **_: Any) -> Chain:
    return _add(a, b, alpha=-alpha)


def _rsub(a: Any, b: Any, alpha: float = 1) -> Chain:
    return _add(b, a, alpha=-alpha)


def _mul(a: Any, b: Any) -> Chain:
    if isinstance(a, Chain) and isinstance(b, Chain):
        return a.with_other(b, torch.mul)
    x, constant = (a, b) if isinstance(a, Chain) else (b, a)
    if _scalar(constant) is not None:
        return x.each(lambda z: z * _scalar(constant))
    return x.scaled(_vector(constant, x.width), torch.zeros(()))


def _div(a: Any, b: Any, rounding_mode: str | None = None) -> Chain:
    if rounding_mode is not None:
        raise NotAChain("a division that rounds")
    if isinstance(b, Chain):
        if isinstance(a, Chain):
            return a.with_other(b, torch.div)
        if _scalar(a) is None:
            raise NotAChain("a division by the row")
        return b.each(lambda z: _scalar(a) / z)
    if _scalar(b) is not None:
        return a.each(lambda z: z / _scalar(b))
    return a.scaled(1 / _vector(b, a.width).double(), torch.zeros(()))


def _pow(a: Any, b: Any) -> Chain:
    if isinstance(b, Chain) or _scalar(b) is None:
        raise NotAChain("a power of another row")
    return a.each(lambda z: z ** _scalar(b))


def _maximum(a: Any, b: Any) -> Chain:
    x, constant = (a, b) if isinstance(a, Chain) else (b, a)
    if _symbolic(constant) or _scalar(constant) is None:
        raise NotAChain("a maximum of two branches")
    return x.each(lambda z: z.clamp(min=_scalar(constant)))


# Shapes


def _reshape(x: Chain, *shape: Any, **_: Any) -> Chain:
    shape = shape[0] if len(shape) == 1 and isinstance(shape[0], (tuple, list, torch.Size)) else shape
    if len(shape) == 2 and (isinstance(shape[0], _Rows) or shape[0] == -1) and shape[1] in (-1, x.width):
        return x
    if x.width == 1 and len(shape) == 1 and (isinstance(shape[0], _Rows) or shape[0] == -1):
        return x
    raise NotAChain(f"a reshape to {tuple('n' if isinstance(s, _Rows) else s for s in shape)}")


def _flatten(x: Chain, start_dim: int = 0, end_dim: int = -1) -> Chain:
    if start_dim == 1 or x.width == 1:
        return x
    raise NotAChain("a flattening of the rows")


def _squeeze(x: Chain, dim: Any = -1) -> Chain:  # of [n, 1]; whether the shape is right, the comparison on rows shows
    if x.width == 1 and dim in (-1, 1, [1], [-1], (1,), (-1,)):
        return x
    raise NotAChain("a squeeze")


def _unsqueeze(x: Chain, dim: int) -> Chain:
    if x.width == 1 and dim in (-1, 1):
        return x
    raise NotAChain("a further dimension")


def _getitem(x: Any, index: Any) -> Any:
    if (
        isinstance(x, Chain)
        and isinstance(index, tuple)
        and index[:2] == (slice(None),) * 2
        and set(index[2:]) <= {None}
    ):
        return x  # [n, width, 1]: whether the shape is right, the comparison on rows shows
    if isinstance(x, Chain) and isinstance(index, tuple) and len(index) == 2 and index[0] in (slice(None), Ellipsis):
        if index[1] is None and x.width == 1:
            return x
        if isinstance(index[1], (int, slice, list, tuple, Tensor)) and not _symbolic(index[1]):
            return x.columns(torch.arange(x.width)[index[1]].reshape(-1))
    raise NotAChain("a selection of rows")


def _slice(x: Chain, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Chain:
    if dim in (1, -1):
        return x.columns(torch.arange(x.width)[slice(start, end, step)])
    if start in (None, 0) and end in (None, 2**63 - 1) and step == 1:
        return x
    raise NotAChain("a selection of rows")


def _select(x: Chain, dim: int, index: Any) -> Chain:
    if dim not in (1, -1) or _symbolic(index):
        raise NotAChain("a selection of rows")
    return x.columns(torch.arange(x.width)[index].reshape(-1))


def _cat(tensors: Any, dim: int = 0, axis: int | None = None) -> Chain:
    if (dim if axis is None else axis) not in (1, -1) or not all(isinstance(t, Chain) for t in tensors):
        raise NotAChain("a concatenation of other than columns")
    return Chain.joined(tensors)


def _stack(tensors: Any, dim: int = 0, axis: int | None = None) -> Chain:
    if any(isinstance(t, Chain) and t.width != 1 for t in tensors):
        raise NotAChain("a stack of branches")
    return _cat(tensors, dim, axis)


def _size(x: Chain, dim: int | None = None) -> Any:
    shape = (_Rows(), x.width)
    return shape if dim is None else shape[dim]


def _getattr(x: Chain, name: str) -> Any:
    known = {"shape": lambda: (_Rows(), x.width), "dtype": lambda: torch.float32, "ndim": lambda: 2}
    known["device"] = lambda: torch.device("cpu")
    if name not in known:
        raise NotAChain(f"the attribute '{name}' of the row")
    return known[name]()


def _to(x: Chain, *args: Any, **kwargs: Any) -> Chain:
    for value in (*args, *kwargs.values()):
        if isinstance(value, torch.dtype) and not value.is_floating_point:
            raise NotAChain(f"a conversion to {value}")
    return x


# Constants


def _constant(*values: Any) -> None:
    if _symbolic(values):
        raise NotAChain("a matrix that depends on the row")


def _scalar(value: Any) -> float | None:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, Tensor) and value.numel() == 1:
        return float(value.double())
    return None


def _vector(value: Any, width: int) -> Tensor:
    if not isinstance(value, Tensor) or value.numel() != width or value.shape[-1] != width:
        raise NotAChain("a constant of another shape")
    return value.reshape(-1)


_ELEMENTWISE = (
    nn.ReLU, nn.LeakyReLU, nn.ELU, nn.SiLU, nn.GELU, nn.Tanh, nn.Softplus, nn.Sigmoid, nn.Hardtanh, nn.ReLU6, nn.CELU,
    nn.SELU, nn.Mish, nn.Hardswish, nn.Hardsigmoid, nn.Softsign, nn.LogSigmoid, nn.Tanhshrink, nn.Threshold,
)  # fmt: skip
_SAME = {
    "contiguous", "clone", "detach", "float", "double", "half", "bfloat16", "alias", "identity", "lift_fresh_copy",
    "requires_grad_", "type_as", "positive", "_assert_tensor_metadata",
}  # fmt: skip
# Functions of single numbers; what they compute is evaluated, not looked up.
_FUNCTIONS = {
    "relu", "leaky_relu", "elu", "silu", "gelu", "tanh", "softplus", "sigmoid", "erf", "exp", "log", "log1p", "expm1",
    "clamp", "clip", "clamp_min", "neg", "square", "abs", "hardtanh", "relu6", "celu", "selu", "mish", "hardswish",
    "hardsigmoid", "reciprocal", "sqrt", "rsqrt", "sin", "cos", "logsigmoid",
}  # fmt: skip
_OPERATIONS: dict[str, Callable] = {
    "linear": _linear, "matmul": _matmul, "mm": _matmul, "addmm": _addmm, "batch_norm": _any_batch_norm,
    "_native_batch_norm_legit_no_training": lambda *a: (_batch_norm_of_aten(*a),), "dropout": _dropout,
    "alpha_dropout": _dropout, "feature_dropout": _dropout, "add": _add, "iadd": _add, "radd": _add, "sub": _sub,
    "subtract": _sub, "isub": _sub, "rsub": _rsub, "mul": _mul, "multiply": _mul, "imul": _mul, "div": _div,
    "truediv": _div, "divide": _div, "true_divide": _div, "itruediv": _div, "pow": _pow, "maximum": _maximum,
    "view": _reshape, "reshape": _reshape, "_unsafe_view": _reshape, "flatten": _flatten, "squeeze": _squeeze,
    "unsqueeze": _unsqueeze, "getitem": _getitem, "slice": _slice, "select": _select, "cat": _cat, "concat": _cat,
    "concatenate": _cat, "stack": _stack, "hstack": lambda t: _cat(t, 1), "size": _size, "sym_size": _size,
    "getattr": _getattr, "to": _to, "_to_copy": _to, "dim": lambda x: 2, "ndimension": lambda x: 2,
    "addcmul": lambda b, x, y, value=1: _add(b, _mul(x, y * value)),
}  # fmt: skip
