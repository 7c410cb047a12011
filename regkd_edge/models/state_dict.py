"""State dicts as people keep them: among other things in a checkpoint, and behind the prefixes of wrappers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ModelError

__all__ = ["FoundWeights", "fill", "fit_names", "state_in"]

# Where checkpoints keep the weights, the ones that are meant for inference first.
_KEYS = (
    "ema_state_dict", "state_dict_ema", "model_ema", "ema", "ema_model", "shadow_params", "state_dict",
    "model_state_dict",
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
    "_fsdp_wrapped_module.": "FullyShardedDataParallel",
    "_checkpoint_wrapped_module.": "activation checkpointing",
    "_forward_module.": "DeepSpeed or Fabric",
}
_MARKS = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.", "_forward_module.")
_DEPTH = 4


@dataclass
class FoundWeights:
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


def state_in(content: Any, where: str) -> FoundWeights:
    """Return the one state dict that what ``torch.save`` wrote holds; :class:`ModelError` for none or several."""
    if isinstance(content, nn.Module):
        return FoundWeights(dict(content.state_dict()), {}, [f"the weights are those of the {type(content).__name__}"])
    found = [] if not isinstance(content, Mapping) else list(_state_dicts(content))
    if not found:
        kind = type(content).__name__
        keys = ", ".join(map(repr, list(content)[:6])) if isinstance(content, Mapping) else ""
        raise ModelError(
            f"'{where}' holds {kind}{f' with the keys {keys}' if keys else ''}, expected a "
            "state dict (names to tensors).",
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
    return FoundWeights({str(key): t for key, t in tensors.items() if isinstance(t, Tensor)}, beside, notes)


def _state_dicts(content: Mapping, name: str = "", depth: int = 0) -> Iterator[tuple[str, Mapping]]:
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
    for mark in _MARKS:  # wrappers of parts leave their mark inside the names
        inside = {key.replace(mark, ""): t for key, t in tensors.items()}
        if set(inside) != set(tensors) and mark not in "".join(wanted):
            return inside, mark
    return None


def fill(module: nn.Module, tensors: Mapping[str, Tensor], where: str) -> list[str]:
    """Load a state dict into a module; returns what was done to its names.

    Raises
    ------
    ModelError
        The first key or shape that differs, or a number that is not finite.
    """
    wanted = module.state_dict()
    tensors, notes = fit_names(tensors, wanted)
    tensors = _with_tied(tensors, wanted)
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
        _require_numbers(key, given, tensor.dtype, where)
    try:
        module.load_state_dict({k: tensors.get(k, wanted[k]) for k in wanted})
    except RuntimeError as error:  # a type that the module cannot take
        raise ModelError(f"the state dict of {where} cannot be loaded: {str(error).splitlines()[0]}.", remedy) from None
    return notes


def _with_tied(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors, with those that the network has under a second name: safetensors stores tied weights once."""
    where = lambda t: (t.data_ptr(), t.shape, t.stride()) if t.numel() and not t.is_meta else None
    stored = {where(wanted[key]): t for key, t in tensors.items() if key in wanted}
    return {**{key: stored[where(t)] for key, t in wanted.items() if where(t) and where(t) in stored}, **tensors}


def _require_numbers(key: str, tensor: Tensor, kind: torch.dtype, where: str) -> None:
    """Refuse anything but finite numbers of the ``kind`` that the network has: codes of a quantized weight, 1e300."""
    if kind.is_floating_point and not tensor.is_floating_point():
        raise ModelError(
            f"'{key}' of {where} has the type {_name(tensor.dtype)}, and the network has {_name(kind)} there: whole "
            "numbers may be codes whose scale is missing.",
            "Save the weights of the network before it was quantized, or as floating-point numbers.",
        )
    if tensor.is_floating_point() and not torch.isfinite(tensor).all():
        raise ModelError(
            f"'{key}' of {where} holds a number that is not finite.", "Give the weights of a finished training."
        )
    if tensor.is_floating_point() and kind.is_floating_point and not torch.isfinite(tensor.to(kind)).all():
        raise ModelError(
            f"'{key}' of {where} holds {float(tensor.abs().max()):.3g}, beyond the range of {_name(kind)}, which the "
            "network has there.",
            "Give the weights of this network, or a network of another type.",
        )


def _name(kind: torch.dtype) -> str:
    return str(kind).removeprefix("torch.")


def _statistic(key: str) -> bool:
    """Whether a key that the network lacks is a scaler's statistic, which is used elsewhere."""
    from .scaling import statistic_of

    return statistic_of(key) is not None
