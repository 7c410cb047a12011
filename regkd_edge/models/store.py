"""A model on disk: ``model.safetensors`` (weights, never a pickle) and ``model.json`` (spec, scalers, metadata)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..data import Scalers
from ..errors import DataError, ModelError, RunFolderError
from ..io.files import file_hash, write_atomic, write_json
from ..io.reading import read_json, tensors_problem
from .families import FAMILIES
from .mlp import MLP
from .spec import MLPSpec, Spec, build, parameter_count, parse_spec, shape_for
from .state_dict import fill
from .weights import read_tensors

__all__ = [
    "SavedModel",
    "count_parameters",
    "fill",
    "load_model",
    "read_card",
    "read_tensors",
    "save_model",
    "shape_of_rows",
    "write_model",
    "write_tensors",
]

_FORMAT = 1


@dataclass(frozen=True, eq=False)
class SavedModel:
    """The result of :func:`load_model`: the network in standardised space, and the scalers to and from it."""

    module: nn.Module
    spec: Spec
    scalers: Scalers
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def input_shape(self) -> tuple[int, ...] | None:
        """Shape of a row that is an image or a signal, or None."""
        return shape_of_rows(self.module)


def count_parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def shape_of_rows(module: nn.Module) -> tuple[int, ...] | None:
    """Return the shape of a row that a student's network reads as an image or a signal, or None."""
    shape = getattr(module, "shape", None)
    return tuple(shape) if isinstance(shape, tuple) and len(shape) > 1 else None


def save_model(
    folder: str | Path,
    module: nn.Module,
    scalers: Scalers,
    spec: str | Spec | None = None,
    extra: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Write a student's network with its scalers; returns the two paths. ``extra`` is any JSON-able mapping."""
    if spec is None:
        spec = MLPSpec(tuple(module.widths[1:-1]), module.activation) if isinstance(module, MLP) else module.spec
    spec, shape = parse_spec(spec), shape_of_rows(module)
    card = {
        "kind": spec.family,
        "spec": str(spec),
        "d": scalers.x.width,
        "o": scalers.y.width,
        "parameters": count_parameters(module),
        **({"input_shape": list(shape)} if shape is not None else {}),
    }
    return write_model(folder, module.state_dict(), {**card, "scalers": scalers.to_dict(), "extra": dict(extra or {})})


def write_model(folder: str | Path, tensors: Mapping[str, Tensor], card: Mapping[str, Any]) -> list[Path]:
    """Write tensors, then model.json with their hash, so that files from two different writes do not load."""
    weights, description = Path(folder) / "model.safetensors", Path(folder) / "model.json"
    write_tensors(weights, tensors)
    write_json(description, {"format": _FORMAT, **card, "weights_sha256": file_hash(weights)})
    return [weights, description]


def write_tensors(path: str | Path, tensors: Mapping[str, Tensor], header: Mapping[str, str] | None = None) -> None:
    """Write a safetensors file atomically; a full disk is a :class:`RunFolderError`."""

    from safetensors import SafetensorError
    from safetensors.torch import save_file

    with write_atomic(path) as temporary:
        try:
            save_file(
                {key: t.detach().cpu().contiguous().clone() for key, t in tensors.items()},
                temporary,
                metadata=None if header is None else dict(header),
            )
        except SafetensorError as error:  # the library wraps errors of the operating system
            raise OSError(str(error)) from error


def read_card(folder: str | Path) -> dict[str, Any]:
    """Return model.json, checked against its weights; a missing, corrupt or partial pair is a RunFolderError."""
    path, weights = Path(folder) / "model.json", Path(folder) / "model.safetensors"
    remedy = f"Create the model in '{folder}' again: repeat the command that wrote it with --force."
    try:
        card = read_json(path, remedy)
    except FileNotFoundError:
        raise RunFolderError(
            f"no model in '{folder}': '{path.name}' is missing.", "Train or distil it first."
        ) from None
    if not isinstance(card, dict) or card.get("format") != _FORMAT:
        met = card.get("format") if isinstance(card, dict) else None
        raise RunFolderError(f"'{path}' has format {met!r}, expected {_FORMAT}.", remedy)
    if not weights.is_file():
        raise RunFolderError(f"'{weights}' is missing.", remedy)
    if file_hash(weights) != card.get("weights_sha256"):
        problem = tensors_problem(weights) or "a different hash"
        raise RunFolderError(f"'{weights}' is not the file that '{path.name}' describes: {problem}.", remedy)
    return card


def load_model(folder: str | Path, *, factory: str | None = None) -> SavedModel:
    """Load a network that :func:`save_model` wrote.

    Parameters
    ----------
    factory : str, optional
        The spec ``factory:...`` of a student of the user's own: code is run only where it is named here too.

    Raises
    ------
    RunFolderError
        The files are missing, corrupt, or belong to different writes.
    ModelError
        Keys or shapes do not fit the spec, or the folder holds a model of another kind.
    """
    card = read_card(folder)
    if not isinstance(card.get("kind"), str) or card["kind"] not in FAMILIES:
        raise ModelError(
            f"the model in '{folder}' is of kind {card.get('kind')!r}, expected one of: {', '.join(FAMILIES)}."
        )
    try:
        if not isinstance(card["spec"], str):
            raise TypeError(f"'spec' is {card['spec']!r}, expected a text")
        spec, d, o = parse_spec(card["spec"]), int(card["d"]), int(card["o"])
        shape = tuple(int(n) for n in card["input_shape"]) if card.get("input_shape") else None
        if shape is not None and (min(shape) < 1 or math.prod(shape) != d):
            raise ValueError(f"'input_shape' {list(shape)} does not hold {d} inputs")
        shape_for(spec, d, shape)
        scalers = Scalers.from_dict(card["scalers"])
        if not isinstance(card.get("extra") or {}, dict):
            raise ValueError("'extra' holds no fields")
    except (KeyError, TypeError, ValueError, DataError, ModelError) as error:
        raise RunFolderError(
            f"'{Path(folder) / 'model.json'}' is corrupt: {error}.", "Create the model again with --force."
        ) from None
    if (scalers.x.width, scalers.y.width) != (d, o):
        raise ModelError(
            f"the scalers in '{folder}' have {scalers.x.width} inputs and {scalers.y.width} "
            f"outputs, its network {d} and {o}."
        )
    tensors = read_tensors(Path(folder) / "model.safetensors")
    if spec.family == "factory" and str(spec) != factory:
        raise ModelError(
            f"the model in '{folder}' needs the factory of '{spec}', which was not named.",
            f"Name it: --student {spec} (factory='{spec}' in Python).",
        )
    there, needed = sum(t.numel() for t in tensors.values()), parameter_count(spec, d, o, shape)
    if needed > max(2 * there, 1 << 20):  # before the network is made: the card may announce one of any size
        raise ModelError(
            f"the model in '{folder}' is {spec} with {d} inputs and {o} outputs, {needed:,} "
            f"parameters; its weights are {there:,}.",
            "Make the model again with --force.",
        )
    module = build(spec, d, o, seed=0, shape=shape)
    fill(module, tensors, f"'{folder}'")
    return SavedModel(module.eval(), spec, scalers, dict(card.get("extra") or {}))
