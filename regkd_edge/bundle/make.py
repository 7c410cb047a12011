"""Creation of a bundle: graphs that fit the target, rows to evaluate on, and the expected outputs of each graph."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from ..config import PATHS, RunConfig
from ..config.platforms import get_platform
from ..data import Dataset, Scalers, load_dataset, load_predictions
from ..engines import get_backend
from ..engines.base import versions
from ..engines.lint import lint
from ..engines.manifest import MANIFEST
from ..engines.verify import allowed_difference
from ..errors import GraphError, UserError
from ..graph.precision import graph_precision
from ..graph.unoptimized import reference_outputs
from ..io.command import command_line
from ..io.files import file_hash, scratch_folder
from ..io.reading import read_json_object
from ..measure import accuracy
from ..report import two_parts_of
from ..run import RunFolder
from ..stages import require_fresh
from ..stages.build import graphs
from .archive import write_archive
from .readme import readme
from .wheel import checked_wheel

__all__ = ["ROWS", "make_bundle"]

ROWS = ("held-out", "synthetic")
_MODELS = ("teacher", "baseline", "student")
_CARD = ("format", "kind", "spec", "d", "o", "parameters")  # fields of model.json; the rest names paths and weights


def make_bundle(
    run: RunFolder,
    target: str,
    path: str | Path | None = None,
    *,
    evaluate_on: str = "held-out",
    max_rows: int = 1000,
    tensorrt: str | None = None,
    key: str | Path | None = None,
    trust: bool = False,
    wheel: str | Path | None = None,
) -> tuple[Path, dict[str, Any]]:
    """Write the bundle of a run.

    Parameters
    ----------
    run : RunFolder
        With an exported student; quantized graphs are included if there are any.
    target : str
        One of :data:`regkd_edge.config.platforms.PLATFORMS`. Graphs that do not fit it are left out and named.
    path : path, optional
        The archive; ``<run>.<target>.tar.gz`` in the current folder by default.
    evaluate_on : {"held-out", "synthetic"}
        Rows to evaluate engines on: held-out rows with their labels; or Gaussian rows with
        the mean and spread of the student's inputs, labelled by the teacher, so that no data leaves this machine.
    max_rows : int
        Maximum number of held-out rows (more are sampled), or the number of synthetic rows.
    tensorrt : str, optional
        Version to check graphs for; the oldest that the target ships with by default.
    key : path, optional
        A private Ed25519 key that signs the bundle (:mod:`.signature`).
    trust : bool
        Run code of the teacher's files, where the teacher labels synthetic rows.
    wheel : path, optional
        The light wheel of this project for the target's processor and Python; it is listed, hashed and signed with the
        rest, and ``deploy`` and README.txt print the command that installs it.

    Returns
    -------
    path : Path
    content : dict
        ``bundle.json``: ``name``, ``target``, ``rows``, ``graphs``, ``left_out``, ``versions``, ``files``.

    Raises
    ------
    RunFolderError
        A stage is missing or stale; the message has the command to run.
    GraphError
        No graph fits the target.
    """
    if evaluate_on not in ROWS or max_rows < 1:
        raise UserError(
            f"evaluate_on is '{evaluate_on}' and max_rows {max_rows}, expected one of "
            f"{', '.join(ROWS)} and at least 1.",
            "See 'regkd-edge bundle --help'.",
        )
    if path is not None and not Path(path).name.endswith((".tar.gz", ".tgz")):  # 'deploy' names its folder after it
        raise UserError(f"the archive '{path}' does not end in .tar.gz.", "Name it FILE.tar.gz.")
    device, config = get_platform(target), run.config().updated({"teacher.trust": True} if trust else {})
    packed = {} if wheel is None else {f"wheel/{Path(wheel).name}": checked_wheel(wheel, device)}
    _check_fresh(run, config)
    dataset = load_dataset(run)
    fitting, left_out = _fitting(run, target, tensorrt)
    x, y, index = _rows(run, config, dataset, evaluate_on, max_rows)
    answers = {name: reference_outputs(graph, x.astype(np.float32)) for name, graph in fitting.items()}
    described, graph_files = _graphs(run, fitting, answers, y, dataset.table.target_names)
    name = run.path.resolve().name
    header = {
        "name": name,
        "target": {
            "name": target,
            "what": device.what,
            "tensorrt": device.tensorrt,
            "checked_for": ".".join(map(str, device.version(tensorrt))),
            "python": device.python,
        },
        "rows": {"kind": evaluate_on, "count": len(x)},
        "graphs": described,
        "left_out": left_out,
        "tensorrt_options": config.build.options("tensorrt"),
        "versions": versions("regkd-edge", "numpy", "onnx", "onnxruntime", "torch"),
    }
    files = {
        **_data_files(dataset, x, y, evaluate_on),
        **_models(run, answers["fp32"], y, index),
        "run.yaml": _without_paths(config).to_yaml().encode(),
        "expected.npz": _npz(**{name: values.astype(np.float32) for name, values in answers.items()}),
        **graph_files,
        **packed,
        "README.txt": readme(header, next(iter(packed), None)).encode(),
    }
    path = Path(path) if path is not None else Path(f"{name}.{target}.tar.gz")
    return path, write_archive(path, header, files, key)


def _models(
    run: RunFolder,
    student: np.ndarray,  # [n, o] answers of its FP32 graph
    y: np.ndarray,  # [n, o] labels, or the teacher's answers to synthetic rows
    index: np.ndarray | None,  # the held-out rows; None for synthetic ones
) -> dict[str, bytes]:
    """Return the cards and the answers of teacher, baseline and student, without their weights."""
    files: dict[str, bytes] = {}
    for model in _MODELS:
        stored = run.file(model, "predictions.npz")
        if not stored.is_file() or (index is None and model == "baseline"):
            continue
        predictions = student if model == "student" else y if index is None else load_predictions(stored)[index]
        card = read_json_object(run.file(model, "model.json"), "Make the model again with --force.")
        files[f"{model}/model.json"] = _json({key: card[key] for key in _CARD if key in card} | _recipe_of(card))
        files[f"{model}/predictions.npz"] = _npz(y=predictions)
    return files


def _graphs(
    run: RunFolder,
    fitting: dict[str, Path],
    answers: dict[str, np.ndarray],  # each [n, o]
    y: np.ndarray,  # [n, o]
    target_names: list[str],
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return what ``bundle.json`` says of each graph, and the files of graphs and native engines."""
    described: dict[str, Any] = {}
    files: dict[str, bytes] = {}
    two_parts = two_parts_of(run.state())
    for name, graph in fitting.items():
        files[f"onnx/{graph.name}"] = graph.read_bytes()
        described[name] = {
            "file": f"onnx/{graph.name}",
            "sha256": file_hash(graph),
            "precision": graph_precision(graph).label,
            "accuracy": accuracy(y, answers[name], target_names),
            "allowed": allowed_difference(answers["fp32"], answers[name]).tolist(),
            **({"two_parts": two_parts[name]} if name in two_parts else {}),
        }
        files |= _native(graph, name, run.file(f"native.{name}"))
    return described, files


def _recipe_of(card: dict[str, Any]) -> dict[str, Any]:
    """Return the objective that a student was trained on, for the device's report, without the files it names."""
    extra = card.get("extra") or {}
    kept = {key: extra[key] for key in ("recipe", "setup") if extra.get(key) is not None}
    if "setup" in kept:
        kept["setup"] = {key: value for key, value in kept["setup"].items() if key not in ("describe", "like")}
    return {"extra": kept} if kept else {}


def _check_fresh(run: RunFolder, config: RunConfig) -> None:
    done = ["data", "teacher", "distill", "export", *(["quantize"] if run.record("quantize") is not None else [])]
    require_fresh(run, config, "bundle", done)


def _fitting(run: RunFolder, target: str, tensorrt: str | None) -> tuple[dict[str, Path], list[str]]:
    """Return precision -> graph for those that the target supports, and why the others are left out."""
    fitting: dict[str, Path] = {}
    left_out = []
    for name, graph in graphs(run).items():
        errors = [finding for finding in lint(graph, target, tensorrt) if finding.level == "error"]
        if errors:
            left_out.append(f"{name}: {errors[0].what}")
        else:
            fitting[name] = graph
    if "fp32" not in fitting:
        raise GraphError(
            f"the FP32 graph does not fit {target}: {left_out[0] if left_out else 'there is none'}.",
            f"See: {command_line('check', run.path, '--platform', target)}",
        )
    return fitting, left_out


def _rows(
    run: RunFolder, config: RunConfig, dataset: Dataset, kind: str, most: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Return inputs [n, d], labels [n, o], and their rows in the run's table (None for synthetic ones).

    Inputs are rounded to float32, the type of an engine's inputs, which also halves the archive.
    """
    rng = np.random.default_rng(config.seed)
    if kind == "held-out":
        index = dataset.split.test
        if len(index) > most:
            index = np.sort(rng.choice(index, most, replace=False))
        return dataset.x[index].astype(np.float32).astype(np.float64), dataset.y[index], index
    from ..models import predict, teacher_for

    card = read_json_object(run.file("student", "model.json"), "Make the model again with --force.")
    scaler = Scalers.from_dict(card["scalers"]).x
    x = scaler.restore(rng.standard_normal((most, scaler.width))).astype(np.float32).astype(np.float64)
    teacher = teacher_for(config.teacher, dataset, run.file("teacher"))
    scalers = teacher.scalers or dataset.scalers()
    return x, predict(teacher.standardized(scalers), scalers, x), None


def _data_files(dataset: Dataset, x: np.ndarray, y: np.ndarray, kind: str) -> dict[str, bytes]:
    """Return data.npz and data.json for the run folder on the device, where every row is held out."""
    none = np.empty(0, np.int64)
    warnings = (
        ["The rows are synthetic and their labels are the teacher's outputs: errors are distances from the teacher."]
        if kind == "synthetic"
        else []
    )
    table = dataset.table
    names = {
        "format": 1,
        "held_out_only": True,
        "source": Path(table.source).name if kind == "held-out" else "synthetic rows",
        "rows": len(x),
        "feature_names": table.feature_names,
        "target_names": table.target_names,
        "warnings": warnings,
        "split": {"train": 0, "validation": 0, "test": len(x)},
        **({"input_shape": list(table.input_shape)} if table.input_shape is not None else {}),
    }
    if kind == "held-out":  # kinds and ranges of the training rows, which held-out rows do not show
        names["columns"] = dataset.columns.to_dict()
    arrays = _npz(x=x, y=np.asarray(y, dtype=np.float64), train=none, validation=none, test=np.arange(len(x)))
    return {"data.npz": arrays, "data.json": _json(names)}


def _native(graph: Path, name: str, beside: Path) -> dict[str, bytes]:
    """The native engine of a graph, which is the same on every machine; a device then needs no ONNX package."""
    backend = get_backend("native")
    if backend.refuses(graph) is not None:
        return {}
    with scratch_folder(beside) as work:
        manifest = backend.build(graph, work)
        same = dataclasses.replace(manifest, built="", seconds=0.0, machine={})
        folder = f"engines/native.{name}"
        return {
            f"{folder}/{manifest.engine}": Path(work, manifest.engine).read_bytes(),
            f"{folder}/{MANIFEST}": _json(same.to_dict()),
        }


def _without_paths(config: RunConfig) -> RunConfig:
    """Return the configuration without this machine's folders; words like "standard" are unchanged."""
    fields = {field: getattr(getattr(config, section), name) for field in PATHS for section, name in [field.split(".")]}
    return config.updated({field: Path(value).name for field, value in fields.items() if value})


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _npz(**arrays: np.ndarray) -> bytes:
    """Return an uncompressed NPZ (the archive is compressed as a whole); numpy writes no times into it."""
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()
