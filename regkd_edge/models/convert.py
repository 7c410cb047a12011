"""Bringing a network into the form that the fused core takes: one :class:`MLP`, its scaling folded in."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..data import Scalers
from .folding.follow import chains_of
from .folding.symbolic_row import NotAChain
from .mlp import ACTIVATIONS, MLP, is_plain
from .outputs import Outputs

__all__ = ["as_mlp", "between", "shared_mlp"]

_PROOF = 32  # rows of each size on which a folded network is compared with its module
_SIZES = {0.01: 1, 1.0: 1, 10.0: 1, 1000.0: 10}  # of the rows -> factor of the tolerance
# A branch that waits while another passes an activation costs units of its own, see `branches`. At 2 to 5 times the
# multiply-adds the fused core was still faster than PyTorch with the module (residual networks of 16 to 256 units).
_SMALL, _LARGER = 50_000, 5
# Folding multiplies matrices in float64 and rounds once; the module rounds at every layer. Per unit of the terms that
# add up to an answer:
_TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-8}


def as_mlp(module: nn.Module, width: int | None = None) -> MLP | None:
    """The same network as an :class:`MLP`, or None where it is none.

    It is one where its graph holds linear maps (linear layers, batch normalization in evaluation mode, scaling and
    shifting by constants, choice of columns), one kind of activation that the core has, and what does nothing at
    inference (dropout, identity, flatten). The result shares no storage with the module, and it answered random rows
    as the module does.
    """
    if is_plain(module):
        copy = MLP(module.widths, module.activation).to(next(module.parameters()).dtype)
        copy.load_state_dict(module.state_dict())
        return copy
    dtype = next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)
    if dtype not in _TOLERANCE or not isinstance(module, nn.Module):
        return None
    for chain in chains_of(module, width):
        try:
            mlp = chain.mlp(dtype)
        except NotAChain:
            continue
        if _affordable(module, mlp) and _proved(module, mlp, dtype):
            return mlp
    return None


def _affordable(module: nn.Module, mlp: MLP) -> bool:
    """Whether the folded network is not so much larger than the module that PyTorch would be faster by the module."""
    own = sum(p.numel() for p in module.parameters())
    return sum(layer.weight.numel() for layer in mlp.layers) <= max(_SMALL, _LARGER * own)


def _proved(module: nn.Module, mlp: MLP, dtype: torch.dtype) -> bool:
    """Whether both answer random rows of several sizes alike, each output by its own size."""
    generator = torch.Generator().manual_seed(0)
    device = next((p.device for p in module.parameters()), torch.device("cpu"))
    rows = torch.randn(_PROOF, mlp.widths[0], generator=generator, dtype=torch.float64)
    return all(
        _same_answers(module, mlp, (rows * size).to(device, dtype), factor * _TOLERANCE[dtype])
        for size, factor in _SIZES.items()
    )


def _same_answers(module: nn.Module, mlp: MLP, given: Tensor, tolerance: float) -> bool:
    x = given.cpu()
    try:
        with torch.no_grad():
            theirs = Outputs("")(module(given.clone()), len(x)).cpu()
    except Exception:  # the module's own code
        return False
    with torch.no_grad():
        ours, hidden = mlp(x), x
        for layer in mlp.layers[:-1]:
            hidden = ACTIVATIONS[mlp.activation](layer(hidden))
        end = mlp.layers[-1]  # an output rounds as the terms of its sum do, which may cancel each other
        terms = hidden.abs() @ end.weight.abs().T + end.bias.abs()  # [n, o]
    if theirs.shape != ours.shape or not torch.isfinite(theirs).all():
        return False
    size = torch.minimum(terms.max(0).values, 1 + theirs.abs().max(0).values)
    return bool(((theirs - ours).abs() <= tolerance * size).all())


def shared_mlp(module: nn.Module) -> MLP | None:
    """An :class:`MLP` whose layers are the very layers of a plain ``nn.Sequential``, so that training one trains the
    other: linear layers with biases, one kind of activation between them, a linear one at the end; else None.
    """
    if is_plain(module):
        return module  # type: ignore[return-value]
    if type(module) is not nn.Sequential:
        return None
    layers = [m for m in _flat(module) if type(m) is not nn.Identity and not _switched_off(m)]
    linear, between_them = layers[::2], layers[1::2]
    if len(linear) != len(between_them) + 1 or not all(type(m) is nn.Linear and m.bias is not None for m in linear):
        return None
    names = {_activation(m) for m in between_them} or {"identity"}
    widths = [linear[0].in_features, *(m.out_features for m in linear)]
    if len(names) != 1 or None in names or len({id(m) for m in linear}) != len(linear):
        return None
    if any(m.in_features != n for m, n in zip(linear, widths)):
        return None
    if any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in module.modules()):
        return None
    with torch.device("meta"):  # its own weights are replaced at once
        mlp = MLP(widths, names.pop())
    mlp.layers = nn.ModuleList(linear)
    return mlp.train(module.training)


def _flat(module: nn.Sequential) -> list[nn.Module]:
    """Return the layers in order, nested sequences flattened; a layer that is used twice appears twice."""
    return [inner for m in module for inner in (_flat(m) if type(m) is nn.Sequential else [m])]


def _switched_off(module: nn.Module) -> bool:
    return type(module) is nn.Dropout and (module.p == 0 or not module.training)


def _activation(module: nn.Module) -> str | None:
    """The name of an activation layer, told by what it computes."""
    if not type(module).__module__.startswith("torch.nn") or next(module.parameters(), None) is not None:
        return None
    z = torch.linspace(-30, 30, 241)
    try:
        values = module(z)
    except Exception:  # a layer for other shapes
        return None
    same = (name for name, f in ACTIVATIONS.items() if name != "identity" and torch.equal(f(z), values))
    return next(same, None)


def between(mlp: MLP, scalers: Scalers | None, own: Scalers | None) -> MLP:
    """An MLP between the standardized spaces of ``scalers``, float32; computed in float64.

    ``own`` are the scalers of the space that ``mlp`` lives in; None: it takes and gives raw units.
    """
    out = MLP(mlp.widths, mlp.activation)
    weights = [layer.weight.detach().double() for layer in mlp.layers]
    biases = [layer.bias.detach().double() for layer in mlp.layers]
    if scalers is not None:
        x_mul, x_add, y_mul, y_add = _maps(scalers, own)
        biases[0] = biases[0] + weights[0] @ x_add
        weights[0] = weights[0] * x_mul
        weights[-1] = weights[-1] * y_mul[:, None]
        biases[-1] = biases[-1] * y_mul + y_add
    with torch.no_grad():
        for layer, w, b in zip(out.layers, weights, biases):
            layer.weight.copy_(w)
            layer.bias.copy_(b)
    return out


def _maps(scalers: Scalers, own: Scalers | None) -> list[Tensor]:
    """Factors and shifts from the space of ``scalers`` into the network's own, and back out."""
    x, y = scalers.x, scalers.y
    if own is None:
        parts = (x.scale, x.mean, 1 / y.scale, -y.mean / y.scale)
    else:
        inward = (x.scale / own.x.scale, (x.mean - own.x.mean) / own.x.scale)
        parts = (*inward, own.y.scale / y.scale, (own.y.mean - y.mean) / y.scale)
    return [torch.from_numpy(part) for part in parts]
