"""``state.json``: what each finished stage read and wrote, checked before any of it is believed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import RunFolderError
from ..io.files import write_json
from ..io.names import inside
from ..io.reading import read_json

__all__ = ["OUTPUTS", "STAGES", "may_write", "read_state", "write_state"]

#: The stages in their order; each reads what the ones before it wrote.
STAGES = ("data", "teacher", "distill", "export", "quantize", "build", "bench", "report")

#: What each stage may write, as patterns of a path relative to the run folder. A record that names anything else is
#: refused: what it names is hashed, and deleted when it is stale.
OUTPUTS = {
    "data": r"data\.(npz|json)|x\.npy",
    "teacher": r"teacher/[^/]+",
    "distill": r"(student|baseline)/[^/]+",
    "export": r"onnx/student\.fp32\.onnx",
    "quantize": r"onnx/student\.(?!fp32\.)[^/]+\.onnx",
    "build": r"engines/[^/]+",
    "bench": r"bench/[^/]+\.(json|npz)",
    "report": r"report\.(html|json)",
}

_FORMAT = 1


def may_write(stage: str, name: str) -> bool:
    """Return whether a path relative to the run folder is one of those that ``stage`` writes."""
    return stage in OUTPUTS and re.fullmatch(OUTPUTS[stage], name) is not None


def read_state(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the records of the stages, ``{stage: record}``; empty where there is no ``state.json``.

    Raises
    ------
    RunFolderError
        The file is corrupt, or names something that its stage never writes or that lies outside the folder.
    """
    path = folder / "state.json"
    remedy = f"Delete '{path}' to redo every stage, or start a new run folder."
    try:
        content = read_json(path, remedy)
    except FileNotFoundError:
        return {}
    if not isinstance(content, dict) or not isinstance(content.get("stages"), dict):
        raise RunFolderError(f"'{path}' is corrupt: it holds no stages.", remedy)
    if content.get("format") != _FORMAT:
        raise RunFolderError(
            f"'{path}' has format {content.get('format')!r}, expected {_FORMAT}.",
            "Use the version of regkd-edge that wrote it, or start a new run folder.",
        )
    for stage, record in content["stages"].items():
        if stage not in STAGES:
            raise RunFolderError(f"'{path}' is corrupt: there is no stage {stage[:40]!r}.", remedy)
        problem = _problem(record)
        if problem is not None:
            raise RunFolderError(f"'{path}' is corrupt: stage '{stage}' {problem}.", remedy)
        for name in record["outputs"]:
            inside(folder, name, f"stage '{stage}' of '{path}'", RunFolderError, remedy)
            if not may_write(stage, name):
                raise RunFolderError(f"'{path}' is corrupt: stage '{stage}' never writes '{name}'.", remedy)
    return content["stages"]


def _problem(record: Any) -> str | None:
    if not isinstance(record, dict) or not isinstance(record.get("outputs"), dict):
        return "names no outputs"
    if not all(isinstance(value, str) for value in record["outputs"].values()):
        return "has an output without a hash"
    parts = record.get("parts", {})
    if not isinstance(parts, dict) or not all(_is_part(part, record["outputs"]) for part in parts.values()):
        return "has a part that is not described"
    if record.get("fingerprint") is None:
        return None  # it was begun and not finished
    kinds = {"fingerprint": str, "machine": str, "summary": dict}
    for key, kind in kinds.items():
        if not isinstance(record.get(key, kind()), kind):
            return f"has the {key} {str(record[key])[:40]!r}, expected {'text' if kind is str else 'fields'}"
    if not isinstance(record.get("summary"), dict):
        return "has no summary"
    external = record["summary"].get("external", {})
    if not isinstance(external, dict):
        return "names no external files"
    return None


def _is_part(part: Any, outputs: dict[str, str]) -> bool:
    return (
        isinstance(part, dict)
        and isinstance(part.get("fingerprint"), (str, type(None)))
        and isinstance(part.get("summary"), dict)
        and isinstance(part.get("outputs"), list)
        and all(isinstance(name, str) and name in outputs for name in part["outputs"])
    )


def write_state(folder: Path, stages: Mapping[str, Any]) -> None:
    """Write ``state.json``, the stages in their order."""
    ordered = {stage: stages[stage] for stage in STAGES if stage in stages}
    write_json(folder / "state.json", {"format": _FORMAT, "stages": ordered})
