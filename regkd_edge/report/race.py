"""The race that chose the recipe: how near each candidate came, per target in its unit, and pooled second."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from .markup import e, figure, fold, table
from .plot_training import bars
from .table import figure as written

__all__ = ["race_figures", "race_rows", "race_table"]

_MOST_TARGETS = 4
_MOST_BARS = 6  # of the candidates: more fill several screens of a phone


def race_rows(race: Mapping[str, Any], target: int | None = None) -> list[tuple[str, float, bool]]:
    """Return (candidate, last distance, won) of the record of a race, nearest first.

    A candidate that was dropped before the last rung, or diverged, says so in its name: its distance is that of a
    shorter training.

    Parameters
    ----------
    target : int, optional
        Distances of this target in its unit; else over all, in standard deviations.
    """
    rows = []
    for one in _candidates(race):
        distances = _distances(race, one, target)
        if distances:
            rows.append((_title(race, one), distances[-1], one.get("title") == race.get("winner")))
    return sorted(rows, key=lambda row: row[1])


def race_figures(race: Mapping[str, Any]) -> list[str]:
    """Return a figure for each target in its unit, and a pooled one behind them: the first is enough at a glance.

    A single target has no pooled figure; the record of an earlier version has no other. Of many candidates the nearest
    ones are drawn, and the winner.
    """
    own, figures = _targets(race), []
    for target, name in [*own.items(), *([] if _single(race) else [(None, "")])]:
        of = f", {name}" if name else ", pooled over the targets" if own else ""
        label = f"distance to the {_aim(race)}, {name or 'standard deviations'}"
        rows = race_rows(race, target)
        shown = [row for k, row in enumerate(rows) if k < _MOST_BARS or row[2]]
        shown = [*shown[: _MOST_BARS - 1], shown[-1]] if len(shown) > _MOST_BARS else shown
        few = f" ({len(shown)} of {len(rows)} candidates)" if len(rows) > len(shown) else ""
        drawn = bars(shown, label, f"the race of the recipes{of}")
        figures.append(figure(f"The race that chose the recipe: nearest first{of}{few}", drawn))
    return figures


def race_table(race: Mapping[str, Any]) -> str:
    """Return the candidates with their distances on held-out rows, of each target in its unit, then pooled; many open
    on a click."""
    own = _targets(race)
    if not own:
        return ""
    columns = [*own, *([] if _single(race) else [None])]
    heads = [("candidate of the race", True), ("steps when judged", False)]
    heads += [(f"distance to the {_aim(race)}, {name}", False) for name in own.values()]
    heads += [] if _single(race) else [("pooled, standard deviations", False)]
    lines = []
    for one in sorted(_candidates(race), key=lambda one: (_distances(race, one, None) or [math.inf])[-1]):
        done, steps = len(_distances(race, one, None)), _steps(race, one)
        cells = [e(one.get("title", "")), f"{steps[done - 1]:,}" if 0 < done <= len(steps) else "–"]
        cells += [written((_distances(race, one, target) or [None])[-1]) for target in columns]
        lines.append(("chosen" if one.get("title") == race.get("winner") else "", cells))
    shown = table("The candidates of the race", heads, lines)
    return fold(f"All {len(lines)} candidates of the race", shown) if len(lines) > _MOST_BARS else shown


def _candidates(race: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [one for one in race.get("candidates") or () if isinstance(one, dict)]


def _rungs(race: Mapping[str, Any]) -> list[int]:
    """Steps after which the candidates were judged."""
    return _whole(race.get("rungs"))


def _steps(race: Mapping[str, Any], one: Mapping[str, Any]) -> list[int]:
    """The same of one candidate: fewer in the first rung where its steps cost more."""
    return _whole(one.get("steps")) or _rungs(race)


def _whole(values: Any) -> list[int]:
    return [int(value) for value in values if _is_number(value)] if isinstance(values, list) else []


def _aim(race: Mapping[str, Any]) -> str:
    """What distances are to: the teacher or the labels."""
    return "labels" if "labels" in str(race.get("measure", "")).split(" on ")[0] else "teacher"


def _distances(race: Mapping[str, Any], one: Mapping[str, Any], target: int | None) -> list[float]:
    """The distances of a candidate, rung by rung; those of a rung in which it diverged are left out."""
    found = one.get(f"{'' if target is None else 'target_'}distance_to_{_aim(race)}")
    rungs = found if isinstance(found, list) else []
    if target is not None:
        rungs = [rung[target] for rung in rungs if isinstance(rung, list) and target < len(rung)]
    return [float(value) for value in rungs if _is_number(value)]


def _targets(race: Mapping[str, Any]) -> dict[int, str]:
    """The first targets whose distances are known, by their numbers."""
    names = race.get("targets")
    names = names[:_MOST_TARGETS] if isinstance(names, list) else []
    return {j: str(name) for j, name in enumerate(names) if any(_distances(race, one, j) for one in _candidates(race))}


def _single(race: Mapping[str, Any]) -> bool:
    return bool(_targets(race)) and len(race["targets"]) == 1


def _title(race: Mapping[str, Any], one: Mapping[str, Any]) -> str:
    title, done, rungs = str(one.get("title", "")), len(_distances(race, one, None)), len(_rungs(race))
    if done == rungs:
        return title
    judged = one.get(f"distance_to_{_aim(race)}")
    how = "diverged" if isinstance(judged, list) and len(judged) > done else "dropped"
    return f"{title} ({how} after rung {done} of {rungs})"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
