"""Stage ``bench``: accuracy on the held-out rows and latency, measured on the engine files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..config import RunConfig
from ..errors import GraphError, NotAvailable
from ..io.command import command_line
from ..io.progress import tick
from ..run import RunFolder
from . import Parts, Stage, StageProgress

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
        "bench": config.bench.model_dump(mode="json", exclude={"allow"}),
        "batch_size": config.batch_size,
        "upstream": [run.outputs_hash(stage) for stage in ("data", "teacher", "distill", "export")],
    }


def _runs_code(section: Any, manifest: Any) -> bool:
    """Whether the user allowed code from this engine's plan to run."""
    return bool(section.run_code_of_plan and manifest.options.get("version_compatible"))


def _work(
    run: RunFolder, config: RunConfig, progress: StageProgress, parts: list[str]
) -> Iterator[tuple[str, list[Path], dict[str, Any]]]:
    from ..data import load_dataset, load_predictions
    from ..engines import get_backend, read_manifest
    from ..engines.verify import verify_engine
    from ..measure import bench_engines
    from .build import graphs, oracle_of

    section = config.bench
    dataset = load_dataset(run)
    test = dataset.split.test
    x, y = dataset.rows("test")
    teacher = load_predictions(run.file("teacher", "predictions.npz"))[test]
    student = load_predictions(run.file("student", "predictions.npz"))[test]
    batches = section.batches if config.batch_size == "dynamic" else [config.batch_size]
    folders, left_out = [], []
    oracle, graph_of = oracle_of(run), graphs(run)
    for part in parts:
        folder = run.file("engines", part)
        manifest = read_manifest(folder)
        backend = get_backend(manifest.backend)
        # A plan that was compiled ahead of time is built on machines that cannot run it.
        reason = backend.cannot_run() if hasattr(backend, "cannot_run") else None
        if reason is None and manifest.verified is None:  # built where it could not be run
            trusted = {"run_code_of_plan": True} if _runs_code(section, manifest) else {}
            try:
                verify_engine(folder, graph_of[folder.name.removeprefix(f"{manifest.backend}.")], oracle, **trusted)
            except GraphError as error:
                reason = error.cause
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
    for record in bench_engines(
        run,
        folders,
        x,
        y,
        teacher=teacher,
        reference=student,
        target_names=dataset.table.target_names,
        batches=batches,
        samples=section.samples,
        warmup=section.warmup,
        threads=section.threads,
        sweep=section.sweep,
        run_code_of_plan=section.run_code_of_plan,
        progress=tick,
    ):
        yield record["name"], record["outputs"], {"engine": record["name"]}


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
