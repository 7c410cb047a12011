"""The scaler that a teacher on standardized values was trained with, wherever its maker kept it.

Known forms: mean and scale of inputs and targets under the names that people give them (``x_mean``, ``X_SCALE``,
``input_std``, ``target_mean``), and the fitted scalers of scikit-learn, pipelines of them too, in a mapping, an object,
a module's buffers, a state dict, a JSON or NPZ file. Statistics of the targets that cannot be used are refused, not
passed over.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..data import Scaler, Scalers
from ..errors import ModelError
from ..io.arrays import read_npz
from ..io.limits import TABLE_BYTES
from ..io.reading import read_json
from ..io.regular import file_problem
from .fitted_scaler import fitted_scaler, is_fitted

__all__ = ["find_scalers", "read_scalers", "scalers_in", "statistic_of"]

_SIDES = {
    "x": ("x", "in", "input", "inputs", "feature", "features", "feat", "xs", "src"),
    "y": ("y", "out", "output", "outputs", "target", "targets", "label", "labels", "ys", "tgt",
          "denorm", "denormalizer", "unnorm", "unnormalizer", "unscaler", "destandardizer"),
}  # fmt: skip
_MEANS = ("mean", "means", "mu", "avg", "loc", "center", "centre", "offset", "shift")
_SCALES = ("scale", "std", "stds", "sd", "sigma", "stdev", "stddev", "deviation")
_VARIANCES = ("var", "variance")
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

    Raises
    ------
    ModelError
        The inputs have theirs, and what is there for the targets is of another width, half of it, or no scaler.
    """
    if isinstance(content, Scalers):
        return content if (content.x.width, content.y.width) == (d, o) else None
    if is_fitted(content):
        content = (content,)
    if isinstance(content, (tuple, list)) and 1 <= len(content) <= 2 and not _number(content[0]):
        x = _scaler(content[0], d, "x")
        y = _scaler(content[1], o, "y") if len(content) > 1 else None
        return _both(x, y, o, ["the second one"] if len(content) > 1 and content[1] is not None else [])
    found: dict[tuple[str | None, str], np.ndarray] = {}
    nested: dict[str, Scaler] = {}
    of_targets = []  # names of what is meant for them
    for key, value in _items(content):
        statistic = statistic_of(key)
        vector = _vector(value)
        if statistic is not None and vector is not None:
            found.setdefault(statistic, vector)
            of_targets += [key] if statistic[0] == "y" else []
            continue
        words = re.split(r"[^a-z0-9]+", str(key).lower())
        side = next((s for s, names in _SIDES.items() if any(w in names for w in words)), None)
        named = any(word in _NOISE for word in words)
        if side is None and not named:
            continue
        of_targets += [key] if side == "y" and (is_fitted(value) or isinstance(value, Mapping)) else []
        for where, width in (("x", d), ("y", o)):
            if side in (None, where):
                one = _scaler(value, width, where)
                if one is not None:
                    nested.setdefault(where, one)
                    break
    kept = fitted_scaler(content)
    x = nested.get("x") or _made(found, "x", d) or (_checked(*kept, d) if kept else _made(found, None, d))
    return _both(x, nested.get("y") or _made(found, "y", o), o, of_targets)


def _both(x: Scaler | None, y: Scaler | None, o: int, of_targets: Sequence[str]) -> Scalers | None:
    if x is not None and y is None and of_targets:
        raise ModelError(
            f"the teacher's scaler holds {', '.join(map(repr, of_targets[:4]))} for the targets, expected a mean and "
            f"scale of {o} target{'s' * (o > 1)}.",
            "Give y_mean and y_scale in the order of the targets (a scale of 1 where they were only centred).",
        )
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


def _scaler(value: Any, width: int, where: str) -> Scaler | None:
    """One side, ``x`` or ``y``: a fitted scaler, its attributes kept by hand, or a mapping of two statistics."""
    if isinstance(value, Scaler):
        return value if value.width == width else None
    fitted = fitted_scaler(value)
    if fitted is not None or is_fitted(value):
        return None if fitted is None else _checked(*fitted, width)
    found: dict[tuple[str | None, str], np.ndarray] = {}
    for key, part in _items(value):
        statistic, vector = statistic_of(key), _vector(part)
        if statistic is not None and vector is not None:
            if statistic[0] not in (None, where):  # both sides are in it, or the other one
                return None
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
    real = np.issubdtype(array.dtype, np.integer) or np.issubdtype(array.dtype, np.floating)
    return array.astype(np.float64).reshape(-1) if array.size and real else None


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
    found = find_scalers([(str(path), content)], d, o)
    if found is None:
        names = ", ".join(repr(key) for key, _ in _items(content)[:8])
        held = f"a {type(content).__name__}" if is_fitted(content) else names
        raise ModelError(f"'{path}' holds no scaler of {d} inputs" + (f" (it holds {held})." if held else "."), forms)
    return found[0]


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
