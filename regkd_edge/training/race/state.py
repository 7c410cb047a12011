"""The race between two rungs: who is still running, what was measured; kept in a file, so that no rung is run twice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ... import __version__
from ...config import DistillConfig
from ...io.files import digest
from ...recipes.candidates import Candidate
from ..checkpoint import Checkpoint
from ..job import arrays_hash, module_hash
from ..setting import Setting
from .afford import Means
from .entrant import Entrant, enter, without_students
from .units import stored

__all__ = ["RaceState"]

_SCORES = ("cost", "steps", "scores", "label_scores", "target_scores", "target_label_scores")  # of an entrant
_IDLE = ("recipe", "baseline", "compute", "device", "accept_teacher")  # of a configuration, they decide nothing here


class RaceState:
    """What a race has found so far; once it is over, the winner alone is running.

    Parameters
    ----------
    folder : path or None
        Of the training's checkpoint; None keeps nothing.
    """

    def __init__(self, setting: Setting, config: DistillConfig, folder: str | Path | None):
        self.entrants: list[Entrant] = []
        self.running: list[Entrant] = []
        self.rungs: list[int] = []
        self.measure = "teacher"
        self.label_rows: np.ndarray | None = None  # bool [n], on which distances to the labels count
        self.over = False
        self.foregone = False
        self.means: Means | None = None  # what a slow teacher allows; timed once, or a resumed race would be another
        self.seconds = 0.0
        path = None if folder is None else Path(folder, "race")
        self._file = Checkpoint(path, "" if path is None else _fingerprint(setting, config))

    def count_labels_on(self, rows: np.ndarray | None) -> None:
        """Let distances to the labels count on these rows alone; None changes nothing."""
        self.label_rows = rows
        for one in self.entrants if rows is not None else ():
            one.count_labels_on(rows)

    def save(self, seconds: float) -> None:
        """Keep the state after a rung; ``seconds`` is what the race has taken so far."""
        self.seconds = seconds
        if self._file.path is None:
            return
        tensors = {} if self.over else {f"{one.title}/{k}": t for one in self.running for k, t in one.tensors().items()}
        self._file.save(
            tensors,
            {
                "entrants": {
                    one.title: {name: stored(getattr(one, name)) for name in _SCORES} for one in self.entrants
                },
                "running": [one.title for one in self.running],
                "rungs": self.rungs,
                "measure": self.measure,
                "label_rows": None if self.label_rows is None else self.label_rows.tolist(),
                "over": self.over,
                "foregone": self.foregone,
                "means": None if self.means is None else {"points": self.means.points, "note": self.means.note},
                "seconds": seconds,
            },
        )

    def load(self, who: Sequence[Candidate], config: DistillConfig, folds: Sequence[Setting]) -> None:
        """Go on from what an interrupted race left, if there is anything; ``who`` are all that could have entered."""
        found = self._file.load()
        if found is None:
            return
        tensors, facts = found
        self.rungs, self.measure, self.over = facts["rungs"], facts["measure"], facts["over"]
        self.foregone, self.seconds = facts["foregone"], facts["seconds"]
        if facts["means"] is not None:
            self.means = Means([one for one in who if one.title in facts["entrants"]], **facts["means"])
            for fold in folds:
                fold.ask_at_most(self.means.points)
        for candidate in who:
            if candidate.title not in facts["entrants"]:
                continue
            goes_on = candidate.title in facts["running"] and not self.over
            one = enter(candidate, config, folds) if goes_on else without_students(candidate, config)
            for score, values in facts["entrants"][candidate.title].items():
                setattr(one, score, _read(values))
            name = f"{candidate.title}/"
            one.load({k.removeprefix(name): t for k, t in tensors.items() if k.startswith(name)})
            self.entrants.append(one)
        self.running = [one for one in self.entrants if one.title in facts["running"]]
        if facts["label_rows"] is not None:
            self.count_labels_on(np.array(facts["label_rows"]))


def _read(values: Any) -> Any:
    if isinstance(values, list):
        return [_read(value) for value in values]
    return math.inf if values is None else values


def _fingerprint(setting: Setting, config: DistillConfig) -> str:
    return digest(
        {
            "version": __version__,
            "kept": [*_SCORES, "means"],
            "config": config.model_dump(mode="json", exclude=set(_IDLE)),
            "seed": setting.seed,
            "teacher": [setting.teacher.source, module_hash(setting.module)],
            "data": arrays_hash(*setting.train, *setting.held, setting.answers, setting.teacher_on_held),
        }
    )
