"""What the report shows beside the errors: training curves, the race, layer errors, memory, and the files to take away.

Everything is read from JSON and from engine files whose hash is checked; what was not made is absent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..engines.manifest import load_checked
from ..errors import GraphError, NotAvailable, RunFolderError
from ..graph.chain import read_chain
from ..graph.precision import graph_precision
from ..io.command import command_line
from ..io.reading import read_json
from ..recipes.terms import TERMS
from ..run import RunFolder

__all__ = ["DeviceNeeds", "Evidence", "evidence_of", "relative_path"]

_PER_TARGET = "target_rmse"


@dataclass(frozen=True)
class DeviceNeeds:
    """What an engine needs on a device; None where it is not known.

    Attributes
    ----------
    multiply_adds : int, per row
    flash_bytes, stack_bytes : int
        Constants and working memory of the native engine and its C header.
    """

    multiply_adds: int | None = None
    flash_bytes: int | None = None
    stack_bytes: int | None = None


@dataclass
class Evidence:
    """The result of :func:`evidence_of`.

    Attributes
    ----------
    histories : dict
        Model -> list of ``step``, losses by term, ``validation_rmse`` (pooled) and ``target_rmse`` (a list, of each
        target in its unit; runs of earlier versions lack it).
    race : dict or None
        The record of the race that chose the recipe.
    layers : dict
        Precision -> what the quantization of each layer alone changes (``all``, ``parts``, ``layers``), in percent of
        the standard deviation of the output.
    costs : dict
        Engine -> :class:`DeviceNeeds`.
    files : list of (str, str)
        What it is, and its path relative to the run folder.
    rankable : bool
        Whether ``quantize --rank-layers`` can rank the layers of this student.
    """

    histories: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    race: dict[str, Any] | None = None
    layers: dict[str, dict[str, Any]] = field(default_factory=dict)
    costs: dict[str, DeviceNeeds] = field(default_factory=dict)
    files: list[tuple[str, str]] = field(default_factory=list)
    rankable: bool = False


def evidence_of(run: RunFolder, stages: Mapping[str, Any], benches: Mapping[str, Mapping[str, Any]]) -> Evidence:
    """Read it from a run folder; ``stages`` is its state, ``benches`` the records of the engines shown.

    Raises
    ------
    RunFolderError
        A damaged file, by its name.
    """
    graphs = {
        graph["precision"]: graph
        for graph in summary_of(stages, "quantize").get("graphs", ())
        if isinstance(graph, dict) and isinstance(graph.get("precision"), str)
    }
    layers = {name: graph["sensitivity"] for name, graph in graphs.items() if _has_layers(graph.get("sensitivity"))}
    student = summary_of(stages, "distill").get("student")
    race = student.get("race") if isinstance(student, dict) else None
    return Evidence(
        {name: history for name in ("teacher", "baseline", "student") if (history := _history(run, name))},
        race if isinstance(race, dict) and race.get("candidates") else None,
        layers,
        {name: _cost(run, name, bench, graphs) for name, bench in benches.items()},
        _files(run),
        _rankable(run),
    )


def summary_of(stages: Mapping[str, Any], stage: str) -> dict[str, Any]:
    """Return what a stage has kept; nothing of a record that was edited."""
    found = (stages.get(stage) or {}).get("summary")
    return found if isinstance(found, dict) else {}


def _has_layers(found: Any) -> bool:
    return (
        isinstance(found, dict)
        and isinstance(found.get("layers"), list)
        and all(isinstance(one, dict) and {"name", "precision", "change"} <= set(one) for one in found["layers"])
    )


def _history(run: RunFolder, name: str) -> list[dict[str, Any]]:
    path = run.file(name, "history.json")
    command = "train-teacher" if name == "teacher" else "distill"
    remedy = f"Create it again: {command_line(command, run.path, '--force')}"
    if not path.is_file():
        return []
    content = read_json(path, remedy)
    if not isinstance(content, list) or not all(isinstance(entry, dict) and "step" in entry for entry in content):
        raise RunFolderError(f"'{path}' is corrupt: expected a list of entries with a step.", remedy)
    known = ("step", "total", "base", *TERMS, "validation_rmse")
    kept = [{key: entry[key] for key in known if _is_number(entry.get(key))} for entry in content]
    for entry, given in zip(kept, content):
        values = given.get(_PER_TARGET)
        if isinstance(values, list) and all(map(_is_number, values)):
            entry[_PER_TARGET] = values
    return [entry for entry in kept if "step" in entry]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e300


def _cost(run: RunFolder, name: str, bench: Mapping[str, Any], graphs: Mapping[str, Mapping[str, Any]]) -> DeviceNeeds:
    if bench["backend"] == "native":
        from ..engines.native.file import from_bytes

        program = from_bytes(load_checked(run.file("engines", name), "native")[1])
        return DeviceNeeds(program.multiply_adds, program.constant_bytes, program.stack_bytes)
    layers = graphs.get(bench["precision"], {}).get("layers")
    if not isinstance(layers, list):
        try:
            own = graph_precision(run.file("onnx", f"student.{name.partition('.')[2]}.onnx"))
            return DeviceNeeds(sum(layer.multiply_adds for layer in own.layers))
        except (GraphError, NotAvailable, OSError):  # without the onnx package, or without the graph
            # Another graph of the same student has the same layers, but for INT8 numbers in two parts: more products.
            plain = (graph.get("layers") for graph in graphs.values() if not graph.get("two_parts"))
            layers = next((found for found in plain if isinstance(found, list)), None)
    return DeviceNeeds(None if layers is None else sum(int(layer["multiply_adds"]) for layer in layers))


def _rankable(run: RunFolder) -> bool:
    """Whether the student's graph is a chain of dense layers; False without the onnx package, or without the graph."""
    try:
        return not isinstance(read_chain(run.file("onnx", "student.fp32.onnx")), str)
    except (GraphError, NotAvailable, OSError):
        return False


def _files(run: RunFolder) -> list[tuple[str, str]]:
    """Return the files to take away, found by their places, so that no name in a file can lead elsewhere."""
    patterns = (
        ("ONNX graph", "onnx/student.*.onnx"),
        ("engine", "engines/*/engine.*"),
        ("C header", "engines/*/*.h"),
        ("table and split", "data.npz"),
        ("names of the columns", "data.json"),
        ("configuration", "run.yaml"),
        ("log", "run.log"),
    )
    found = [
        (what, path.relative_to(run.path).as_posix())
        for what, pattern in patterns
        for path in sorted(run.path.glob(pattern))
        if path.is_file() and not path.is_symlink()
    ]
    return [*found, ("all figures of this page", "report.json")]  # written beside the page


def relative_path(path: str | Path) -> str:
    """Return a path as a link inside the folder of the page."""
    return "./" + quote(str(path))
