"""Modules that are MLPs in disguise: their graph is followed with a symbolic row, see :class:`SymbolicRow`.

``torch.fx`` gives the graph of most modules. What it cannot follow, such as a check of the input's shape, optional
arguments or TorchScript, is recorded while a few rows pass (``make_fx``).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import fx, nn

from ..mlp import hooked
from .operations import ELEMENTWISE, FUNCTIONS, OPERATIONS, SAME
from .sums import normalized, prelu
from .symbolic_row import NeverAChain, NotAChain, SymbolicRow
from .values import RowCount, symbolic
from .writes import name_of, require_fresh

__all__ = ["chain_of", "chains_of"]

_RECORDED = 11  # rows that pass while a graph is recorded: not a usual width
# Layers that are no linear map of a row of numbers, however they are written.
_MIXING = (
    nn.modules.conv._ConvNd, nn.RNNBase, nn.MultiheadAttention, nn.LayerNorm, nn.GroupNorm, nn.Embedding, nn.Bilinear,
)  # fmt: skip
# Functions that are neither, and stay what they are in a recorded graph.
_MIXING_FUNCTIONS = {
    "softmax", "log_softmax", "softmin", "normalize", "layer_norm", "group_norm", "rms_norm", "glu", "embedding",
    "bilinear", "scaled_dot_product_attention", "argmax", "argmin", "topk", "sort", "cumprod", "norm", "logsumexp",
    "conv1d", "conv2d", "conv3d",
}  # fmt: skip
_PLAIN = (RowCount, str, bool, type(None))


def chains_of(module: nn.Module, width: int | None = None) -> Iterator[SymbolicRow]:
    """Yield what each way of following a module finds; a way that fails is left out.

    Recording imports PyTorch's compiler, one to two seconds: it is left out where it cannot find more. ``one_by_one``
    marks a module that calls operations itself, so that a recorded graph would have the same.
    """
    for recorded in (False, True):
        try:
            yield chain_of(module, width, recorded=recorded)
        except NeverAChain:
            return
        except NotAChain:
            if any(isinstance(part, _MIXING) for part in module.modules()):
                return


def chain_of(module: nn.Module, width: int | None = None, *, recorded: bool = False) -> SymbolicRow:
    """Follow a row of ``width`` inputs (told from the first linear layer without it) through a module.

    ``recorded``: in the graph of what happened to a few rows, instead of that of ``torch.fx``.

    Raises
    ------
    NotAChain
        With what cannot be folded.
    """
    if not all(getattr(part, "differentiable", True) for part in module.modules()):
        raise NotAChain("a function on arrays")  # it is never called with anything else, not even to look
    if width is None:
        width = next((m.in_features for m in module.modules() if isinstance(m, nn.Linear)), None)
    if width is None:
        raise NotAChain("no linear layer")
    try:
        graph = _recorded(module, width) if recorded else _traced(module)
        with torch.no_grad():
            end = _Follow(graph, _RECORDED if recorded else None).run(SymbolicRow.of_row(width))
    except NotAChain as error:
        if not recorded and any(getattr(part, "one_by_one", False) for part in module.modules()):
            raise NeverAChain(str(error)) from error
        raise
    except Exception as error:  # tracing and interpreting foreign code raises whatever it raises
        raise NotAChain(f"what torch.fx cannot follow ({type(error).__name__})") from error
    ends = list(_chains(end))
    if len(ends) != 1:
        raise NotAChain("several outputs")
    return ends[0]


def _chains(end: Any) -> Iterator[SymbolicRow]:
    if isinstance(end, SymbolicRow):
        yield end
    elif isinstance(end, (tuple, list, Mapping)):
        for part in end.values() if isinstance(end, Mapping) else end:
            yield from _chains(part)
    elif not isinstance(end, _PLAIN):
        raise NotAChain(f"an output that is a {type(end).__name__}")


def _traced(module: nn.Module) -> fx.GraphModule:
    if isinstance(module, fx.GraphModule):
        return module
    if hooked(module):  # of the whole: torch.fx does not see them, those of its parts it does
        raise NotAChain("a forward hook")
    level = logging.getLogger("torch.fx").level
    logging.getLogger("torch.fx").setLevel(logging.ERROR)
    try:
        return fx.symbolic_trace(module)
    finally:
        logging.getLogger("torch.fx").setLevel(level)


def _recorded(module: nn.Module, width: int) -> fx.GraphModule:
    from torch.fx.experimental.proxy_tensor import make_fx

    own = next((t for t in (*module.parameters(), *module.buffers()) if t.is_floating_point()), torch.zeros(()))
    rows = torch.randn(_RECORDED, width, generator=torch.Generator().manual_seed(0)).to(own)
    with torch.no_grad():
        return make_fx(module, pre_dispatch=True)(rows)


class _Follow(fx.Interpreter):
    def __init__(self, graph: fx.GraphModule, rows: int | None):
        super().__init__(graph)
        self.extra_traceback = False  # a refusal is the usual case here, and its traceback would import the compiler
        require_fresh(graph)
        self.rows = rows  # the number that stands for that of the rows in a recorded graph

    def run_node(self, n: fx.Node) -> Any:
        if n.op == "call_module" and not n.users:  # guards of an exported program
            return None
        return super().run_node(n)

    def call_module(self, target: str, args: tuple, kwargs: dict) -> Any:
        module = self.fetch_attr(target)
        if not symbolic(args, kwargs):
            return module(*args, **kwargs)
        if hooked(module):
            raise NotAChain("a forward hook")
        x = args[0] if args else next(iter(kwargs.values()))
        if isinstance(module, nn.Linear):
            return x.linear(module.weight, module.bias)
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            return normalized(x, module.running_mean, module.running_var, module.weight, module.bias, module.eps)
        if isinstance(module, (nn.Identity, nn.modules.dropout._DropoutNd)):
            return x
        if isinstance(module, nn.Flatten) and module.start_dim == 1:
            return x
        if isinstance(module, nn.PReLU):
            return prelu(x, module.weight)
        if isinstance(module, ELEMENTWISE):
            return x.each(module)
        kind = NeverAChain if isinstance(module, _MIXING) else NotAChain
        raise kind(f"a {type(module).__name__}")

    def call_function(self, target: Callable, args: tuple, kwargs: dict) -> Any:
        return self._apply(name_of(target), target, args, kwargs)

    def call_method(self, target: str, args: tuple, kwargs: dict) -> Any:
        return self._apply(target, lambda x, *rest, **named: getattr(x, target)(*rest, **named), args, kwargs)

    def _apply(self, name: str, function: Callable, args: tuple, kwargs: dict) -> Any:
        if not symbolic(args, kwargs):
            return function(*args, **kwargs)
        name = name.removesuffix("_") if not name.startswith("_") else name  # in place or not is the same here
        if name in SAME:
            return args[0]
        if name in ("view", "reshape", "_unsafe_view") and self.rows is not None:
            args = (args[0], [RowCount() if size == self.rows else size for size in args[1]])
        if name in OPERATIONS:
            return OPERATIONS[name](*args, **kwargs)
        if name in FUNCTIONS and isinstance(args[0], SymbolicRow) and not symbolic(args[1:], kwargs):
            return args[0].each(lambda z: function(z, *args[1:], **kwargs))
        if name in ("einsum", "tensordot"):
            return _evaluated(function, args, kwargs)
        raise (NeverAChain if name in _MIXING_FUNCTIONS else NotAChain)(f"the operation '{name}'")


def _evaluated(function: Callable, args: tuple, kwargs: dict) -> SymbolicRow:
    """A product of the row and constants, by what it makes of the unit rows."""
    flat = [a for arg in args for a in (arg if isinstance(arg, (list, tuple)) else [arg])]
    rows = [a for a in flat if isinstance(a, SymbolicRow)]
    if len(rows) != 1:
        raise NotAChain("a product of two different branches")
    eye = torch.eye(rows[0].width, dtype=torch.float64)

    def put(a: Any) -> Any:
        if isinstance(a, (list, tuple)):
            return type(a)(put(inner) for inner in a)
        return eye if a is rows[0] else a.double() if isinstance(a, torch.Tensor) else a

    made = function(*put(args), **kwargs)
    if made.ndim != 2 or len(made) != len(eye):
        raise NotAChain("a product that is not a row")
    return rows[0].linear(made.T)
