"""What a file or folder is, and what is in it: engine, graph, bundle, model, run, or data. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from .data.facts import facts_of_data, holds_data
from .engines.manifest import MANIFEST, load_checked, read_manifest
from .errors import GraphError, UserError
from .io.reading import read_json
from .io.text import per_target

__all__ = ["inspect"]

_KNOWN = (
    "a run folder, an engine folder, a folder with model.json, an ONNX graph, a bundle, a native engine file, or data "
    "that --data takes"
)


def inspect(path: str | Path) -> tuple[str, dict[str, Any]]:
    """Return the kind of an artefact, and facts about it in the order in which they are worth reading.

    Nothing is run: an engine's hash is compared with its manifest, a graph is read, a bundle's hashes are checked.

    Raises
    ------
    UserError
        No such path, none of our artefacts, or one that is damaged.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"no file or folder '{path}'.", f"Give {_KNOWN}.")
    for fits, read in _READERS:
        if fits(path):
            return read(path)
    raise UserError(f"'{path}' is nothing that regkd-edge writes.", f"Give {_KNOWN}.")


def _run(path: Path) -> tuple[str, dict[str, Any]]:
    from .run import STAGES, RunFolder

    run = RunFolder.open(path)
    config = run.config()
    done = {stage: run.record(stage) for stage in STAGES}
    return "run", {
        "data": config.data.data or "described inputs",
        "targets": ", ".join(config.data.target) or "those of the source",
        "teacher": config.teacher.from_run or config.teacher.factory or config.teacher.teacher,
        "student": config.distill.student,
        "finished": ", ".join(f"{stage} ({record['finished']})" for stage, record in done.items() if record)
        or "nothing",
    }


def _engine(path: Path) -> tuple[str, dict[str, Any]]:
    manifest = read_manifest(path)
    load_checked(path, manifest.backend)
    facts = {
        "back end": manifest.backend,
        "precision": manifest.precision,
        "executed": _share(manifest.executed),
        "inputs": _ends(manifest.inputs, manifest.feature_names),
        "outputs": _ends(manifest.outputs, manifest.target_names),
        "batch": "any" if manifest.batch is None else manifest.batch,
        "file": f"{manifest.engine}, {manifest.size_bytes:,} bytes, SHA-256 {manifest.engine_sha256} (checked)",
        "graph": f"{manifest.source}, SHA-256 {manifest.source_sha256}",
        "built": manifest.built,
        "versions": ", ".join(f"{name} {version}" for name, version in manifest.versions.items()),
        "options": ", ".join(f"{name} {value}" for name, value in manifest.options.items()) or "none",
        "notes": "; ".join(manifest.notes) or "none",
    }
    return "engine", facts


def _graph(path: Path) -> tuple[str, dict[str, Any]]:
    try:
        import onnx
    except ImportError:
        raise UserError("the onnx package is not installed.", "Run: pip install onnx.") from None
    from .graph.graph import load_graph
    from .graph.precision import graph_precision

    model = load_graph(path)
    counted: dict[str, Any]
    try:
        found = graph_precision(path)
        counted = {
            "precision": found.label,
            "layers": ", ".join(f"{layer.name} ({layer.precision})" for layer in found.layers),
            "multiply-adds": f"{sum(layer.multiply_adds for layer in found.layers):,} per row ({_share(found.share)})",
            "Q/DQ pairs": found.pairs,
        }
    except GraphError as error:
        counted = {"precision": f"unknown: {error.cause}"}
    kinds = onnx.TensorProto.DataType
    return "graph", {
        **counted,
        "inputs": ", ".join(_value(v, kinds) for v in model.graph.input),
        "outputs": ", ".join(_value(v, kinds) for v in model.graph.output),
        "opset": ", ".join(f"{o.domain or 'ai.onnx'} {o.version}" for o in model.opset_import),
        "bytes": path.stat().st_size,
        **{entry.key: entry.value for entry in model.metadata_props},
    }


def _model(path: Path) -> tuple[str, dict[str, Any]]:
    card = read_json(path / "model.json", "Make the model again with --force.")
    extra = card.get("extra") or {}
    return "model", {
        "network": card.get("spec"),
        "inputs": f"{card.get('d', 'unknown')} ({', '.join((extra.get('feature_names') or [])[:12])})",
        "outputs": f"{card.get('o', 'unknown')} ({', '.join(extra.get('target_names') or [])})",
        "parameters": card.get("parameters"),
        "source": extra.get("source"),
        "weights": f"SHA-256 {card.get('weights_sha256')}",
        **({"validation RMSE": said} if (said := _validation(extra)) else {}),
        **{key.replace("_", " "): extra[key] for key in ("best_step", "steps", "train_rows") if key in extra},
    }


def _validation(extra: dict[str, Any]) -> str:
    """The RMSE on the validation rows, of each target in its unit, and pooled."""
    names, pooled, own = (extra.get(key) for key in ("target_names", "validation_rmse", "target_rmse"))
    if not isinstance(pooled, (int, float)):
        return ""
    return per_target(own or ([pooled] if len(names or ()) == 1 else []), names or [], pooled)


def _bundle(path: Path) -> tuple[str, dict[str, Any]]:
    from .bundle.archive import read_archive

    content, files = read_archive(path)
    plain = {key: value for key, value in content.items() if isinstance(value, (str, int, float))}
    return "bundle", {
        **plain,
        "graphs": ", ".join(content.get("graphs", {})),
        "files": f"{len(files)} (hashes checked)",
        "bytes": path.stat().st_size,
    }


def _native_file(path: Path) -> tuple[str, dict[str, Any]]:
    from .engines.native.file import from_bytes

    program = from_bytes(path.read_bytes())
    return "native engine", {
        "operations": len(program.operations),
        "bytes": path.stat().st_size,
    }


_READERS: list[tuple[Callable[[Path], bool], Callable[[Path], tuple[str, dict[str, Any]]]]] = [
    (lambda p: (p / MANIFEST).is_file(), _engine),
    (lambda p: (p / "run.yaml").is_file(), _run),
    (lambda p: (p / "model.json").is_file(), _model),
    (lambda p: p.is_file() and p.suffix == ".onnx", _graph),
    (lambda p: p.is_file() and p.name.endswith((".tar.gz", ".tgz")), _bundle),
    (lambda p: p.is_file() and p.suffix == ".rkdn", _native_file),
    (holds_data, facts_of_data),
]


def _share(share: dict[str, float] | None) -> str:
    if share is None:
        return "not read"
    return ", ".join(f"{name} {value:.0%}" for name, value in share.items() if value)


def _ends(ends: list[dict[str, Any]], names: list[str]) -> str:
    shapes = ", ".join(f"{e['name']} {e['shape']} {e['dtype']}" for e in ends)
    return f"{shapes} ({', '.join(names[:12])}{', ...' if len(names) > 12 else ''})" if names else shapes


def _value(value: Any, kinds: Any) -> str:
    tensor = value.type.tensor_type
    shape = " x ".join(str(d.dim_value or d.dim_param or "?") for d in tensor.shape.dim)
    return f"{value.name} {shape} {kinds.Name(tensor.elem_type).lower()}"
