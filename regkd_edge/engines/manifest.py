"""The manifest of an engine: what its file is, what it was built from, and what was measured of it."""

from __future__ import annotations

import dataclasses
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict  # pydantic needs that of Python 3.12

from ..errors import RunFolderError
from ..io.files import file_hash, write_json
from ..io.limits import ENGINE_BYTES
from ..io.names import inside, plain_name
from ..io.reading import read_json
from ..io.regular import read_bytes

__all__ = ["MANIFEST", "Manifest", "load_checked", "read_manifest", "seal"]

MANIFEST = "manifest.json"
_FORMAT = 1


class Port(TypedDict):
    """An input or output of an engine: ``shape`` is [batch, columns], or [batch, *shape] for images and signals, where
    a name stands for any size."""

    name: str
    shape: Annotated[list[int | str], Field(min_length=1)]
    dtype: str


@dataclass(frozen=True)
class Manifest:
    """Description of an engine file and its origin.

    Attributes
    ----------
    backend, precision : str
        The back end that runs it; the precision of its graph (``"int8"``, ``"int8+fp32"``, ...), or ``"unknown"`` if it
        could not be read.
    engine, engine_sha256, size_bytes
        The file beside the manifest, its hash and its size.
    source, source_sha256
        The ONNX graph it was built from.
    batch : int or None
        The only batch size it supports, or None if it supports any.
    max_batch : int or None
        The largest batch size it supports, or None without a limit.
    inputs, outputs : list of {name, shape, dtype}
    executed : dict of str to float, or None
        Share of the multiply-adds by the precision in which they are computed, read from the engine; None when it could
        not be read.
    verified : dict or None
        Its comparison with the graph (:class:`regkd_edge.engines.verify.Verified`); None when it was not compared.
    options, versions, machine, notes, built, seconds
        The requested options, library versions, machine, remarks, time (UTC) and duration of the build.
    feature_names, target_names : lists of str
        Of the inputs and outputs in their order; empty where they are not known.
    """

    backend: str
    precision: str
    engine: str
    engine_sha256: str
    size_bytes: int
    source: str
    source_sha256: str
    batch: int | None
    max_batch: int | None
    inputs: Annotated[list[Port], Field(min_length=1)]
    outputs: Annotated[list[Port], Field(min_length=1)]
    executed: dict[str, float] | None
    options: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    built: str = ""
    seconds: float = 0.0
    verified: dict[str, Any] | None = None
    feature_names: list[str] = field(default_factory=list)
    target_names: list[str] = field(default_factory=list)

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Shape of one row: (d,), or that of an image or a signal."""
        return tuple(int(n) for n in self.inputs[0]["shape"][1:])

    @property
    def d(self) -> int:
        """Number of inputs."""
        return math.prod(self.row_shape)

    @property
    def o(self) -> int:
        """Number of outputs."""
        return int(self.outputs[0]["shape"][1])

    @property
    def input_shape(self) -> tuple[int, ...] | None:
        """Shape of a row that is an image or a signal, or None."""
        return self.row_shape if len(self.row_shape) > 1 else None

    def to_dict(self) -> dict[str, Any]:
        return {"format": _FORMAT, **dataclasses.asdict(self)}


def read_manifest(folder: str | Path) -> Manifest:
    """Read the manifest of an engine folder; a missing, corrupt or foreign one is a :class:`RunFolderError`."""
    path = Path(folder, MANIFEST)
    remedy = "Build the engine again: regkd-edge build RUN --force."
    try:
        content = read_json(path, remedy)
    except FileNotFoundError:
        raise RunFolderError(f"'{folder}' holds no engine: it has no {MANIFEST}.", remedy) from None
    fields = {f.name: f for f in dataclasses.fields(Manifest)}
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        met = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise RunFolderError(f"'{path}' has format {met!r}, expected {_FORMAT}.", remedy)
    needed = {
        name
        for name, f in fields.items()
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    }
    absent = sorted(needed - content.keys())
    if absent:
        raise RunFolderError(f"'{path}' lacks {', '.join(absent)}.", remedy)
    try:
        manifest = TypeAdapter(Manifest).validate_python({name: content[name] for name in fields if name in content})
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(str(part)[:40] for part in problem["loc"])
        raise RunFolderError(f"'{path}' is corrupt: {place}: {problem['msg']}.", remedy) from None
    if not plain_name(manifest.engine):
        raise RunFolderError(
            f"'{path}' names the engine {manifest.engine!r}, expected a file of its own folder.", remedy
        )
    return manifest


def load_checked(folder: str | Path, backend: str) -> tuple[Manifest, bytes]:
    """Return the manifest and bytes of an engine after checking the hash against the manifest.

    The bytes that were hashed are the bytes that are loaded, so no one can change the file in between.
    """
    import hashlib

    manifest = read_manifest(folder)
    if manifest.backend != backend:
        raise RunFolderError(
            f"'{folder}' holds an engine of '{manifest.backend}', not of '{backend}'.",
            "Load it with the back end that built it.",
        )
    path = Path(folder, manifest.engine)
    try:
        content = read_bytes(inside(folder, manifest.engine, f"{MANIFEST} of '{folder}'"), ENGINE_BYTES)
    except OSError as error:
        raise RunFolderError(
            f"'{path}' cannot be read: {error.strerror or error}.",
            "Build the engine again: regkd-edge build RUN --force.",
        ) from None
    met = hashlib.sha256(content).hexdigest()
    if met != manifest.engine_sha256:
        raise RunFolderError(
            f"'{path}' is not the file that was built: its SHA-256 starts with {met[:12]}, and the manifest has "
            f"{str(manifest.engine_sha256)[:12]}.",
            "Build the engine again: regkd-edge build RUN --force.",
        )
    return manifest, content


def seal(folder: str | Path, engine: str, source: str | Path, **fields: Any) -> Manifest:
    """Hash the finished engine file and write its manifest last: an engine without one is invalid."""
    path = Path(folder, engine)
    manifest = Manifest(
        engine=engine,
        engine_sha256=file_hash(path),
        size_bytes=path.stat().st_size,
        source=Path(source).name,
        source_sha256=file_hash(source),
        built=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        **fields,
    )
    write_json(Path(folder, MANIFEST), manifest.to_dict())
    return manifest
