"""Stage ``bench``: accuracy on the held-out rows and latency, measured on the engine files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .. import api
from ..config import RunConfig
from ..data import load_dataset, load_predictions
from ..errors import NotAvailable
from ..io import consent
from ..io.command import command_line
from ..io.progress import tick
from ..run import RunFolder
from . import Parts, Stage, StageProgress
from .build import graphs, held_out

__all__ = ["STAGE"]


def _parts(run: RunFolder, config: RunConfig) -> list[str]:
    return [Path(name).name for name in run.record("build")["outputs"]]


def _inputs(run: RunFolder, config: RunConfig, part: str) -> dict[str, Any] | None:
    """Everything that decides the figures of one engine."""
    engine = run.known_outputs("build").get(f"engines/{part}")
    if engine is None:
        return None
    return {
        "engine": engine,
        "bench": config.bench.model_dump(mode="json", exclude={"allow", "run_code_of_plan"}),
        "export_batch": config.export_batch,
        "upstream": [run.outputs_hash(stage) for stage in ("data", "teacher", "distill", "export")],
    }


def _runs_code(config: RunConfig, folder: Path) -> bool:
    """Whether code of this engine's plan, if it has any, may run: allowed by this call, or built on this machine."""
    manifest = api.manifest_of(folder)
    if config.bench.run_code_of_plan or not manifest.options.get("version_compatible"):
        return True
    return consent.allowed(consent.file_key(folder / manifest.engine))


def _work(
    run: RunFolder, config: RunConfig, progress: StageProgress, parts: list[str]
) -> Iterator[tuple[str, list[Path], dict[str, Any]]]:
    section = config.bench
    dataset = load_dataset(run)
    test = dataset.split.test
    x, y = dataset.rows("test")
    teacher = load_predictions(run.file("teacher", "predictions.npz"))[test]
    student = load_predictions(run.file("student", "predictions.npz"))[test]
    folders, left_out = [], []
    rows, graph_of = held_out(run), graphs(run)
    for part in parts:
        folder = run.file("engines", part)
        graph = graph_of[part.partition(".")[2]]
        # A plan that was compiled ahead of time is built on machines that cannot run it.
        reason = api.why_not(
            folder, graph, check=rows, fp32=graph_of["fp32"], run_code_of_plan=_runs_code(config, folder)
        )
        if reason is None:
            folders.append(folder)
        else:
            left_out.append(f"{part}: {reason}")
            yield part, [], {"left_out": left_out[-1]}
    if len(left_out) == len(_parts(run, config)):
        raise NotAvailable(
            f"no engine of '{run.path}' can be run here: {'; '.join(left_out)}",
            f"Build one for this machine: {command_line('build', run.path, '--backend', 'onnxruntime')}.",
        )
    if not folders:
        return
    # All in one call: they are timed in turns, so that background load affects all alike.
    section = section.model_copy(update={"run_code_of_plan": all(_runs_code(config, folder) for folder in folders)})
    if config.export_batch != "dynamic":
        section = section.model_copy(update={"batches": [config.export_batch]})
    names = dataset.table.target_names
    measured = api.bench(
        folders, x, y, teacher=teacher, reference=student, target_names=names, progress=tick, config=section
    )
    for record, files in zip(measured, measured.save(run.file("bench"))):
        yield record["name"], files, {"engine": record["name"]}


def _summary(run: RunFolder, config: RunConfig, parts: dict[str, dict[str, Any]]) -> dict[str, Any]:
    left_out = [one["left_out"] for one in parts.values() if "left_out" in one]
    engines = [one["engine"] for one in parts.values() if "engine" in one]
    return {"engines": engines, **({"left_out": left_out} if left_out else {})}


STAGE = Stage(
    "bench",
    "bench",
    ("data", "teacher", "distill", "build"),
    parts=Parts(_parts, _inputs, _work, _summary),
    machine_bound=True,
)
