"""Branches of one row that pass different layers, brought behind common
layers: residual connections, ensembles, towers.

What a branch has to layers of its own is computed side by side in layers that are block-diagonal. A branch with fewer
layers waits: its numbers pass an activation f unchanged, in two units each, since ``f(z) - f(-z) = c z`` for ReLU,
leaky ReLU, SiLU, GELU and softplus. For tanh and ELU there is no such way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..mlp import ACTIVATIONS
from .symbolic_row import NeverAChain, NotAChain, SymbolicRow, same_layer

__all__ = ["joined", "total"]

_WIDEST = 1024  # units of a hidden layer in the fused core


@dataclass
class _Branch:
    """Where a branch stands on its way: its numbers are ``read @ h + shift`` of the common layer's units h."""

    chain: SymbolicRow
    read: Tensor  # [k, units]
    shift: Tensor  # [k]
    positive: bool  # numbers that are never below 0
    mapped: bool = False  # the map after its last layer is applied already

    def of(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        return weight @ self.read, weight @ self.shift + bias

    def end(self) -> tuple[Tensor, Tensor]:
        return (self.read, self.shift) if self.mapped else self.of(self.chain.weight, self.chain.bias)


def total(a: SymbolicRow, b: SymbolicRow, sign: float = 1.0) -> SymbolicRow:
    """Return ``a + sign * b``, as in a residual connection; errors as :func:`aligned`."""
    if a.width != b.width and 1 not in (a.width, b.width):
        raise NotAChain(f"a sum of {a.width} and {b.width} columns")
    a, b = aligned([a, b])
    weight, bias = a.weight + sign * b.weight, a.bias + sign * b.bias
    return SymbolicRow(len(bias), a.inputs, a.layers, weight, bias)


def joined(parts: Sequence[SymbolicRow]) -> SymbolicRow:
    """Return the columns of several branches of one row, side by side; errors as :func:`aligned`."""
    parts = aligned(parts)
    weight, bias = torch.cat([p.weight for p in parts]), torch.cat([p.bias for p in parts])
    return SymbolicRow(len(bias), parts[0].inputs, parts[0].layers, weight, bias)


def aligned(parts: Sequence[SymbolicRow]) -> list[SymbolicRow]:
    """Return chains of the same numbers whose layers are one and the same; each of them ends with a linear map.

    Raises
    ------
    NotAChain
        Different activations side by side, an activation that numbers cannot pass, or more units than the core takes.
    """
    parts = [part.settled().whole() for part in parts]
    common = 0
    while all(len(p.layers) > common and same_layer(p.layers[common], parts[0].layers[common]) for p in parts):
        common += 1
    layers = list(parts[0].layers[:common])
    width = len(layers[-1][1]) if layers else parts[0].inputs
    if any(p.inputs != parts[0].inputs for p in parts):
        raise NotAChain("branches of different rows")
    eye, zero = torch.eye(width, dtype=torch.float64), torch.zeros(width, dtype=torch.float64)
    branches = [_Branch(p, eye, zero, bool(layers) and layers[-1][2] == "relu") for p in parts]
    for level in range(common, max(len(p.layers) for p in parts)):
        layers.append(_side_by_side(branches, level))
    ends = [branch.end() for branch in branches]
    return [SymbolicRow(len(bias), parts[0].inputs, tuple(layers), weight, bias) for weight, bias in ends]


def _side_by_side(branches: list[_Branch], level: int) -> tuple[Tensor, Tensor, str]:
    names = {b.chain.layers[level][2] for b in branches if level < len(b.chain.layers)}
    if len(names) > 1:
        raise NotAChain(f"branches with different activations ({', '.join(sorted(names))})")
    name = names.pop()
    rows: list[tuple[Tensor, Tensor]] = []  # distinct ones
    starts, units = [], 0
    spans = []  # where the units of each branch are
    for branch in branches:
        own = level < len(branch.chain.layers)
        here = branch.of(*branch.chain.layers[level][:2]) if own else _waiting(branch, name)
        twin = next((k for k, other in enumerate(rows) if all(map(torch.equal, here, other))), None)
        if twin is None:
            twin = len(rows)
            rows.append(here)
            starts.append(units)
            units += len(here[1])
            if units > _WIDEST:  # at once: the others need not be built
                raise NeverAChain(f"branches of more than {_WIDEST} units side by side")
        spans.append((starts[twin], len(here[1])))
    for branch, (start, count) in zip(branches, spans):
        own = level < len(branch.chain.layers)
        if own or (branch.positive and name == "relu"):
            branch.read, branch.positive = _selection(start, count, units), name == "relu"
        else:
            half = count // 2
            both = _selection(start, half, units) - _selection(start + half, half, units)
            branch.read, branch.positive = both / passage(name), False
        branch.shift = torch.zeros(len(branch.read), dtype=torch.float64)
    return torch.cat([w for w, _ in rows]), torch.cat([b for _, b in rows]), name


def _waiting(branch: _Branch, name: str) -> tuple[Tensor, Tensor]:
    """The units through which the numbers of a branch pass an activation: the fewer of its numbers before and after
    its last map."""
    once = branch.positive and name == "relu"
    if not branch.mapped and 2 * branch.chain.width < len(branch.read) * (1 if once else 2):
        branch.read, branch.shift = branch.end()
        branch.mapped, branch.positive, once = True, False, False
    if once:
        return branch.read, branch.shift
    passage(name)
    return torch.cat([branch.read, -branch.read]), torch.cat([branch.shift, -branch.shift])


def passage(name: str) -> float:
    """Return c of ``f(z) - f(-z) = c z``; :class:`NotAChain` for an activation without it."""
    z = torch.tensor([1.0, 0.3, 7.0, 100.0], dtype=torch.float64)
    odd = (ACTIVATIONS[name](z) - ACTIVATIONS[name](-z)) / z
    if not torch.allclose(odd, odd[:1].expand(4), rtol=1e-9):
        raise NotAChain(f"a branch that passes {name} unchanged (a residual connection)")
    return float(odd[0])


def _selection(start: int, count: int, units: int) -> Tensor:
    return torch.eye(units, dtype=torch.float64)[start : start + count]
