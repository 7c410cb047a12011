"""A network as a chain of linear maps and activations, built up by feeding it a symbolic row instead of numbers.

Every operation on the row is one of two kinds: a linear map with a shift (linear layers, normalization in evaluation
mode, scaling, selection and concatenation of columns), kept as a matrix in float64; or a function of single numbers
(an activation, however it is written). The second kind is collected as one function and recognised by its values, so
that ``x * sigmoid(x)`` and GELU as an exporter writes it are found as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .mlp import ACTIVATIONS, MLP

__all__ = ["Chain", "NotAChain"]

_LAYERS = 64  # beyond, no network that the core takes

# Where a function of one number is looked at: dense where activations bend, sparse far out.
_GRID = torch.cat([torch.linspace(-12, 12, 481), torch.tensor([-1e3, -200.0, -50.0, -25.0, 25.0, 50.0, 200.0, 1e3])])
_GRID = _GRID.double()


class NotAChain(Exception):
    """Neither a linear map nor a known activation; the message names it."""


@dataclass(frozen=True, eq=False)
class Chain:
    """A symbolic row [n, width] on its way through a network.

    Attributes
    ----------
    layers : tuple of (weight [m, k], bias [m], activation)
        What is finished; float64.
    weight, bias : Tensor [m, k], [m], or None
        The linear map since; None: nothing yet.
    function : callable or None
        What happens to each number after it.
    inner : callable or None
        What happens to it before the first function that bends, as the shift in ``relu(x + 1)``.
    """

    width: int
    layers: tuple[tuple[Tensor, Tensor, str], ...] = ()
    weight: Tensor | None = None
    bias: Tensor | None = None
    function: Callable[[Tensor], Tensor] | None = None
    inner: Callable[[Tensor], Tensor] | None = None

    # Linear maps -----------------------------------------------------------------------------------------------

    def linear(self, weight: Tensor, bias: Tensor | None = None) -> Chain:
        """``x W^T + b``, weight [m, width]."""
        here = self.settled()
        weight = weight.detach().double()
        if weight.ndim != 2 or weight.shape[1] != here.width:
            raise NotAChain(f"a product with a matrix of shape {list(weight.shape)}")
        bias = torch.zeros(len(weight)).double() if bias is None else bias.detach().double().expand(len(weight))
        if here.weight is not None:
            weight, bias = weight @ here.weight, weight @ here.bias + bias
        return Chain(len(weight), here.layers, weight, bias)

    def scaled(self, factor: Tensor, shift: Tensor) -> Chain:
        """``x * factor + shift``, both [width] or scalars."""
        here = self.settled()
        factor, shift = (v.detach().double().expand(here.width) for v in (factor, shift))
        if here.weight is None:
            return Chain(here.width, here.layers, torch.diag(factor), shift.clone())
        return Chain(here.width, here.layers, factor[:, None] * here.weight, factor * here.bias + shift)

    def columns(self, index: Tensor) -> Chain:
        """Some of the columns, in the order of ``index``."""
        return self.linear(torch.eye(self.width, dtype=torch.float64)[index])

    def plus(self, other: Chain, sign: float = 1.0) -> Chain:
        """The sum of two linear maps of the same row; after different activations it is a residual connection."""
        a, b = self.settled()._whole(), other.settled()._whole()
        if not a._same_row(b) or a.width != b.width:
            raise NotAChain("a sum of two branches (a residual connection)")
        return Chain(a.width, a.layers, a.weight + sign * b.weight, a.bias + sign * b.bias)

    @staticmethod
    def joined(parts: Sequence[Chain]) -> Chain:
        """Columns side by side, all of them linear maps of the same row."""
        parts = [part.settled()._whole() for part in parts]
        if not all(parts[0]._same_row(part) for part in parts):
            raise NotAChain("branches that are joined after different layers")
        weight, bias = torch.cat([p.weight for p in parts]), torch.cat([p.bias for p in parts])
        return Chain(len(bias), parts[0].layers, weight, bias)

    # Functions of single numbers --------------------------------------------------------------------------------

    def each(self, function: Callable[[Tensor], Tensor]) -> Chain:
        """A function of every number by itself."""
        before = self.function
        whole = function if before is None else lambda z: function(before(z))
        return Chain(self.width, self.layers, self.weight, self.bias, whole, self.inner or before)

    def with_other(self, other: Chain, function: Callable[[Tensor, Tensor], Tensor]) -> Chain:
        """A function of the same number in two forms, as in ``x * sigmoid(x)``."""
        if self.weight is not other.weight or self.bias is not other.bias or not self._same_row(other):
            raise NotAChain("a product of two different branches")
        f, g = self.function or (lambda z: z), other.function or (lambda z: z)
        return Chain(
            self.width, self.layers, self.weight, self.bias, lambda z: function(f(z), g(z)), self.inner or other.inner
        )

    def settled(self) -> Chain:
        """The same with its function named: an activation that ends a layer, or a linear one that joins its map."""
        if self.function is None:
            return self
        with torch.no_grad():
            values = self.function(_GRID)
        plain = Chain(self.width, self.layers, self.weight, self.bias)
        shift = self.function(torch.zeros(1, dtype=torch.float64))
        factor = self.function(torch.ones(1, dtype=torch.float64)) - shift
        if _close(values, factor * _GRID + shift):
            return plain.scaled(factor, shift)
        for name, activation in ACTIVATIONS.items():
            if name == "identity":
                continue
            if _close(values, activation(_GRID)):
                return plain._activated(name)
            if self.inner is not None and _close(values, activation(self.inner(_GRID))):
                shift = self.inner(torch.zeros(1, dtype=torch.float64))
                factor = self.inner(torch.ones(1, dtype=torch.float64)) - shift
                if _close(self.inner(_GRID), factor * _GRID + shift):
                    return plain.scaled(factor, shift)._activated(name)
        if _close(values, torch.sigmoid(_GRID)):  # (1 + tanh(z / 2)) / 2
            half = torch.tensor(0.5, dtype=torch.float64)
            end = plain.scaled(half, torch.zeros(())).each(torch.tanh)
            return end.settled().scaled(half, half)
        raise NotAChain("an activation that the fused core does not have")

    def _activated(self, name: str) -> Chain:
        if len(self.layers) == _LAYERS:
            raise NotAChain(f"more than {_LAYERS} layers")
        here = self._whole()
        return Chain(self.width, (*self.layers, (here.weight, here.bias, name)))

    # The end --------------------------------------------------------------------------------------------------

    def mlp(self, dtype: torch.dtype) -> MLP:
        """The network that maps the row in to this one."""
        end = self.settled()._whole()
        names = {name for _, _, name in end.layers} or {"identity"}
        if len(names) > 1:
            raise NotAChain(f"several activations ({', '.join(sorted(names))})")
        maps = [(w, b) for w, b, _ in end.layers] + [(end.weight, end.bias)]
        mlp = MLP([maps[0][0].shape[1], *(len(b) for _, b in maps)], names.pop()).to(dtype)
        with torch.no_grad():
            for layer, (w, b) in zip(mlp.layers, maps):
                layer.weight.copy_(w)
                layer.bias.copy_(b)
        return mlp

    def _whole(self) -> Chain:
        """The same with an identity where there is no linear map yet."""
        if self.weight is not None:
            return self
        eye, zero = torch.eye(self.width, dtype=torch.float64), torch.zeros(self.width, dtype=torch.float64)
        return Chain(self.width, self.layers, eye, zero, self.function)

    def _same_row(self, other: Chain) -> bool:
        mine, theirs = self.layers, other.layers
        return len(mine) == len(theirs) and all(a is b or a[0] is b[0] for a, b in zip(mine, theirs))


def _close(values: Tensor, expected: Tensor) -> bool:
    """To float32's precision: what exporters write of pi and square roots has no more digits."""
    return values.shape == expected.shape and bool(torch.allclose(values, expected, rtol=2e-6, atol=2e-6))
