"""Training: the terms of the loss and the validation error over the steps; bars."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..io.text import significant
from ..recipes.terms import TERMS
from .axes import PlotArea, shortened, text

__all__ = ["bars", "curves", "loss_terms", "term_names", "validation_curves"]

_TOTAL = "all terms together"
_COLOURS = ("s2", "s4", "s3")  # of the terms, in the order of their table


def term_names() -> dict[str, str]:
    """Return key of a loss -> its name in words."""
    return {"total": _TOTAL, "base": "base loss", **{name: term.title for name, term in TERMS.items()}}


def loss_terms(history: Sequence[Mapping[str, float]]) -> dict[str, tuple[str, np.ndarray, np.ndarray]]:
    """Return name in words -> (CSS class, steps, values) of the terms that were used."""
    steps = np.array([entry["step"] for entry in history], dtype=np.float64)
    found = {}
    colours = {"total": "s5", "base": "s1"} | dict(zip(TERMS, itertools.cycle(_COLOURS)))
    for key, name in term_names().items():
        values = np.array([entry.get(key, 0.0) for entry in history], dtype=np.float64)
        if np.any(values > 0):
            found[name] = (colours[key], steps, values)
    return found if len(found) > 2 else {k: v for k, v in found.items() if k != _TOTAL or len(found) == 1}


def validation_curves(
    histories: Mapping[str, Sequence[Mapping[str, Any]]], css: Mapping[str, str], target: int | None = None
) -> dict[str, tuple[str, np.ndarray, np.ndarray]]:
    """Return model -> (CSS class, steps, RMSE on the validation rows), of one target in its unit, or pooled."""
    found = {}
    for name, history in histories.items():
        pairs = [(entry["step"], value) for entry in history if (value := _validation(entry, target)) is not None]
        if pairs:
            steps, values = np.array(pairs, dtype=np.float64).T
            found[name] = (css[name], steps, values)
    return found


def _validation(entry: Mapping[str, Any], target: int | None) -> float | None:
    if target is None:
        return entry.get("validation_rmse")
    values = entry.get("target_rmse") or ()
    return values[target] if target < len(values) else None


def curves(series: Mapping[str, tuple[str, np.ndarray, np.ndarray]], y_label: str, title: str) -> str:
    """Draw curves over the steps with a logarithmic height; values of 0 leave a gap."""
    positive = np.concatenate([values[values > 0] for _, _, values in series.values()])
    if not len(positive):
        return ""
    steps = np.concatenate([steps for _, steps, _ in series.values()])
    frame = PlotArea(
        (float(steps.min()), float(steps.max())),
        (float(positive.min()) / 1.1, float(positive.max()) * 1.1),
        log_y=True,
        left=66,
    )
    parts = frame.axes("step", y_label)
    for css, at, values in series.values():
        keep = np.unique(np.linspace(0, len(at) - 1, min(len(at), 300)).astype(int))
        path, drawing = [], False
        for step, value in zip(at[keep], values[keep]):
            if value > 0:
                path.append(f"{'L' if drawing else 'M'}{float(frame.px(step)):.1f} {float(frame.py(value)):.1f}")
            drawing = value > 0
        if len(path) == 1:  # one validation: a point has no length, so draw a short line
            path.append("h3")
        parts.append(f'<path d="{"".join(path)}" class="line {css}"/>')
    return frame.svg(title, parts)


def bars(values: Sequence[tuple[str, float, bool]], label: str, title: str) -> str:
    """Draw horizontal bars with their names above and their values beside them; chosen ones are highlighted.

    Parameters
    ----------
    values : sequence of (name, value, chosen)
    """
    known = [(name, value, chosen) for name, value, chosen in values if math.isfinite(value)]
    if not known:
        return ""
    step, top = 34, 4
    width, height = 440, top + step * len(known) + 26
    most = max(max(value for _, value, _ in known), 1e-300)
    parts = []
    for i, (name, value, chosen) in enumerate(known):
        y = top + step * i
        length = max(0.0, value / most) * (width - 90)
        parts += [
            text(2, y + 12, shortened(name, width - 4), "strip", "start"),
            f'<rect x="2" y="{y + 17}" width="{length:.1f}" height="11" class="area {"s1" if chosen else "s3"}"/>',
            text(length + 8, y + 27, significant(value, 3), "tick", "start"),
        ]
    parts.append(text(width / 2, height - 6, shortened(label, width), "label"))
    return PlotArea((0, 1), (0, 1), width=width, height=height).svg(title, parts)
