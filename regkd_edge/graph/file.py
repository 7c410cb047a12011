"""A graph as an object: an ONNX file with its metadata."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Graph"]


@dataclass(eq=False)
class Graph(os.PathLike[str]):
    """An ONNX file that ``export`` or ``quantize`` wrote; accepted wherever a path is.

    Attributes
    ----------
    path : Path
        The file.
    summary : mapping
        JSON-able facts: ``precision``, and the counts and checks of the step that wrote it.
    feature_names, target_names : sequences of str
        Names of the inputs and outputs, if known.
    """

    path: Path
    summary: Mapping[str, Any] = field(default_factory=dict)
    feature_names: Sequence[str] = ()
    target_names: Sequence[str] = ()
    _folder: tempfile.TemporaryDirectory[str] | None = field(default=None, repr=False)  # holds an unnamed file

    @property
    def precision(self) -> str:
        """The precision of the graph: fp32, int8, ..."""
        return str(self.summary.get("precision", "unknown"))

    @property
    def size_bytes(self) -> int:
        """Size of the file."""
        return self.path.stat().st_size

    def save(self, path: str | Path) -> Graph:
        """Copy the file to ``path``, atomically, and return that graph."""
        from ..io.files import write_atomic

        with write_atomic(path) as temporary:
            shutil.copyfile(self.path, temporary)
        return Graph(Path(path), self.summary, self.feature_names, self.target_names)

    def __fspath__(self) -> str:
        return os.fspath(self.path)

    def __repr__(self) -> str:
        share = self.summary.get("share")
        done = f", multiply-adds {', '.join(f'{k} {v:.0%}' for k, v in share.items() if v)}" if share else ""
        targets = (self.summary.get("check") or {}).get("targets", [])
        change = ", ".join(f"{target['max_abs']:.3g} in {target['name']}" for target in targets)
        change = f", largest change {change}" if change else ""
        return f"Graph({self.path.name}: {self.precision}, {self.size_bytes:,} bytes{done}{change})"
