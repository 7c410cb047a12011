"""Weights in files as people keep them: safetensors, state dicts, and checkpoints that hold one among other things."""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ModelError
from ..io.arrays import check_inflated
from ..io.limits import TABLE_BYTES
from ..io.reading import tensors_problem
from ..io.regular import file_problem

__all__ = ["Weights", "fill", "fit_names", "read_weights", "unpickled"]

# Where checkpoints keep the weights, the ones that are meant for inference first.
_KEYS = (
    "ema_state_dict", "model_ema", "ema", "ema_model", "shadow_params", "state_dict", "model_state_dict",
    "model_state", "model", "net", "network", "module", "weights", "params", "student", "teacher", "generator",
)  # fmt: skip
_PREFIXES = {
    "module.": "DistributedDataParallel or DataParallel",
    "_orig_mod.": "torch.compile",
    "model.": "a wrapping module such as Lightning's",
    "net.": "a wrapping module such as Lightning's",
    "network.": "a wrapping module",
    "backbone.": "a wrapping module",
    "ema_model.": "an exponential moving average",
}
_DEPTH = 4
_DENSE = "Save a dense state dict: {name: t.detach().cpu() for name, t in module.state_dict().items()}."


@dataclass
class Weights:
    """A state dict, what else was stored beside it, and how it was found.

    Attributes
    ----------
    tensors : dict of str to Tensor
    beside : dict
        Everything else of the checkpoint: scalers, hyperparameters.
    notes : list of str
        Which entry was taken.
    """

    tensors: dict[str, Tensor]
    beside: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def read_weights(path: str | Path, *, trust: bool = False) -> Weights:
    """Read a safetensors file, or a ``torch.save`` file with ``weights_only``; nothing in it is executed.

    In a checkpoint the one state dict is taken (``state_dict``, ``model``, ``model_state_dict``, ``ema`` and their
    like, nested too); prefixes that wrappers leave are removed later, by :func:`fit_names`.

    Parameters
    ----------
    path : path
    trust : bool
        Unpickle whatever it holds, which runs code of the file; a whole module's state dict is taken then.

    Raises
    ------
    ModelError
        No file, no readable one, or none that holds a state dict.
    """
    path = Path(path)
    if not path.exists():
        raise ModelError(
            f"no weights file '{path}'.", "Give a .safetensors file, or a .pt that torch.save wrote of a state dict."
        )
    problem = file_problem(path, TABLE_BYTES)
    if problem is not None:
        raise ModelError(f"the weights file '{path}' cannot be read: {problem}.", "Give a readable file.")
    found = (
        Weights(_safetensors(path))
        if path.suffix == ".safetensors"
        else _state_in(unpickled(path, trust=trust), str(path))
    )
    found.tensors = {name: _plain(name, tensor, path) for name, tensor in found.tensors.items()}
    return found


def _safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    problem = tensors_problem(path)
    try:
        if problem is None:
            return load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError, RuntimeError, AttributeError) as error:
        problem = _first_line(error)
    raise ModelError(
        f"'{path}' is not a readable safetensors file: {problem}.",
        "Save it again with safetensors.torch.save_file.",
    )


def unpickled(path: Path, *, trust: bool = False) -> Any:
    """What ``torch.save`` wrote; anything but plain data and tensors only with ``trust``."""
    problem = file_problem(path, TABLE_BYTES)
    if problem is not None:
        raise ModelError(f"'{path}' cannot be read: {problem}.", "Give a file that you may read.")
    kind = torch_archive(path)
    if kind is not None:
        raise ModelError(
            f"'{path}' is {kind}, which holds the whole network and not a state dict alone.",
            f"Give it as the teacher itself: --teacher-from {path}.",
        )
    try:
        with open(path, "rb") as stream:
            begin = stream.read(4)
        if not begin.startswith((b"PK", b"\x80")):  # the tar form of torch before 0.4 is not read
            raise ValueError(f"it begins with {begin!r}, expected a zip archive or a pickle of tensors")
        if begin.startswith(b"PK"):
            with zipfile.ZipFile(path) as archive:
                check_inflated(archive, path.stat().st_size)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds here; a refused pickle is among them
        first = _first_line(error)
        refused = "weights_only" in str(error) or "Unsupported global" in str(error)
        if refused and not trust:
            held = _refused_global(str(error))
            raise ModelError(
                f"'{path}' does not load with weights_only{held}: loading it would run code of the file.",
                "Save module.state_dict() best as .safetensors; or add --trust if you made that file yourself.",
            ) from None
        if not refused:
            raise ModelError(
                f"'{path}' is not a state dict that loads with weights_only: {first}",
                "Save module.state_dict(), not the module, best as .safetensors.",
            ) from None
    here = str(Path.cwd())
    if here not in sys.path:  # the classes of a pickled module are looked for in the current folder too
        sys.path.insert(0, here)
    try:
        return torch.load(path, map_location="cpu", weights_only=False)
    except Exception as error:  # whatever unpickling of foreign classes raises
        raise ModelError(
            f"unpickling '{path}' failed: {type(error).__name__}: {error}.",
            "Run it where its classes can be imported, or save module.state_dict().",
        ) from None


def torch_archive(path: Path) -> str | None:
    """``"a TorchScript program"`` or ``"a torch.export program"`` for such a file, else None."""
    if not zipfile.is_zipfile(path):
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.split("/", 1)[-1] for name in archive.namelist()[:4096]]
    except (OSError, zipfile.BadZipFile):
        return None
    if any(name.startswith("code/") for name in names) and "constants.pkl" in names:
        return "a TorchScript program"
    if any(name.endswith(("serialized_exported_program.json", "archive_format")) for name in names):
        return "a torch.export program"
    return None


def _plain(name: str, tensor: Tensor, path: Path) -> Tensor:
    """Return a dense tensor of a type that torch computes with."""
    kind = (
        "a meta tensor, which has a shape and no values"
        if tensor.is_meta
        else "a nested tensor"
        if tensor.is_nested
        else "a quantized tensor"
        if tensor.is_quantized
        else f"a sparse tensor ({tensor.layout})"
        if tensor.layout != torch.strided
        else None
    )
    if kind is not None:
        raise ModelError(f"'{name}' of '{path}' is {kind}, expected a dense tensor.", _DENSE)
    if tensor.is_floating_point() and tensor.element_size() == 1:
        try:
            return tensor.to(torch.float32)
        except (RuntimeError, NotImplementedError) as error:
            raise ModelError(
                f"'{name}' of '{path}' has the type {tensor.dtype}, which cannot be read: {_first_line(error)}.",
                "Save it as float32.",
            ) from None
    return tensor


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__


def _refused_global(message: str) -> str:
    """Which class the file asks for, out of torch's message."""
    for mark in ("GLOBAL ", "global "):
        if mark in message:
            name = message.split(mark, 1)[1].split()[0].strip("`'\",.")
            if name and name != "was":
                return f" (it holds a {name})"
    return ""


def _state_in(content: Any, where: str) -> Weights:
    if isinstance(content, nn.Module):
        return Weights(dict(content.state_dict()), {}, [f"the weights are those of the {type(content).__name__}"])
    found = [] if not isinstance(content, Mapping) else list(_state_dicts(content))
    if not found:
        kind = type(content).__name__
        keys = ", ".join(map(repr, list(content)[:6])) if isinstance(content, Mapping) else ""
        raise ModelError(
            f"'{where}' holds {kind}{f' with the keys {keys}' if keys else ''}, expected a state dict (names to tensors).",
            "Save module.state_dict().",
        )
    name, tensors = min(found, key=lambda one: _rank(one[0]))
    equal = [other for other, _ in found if _rank(other) == _rank(name)]
    if len(equal) > 1:
        raise ModelError(
            f"'{where}' holds several state dicts: {', '.join(map(repr, equal))}.", "Save the one that is meant alone."
        )
    beside = {key: value for key, value in content.items() if key != name.split(".")[0]} if name else {}
    beside |= {key: value for key, value in tensors.items() if not isinstance(value, Tensor)} if not name else {}
    notes = [] if not name else [f"the weights are those under '{name}' of the checkpoint"]
    others = [other for other, _ in found if other != name and other]
    notes = [f"{notes[0]} (it also has {', '.join(map(repr, others))})"] if notes and others else notes
    return Weights({str(key): t for key, t in tensors.items() if isinstance(t, Tensor)}, beside, notes)


def _state_dicts(content: Mapping, name: str = "", depth: int = 0):
    """Mappings that hold tensors under names of parameters, with their dotted place."""
    values = list(content.values())
    if values and all(isinstance(key, str) for key in content):
        tensors = sum(isinstance(v, Tensor) for v in values)
        dotted = any(isinstance(v, Tensor) and ("." in k or k in ("weight", "bias")) for k, v in content.items())
        if tensors and (tensors == len(values) or dotted):
            yield name, content
            return
    if depth < _DEPTH:
        for key, value in content.items():
            if isinstance(value, nn.Module):
                yield (f"{name}.{key}" if name else str(key)), value.state_dict()
            elif isinstance(value, Mapping) and not _of_optimizer(value, str(key)):
                yield from _state_dicts(value, f"{name}.{key}" if name else str(key), depth + 1)


def _of_optimizer(value: Mapping, key: str) -> bool:
    return "param_groups" in value or "optim" in key.lower() or "scheduler" in key.lower()


def _rank(name: str) -> int:
    """How surely an entry holds the weights for inference: the lower the surer."""
    if not name:
        return -1
    parts = name.lower().split(".")
    return min((_KEYS.index(part) for part in parts if part in _KEYS), default=len(_KEYS))


def fit_names(tensors: Mapping[str, Tensor], wanted: Mapping[str, Any]) -> tuple[dict[str, Tensor], list[str]]:
    """Rename tensors to the keys of a network by removing (or adding) the prefixes that wrappers leave.

    Returns
    -------
    tensors : dict
        Under the network's names where a prefix explains the difference, else as they are.
    notes : list of str
        Which prefix was removed, and what was left out (a counter of an averaged model).
    """
    tensors = dict(tensors)
    notes: list[str] = []
    for _ in range(_DEPTH):
        if set(tensors) == set(wanted):
            break
        counters = [k for k in tensors if k == "n_averaged" and k not in wanted]  # of torch.optim.swa_utils
        tensors = {k: t for k, t in tensors.items() if k not in counters}
        stripped = _without_prefix(tensors, wanted)
        if stripped is None:
            break
        tensors, prefix = stripped
        notes.append(f"the prefix '{prefix}' of the weights ({_PREFIXES.get(prefix, 'a wrapping module')}) is removed")
    missing = set(wanted) - set(tensors)
    if missing:
        first = {key.split(".")[0] for key in wanted}
        if len(first) == 1:
            prefix = f"{first.pop()}."
            longer = {prefix + key: t for key, t in tensors.items()}
            if set(wanted) <= set(longer):
                return longer, [*notes, f"the prefix '{prefix}' of the network is put before the names of the weights"]
    return tensors, notes


def _without_prefix(tensors: Mapping[str, Tensor], wanted: Mapping[str, Any]) -> tuple[dict[str, Tensor], str] | None:
    """The tensors without a prefix that brings more of their names among the wanted ones."""
    fitting = sum(key in wanted for key in tensors)
    heads = dict.fromkeys(f"{key.split('.')[0]}." for key in tensors if "." in key)
    for prefix in sorted(heads, key=lambda p: p not in _PREFIXES):
        inner = {key.removeprefix(prefix): t for key, t in tensors.items() if key.startswith(prefix)}
        rest = {key: t for key, t in tensors.items() if not key.startswith(prefix)}
        if prefix in _PREFIXES and not rest and not any(key.startswith(prefix) for key in wanted):
            return inner, prefix  # every name has it and none should
        if sum(key in wanted for key in inner) > fitting and set(wanted) <= set(inner):
            return inner, prefix  # the other entries belong to a loss, a metric or a second network
    # torch.compile of a part leaves its mark inside the names
    inside = {key.replace("_orig_mod.", ""): t for key, t in tensors.items()}
    return (inside, "_orig_mod.") if set(inside) != set(tensors) and "_orig_mod." not in "".join(wanted) else None


def fill(module: nn.Module, tensors: Mapping[str, Tensor], where: str) -> list[str]:
    """Load a state dict into a module; returns what was done to its names.

    Raises
    ------
    ModelError
        The first key or shape that differs, or a number that is not finite.
    """
    wanted = module.state_dict()
    tensors, notes = fit_names(tensors, wanted)
    remedy = "Give the weights of this architecture."
    missing, unknown = [k for k in wanted if k not in tensors], [k for k in tensors if k not in wanted]
    optional = [k for k in missing if k.endswith("num_batches_tracked")]  # older files lack it, and nothing reads it
    missing = [k for k in missing if k not in optional]
    scalers = [k for k in unknown if _statistic(k)]
    unknown = [k for k in unknown if k not in scalers]
    if missing or unknown:
        parts = [
            f"{len(keys)} keys {what} (first: '{keys[0]}')"
            for keys, what in ((missing, "missing"), (unknown, "unexpected"))
            if keys
        ]
        raise ModelError(
            f"the state dict of {where} and the network have different keys: {' and '.join(parts)}.", remedy
        )
    for key, tensor in wanted.items():
        if key in optional:
            continue
        given = tensors[key]
        if given.shape != tensor.shape:
            raise ModelError(
                f"'{key}' of {where} has shape {list(given.shape)}, expected {list(tensor.shape)}.", remedy
            )
        _require_values(key, given, where)
    module.load_state_dict({k: tensors.get(k, wanted[k]) for k in wanted})
    return notes


def _require_values(key: str, tensor: Tensor, where: str) -> None:
    if tensor.is_meta:
        raise ModelError(
            f"'{key}' of {where} is on the device 'meta': it has a shape and no values.",
            "Save the weights after they have been loaded.",
        )
    if tensor.is_floating_point() or tensor.is_complex():
        dense = tensor.to_dense() if tensor.layout != torch.strided else tensor
        dense = dense.float() if dense.element_size() == 1 else dense  # float8 has no isfinite
        if not torch.isfinite(dense).all():
            raise ModelError(
                f"'{key}' of {where} holds a number that is not finite.", "Give the weights of a finished training."
            )


def _statistic(key: str) -> bool:
    """Whether a key that the network lacks is a scaler's statistic, which is used elsewhere."""
    from .scaling import statistic_of

    return statistic_of(key) is not None
