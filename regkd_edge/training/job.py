"""One training: two networks, their points and the objective, run to the best state; its fingerprint."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from .. import __version__
from ..config import DistillConfig, TeacherConfig
from ..data import Scalers, Split
from ..fused import Member, choose, place
from ..io.files import digest
from ..models import parse_spec
from ..objectives import StepRecipe
from .checkpoint import Checkpoint
from .loop import Progress, Validation, run
from .pair import Pair
from .points import Known, Source, answers
from .recipe import optimizer_of
from .result import Trained

__all__ = ["known_hash", "train_pair"]


def train_pair(
    pair: Pair,
    source: Source,
    recipe: StepRecipe,
    config: TeacherConfig | DistillConfig,
    spec: str,
    seed: int,
    scalers: Scalers,
    rows: Split,
    held: tuple[np.ndarray, np.ndarray],
    teacher_source: str | None,
    *,
    total: int,
    every: int,
    patience: int | None = None,
    progress: Progress | None,
    checkpoint: str | Path | None,
    backend: str,
    decided: dict,
) -> Trained:
    device, why = place(
        pair.student,
        pair.teacher,
        recipe,
        batch=source.batch,
        x=source.x,
        y=source.y,
        device=config.device,
        backend=backend,
        fed=source.feed is not None,
    )
    before = [
        _module_hash(pair.teacher),
        _arrays_hash(*(v.numpy() for v in (source.x, source.y) if v is not None), *held),
    ]
    pair = pair.to(device)
    x, y, quantities = (v if v is None else v.to(device) for v in (source.x, source.y, source.rows))
    outputs = held[1].shape[1]
    validation = Validation(
        torch.from_numpy(held[0]).float().to(device),
        torch.from_numpy(held[1]).to(device),
        float(scalers.y.scale[0]) if outputs == 1 else 1.0,
        pair.keep,
    )
    inputs = None if x is not None else scalers.x.width
    member = Member(
        pair.student,
        pair.teacher,
        x,
        y,
        recipe,
        optimizer_of(config),
        total,
        source.batch,
        seed,
        quantities,
        inputs=inputs,
    )
    if source.feed is not None:
        source.feed.fill(member)  # the back end is chosen for the rows of the training
    choice = choose(pair.student, pair.teacher, recipe, batch=source.batch, x=member.x, y=member.y, backend=backend)
    choice = replace(choice, reason=f"{choice.reason}; on the {'CPU' if device.type == 'cpu' else 'GPU'}, {why}")
    fingerprint = digest(
        {
            "version": __version__,
            "spec": str(parse_spec(spec)),
            "recipe": recipe.to_dict(),
            "optimizer": repr(member.optimizer),
            "run": [total, source.batch, every, patience, seed],
            "backend": choice.backend,
            "teacher": [teacher_source, before[0]],
            "data": before[1],
            "decided": decided,
        }
    )
    outcome = run(
        member,
        validation,
        choice,
        feed=source.feed,
        every=every,
        patience=patience,
        progress=progress,
        checkpoint=Checkpoint(checkpoint, fingerprint),
    )
    return Trained(
        module=pair.keep(pair.student).cpu().eval(),
        spec=parse_spec(spec),
        scalers=scalers,
        best_step=outcome.best_step,
        steps=member.state.step,
        best_validation=outcome.best_rmse,
        history=outcome.history,
        choice=choice,
        seconds=outcome.seconds,
        rows=rows,
        recipe=recipe.to_dict(),
        fingerprint=fingerprint,
        checkpoint=None if checkpoint is None else Path(checkpoint),
        teacher_source=teacher_source,
    )


def known_hash(known: Known, teacher: nn.Module) -> str:
    """Return the fingerprint of the training rows (from the feed if the member has none), the inputs' description
    and the answers of a teacher without accessible weights."""
    arrays, about = [*known.train], known.description
    arrays += [] if known.answers is None else [known.answers]
    if about is not None:
        arrays += [about.mean, about.sd, about.low, about.high, about.uniform, about.integer]
        arrays += [] if about.correlation is None else [about.correlation]
    if next(teacher.parameters(), None) is None:
        arrays.append(answers(teacher, torch.from_numpy(known.train[0]).float()).numpy())
    return _arrays_hash(*arrays)


def _arrays_hash(*arrays: np.ndarray) -> str:
    sha = hashlib.sha256()
    for array in arrays:
        sha.update(str(array.shape).encode() + np.ascontiguousarray(array).tobytes())
    return sha.hexdigest()


def _module_hash(module: nn.Module | None) -> str:
    sha = hashlib.sha256()
    for key, tensor in (module.state_dict() if module is not None else {}).items():
        raw = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)  # NumPy has no bfloat16
        sha.update(f"{key}{tuple(tensor.shape)}".encode() + raw.numpy().tobytes())
    return sha.hexdigest()
