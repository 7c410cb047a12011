"""The engines of a bundle, built on the device."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from .. import api
from ..engines import available, get_backend
from ..engines.manifest import MANIFEST
from ..errors import GraphError, NotAvailable, RunFolderError, UserError
from ..io.files import write_json
from ..run import RunFolder

__all__ = ["build_here", "chosen_backends"]

_ORDER = ("tensorrt", "onnxruntime", "native")


def chosen_backends(asked: Sequence[str] | None) -> tuple[list[str], list[str]]:
    """Return the back ends to use, and why the others are not used."""
    missing = available()
    for name in asked or ():
        if name not in _ORDER:
            raise UserError(
                f"a bundle cannot be used with back end '{name}'.", f"Use one or more of: {', '.join(_ORDER)}."
            )
        get_backend(name).require()
    chosen = [name for name in _ORDER if name in (asked or _ORDER) and missing[name] is None]
    left_out = [f"{name}: {missing[name]}" for name in _ORDER if missing[name] is not None and not asked]
    if not chosen:
        raise NotAvailable(
            f"no back end can be used here: {'; '.join(left_out)}",
            "Install one of them. On a Jetson use the system's Python, which has tensorrt.",
        )
    return chosen, left_out


def build_here(run: RunFolder, content: dict[str, Any], backend: str, graph: str, threads: int) -> None:
    """Build the engine of one graph; the native one is a part of the bundle."""
    folder = run.file("engines", f"{backend}.{graph}")
    if backend == "native":  # part of the bundle: the same on every machine
        if f"engines/native.{graph}/{MANIFEST}" not in content["files"]:
            raise GraphError(f"the bundle has no native engine for the {graph} graph.", "Use another back end for it.")
        met = api.manifest_of(folder).backend
        if met != backend:  # else its file would be given to a runtime that nobody chose
            raise RunFolderError(
                f"the manifest of '{folder}' names the back end '{met}', expected '{backend}'.",
                "Do not use this bundle.",
            )
        return
    options: dict[str, Any] = {}
    if backend == "onnxruntime":
        options = {"threads": threads}
    if backend == "tensorrt":
        options = {**content["tensorrt_options"], "timing_cache": str(run.file("timing.cache"))}
    described = content["graphs"][graph]
    api.build(run.file(described["file"]), backend, path=folder, **options)
    manifest = api.manifest_of(folder)
    if manifest.precision == "unknown" and manifest.source_sha256 == described["sha256"]:
        # The graph cannot be read here without the onnx package; it was read where the bundle was made.
        write_json(folder / MANIFEST, dataclasses.replace(manifest, precision=described["precision"]).to_dict())
