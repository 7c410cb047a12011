"""Network specs: ``mlp:64,64:tanh`` means two hidden layers of 64 with tanh and a linear output."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

import torch

from ..errors import ModelError
from .mlp import ACTIVATIONS, MLP

__all__ = ["MLPSpec", "build", "parse_spec"]

_FORM = "mlp:WIDTHS:ACTIVATION, such as mlp:64,64:tanh"
_WIDEST = 65536


@dataclass(frozen=True)
class MLPSpec:
    """Hidden widths and activation of an MLP; ``str()`` gives the spec back."""

    hidden: tuple[int, ...]
    activation: str

    def __str__(self) -> str:
        return f"mlp:{','.join(map(str, self.hidden))}:{self.activation}"


def parse_spec(text: str | MLPSpec) -> MLPSpec:
    """Read a spec; :class:`ModelError` for another kind, a bad width or an unknown activation."""
    if isinstance(text, MLPSpec):
        return text
    kind, *rest = str(text).strip().split(":")
    if kind != "mlp":
        raise ModelError(f"unknown network '{text}': its kind is '{kind}', expected mlp.", f"Write it as {_FORM}.")
    if len(rest) != 2:
        raise ModelError(
            f"network '{text}' has {len(rest)} parts after 'mlp', expected 2 (widths and activation).",
            f"Write it as {_FORM}.",
        )
    widths, activation = rest[0].split(","), rest[1].strip()
    for width in widths:
        if not (width.strip().isascii() and width.strip().isdigit() and 1 <= int(width) <= _WIDEST):
            raise ModelError(
                f"network '{text}' has the width '{width.strip()}', expected whole numbers from 1 to {_WIDEST}.",
                f"Write it as {_FORM}.",
            )
    if activation not in ACTIVATIONS:
        near = difflib.get_close_matches(activation, ACTIVATIONS, n=1)
        hint = f"Did you mean '{near[0]}'? " if near else ""
        raise ModelError(
            f"network '{text}' has the unknown activation '{activation}'.",
            f"{hint}Use one of: {', '.join(ACTIVATIONS)}.",
        )
    return MLPSpec(tuple(int(width) for width in widths), activation)


def build(spec: str | MLPSpec, d: int, o: int, seed: int) -> MLP:
    """Return a new network of d inputs and o outputs; the seed determines its initial weights."""
    spec = parse_spec(spec)
    generator = torch.Generator().manual_seed(seed)
    return MLP([d, *spec.hidden, o], spec.activation, generator=generator)
