"""The common parts of all back ends: the protocol, and the checks of what they are given."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..errors import GraphError, NotAvailable, OptionError
from ..io.limits import ENGINE_BYTES
from ..io.regular import file_problem
from .manifest import Manifest

__all__ = ["Backend", "Runner", "checked_options", "checked_source", "require", "versions"]


class Runner(Protocol):
    """A loaded engine. It is also a context manager that closes itself.

    Some have optional members, which the measurement looks up: ``gpu_nanoseconds(x)``, the GPU's own time of a request;
    ``cpp_nanoseconds(rows, batch, samples, warmup)``, the times of requests in a loop in C++.
    """

    manifest: Manifest

    def infer(
        self,
        x: np.ndarray,  # [b, d] float32, C-contiguous, raw units
    ) -> np.ndarray:  # [b, o] float32, raw units
        """Run one request and return when the outputs are in host memory."""
        ...

    def close(self) -> None:
        """Free the engine's resources."""
        ...

    def __enter__(self) -> Runner: ...

    def __exit__(self, *exc: object) -> None: ...


class Backend(Protocol):
    """A back end. Some have optional members, which callers look up:

    ``refuses(onnx_path) -> str | None``
        Why this graph cannot become an engine, or None.
    ``cannot_run() -> str | None``
        Why an engine that can be built here cannot be run here, or None.
    ``variants(manifest) -> dict``
        Other ways to run an engine that are worth timing: name -> what :meth:`load` takes.
    ``plainer(options) -> iterator of dict``
        Options of further builds, each with fewer optimizations than the one before it: what is tried when an engine
        does not answer as its graph.
    """

    name: str

    def missing(self) -> str | None:
        """Return why the back end cannot be used on this machine, or None. Loads no runtime, uses no device."""
        ...

    def require(self) -> None:
        """Raise :class:`NotAvailable` with the cause that :meth:`missing` gives."""
        ...

    def build(self, onnx_path: str | Path, folder: str | Path, options: Mapping[str, Any] | None = None) -> Manifest:
        """Build an engine from a graph; write the engine file and ``manifest.json`` into ``folder``."""
        ...

    def load(self, folder: str | Path, threads: int | None = None) -> Runner:
        """Load the engine of a folder after checking its hash."""
        ...


def require(backend: Backend) -> None:
    """Raise :class:`NotAvailable` if a back end cannot be used here."""
    reason = backend.missing()
    if reason is not None:
        raise NotAvailable(
            f"back end '{backend.name}' cannot be used here: {reason}",
            "Choose a back end that 'regkd-edge doctor' lists as ready, or install what is missing.",
        )


def checked_source(onnx_path: str | Path) -> Path:
    """Return the path of an existing ONNX file."""
    path = Path(onnx_path)
    if not path.exists():
        raise GraphError(f"no ONNX file '{path}'.", "Run 'distill' and 'quantize' first: they write the graphs.")
    problem = file_problem(path, ENGINE_BYTES)
    if problem is not None:
        raise GraphError(f"'{path}' cannot be read: {problem}.", "Give a readable ONNX file.")
    return path


def checked_options(backend: str, options: Mapping[str, Any] | None, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Merge ``options`` into ``defaults``; an option that the back end lacks is a :class:`OptionError`."""
    unknown = sorted(set(options or {}) - set(defaults))
    if unknown:
        raise OptionError(f"back end '{backend}' has no option '{unknown[0]}'.", f"It has: {', '.join(defaults)}.")
    return {**defaults, **(options or {})}


def versions(*packages: str) -> dict[str, str]:
    """Return the installed versions of packages, without importing them; absent ones are left out."""
    found = {}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            if package == "regkd-edge":  # run from the sources
                from .. import __version__

                found[package] = __version__
    return found
