"""A network as a chain of linear maps and activations, built up by feeding it a symbolic row instead of numbers.

Every operation on the row is one of two kinds: a linear map with a shift (linear layers, normalization in evaluation
mode, scaling, selection and concatenation of columns), kept as a matrix in float64; or a function of single numbers
(an activation, however it is written). The second kind is collected as one function and recognised by its values, so
that ``x * sigmoid(x)`` and GELU as an exporter writes it are found as well. Lines with kinks, such as a clamp or a
leaky ReLU of another slope, become ReLUs (:mod:`.piecewise`). Branches with
different layers are brought behind common ones (:mod:`.branches`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ..mlp import ACTIVATIONS, MLP
from .piecewise import FAR, Lines, lines_of

__all__ = ["SymbolicRow", "NeverAChain", "NotAChain", "same_layer"]

_LAYERS = 64  # beyond, no network that the core takes

# Where a function of one number is looked at: dense where activations bend, sparse as far out as kinks are looked for.
_DENSE = torch.linspace(-12, 12, 481, dtype=torch.float64)
_GRID = torch.cat([_DENSE, FAR, -FAR])


class NotAChain(Exception):
    """Neither a linear map nor a known activation; the message names it."""


class NeverAChain(NotAChain):
    """The same, whichever way the module is followed."""


@dataclass(frozen=True, eq=False)
class SymbolicRow:
    """A symbolic row [n, width] on its way through a network.

    Attributes
    ----------
    width, inputs : int
        Numbers of the row here, and of the row that came in.
    layers : tuple of (weight [m, k], bias [m], activation)
        What is finished; float64.
    weight, bias : Tensor [m, k], [m], or None
        The linear map since; None: nothing yet.
    function : callable or None
        What happens to each number after it.
    inner : callable or None
        What happens to it before the first function that bends, as the shift in ``relu(x + 1)``.
    otherwise : callable or None
        The same numbers computed in another way, for the case that ``function`` is not an activation.
    """

    width: int
    inputs: int
    layers: tuple[tuple[Tensor, Tensor, str], ...] = ()
    weight: Tensor | None = None
    bias: Tensor | None = None
    function: Callable[[Tensor], Tensor] | None = None
    inner: Callable[[Tensor], Tensor] | None = None
    otherwise: Callable[[], SymbolicRow] | None = None
    _settled: list[SymbolicRow] = field(
        default_factory=list, repr=False
    )  # computed once, so that branches share layers

    @classmethod
    def of_row(cls, width: int) -> SymbolicRow:
        """The row itself."""
        return cls(width, width)

    # Linear maps -----------------------------------------------------------------------------------------------

    def linear(self, weight: Tensor, bias: Tensor | None = None) -> SymbolicRow:
        """``x W^T + b``, weight [m, width]."""
        here = self.settled()
        weight = weight.detach().double()
        if weight.ndim != 2 or weight.shape[1] != here.width:
            raise NotAChain(f"a product with a matrix of shape {list(weight.shape)}")
        bias = torch.zeros(len(weight)).double() if bias is None else bias.detach().double().expand(len(weight))
        if here.weight is not None:
            weight, bias = weight @ here.weight, weight @ here.bias + bias
        return SymbolicRow(len(weight), here.inputs, here.layers, weight, bias)

    def scaled(self, factor: Tensor, shift: Tensor) -> SymbolicRow:
        """``x * factor + shift``, both [width] or scalars."""
        here = self.settled()
        factor, shift = (v.detach().double().expand(here.width) for v in (factor, shift))
        if here.weight is None:
            return replace(here, weight=torch.diag(factor), bias=shift.clone(), _settled=[])
        return replace(here, weight=factor[:, None] * here.weight, bias=factor * here.bias + shift, _settled=[])

    def columns(self, index: Tensor) -> SymbolicRow:
        """Some of the columns, in the order of ``index``."""
        return self.linear(torch.eye(self.width, dtype=torch.float64)[index])

    # Functions of single numbers --------------------------------------------------------------------------------

    def each(self, function: Callable[[Tensor], Tensor]) -> SymbolicRow:
        """A function of every number by itself."""
        before, other = self.function, self.otherwise
        whole = lambda z: function(z.clone() if before is None else before(z).clone())  # it may write into its input
        otherwise = None if other is None else lambda: other().each(function)
        return replace(self, function=whole, inner=self.inner or before, otherwise=otherwise, _settled=[])

    def with_other(
        self,
        other: SymbolicRow,
        function: Callable[[Tensor, Tensor], Tensor],
        otherwise: Callable[[], SymbolicRow] | None = None,
    ) -> SymbolicRow:
        """A function of the same number in two forms, as in ``x * sigmoid(x)``; ``otherwise`` computes it in another
        way, for a function that is not an activation."""
        if not self.same_numbers(other):
            raise NotAChain("a product of two different branches")
        f, g = self.function or (lambda z: z), other.function or (lambda z: z)
        inner = self.inner or other.inner
        whole = lambda z: function(f(z), g(z))
        return replace(self, function=whole, inner=inner, otherwise=otherwise, _settled=[])

    def same_numbers(self, other: SymbolicRow) -> bool:
        """Whether both are functions of the same linear map."""
        a, b = self.whole(), other.whole()
        same = a.width == b.width and len(a.layers) == len(b.layers) and all(map(same_layer, a.layers, b.layers))
        return same and torch.equal(a.weight, b.weight) and torch.equal(a.bias, b.bias)

    def settled(self) -> SymbolicRow:
        """The same with its function named: an activation that ends a layer, or a linear one that joins its map."""
        if self.function is None:
            return self
        if not self._settled:
            self._settled.append(self._named())
        return self._settled[0]

    def _named(self) -> SymbolicRow:
        with torch.no_grad():
            values = self.function(_GRID)
        plain = SymbolicRow(self.width, self.inputs, self.layers, self.weight, self.bias)
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
        half = torch.tensor(0.5, dtype=torch.float64)
        for name, activation in ACTIVATIONS.items():
            factor, shift = _fitted(values, activation(_GRID))
            if name != "identity" and _close(values, factor * activation(_GRID) + shift):
                return plain._activated(name).scaled(factor, shift)
        factor, shift = _fitted(values, torch.sigmoid(_GRID))  # (1 + tanh(z / 2)) / 2
        if _close(values, factor * torch.sigmoid(_GRID) + shift):
            end = plain.scaled(half, torch.zeros(())).each(torch.tanh).settled()
            return end.scaled(half * factor, half * factor + shift)
        lines = lines_of(self.function)
        if lines is not None:
            return plain.kinked([lines] * self.width)
        if self.otherwise is not None:
            return self.otherwise().settled()
        raise NotAChain("an activation that the fused core does not have")

    def kinked(self, lines: Sequence[Lines]) -> SymbolicRow:
        """Lines with kinks, one function per column, as ReLUs."""
        here = self.settled()
        known = {k: f.units() for k, f in {id(f): f for f in lines}.items()}  # often one function for all columns
        units = [(j, *unit) for j, f in enumerate(lines) for unit in known[id(f)][1]]
        column = torch.tensor([unit[0] for unit in units])
        sign, offset, step = torch.tensor([unit[1:] for unit in units], dtype=torch.float64).T
        weight = torch.zeros(len(units), here.width, dtype=torch.float64)
        back = torch.zeros(here.width, len(units), dtype=torch.float64)
        weight[range(len(units)), column] = sign
        back[column, range(len(units))] = step
        ends = torch.tensor([known[id(f)][0] for f in lines], dtype=torch.float64)
        return here.linear(weight, offset)._activated("relu").linear(back, ends)

    def _activated(self, name: str) -> SymbolicRow:
        if len(self.layers) == _LAYERS:
            raise NotAChain(f"more than {_LAYERS} layers")
        here = self.whole()
        return SymbolicRow(self.width, self.inputs, (*self.layers, (here.weight, here.bias, name)))

    # The end --------------------------------------------------------------------------------------------------

    def mlp(self, dtype: torch.dtype) -> MLP:
        """The network that maps the row in to this one."""
        end = self.settled().whole()
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

    def whole(self) -> SymbolicRow:
        """The same with an identity where there is no linear map yet."""
        if self.weight is not None:
            return self
        eye, zero = torch.eye(self.width, dtype=torch.float64), torch.zeros(self.width, dtype=torch.float64)
        return replace(self, weight=eye, bias=zero, _settled=[])


def same_layer(a: tuple[Tensor, Tensor, str], b: tuple[Tensor, Tensor, str]) -> bool:
    """Whether two layers compute the same, as where a module is called twice."""
    return a is b or (a[2] == b[2] and torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]))


def _fitted(values: Tensor, of: Tensor) -> tuple[Tensor, Tensor]:
    """Factor and shift of ``of`` that are nearest to the values where the grid is dense, as in ``2 tanh(z) + 1``."""
    y, z = (v[: len(_DENSE)] for v in (values, of))
    away = z - z.mean()
    factor = (away * (y - y.mean())).sum() / away.square().sum()
    shift = y.mean() - factor * z.mean()
    return factor, shift if abs(shift) > 1e-12 * y.abs().max() else torch.zeros_like(shift)  # none but rounding


def _close(values: Tensor, expected: Tensor) -> bool:
    """To float32's precision: what exporters write of pi and square roots has no more digits. Per size of the values,
    since an answer in farad or metres may be tiny."""
    if values.shape != expected.shape or not torch.isfinite(values).all():
        return False
    size = min(1.0, float(values[: len(_DENSE)].abs().max()))
    return bool(torch.allclose(values, expected, rtol=2e-6, atol=2e-6 * size))
