"""The scaler that a teacher on standardized values was trained with, wherever its maker kept it.

Known forms: mean and scale of inputs and targets under the names that people give them (``x_mean``, ``X_SCALE``,
``input_std``, ``target_mean``, ``mean_``/``scale_`` of scikit-learn's StandardScaler, ``min``/``max`` ranges), in a
mapping, an object, a module's buffers, a state dict, a JSON or NPZ file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from ..data import Scaler, Scalers
from ..errors import ModelError
from ..io.arrays import read_npz
from ..io.limits import TABLE_BYTES
from ..io.reading import read_json
from ..io.regular import file_problem

__all__ = ["find_scalers", "read_scalers", "scalers_in", "statistic_of"]

_SIDES = {
    "x": ("x", "in", "input", "inputs", "feature", "features", "feat", "xs", "src"),
    "y": ("y", "out", "output", "outputs", "target", "targets", "label", "labels", "ys", "tgt",
          "denorm", "denormalizer", "unnorm", "unnormalizer", "unscaler", "destandardizer"),
}  # fmt: skip
_MEANS = ("mean", "means", "mu", "avg", "loc", "center", "centre", "offset", "shift")
_SCALES = ("scale", "std", "stds", "sd", "sigma", "stdev", "stddev", "deviation")
_VARIANCES = ("var", "variance")
_LOWS, _HIGHS = ("data_min",), ("data_max",)
_NOISE = ("scaler", "scalers", "standardscaler", "norm", "normalizer", "normalization", "stats", "statistics", "buffer",
          "train", "preprocessor", "standardizer", "transform")  # fmt: skip


def statistic_of(name: str) -> tuple[str | None, str] | None:
    """``(side, statistic)`` that a name stands for: ``x_mean`` is ``("x", "mean")``, ``mean_`` is ``(None, "mean")``.

    None for a name that is none, such as the running statistics of a batch normalization.
    """
    spaced = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", str(name))
    words = [word for word in re.split(r"[^a-zA-Z0-9]+", spaced.lower()) if word]
    if "running" in words or not words:
        return None
    kinds = {"mean": _MEANS, "scale": _SCALES, "var": _VARIANCES}
    sides, kind = set(), None
    for word in words:
        glued = re.fullmatch(r"(x|y)(mean|mu|std|scale|sigma|sd|var)", word)
        for part in glued.groups() if glued else (word,):
            side = next((s for s, names in _SIDES.items() if part in names), None)
            statistic = next((k for k, names in kinds.items() if part in names), None)
            if side is not None:
                sides.add(side)
            elif statistic is not None and kind in (None, statistic):
                kind = statistic
            elif part not in _NOISE and not part.isdigit():
                return None
    if kind is None or len(sides) > 1:
        return None
    return (sides.pop() if sides else None), kind


def scalers_in(content: Any, d: int, o: int) -> Scalers | None:
    """The scalers of d inputs and o targets that a mapping, module, scaler, pair of scalers or namespace holds.

    Without targets' statistics the targets are taken as they are; None where the inputs have none.
    """
    if isinstance(content, Scalers):
        return content if (content.x.width, content.y.width) == (d, o) else None
    if isinstance(content, (tuple, list)) and 1 <= len(content) <= 2 and not _number(content[0]):
        parts = [_scaler(part, width) for part, width in zip(content, (d, o))]
        return None if parts[0] is None else Scalers(parts[0], parts[1] if len(parts) > 1 and parts[1] else _plain(o))
    found: dict[tuple[str | None, str], np.ndarray] = {}
    nested: dict[str, Scaler] = {}
    for key, value in _items(content):
        statistic = statistic_of(key)
        vector = _vector(value)
        if statistic is not None and vector is not None:
            found.setdefault(statistic, vector)
            continue
        words = re.split(r"[^a-z0-9]+", str(key).lower())
        side = next((s for s, names in _SIDES.items() if any(w in names for w in words)), None)
        named = any(word in _NOISE for word in words)
        if side is None and not named:
            continue
        for where, width in (("x", d), ("y", o)):
            if side in (None, where):
                one = _scaler(value, width)
                if one is not None:
                    nested.setdefault(where, one)
                    break
    x = nested.get("x") or _made(found, "x", d) or _made(found, None, d)
    y = nested.get("y") or _made(found, "y", o)
    return None if x is None else Scalers(x, y or _plain(o))


def _plain(o: int) -> Scaler:
    return Scaler(np.zeros(o), np.ones(o))


def _made(found: Mapping[tuple[str | None, str], np.ndarray], side: str | None, width: int) -> Scaler | None:
    mean, scale = found.get((side, "mean")), found.get((side, "scale"))
    if scale is None and (side, "var") in found:
        scale = np.sqrt(found[side, "var"])
    if mean is None or scale is None:
        return None
    return _checked(mean, scale, width)


def _checked(mean: np.ndarray, scale: np.ndarray, width: int) -> Scaler | None:
    if not all(v.size in (1, width) for v in (mean, scale)) or (width > 1 and mean.size == scale.size == 1):
        return None
    mean, scale = (np.broadcast_to(v, width) for v in (mean, scale))
    if not (np.isfinite(mean).all() and np.isfinite(scale).all() and (scale >= 0).all()):
        return None
    return Scaler(mean, np.where(scale > 0, scale, 1.0))


def _scaler(value: Any, width: int) -> Scaler | None:
    """One side: a scaler object of scikit-learn (Standard, MinMax, MaxAbs, Robust), a mapping of two statistics."""
    if isinstance(value, Scaler):
        return value if value.width == width else None
    if isinstance(value, Mapping) and {"mean_", "scale_", "min_", "center_"} & set(
        value
    ):  # its attributes, kept by hand
        known = ("mean_", "scale_", "min_", "center_")
        value = SimpleNamespace(**{key: np.asarray(value[key]) for key in known if value.get(key) is not None})
    if hasattr(value, "min_") and hasattr(value, "scale_"):  # MinMaxScaler: x * scale_ + min_
        scale = np.asarray(value.scale_, dtype=np.float64)
        return _checked(-np.asarray(value.min_, dtype=np.float64) / scale, 1 / scale, width)
    if hasattr(value, "center_"):  # RobustScaler
        center, scale = getattr(value, "center_", None), getattr(value, "scale_", None)
        center, scale = (np.zeros(width) if center is None else center), (np.ones(width) if scale is None else scale)
        return _checked(np.asarray(center, dtype=np.float64), np.asarray(scale, dtype=np.float64), width)
    if hasattr(value, "mean_") or hasattr(value, "scale_"):  # StandardScaler, with_mean or with_std False leave None
        mean = getattr(value, "mean_", None) if getattr(value, "with_mean", True) else None  # it is learnt all the same
        scale = getattr(value, "scale_", None)
        mean, scale = (np.zeros(width) if mean is None else mean), (np.ones(width) if scale is None else scale)
        return _checked(np.asarray(mean, dtype=np.float64), np.asarray(scale, dtype=np.float64), width)
    found = {}
    for key, part in _items(value):
        statistic, vector = statistic_of(key), _vector(part)
        if statistic is not None and vector is not None:
            found[None, statistic[1]] = vector
    return _made(found, None, width)


def _items(content: Any) -> list[tuple[str, Any]]:
    from torch import nn

    if isinstance(content, Mapping):
        return [(str(key), value) for key, value in content.items()]
    if isinstance(content, nn.Module):
        own = [(key, value) for key, value in vars(content).items() if not key.startswith("_")]
        return [
            *((name.rpartition(".")[2], b) for name, b in (*content.named_buffers(), *content.named_parameters())),
            *own,
        ]
    if hasattr(content, "_fields"):
        return list(zip(content._fields, content))
    return (
        [(key, value) for key, value in vars(content).items() if not key.startswith("__")]
        if hasattr(content, "__dict__")
        else []
    )


def _number(value: Any) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)


def _vector(value: Any) -> np.ndarray | None:  # [k]
    import torch

    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().double().numpy()
    numbers = _number(value) or isinstance(value, np.ndarray)
    if not numbers and not (isinstance(value, Sequence) and not isinstance(value, str) and all(map(_number, value))):
        return None
    array = np.asarray(value)
    return array.astype(np.float64).reshape(-1) if array.size and np.issubdtype(array.dtype, np.number) else None


def read_scalers(path: str | Path, d: int, o: int, *, trust: bool = False) -> Scalers:
    """The scalers in a file.

    Parameters
    ----------
    path : path
        ``.json`` (objects ``x`` and ``y`` with ``mean`` and ``scale``, or ``x_mean``, ``x_scale``, ``y_mean``,
        ``y_scale``, or ``mean_`` and ``scale_`` for the inputs alone), ``.npz`` with such names, ``.safetensors`` or
        ``.pt`` with such tensors, ``.skops``, a run's ``model.json``; a pickled scaler only with ``trust``.
    d, o : int
        Numbers of inputs and targets.

    Raises
    ------
    ModelError
        No file, or nothing in it that is a scaler of d inputs.
    """
    path = Path(path)
    forms = "Keep x_mean, x_scale, y_mean and y_scale in a JSON or NPZ file, in the order of the columns."
    if not path.exists():
        raise ModelError(f"no scaler file '{path}'.", forms)
    problem = file_problem(path, TABLE_BYTES)
    if problem is not None:
        raise ModelError(f"the scaler file '{path}' cannot be read: {problem}.", forms)
    content = _content(path, trust, forms)
    if isinstance(content, Mapping) and isinstance(content.get("scalers"), Mapping):
        content = content["scalers"]
    found = scalers_in(content, d, o)
    if found is None:
        names = ", ".join(repr(key) for key, _ in _items(content)[:8])
        raise ModelError(f"'{path}' holds no scaler of {d} inputs" + (f" (it holds {names})." if names else "."), forms)
    return found


def _content(path: Path, trust: bool, forms: str) -> Any:
    suffix = path.suffix.lower()
    if suffix == ".json":
        return read_json(path, forms)
    if suffix == ".npz":
        return read_npz(path, kind=ModelError, remedy=forms)
    if suffix == ".safetensors":
        from .weights import read_weights

        return read_weights(path).tensors
    if suffix in (".pt", ".pth", ".ckpt"):
        from .weights import unpickled

        return unpickled(path, trust=trust)
    from .teachers.estimators import read_estimator

    return read_estimator(path, trust=trust)


def find_scalers(places: Sequence[tuple[str, Any]], d: int, o: int) -> tuple[Scalers, str] | None:
    """The first scalers in ``(where, content)``, with where they were; one level below each place is looked at too."""
    for where, content in places:
        found = scalers_in(content, d, o)
        if found is None and isinstance(content, Mapping):
            for key, value in content.items():
                if isinstance(value, Mapping):
                    found = scalers_in(value, d, o)
                    where = f"'{key}' of {where}" if found is not None else where
                    if found is not None:
                        break
        if found is not None:
            return found, where
    return None
