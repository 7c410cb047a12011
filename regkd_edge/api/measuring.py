"""Engines measured on rows that they have not seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ..config import BenchConfig
from ..config.problems import whole_or
from ..data import as_rows, as_targets
from ..errors import OptionError

if TYPE_CHECKING:
    from ..engines.engine import Engine
    from ..measure.result import BenchResult

__all__ = ["bench"]


def bench(
    engines: Engine | str | Path | Sequence[Engine | str | Path],
    x: Any,  # [n, d]
    y: Any = None,  # [n, o] or [n]
    *,
    teacher: Any = None,
    reference: Any = None,
    batches: Sequence[int] | None = None,
    target_names: Sequence[str] | None = None,
    progress: Callable[[str], None] | None = None,
    config: BenchConfig | None = None,
    **options: Any,
) -> BenchResult:
    """Measure engines on rows they have not seen: accuracy of the engine file itself, and latency percentiles.

    Parameters
    ----------
    engines : Engine or its folder, or a sequence of them
        Several are timed in turns, so that they share the machine's quiet and busy moments.
    x, y : [n, d] and [n, o] or [n]
        Held-out rows and their labels, raw units.
    teacher : array [n, o], Teacher, or whatever :func:`~regkd_edge.load_teacher` takes, optional
        For the distance to the teacher's answers.
    reference : Student, Engine or array [n, o], optional
        What the accuracy is compared with, with a bootstrap interval: usually the FP32 student.
    batches : sequence of int, optional
        Batch sizes to time; 1 without it. A ``config`` has its own, and both are refused.
    target_names : sequence of str, optional
        Names for the figures; by default those of the engine, else those of y.
    progress : callable, optional
        Called with the current activity, for a progress line.
    config : BenchConfig, optional
        All options at once; else ``options`` are its fields (``samples``, ``warmup``, ``threads``, ``sweep``, ...).

    Raises
    ------
    DataError
        Neither labels nor a teacher, or shapes that do not fit.
    """
    from ..engines import read_manifest
    from ..measure import measure_engines
    from ..measure.result import BenchResult

    one = isinstance(engines, (str, Path)) or hasattr(engines, "infer")
    if not one and not (
        isinstance(engines, Sequence) and all(isinstance(e, (str, Path)) or hasattr(e, "infer") for e in engines)
    ):
        raise OptionError(
            f"bench was given {engines!r}, expected an engine or its folder, or a list of them.",
            "Build one with rk.build, or load one with rk.load_engine.",
        )
    several = cast("list[Engine | str | Path]", [engines] if one else list(cast("Any", engines)))
    if not several:
        raise OptionError("bench was given no engine.", "Give one, or a list of them.")
    given = {} if batches is None else {"batches": list(batches)}
    config = whole_or(config, BenchConfig, {"batches": [1]}, {**given, **options})
    folders = [Path(engine) if isinstance(engine, (str, Path)) else engine.folder for engine in several]
    first = read_manifest(folders[0])
    names = list(first.feature_names) or None
    frame = hasattr(x, "columns")
    rows, _ = as_rows(x, names=names if frame else None, width=first.d, shape=first.input_shape)
    labels, found = (None, None) if y is None else as_targets(y, len(rows), width=first.o)
    measured = measure_engines(
        folders,
        rows,
        labels,
        teacher=_answers(_teacher(teacher), x, len(rows), "teacher"),
        reference=_answers(reference, x, len(rows), "reference"),
        target_names=target_names or list(first.target_names) or found,
        batches=config.batches,
        samples=config.samples,
        warmup=config.warmup,
        threads=config.threads,
        sweep=config.sweep,
        run_code_of_plan=config.run_code_of_plan,
        progress=progress,
    )
    return BenchResult([m.record for m in measured], [{"predictions": m.predictions, **m.raw} for m in measured])


def _teacher(who: Any) -> Any:
    """A module, a function or a path as a teacher; what answers already, or is answers, as it is."""
    if hasattr(who, "predict") or not (callable(who) or isinstance(who, (str, Path))):
        return who
    from ..models import load_teacher

    return load_teacher(who)


def _answers(who: Any, x: Any, n: int, what: str) -> np.ndarray | None:
    """Answers [n, o] of a model to the rows, or the answers themselves."""
    if who is None:
        return None
    return who.predict(x) if hasattr(who, "predict") else as_targets(who, n, what=what)[0]
