"""A model on disk: ``model.safetensors`` (weights, never a pickle) and ``model.json`` (spec, scalers, metadata)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..data import Scalers
from ..errors import DataError, ModelError, RunFolderError
from ..io.files import file_hash, write_atomic, write_json
from ..io.reading import read_json, tensors_problem
from .mlp import MLP
from .spec import MLPSpec, build, parameter_count, parse_spec
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
    "write_model",
    "write_tensors",
]

_FORMAT = 1


@dataclass(frozen=True, eq=False)
class SavedModel:
    """The result of :func:`load_model`: the network in standardised space, and the scalers to and from it."""

    module: MLP
    spec: MLPSpec
    scalers: Scalers
    extra: dict[str, Any] = field(default_factory=dict)


def count_parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def save_model(
    folder: str | Path,
    module: MLP,
    scalers: Scalers,
    spec: str | MLPSpec | None = None,
    extra: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Write an MLP with its scalers; returns the two paths. ``extra`` is any JSON-able mapping."""
    spec = parse_spec(spec) if spec is not None else MLPSpec(tuple(module.widths[1:-1]), module.activation)
    card = {
        "kind": "mlp",
        "spec": str(spec),
        "d": module.widths[0],
        "o": module.widths[-1],
        "parameters": count_parameters(module),
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


def load_model(folder: str | Path) -> SavedModel:
    """Load an MLP that :func:`save_model` wrote.

    Raises
    ------
    RunFolderError
        The files are missing, corrupt, or belong to different writes.
    ModelError
        Keys or shapes do not fit the spec, or the folder holds a model of another kind.
    """
    card = read_card(folder)
    if card.get("kind") != "mlp":
        raise ModelError(f"the model in '{folder}' is of kind {card.get('kind')!r}, expected 'mlp'.")
    try:
        spec, d, o = parse_spec(card["spec"]), int(card["d"]), int(card["o"])
        scalers = Scalers.from_dict(card["scalers"])
        if not isinstance(card.get("extra") or {}, dict):
            raise ValueError("'extra' holds no fields")
    except (KeyError, TypeError, ValueError, DataError, ModelError) as error:
        raise RunFolderError(
            f"'{Path(folder) / 'model.json'}' is corrupt: {error}.", "Create the model again with --force."
        ) from None
    if (scalers.x.width, scalers.y.width) != (d, o):
        raise ModelError(
            f"the scalers in '{folder}' have {scalers.x.width} inputs and {scalers.y.width} outputs, its network {d} and {o}."
        )
    tensors = read_tensors(Path(folder) / "model.safetensors")
    there, needed = sum(t.numel() for t in tensors.values()), parameter_count(spec, d, o)
    if needed > max(2 * there, 1 << 20):  # before the network is made: the card may announce one of any size
        raise ModelError(
            f"the model in '{folder}' is {spec} with {d} inputs and {o} outputs, {needed:,} parameters; its weights are "
            f"{there:,}.",
            "Make the model again with --force.",
        )
    module = build(spec, d, o, seed=0)
    fill(module, tensors, f"'{folder}'")
    return SavedModel(module.eval(), spec, scalers, dict(card.get("extra") or {}))
