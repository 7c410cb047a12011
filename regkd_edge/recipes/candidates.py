"""Who runs in the race of recipe auto: a title for the report, and the fields of the configuration it stands for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["BASE_ALONE", "LABELS_ALONE", "MIXTURE", "Candidate", "candidates"]


@dataclass(frozen=True)
class Candidate:
    """One entrant.

    Parameters
    ----------
    title : str
        As a sentence names it: "<title> won".
    fields : dict
        Of ``DistillConfig``, over the defaults: ``--recipe none`` with these trains the same student.
    share : float
        Of the batch: a step that evaluates the teacher's gradient costs many times one that reads stored answers, and
        a point with its gradient says as much as several values.
    """

    title: str
    fields: dict[str, Any] = field(default_factory=dict)
    share: float = 1.0


BASE_ALONE = Candidate("the base alone", {"base": "mimic", "terms": []})
LABELS_ALONE = Candidate("the labels alone", {"base": "blend", "alpha": 1.0, "terms": []})

_FEWER = 0.125
_TRUST = {"base": "mix", "terms": []}
_MIXED = {"sampler": "neighbours", "noise": "mixed"}
MIXTURE = Candidate("PM with mixed noise", {"base": "mimic", "terms": [], **_MIXED})
_TRUSTED = Candidate("labels and teacher by trust with PM", {**_TRUST, **_MIXED})
_SHEET = {"sampler": "neighbours", "noise": "mixed-principal"}
_GM = {"terms": ["gm"], "gm_on": ["original"], "gm_scale": "teacher"}


def _pm(noise: str, sigma: float) -> Candidate:
    fields = {"base": "mimic", "terms": [], "sampler": "neighbours", "noise": noise, "sigma": [sigma]}
    return Candidate(f"PM with {noise} noise {sigma:g}", fields)


def candidates(*, labels: bool, gradient: bool, tensors: bool = False) -> list[Candidate]:
    """Return the entrants; the base alone is the first.

    Parameters
    ----------
    labels : bool
        Whether the rows have labels.
    gradient : bool
        Whether the teacher has a gradient: GM and the search of ABM need it.
    tensors : bool
        Whether rows are images or signals, whose students PyTorch trains: a few entrants, and none whose steps
        differentiate twice, for they would take the time of ten others.
    """
    if tensors:
        found = [BASE_ALONE, MIXTURE, _pm("smooth", 0.3), _pm("principal", 1.0)]
        return found + ([LABELS_ALONE, _TRUSTED] if labels else [])
    found = [BASE_ALONE, MIXTURE]
    found += [_pm("isotropic", s) for s in (0.1, 0.3, 1.0)]
    found += [_pm("principal", s) for s in (0.1, 0.3, 1.0)]
    found.append(Candidate("PM with principal noise of three sizes", {**BASE_ALONE.fields, **_SHEET}))
    found += [_pm("crossover", s) for s in (0.1, 0.3)]
    if labels:
        found.append(LABELS_ALONE)
        found.append(Candidate("labels and teacher by trust", _TRUST))
        found.append(_TRUSTED)
    if gradient:
        found += [
            Candidate(f"GM on the rows at {w:g}", {"base": "mimic", **_GM, "w_gm": w}, _FEWER) for w in (0.1, 1.0)
        ]
        found.append(Candidate("PM and GM", {"base": "mimic", **_MIXED, **_GM, "w_gm": 0.1}, _FEWER))
        abm = {"base": "mimic", "terms": ["abm"], "w_abm": 1.0, "bounds": "rows"}
        found.append(Candidate("ABM", abm, _FEWER))
        found.append(Candidate("PM, ABM and GM", {**abm, **_MIXED, **_GM, "terms": ["abm", "gm"], "w_gm": 0.1}, _FEWER))
    return found
