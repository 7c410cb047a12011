"""Network specs: ``mlp:64,64:tanh`` means two hidden layers of 64 with tanh and a linear output."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

import torch

from ..errors import ModelError
from ..io.memory import require_memory
from .mlp import ACTIVATIONS, MLP

__all__ = ["TRAINING", "MLPSpec", "build", "parameter_count", "parse_spec"]

_FORM = "mlp:WIDTHS:ACTIVATION, such as mlp:64,64:tanh"
_WIDEST = 65536
#: Values per parameter while it is trained: weight, gradient, two moments of the optimizer, the best weights so far.
TRAINING = 5


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
        if not (width.strip().isascii() and width.strip().isdigit() and len(width) < 10 and 1 <= int(width) <= _WIDEST):
            raise ModelError(
                f"network '{text}' has the width '{width.strip()[:20]}', expected whole numbers from 1 to {_WIDEST}.",
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


def parameter_count(spec: MLPSpec, d: int, o: int) -> int:
    """Return the number of weights and biases of a network of d inputs and o outputs; nothing is allocated."""
    widths = [d, *spec.hidden, o]
    return sum((m + 1) * n for m, n in zip(widths[:-1], widths[1:]))


def build(spec: str | MLPSpec, d: int, o: int, seed: int, *, copies: int = 1) -> MLP:
    """Return a fresh network of d inputs and o outputs; its initial weights are fixed by the seed.

    ``copies``: how many float32 values per parameter the caller is going to hold (:data:`TRAINING`: while it trains).

    Raises
    ------
    ModelError
        The memory that is available does not hold them; nothing was allocated.
    """
    spec = parse_spec(spec)
    parameters = parameter_count(spec, d, o)
    require_memory(
        4 * parameters * copies,
        f"{'training' if copies > 1 else 'loading'} {spec} with {d} inputs and {o} outputs ({parameters:,} parameters)",
        "Choose smaller widths, or a machine with more memory.",
        ModelError,
    )
    generator = torch.Generator().manual_seed(seed)
    return MLP([d, *spec.hidden, o], spec.activation, generator=generator)
