"""Check of graphs for a target: our own lint, and NVIDIA's parser and builder if ``tensorrt-rtx`` is installed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..config.platforms import get_platform
from ..errors import GraphError
from .lint import Finding, lint

__all__ = ["Checked", "check_graphs"]


@dataclass
class Checked:
    """Result of the check.

    Attributes
    ----------
    rows : list of {graph, computes in, level, node, what, remedy}
        One per finding; a graph without findings has one of level "fits".
    notes : list of str
        How the graphs were checked, and what that does not prove.
    refused : bool
        Whether a graph would be refused.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    refused: bool = False


def check_graphs(graphs: Mapping[str, Path], target: str, tensorrt: str | None = None) -> Checked:
    """Check graphs (name -> file) for a target; ``tensorrt`` is the device's version, else the oldest it ships with."""
    device = get_platform(target)
    version = ".".join(map(str, device.version(tensorrt)))
    checked = Checked(notes=[f"checked by rules for TensorRT {version} on {device.what}"])
    asked = _asked(device.stand_in, checked.notes)
    for name, path in graphs.items():
        findings = lint(path, target, tensorrt)
        if asked is not None and not any(finding.level == "error" for finding in findings):
            refusal = asked(path)
            if refusal is not None:
                findings.append(Finding("error", "", refusal, "change the layer it names"))
        checked.refused |= any(finding.level == "error" for finding in findings)
        label = _label(path)
        for finding in findings or [Finding("fits", "", "nothing would be refused", "")]:
            checked.rows.append({"graph": name, "computes in": label, **finding.to_dict()})
    return checked


def _asked(stand_in: str, notes: list[str]) -> Any:
    """Return a function path -> what tensorrt-rtx refuses about it, or None without the package."""
    from .rtx import BACKEND, _import, compile_plan

    missing = BACKEND.missing()
    if missing is not None:
        notes.append(f"NVIDIA's own parser was not used: {missing}")
        return None
    trt = _import()
    notes.append(
        f"and by NVIDIA's parser and builder (tensorrt-rtx {trt.__version__}), compiled for sm_{stand_in}; "
        "this does not prove that kernels exist or how fast they are on the device"
    )

    def ask(path: Path) -> str | None:
        chosen = {"architectures": [stand_in], "min_batch": None, "opt_batch": None, "max_batch": None, "tf32": False}
        try:
            compile_plan(trt, Path(path), chosen)
        except GraphError as error:
            return error.cause
        return None

    return ask


def _label(path: Path) -> str:
    from ..graph.precision import graph_precision

    try:
        return graph_precision(path).label
    except GraphError:
        return "unknown"
