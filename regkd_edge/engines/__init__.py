"""Engines: graphs built for one machine, and how they run there.

A back end is one file with two functions, :meth:`Backend.build` and :meth:`Backend.load`. Nothing here probes a
device or imports a runtime before it is used.
"""

from __future__ import annotations

import difflib
import importlib
from pathlib import Path
from typing import Any

from ..errors import OptionError
from .base import Backend, Runner
from .manifest import Manifest, read_manifest

__all__ = ["BACKENDS", "Backend", "Manifest", "Runner", "available", "get_backend", "load_runner", "read_manifest"]

# Back end -> the module beside this file that holds its BACKEND.
BACKENDS = {"onnxruntime": "onnxruntime", "tensorrt": "tensorrt", "native": "native", "tensorrt-rtx": "rtx"}


def get_backend(backend: str) -> Backend:
    """Return the back end of that name; an unknown one is a :class:`OptionError`."""
    if backend not in BACKENDS:
        near = difflib.get_close_matches(str(backend), BACKENDS, n=1)
        meant = f" (did you mean '{near[0]}'?)" if near else ""
        raise OptionError(f"unknown back end '{backend}'{meant}.", f"Use one of: {', '.join(BACKENDS)}.")
    return importlib.import_module(f"{__name__}.{BACKENDS[backend]}").BACKEND


def available() -> dict[str, str | None]:
    """Return back end -> None if it can build and run here, else the reason why not."""
    return {backend: get_backend(backend).missing() for backend in BACKENDS}


def load_runner(folder: str | Path, threads: int | None = None, **settings: Any) -> Runner:
    """Load the engine of a folder with the back end that its manifest names.

    Parameters
    ----------
    folder : path
        Where ``build`` wrote ``manifest.json`` and the engine.
    threads : int, optional
        Threads per request, for back ends on the CPU; by default the manifest's number.
    settings
        Further arguments of the back end's own ``load``, e.g. ``cuda_graph`` of ``tensorrt``.

    Raises
    ------
    RunFolderError
        Missing or corrupt manifest, or an engine file that is not the one the manifest describes.
    NotAvailable
        The runtime or the device is not on this machine.
    """
    return get_backend(read_manifest(folder).backend).load(Path(folder), threads, **settings)
