"""Stage ``bench``: accuracy on the held-out rows and latency, measured on the engine files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..config import RunConfig
from ..errors import GraphError, NotAvailable
from ..io.command import command_line
from ..io.progress import tick
from ..run import RunFolder
from . import Progress, Stage

__all__ = ["STAGE"]


def _inputs(run: RunFolder, config: RunConfig) -> dict[str, Any]:
    return {"bench": config.bench.model_dump(mode="json", exclude={"allow"})}  # a budget changes no measurement


def _runs_code(section: Any, manifest: Any) -> bool:
    """Whether the user allowed code from this engine's plan to run."""
    return bool(section.run_code_of_plan and manifest.options.get("version_compatible"))


def _work(run: RunFolder, config: RunConfig, progress: Progress) -> tuple[list[Path], dict[str, Any]]:
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
    for name in run.record("build")["outputs"]:
        folder = run.file(name)
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
            left_out.append(f"{folder.name}: {reason}")
    if not folders:
        raise NotAvailable(
            f"no engine of '{run.path}' can be run here: {'; '.join(left_out)}",
            f"Build one for this machine: {command_line('build', run.path, '--backend', 'onnxruntime')}.",
        )
    paths: list[Path] = []
    engines: list[dict[str, Any]] = []
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
        paths += record["outputs"]
        engines.append({key: value for key, value in record.items() if key != "outputs"})
    return paths, {"engines": [engine["name"] for engine in engines], **({"left_out": left_out} if left_out else {})}


STAGE = Stage("bench", "bench", ("data", "teacher", "distill", "build"), _inputs, _work, machine_bound=True)
