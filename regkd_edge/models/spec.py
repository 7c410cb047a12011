"""Network specs: ``mlp:64,64:tanh``, ``conv2d:8x3,16d3/2:relu``, ``gru:32``; see :mod:`.families` for their forms."""

from __future__ import annotations

import difflib
import math

import torch
from torch import nn

from ..data import Places
from ..errors import ModelError
from ..io.memory import require_memory
from .families import FAMILIES, Cost, Family, MLPSpec, Spec
from .families.nearest import nearest_spec

__all__ = [
    "TRAINING",
    "MLPSpec",
    "Spec",
    "build",
    "cost_of",
    "family_of",
    "parameter_count",
    "parse_spec",
    "places_for",
    "shape_for",
]

#: Values per parameter while it is trained: weight, gradient, two moments of the optimizer, the best weights so far.
TRAINING = 5
_BATCH = 64  # rows whose activations a step keeps, as far as memory is concerned


def parse_spec(text: str | Spec) -> Spec:
    """Read a spec; :class:`ModelError` for another kind, a bad width or an unknown activation."""
    if not isinstance(text, str):
        return text
    text = text.strip()
    kind = text.partition(":")[0].strip()
    if kind in FAMILIES:
        try:
            return FAMILIES[kind].parse(text)
        except ModelError as error:
            raise ModelError(error.cause, f"{_hint(text)}{error.remedy}") from None
    near = difflib.get_close_matches(kind, FAMILIES, n=1)
    hint = _hint(text) or (f"Did you mean '{near[0]}'? " if near else "")
    forms = "; ".join(family.form for family in FAMILIES.values())
    raise ModelError(
        f"unknown network '{text}': its kind is '{kind}', expected {', '.join(FAMILIES)}.",
        f"{hint}Write it as {forms}.",
    )


def _hint(text: str) -> str:
    """The nearest spec that can be read, as a question."""
    near = nearest_spec(text, list(FAMILIES))
    if near is None:
        return ""
    try:
        FAMILIES[near.partition(":")[0]].parse(near)
    except ModelError:
        return ""
    return f"Did you mean '{near}'? "


def family_of(spec: str | Spec) -> Family:
    """Return the family of a spec."""
    return FAMILIES[parse_spec(spec).family]


def shape_for(spec: str | Spec, d: int, shape: tuple[int, ...] | None = None) -> tuple[int, ...]:
    """Return the shape in which the network of a spec reads rows of d numbers.

    Parameters
    ----------
    shape : tuple of int, optional
        The declared shape of a row.

    Raises
    ------
    ModelError
        It cannot read such rows.
    """
    return family_of(spec).shape(parse_spec(spec), shape, d)


def places_for(spec: str | Spec, d: int, shape: tuple[int, ...] | None = None) -> Places | None:
    """Return how a row of d numbers lies for the network of a spec; None where every column is one of its own.

    Raises
    ------
    ModelError
        It cannot read such rows.
    """
    own = shape_for(spec, d, shape)
    axis = family_of(spec).channel_axis(parse_spec(spec))
    return None if axis is None else Places(own, axis)


def cost_of(spec: str | Spec, d: int, o: int, shape: tuple[int, ...] | None = None) -> Cost:
    """Return parameters, multiply-adds and peak memory of a network; nothing is allocated."""
    return family_of(spec).cost(parse_spec(spec), shape_for(spec, d, shape), o)


def parameter_count(spec: str | Spec, d: int, o: int, shape: tuple[int, ...] | None = None) -> int:
    """Return the number of weights and biases of a network of d inputs and o outputs; nothing is allocated."""
    return cost_of(spec, d, o, shape).parameters


def build(
    spec: str | Spec, d: int, o: int, seed: int, *, copies: int = 1, shape: tuple[int, ...] | None = None
) -> nn.Module:
    """Return a fresh network of d inputs and o outputs; its initial weights are fixed by the seed.

    It takes rows flat, [n, d], whatever its family.

    Parameters
    ----------
    copies : int
        How many float32 values per parameter the caller is going to hold (:data:`TRAINING`: while it trains).
    shape : tuple of int, optional
        The declared shape of a row.

    Raises
    ------
    ModelError
        The memory that is available does not hold them (nothing was allocated), or the rows do not fit the network.
    """
    spec = parse_spec(spec)
    rows = shape_for(spec, d, shape)
    cost = FAMILIES[spec.family].cost(spec, rows, o)
    kept = _BATCH * cost.activations if copies > 1 and spec.family != "mlp" else 0
    said = f"{math.prod(rows)} inputs and {o} outputs ({cost.parameters:,} parameters)"
    require_memory(
        4 * (cost.parameters * copies + kept),
        f"{'training' if copies > 1 else 'loading'} {spec} with {said}",
        "Choose smaller widths, or a machine with more memory.",
        ModelError,
    )
    return FAMILIES[spec.family].build(spec, rows, o, torch.Generator().manual_seed(seed))
