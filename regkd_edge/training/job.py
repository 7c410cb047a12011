"""One training: two networks, their points and the objective, run to the best state; its fingerprint."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from .. import __version__
from ..config.objective import WITHOUT_LABELS
from ..data import Scalers, Split
from ..fused import Member, Optimizer, place
from ..io.files import digest
from ..models import parse_spec
from ..objectives import StepRecipe
from ..objectives.central import CentralDifferences
from ..recipes import TERMS
from .checkpoint import Checkpoint
from .ladder import climb, still_improving
from .loop import LoopState, Progress, Validation, run
from .pair import Pair
from .ranks import current
from .result import Trained
from .shards import Shards
from .source import Known, Source, answers
from .unvaried import ignoring, unvaried

__all__ = ["Training", "arrays_hash", "known_hash", "module_hash"]

FIXED = 5_000  # [steps] of auto where weights or points depend on the step; at most, by central differences
ENDLESS = 10**9


@dataclass(eq=False)
class Training:
    """One training, whole: the networks, their points, the objective and how the best state is found.

    Parameters
    ----------
    pair, source, recipe, optimizer
        The networks, where their points come from, the objective of a step, and the optimizer.
    spec : str
        Of the network that is kept.
    seed : int
        Of the order of the rows and the noise.
    scalers : Scalers
        Of the space in which the networks live.
    rows : Split
        The rows that are seen.
    held : (x [n, d], y [n, o])
        Standardised rows that select the best state.
    teacher_source : str or None
    answers : [n, o] or None
        The teacher's to the held rows: a student that reads no label climbs by its distance from them. The noise of
        few labels would hide what more steps bring.
    beside : callable or None
        Makes ``(x [m, d], y [m, o])`` when the training is run: points around the rows on which no student trains, with
        the teacher's answers; they select beside ``held``.
    total, every, patience
        Steps, steps between two looks at ``held``, and looks without a new best before stopping (None: never).
        A total of None: until it stops improving (:mod:`regkd_edge.training.ladder`), where the points of a step and
        the weights do not depend on the step; ``FIXED`` steps elsewhere.
    device, compute : str
        As requested; the member's ``decision`` says what is used.
    mixed : bool
        Products in bfloat16 on a GPU.
    decided : dict
        What else decides the training, for its fingerprint.
    known : callable
        Gives the fingerprint of the data that the points are drawn from.
    shards : Shards, optional
        Where the rows stay in their file; ``source`` is made of the first one.
    """

    pair: Pair
    source: Source
    recipe: StepRecipe
    optimizer: Optimizer
    spec: str
    seed: int
    scalers: Scalers
    rows: Split
    held: tuple[np.ndarray, np.ndarray]
    total: int | None
    every: int
    answers: np.ndarray | None = None
    beside: Callable[[], tuple[Tensor, Tensor]] | None = None
    teacher_source: str | None = None
    patience: int | None = None
    device: str = "auto"
    compute: str = "auto"
    mixed: bool = False
    decided: dict = field(default_factory=dict)
    known: Callable[[], str] = str
    shards: Shards | None = None

    def __post_init__(self) -> None:
        inputs = self.ignores
        if len(inputs):
            keep, x = self.pair.keep, self.source.x[0]
            self.pair = replace(self.pair, keep=lambda whole: ignoring(keep(whole), inputs, x))

    @cached_property
    def ignores(self) -> np.ndarray:  # int [k]
        """Inputs that the kept network ignores, for they do not vary."""
        return unvaried(self.source, self.recipe) if self.shards is None else np.empty(0, dtype=int)

    @property
    def climbs(self) -> bool:
        """Whether it is trained until it stops improving."""
        weights = [self.recipe.weight_of(name) for name in ("base", *TERMS)]
        return self.total is None and self.source.feed is None and all(w.start == w.end for w in weights)

    def member(self) -> tuple[Member, torch.device]:
        """Put the networks and rows on their device; the member carries the one decision on what computes its steps."""
        pair, source = self.pair, self.source
        networks = (pair.student, pair.teacher, self.recipe)
        fed = source.feed is not None
        device, why = place(
            *networks,
            batch=source.batch,
            x=source.x,
            y=source.y,
            device=self.device,
            compute=self.compute,
            fed=fed,
            mixed=self.mixed,
        )
        pair.to(device)
        x, y, quantities = (v if v is None else v.to(device) for v in (source.x, source.y, source.rows))
        member = Member(
            pair.student,
            pair.teacher,
            x,
            y,
            self.recipe,
            replace(self.optimizer, schedule="constant") if self.climbs else self.optimizer,
            ENDLESS if self.climbs else self.total or FIXED,
            source.batch,
            self.seed,
            quantities,
            inputs=None if x is not None else self.scalers.x.width,
            mixed=self.mixed,
        )
        if fed:
            source.feed.fill(member)  # what computes is chosen for rows as they will be
        choice = member.decide(self.compute)
        shared = ""
        if choice.compute == "torch" and (share := current().share()) is not None:
            member.share, shared = share, f"; each step divided among {share.size} processes"
        member.decision = replace(
            choice, reason=f"{choice.reason}; on the {'CPU' if device.type == 'cpu' else 'GPU'}, {why}{shared}"
        )
        return member, device

    def validation(self, device: torch.device) -> Validation:
        """The held rows on the device of the networks."""
        x, y = self.held
        unit = float(self.scalers.y.scale[0]) if y.shape[1] == 1 else 1.0
        return Validation(
            torch.from_numpy(x).float().to(device),
            torch.from_numpy(y).to(device),
            unit,
            self.pair.keep,
            answers=None if self.answers is None else torch.from_numpy(self.answers).to(device),
            beside=None if self.beside is None else tuple(v.to(device) for v in self.beside()),
            deviations=tuple(float(v) for v in np.broadcast_to(self.scalers.y.scale, y.shape[1])),
        )

    def run(
        self,
        *,
        progress: Progress | None = None,
        checkpoint: str | Path | None = None,
        until: float | None = None,
        beyond: int | None = None,
    ) -> Trained:
        """Train to the best state; ``until`` and ``beyond`` are those of :func:`regkd_edge.training.ladder.climb`."""
        source = self.source
        hashes = [
            module_hash(self.pair.teacher),
            arrays_hash(*(v.numpy() for v in (source.x, source.y) if v is not None), *self.held),
        ]
        member, device = self.member()
        fingerprint = self._fingerprint(member.decision.compute, beyond, *hashes)
        how = {"every": self.every, "progress": progress, "checkpoint": Checkpoint(checkpoint, fingerprint)}
        ranks = current()
        ranks.require_same(fingerprint)

        def trained() -> LoopState:
            validation = self.validation(device)
            if self.climbs:
                limits = {"until": until, "beyond": beyond, "most": self._most(until)}
                early = self.recipe.base not in WITHOUT_LABELS
                return climb(member, validation, shards=self.shards, early=early, **limits, **how)
            return run(member, validation, feed=source.feed, shards=self.shards, patience=self.patience, **how)

        if member.share is not None:
            outcome = trained()
        else:
            outcome = ranks.from_first(trained)
            member.student.load_state_dict(outcome.best)
        return Trained(
            module=self.pair.keep(self.pair.student).cpu().eval(),
            spec=parse_spec(self.spec),
            scalers=self.scalers,
            best_step=outcome.best_step,
            steps=outcome.steps,
            best_validation=outcome.best_rmse,
            best_targets=next(
                (e.get("target_rmse", []) for e in outcome.history if e["step"] == outcome.best_step), []
            ),
            history=outcome.history,
            choice=member.decision,
            seconds=outcome.seconds,
            rows=self.rows,
            recipe=self.recipe.to_dict(),
            fingerprint=fingerprint,
            checkpoint=None if checkpoint is None else Path(checkpoint),
            teacher_source=self.teacher_source,
            notes=[] if not self.climbs else still_improving(outcome),
        )

    def _most(self, until: float | None) -> int | None:
        """Steps of a climb that is given no time: few where each asks a teacher 2 d times for every point."""
        differences = isinstance(self.pair.teacher, CentralDifferences) and self.recipe.asks_teacher(True)
        return FIXED if differences and until is None else None

    def _fingerprint(self, compute: str, beyond: int | None, teacher: str, data: str) -> str:
        return digest(
            {
                "version": __version__,
                "spec": str(parse_spec(self.spec)),
                "recipe": self.recipe.to_dict(),
                "optimizer": repr(self.optimizer),
                "run": [self.total, self.source.batch, self.every, self.patience, self.seed, beyond],
                "compute": compute,
                "teacher": [self.teacher_source, teacher],
                "data": data,
                "decided": self.decided,
                "known": self.known(),
            }
        )


def known_hash(known: Known, teacher: nn.Module) -> str:
    """Return the fingerprint of the training rows (from the feed if the member has none), the inputs' description
    and the answers of a teacher without accessible weights."""
    arrays, about = [*known.train], known.description
    arrays += [] if known.answers is None else [known.answers]
    if about is not None:
        arrays += [about.mean, about.sd, about.low, about.high, about.uniform, about.integer]
        arrays += [] if about.correlation is None else [about.correlation]
    if known.answers is None and next(teacher.parameters(), None) is None:
        arrays.append(answers(teacher, torch.from_numpy(known.train[0]).float()).numpy())
    return arrays_hash(*arrays)


def arrays_hash(*arrays: np.ndarray) -> str:
    sha = hashlib.sha256()
    for array in arrays:
        sha.update(str(array.shape).encode())
        sha.update(np.ascontiguousarray(array))
    return sha.hexdigest()


def module_hash(module: nn.Module | None) -> str:
    sha = hashlib.sha256()
    for key, tensor in (module.state_dict() if module is not None else {}).items():
        values = tensor.detach().cpu()
        values = values.float() if values.dtype == torch.bfloat16 else values  # which NumPy does not have
        sha.update(f"{key}{tuple(tensor.shape)}".encode() + values.contiguous().numpy().tobytes())
    return sha.hexdigest()
