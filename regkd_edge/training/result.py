"""The result of a training, and its files in a run folder."""

from __future__ import annotations

import math
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from ..data import Dataset, Scalers, Split, save_predictions
from ..data.stored import held_out_limit, is_stored, moments_of
from ..fused import Choice
from ..io.files import write_json
from ..models import Spec, Student, Teacher, predict, save_model
from ..models.store import count_parameters
from ..sampling.synthetic import summary_of_inputs
from .checkpoint import Checkpoint

__all__ = ["Trained"]

_SUMMARIZED = 2 << 20  # numbers of the rows whose quantiles and ranks are taken


@dataclass(eq=False)
class Trained:
    """A network with the weights of its best validation.

    Parameters
    ----------
    module : nn.Module
        In standardised space.
    spec : Spec
    scalers : Scalers
        From raw units to that space and back.
    best_step, steps : int
        The step whose weights these are; the steps taken.
    best_validation : float
        RMSE on the validation rows at that step: in raw units for one target, in standard deviations for several.
    history : list of dict
        One dict per validation: step, the mean losses since the last one (total, base, pm, abm, gm), validation_rmse,
        and target_rmse, a list of the RMSE of each target in its unit.
    choice : Choice
        What computed the steps, and why.
    seconds : float
        Spent training, over all resumptions.
    rows : Split
        The rows it saw.
    recipe : dict
        The objective, as stored.
    fingerprint : str
        Of all that decided the training: a checkpoint with a different fingerprint is ignored.
    checkpoint : path or None
        Folder of its checkpoint; :meth:`save` deletes it.
    teacher_source : str or None
        Where the teacher came from; None for a network trained on labels.
    setup : dict
        Fields of the configuration that ``recipe`` lacks: sampler, heads, hint layers and their like.
    inputs : dict or None
        Stored summary of its inputs if no row was seen (``summary_of_inputs`` of the described inputs).
    notes : list of str
        What the user should know of how it was trained.
    best_targets : list of float
        RMSE of each target on the validation rows at the best step, in its own unit.
    race : dict or None
        With recipe auto: who ran, how each did, who won, and why in a sentence (:mod:`regkd_edge.training.race`).
    """

    module: nn.Module
    spec: Spec
    scalers: Scalers
    best_step: int
    steps: int
    best_validation: float
    history: list[dict[str, Any]]
    choice: Choice
    seconds: float
    rows: Split
    recipe: Mapping[str, Any]
    fingerprint: str
    checkpoint: Path | None = None
    teacher_source: str | None = None
    setup: Mapping[str, Any] = field(default_factory=dict)
    inputs: dict[str, Any] | None = None
    notes: list[str] = field(default_factory=list)
    race: dict[str, Any] | None = None
    best_targets: Sequence[float] = ()
    _summary_of: tuple[weakref.ref[Dataset], dict[str, Any]] | None = field(default=None, init=False, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        """What is pickled: all but the summary kept for one data set, which another process does not have."""
        return {**self.__dict__, "_summary_of": None}

    def as_teacher(self, source: str = "trained here", dataset: Dataset | None = None) -> Teacher:
        """Return this network as the teacher of another; ``dataset`` names its columns."""
        known = {} if dataset is None else {**_names_of(dataset), "inputs": self.inputs_known(dataset)}
        teacher = Teacher(self.module, self.scalers, "standardized", source, extra={**known, **self.summary()})
        teacher.trained = self
        return teacher

    def as_student(self, dataset: Dataset) -> Student:
        """Return this network as a student with the names of the columns of ``dataset``."""
        facts = self.summary()
        return Student(
            self.module,
            self.scalers,
            self.spec,
            **_names_of(dataset),
            record={key: value for key, value in facts.items() if key not in ("spec", "parameters")},
            inputs=self.inputs_known(dataset),
            extra={
                "source": (self.teacher_source and f"distilled; its teacher: {self.teacher_source}") or "trained here",
                "recipe": dict(self.recipe),
                **({"setup": dict(self.setup)} if self.setup else {}),
            },
            trained=self,
        )

    def inputs_known(self, dataset: Dataset) -> dict[str, Any] | None:
        """Summary of the rows that it was trained on, or of its inputs as described where it saw none."""
        rows = self.rows.train
        if not len(rows):
            return self.inputs
        if self._summary_of is not None and self._summary_of[0]() is dataset:
            return self._summary_of[1]
        most = held_out_limit(dataset.d) if is_stored(dataset.x) else max(1, _SUMMARIZED // dataset.d)
        some = rows[:: -(-len(rows) // most)]
        ends = None
        if len(some) < len(rows) and not is_stored(dataset.x):
            found = moments_of(dataset.x, rows)
            ends = found.low, found.high
        summary = summary_of_inputs(dataset.x[some], ends)
        self._summary_of = weakref.ref(dataset), summary
        return summary

    def summary(self) -> dict[str, Any]:
        """Return JSON-able facts for tables and state.json."""
        return {
            "spec": str(self.spec),
            "parameters": count_parameters(self.module),
            "steps": self.steps,
            "best_step": self.best_step,
            "target_rmse": list(self.best_targets),
            "validation_rmse": self.best_validation if math.isfinite(self.best_validation) else None,
            "unit": "target" if self.scalers.y.width == 1 else "standard deviations",
            "train_rows": len(self.rows.train),
            "validation_rows": len(self.rows.validation),
            "compute": self.choice.compute,
            "compute_reason": self.choice.reason,
            "notes": self.notes,
            **({"race": self.race} if self.race is not None else {}),
            "seconds": round(self.seconds, 3),
        }

    def save(self, folder: str | Path, dataset: Dataset) -> tuple[list[Path], dict[str, Any]]:
        """Write the model, its predictions of all rows, its history and its race; drop the checkpoint.

        Returns
        -------
        paths : list of Path
        summary : JSON-able dict
        """
        folder, summary = Path(folder), self.summary()
        extra = {
            **{
                key: value for key, value in summary.items() if key not in ("seconds", "race")
            },  # the same training gives the same files
            "source": (self.teacher_source and f"distilled; its teacher: {self.teacher_source}") or "trained here",
            "feature_names": dataset.table.feature_names,
            "target_names": dataset.table.target_names,
            "recipe": dict(self.recipe),
            **({"setup": dict(self.setup)} if self.setup else {}),
            "inputs": self.inputs_known(dataset),
        }
        paths = save_model(folder, self.module, self.scalers, self.spec, extra)
        paths.append(save_predictions(folder / "predictions.npz", predict(self.module, self.scalers, dataset.x)))
        write_json(folder / "history.json", self.history)
        paths.append(folder / "history.json")
        if self.race is not None:
            write_json(folder / "race.json", {key: value for key, value in self.race.items() if key != "seconds"})
            paths.append(folder / "race.json")
        Checkpoint.remove(self.checkpoint)
        return paths, summary


def _names_of(dataset: Dataset) -> dict[str, list[str]]:
    return {"feature_names": list(dataset.table.feature_names), "target_names": list(dataset.table.target_names)}
