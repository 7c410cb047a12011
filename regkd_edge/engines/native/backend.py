"""The native back end: students in C++ without dependencies (csrc/runtime), in fp32 and int8.

The engine file holds the operations of the graph in order and is the same on every machine: packing for the
processor's instruction set happens when it is loaded. The same file is run by the C++ library and ``regkd-run`` on a
device without Python, and :func:`write_c_header` turns it into C for a device without an operating system.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import DataError, GraphError, NotAvailable, UserError
from ...io.files import write_atomic
from ...io.limits import ENGINE_BYTES
from ...io.regular import read_bytes
from .. import base
from ..base import checked_options, checked_source, versions
from ..host import cpu_model
from ..manifest import MANIFEST, Manifest, load_checked, seal
from .file import from_bytes, to_bytes
from .header import header_of
from .operations import Program

__all__ = ["BACKEND", "NativeBackend", "NativeRunner", "write_c_header"]

_FILE = "engine.rkdn"


class NativeRunner:
    """A loaded engine. Its arrays are checked, never converted, and its inputs must be finite."""

    def __init__(self, engine: Any, manifest: Manifest):
        self.manifest = manifest
        self.level: str = engine.level  # the instruction set in use
        self._engine = engine
        self._infer = engine.infer
        self._shape = manifest.input_shape  # of a row that is an image or a signal

    def infer(
        self,
        x: np.ndarray,  # [b, d] or [b, *input_shape] float32, C-contiguous
    ) -> np.ndarray:  # [b, o] float32
        """Run one request. A wrong shape or type, or a value that is not finite, is a :class:`DataError`."""
        try:
            if self._shape is not None and getattr(x, "shape", ())[1:] == self._shape:
                x = x.reshape(len(x), -1)
            return self._infer(x)
        except (TypeError, ValueError) as error:
            raise self._explain(x, error) from None

    def cpp_nanoseconds(
        self,
        rows: np.ndarray,  # [n, d] float32
        batch: int,
        samples: int,
        warmup: int,
    ) -> np.ndarray:  # int64 [samples]
        """Nanoseconds of single requests in a loop in C++: what an application in C++ waits for."""
        raw, _ = self._engine.time(np.ascontiguousarray(rows.reshape(len(rows), -1)), batch, samples, warmup)
        return raw

    def _explain(self, x: Any, error: Exception) -> Exception:
        if self._engine is None:
            return UserError("the engine was closed.", "Load it again.")
        if (
            isinstance(x, np.ndarray)
            and x.dtype == np.float32
            and x.shape[1:] == (self._engine.inputs,)
            and x.flags.c_contiguous
        ):
            return DataError(str(error), "Drop or fix rows that are not finite.")
        met = f"{getattr(x, 'dtype', type(x).__name__)} {list(getattr(x, 'shape', []))}"
        return DataError(
            f"the engine takes float32 [batch, {self._engine.inputs}], C-contiguous, got {met}.",
            "Give rows of that shape and type.",
        )

    def close(self) -> None:
        self._engine = self._infer = None

    def __enter__(self) -> NativeRunner:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class NativeBackend:
    """The back end ``native``; see the module docstring."""

    name = "native"

    def missing(self) -> str | None:
        try:
            from ... import _runtime  # noqa: F401
        except ImportError as error:
            return f"the extension regkd_edge._runtime cannot be imported: {error}"
        return None

    def require(self) -> None:
        base.require(self)

    def refuses(self, onnx_path: str | Path) -> str | None:
        from ...graph.precision import graph_precision

        source = checked_source(onnx_path)
        try:
            _program(source)
        except GraphError as error:
            parts = set(graph_precision(source).label.split("+")) - {"fp32", "int8"}
            if not parts:
                return error.cause
            return f"the native back end runs fp32 and int8 graphs, and '{source.name}' is {'+'.join(sorted(parts))}"
        return None

    def build(self, onnx_path: str | Path, folder: str | Path, options: Mapping[str, Any] | None = None) -> Manifest:
        """Write the operations of a graph into an engine file; needs the onnx package, on any machine.

        Parameters
        ----------
        onnx_path : path
            A graph of ``export`` (fp32) or ``quantize`` (int8, or mixed with fp32).
        folder : path
            Gets ``engine.rkdn`` and ``manifest.json``.
        options : mapping
            ``c_header``: also write ``NAME.h`` into the folder (:func:`write_c_header`), of that name and prefix.

        Raises
        ------
        GraphError
            The graph has a node that the back end does not support; the message names it.
        """
        started = time.perf_counter()
        source = checked_source(onnx_path)
        name = checked_options(self.name, options, {"c_header": None})["c_header"]
        if name is not None:
            header_of(
                Program(0, 0, []), name, ""
            )  # refuse a name that is not a C identifier before anything is written
        program = _program(source)
        Path(folder, MANIFEST).unlink(missing_ok=True)  # while it is built, no manifest vouches for the old file
        with write_atomic(Path(folder, _FILE)) as temporary:
            Path(temporary).write_bytes(to_bytes(program))
        from ...graph.graph import load_graph, row_shape
        from ...graph.precision import graph_precision

        precision, executed = graph_precision(source).label, program.share()
        manifest = seal(
            folder,
            _FILE,
            source,
            backend=self.name,
            precision=precision,
            batch=None,
            max_batch=None,
            inputs=[{"name": "x", "shape": ["batch", *row_shape(load_graph(source))], "dtype": "float"}],
            outputs=[{"name": "y", "shape": ["batch", program.outputs], "dtype": "float"}],
            executed=executed,
            versions=versions("numpy", "onnx", "regkd-edge"),
            machine={"cpu": cpu_model()},
            notes=[]
            if "+".join(executed) == precision
            else [f"the graph is {precision}, and the native back end computes it in {'+'.join(executed)}"],
            seconds=round(time.perf_counter() - started, 6),
        )
        for old in Path(folder).glob("*.h"):
            old.unlink()
        if name is not None:
            write_c_header(folder, Path(folder, f"{name}.h"), prefix=name)
        return manifest

    def load(self, folder: str | Path, threads: int | None = None, level: str | None = None) -> NativeRunner:
        """Load the engine file of a folder after checking its hash.

        ``threads`` is ignored: one thread serves a request to such a small network. ``level`` names an
        instruction set ("sse2", "avx2", "avx512", "avx512-vnni", "neon", "neon-dotprod"); the best one by default.
        """
        manifest, content = load_checked(folder, self.name)
        return NativeRunner(_load(content, level), manifest)


def write_c_header(
    engine: str | Path,
    path: str | Path,
    *,
    prefix: str = "regkd",
) -> Path:
    """Write an engine as one C99 header for a device without an operating system: no heap, no dependency but libm.

    Parameters
    ----------
    engine : path
        Folder of a native engine, or its file.
    path : path
        The header to write.
    prefix : str
        Prefix of every name in it: ``<prefix>_infer(const float x[], float y[])`` answers one row.
    """
    engine = Path(engine)
    if engine.is_dir():
        manifest, content = load_checked(engine, BACKEND.name)
        origin = f"{manifest.source}, SHA-256 {manifest.source_sha256}"
    elif engine.exists():
        try:
            content, origin = read_bytes(engine, ENGINE_BYTES), engine.name
        except OSError as error:
            raise GraphError(f"'{engine}' cannot be read: {error.strerror or error}.", "Build it again.") from None
    else:
        raise GraphError(f"no engine '{engine}'.", "Build it first: regkd-edge build RUN --backend native.")
    text = header_of(from_bytes(content), prefix, origin)
    path = Path(path)
    with write_atomic(path) as temporary:
        Path(temporary).write_text(text, encoding="utf-8")
    return path


def _program(source: Path) -> Program:
    from .program import program_of

    return program_of(source)


def _load(content: bytes, level: str | None) -> Any:
    try:
        from ... import _runtime
    except ImportError as error:
        raise NotAvailable(
            f"the extension regkd_edge._runtime cannot be imported: {error}.",
            "Reinstall the package on a machine with a C++ compiler.",
        ) from None
    try:
        return _runtime.Engine(content, level)
    except ValueError as error:
        raise GraphError(
            f"the engine cannot be loaded: {error}", "Build the engine again: regkd-edge build RUN --force."
        ) from None


BACKEND = NativeBackend()
