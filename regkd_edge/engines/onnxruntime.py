"""ONNX Runtime on the CPU: the default back end, and the one that runs on every machine.

The engine file is the graph as ONNX Runtime optimised it on this machine, saved, and loaded again with optimisation
off. So the file in the folder *is* what runs: its operators can be read and counted, its size is what is
deployed, a later version of the optimiser cannot change what was measured, and loading is faster. The price: the file
is specific to this ONNX Runtime and this kind of CPU; another machine builds its own from the same graph.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError, GraphError, NotAvailable, UserError
from ..io.files import write_atomic
from .base import checked_options, checked_source, require, versions
from .host import cpu_model
from .manifest import MANIFEST, Manifest, load_checked, seal

__all__ = ["BACKEND", "OnnxRuntimeBackend", "OnnxRuntimeRunner"]

_FILE = "engine.onnx"
_DEFAULTS = {"threads": 1, "optimization": "extended"}
_LEVELS = ("extended", "basic", "none")
# Would put a MatMul between Q/DQ pairs and its bias back into a Gemm, for which there is no INT8 kernel with a float
# bias: the layer would then run in FP32 behind dequantized weights. Floating-point graphs keep it.
# ReluQuantRewrite takes a ReLU in front of a quantizer for one that saturation makes superfluous, which FP8's does not.
# CommonSubexpressionElimination makes one pair of the Q/DQ pairs of one tensor, and a product whose pair has other
# readers does not become an integer kernel.
_BREAKS_QUANTIZED = ["MatMulAddFusion", "ReluQuantRewrite", "CommonSubexpressionElimination"]


class OnnxRuntimeRunner:
    """A session over the engine file."""

    def __init__(self, session: Any, manifest: Manifest):
        self.manifest = manifest
        self._session = session
        self._input = session.get_inputs()[0]
        self._name = self._input.name
        self._outputs = [value.name for value in session.get_outputs()]
        self._row = tuple(self._input.shape[1:]) if len(self._input.shape) > 2 else None

    def infer(
        self,
        x: np.ndarray,  # [b, d] or [b, *shape] float32
    ) -> np.ndarray:  # [b, o] float32
        """Run one request. A wrong shape or type is a :class:`DataError` with both."""
        try:
            if self._row is not None and x.ndim == 2:
                x = x.reshape(len(x), *self._row)
            return self._session.run(self._outputs, {self._name: x})[0]
        except Exception as error:  # onnxruntime's exceptions share no public base class
            raise self._explain(x, error) from None

    def _explain(self, x: Any, error: Exception) -> Exception:
        if self._session is None:
            return UserError("the engine was closed.", "Load it again.")
        met = f"{getattr(x, 'dtype', type(x).__name__)} {list(getattr(x, 'shape', []))}"
        shape = ", ".join(str(n) for n in self._input.shape)
        return DataError(
            f"the engine takes float32 [{shape}], got {met}: {str(error).splitlines()[0]}",
            "Give rows of that shape and type.",
        )

    def close(self) -> None:
        self._session = None

    def __enter__(self) -> OnnxRuntimeRunner:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class OnnxRuntimeBackend:
    """The back end ``onnxruntime``; see the module docstring."""

    name = "onnxruntime"

    def missing(self) -> str | None:
        try:
            import onnxruntime  # noqa: F401
        except ImportError as error:
            return f"ONNX Runtime cannot be imported: {error}"
        return None

    def require(self) -> None:
        require(self)

    def refuses(self, onnx_path: str | Path) -> str | None:
        try:
            label, _ = _precision(checked_source(onnx_path))
        except GraphError:
            return None  # build says what is wrong with the file
        return "ONNX Runtime has no bf16 kernels on CPUs" if "bf16" in label.split("+") else None

    def plainer(self, options: Mapping[str, Any] | None = None) -> Iterator[dict[str, Any]]:
        chosen = checked_options(self.name, options, _DEFAULTS)
        for level in _LEVELS[_LEVELS.index(chosen["optimization"]) + 1 :]:
            yield {**chosen, "optimization": level}

    def build(self, onnx_path: str | Path, folder: str | Path, options: Mapping[str, Any] | None = None) -> Manifest:
        """Optimise a graph for this machine and save it.

        Parameters
        ----------
        onnx_path : path
            A typed graph of ``export`` or ``quantize``.
        folder : path
            Gets ``engine.onnx`` and ``manifest.json``.
        options : mapping
            ``threads`` of one request, 1 by default: small networks lose time by waking others. ``optimization``:
            "extended" (the default), "basic" or "none".
        """
        ort = _import()
        source = checked_source(onnx_path)
        started = time.monotonic()
        chosen = checked_options(self.name, options, _DEFAULTS)
        if chosen["optimization"] not in _LEVELS:
            raise UserError(f"unknown optimization {chosen['optimization']!r}.", f"Use one of: {', '.join(_LEVELS)}.")
        precision, quantized = _precision(source)
        Path(folder, MANIFEST).unlink(missing_ok=True)  # while it is built, no manifest vouches for the old file
        with write_atomic(Path(folder, _FILE)) as temporary:
            settings = _settings(ort, chosen["threads"])
            settings.graph_optimization_level = {
                "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
                "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
                "none": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
            }[chosen["optimization"]]
            settings.optimized_model_filepath = os.fspath(temporary)
            try:
                session = ort.InferenceSession(
                    os.fspath(source),
                    settings,
                    providers=["CPUExecutionProvider"],
                    disabled_optimizers=_BREAKS_QUANTIZED if quantized else None,
                    enable_fallback=0,
                )
            except Exception as error:  # onnxruntime's exceptions share no public base class
                raise GraphError(
                    f"ONNX Runtime cannot load '{source}': {error}.", "Export or quantize again."
                ) from None
            inputs, outputs = (
                [_describe(v) for v in values] for values in (session.get_inputs(), session.get_outputs())
            )
            del session
        executed = _executed(Path(folder, _FILE))
        batch = inputs[0]["shape"][0]
        return seal(
            folder,
            _FILE,
            source,
            backend=self.name,
            precision=precision,
            batch=batch if isinstance(batch, int) else None,
            max_batch=batch if isinstance(batch, int) else None,
            inputs=inputs,
            outputs=outputs,
            executed=executed,
            seconds=round(time.monotonic() - started, 3),
            options=chosen,
            versions=versions("onnxruntime", "numpy", "regkd-edge"),
            machine={"cpu": cpu_model()},
            notes=_notes(precision, executed),
        )

    def variants(self, manifest: Manifest) -> dict[str, dict[str, Any]]:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        found: dict[str, dict[str, Any]] = {}
        for threads in sorted({2, 4, cores}):
            if 1 < threads <= cores:
                found[f"{threads} threads"] = {"threads": threads}
                found[f"{threads} threads that sleep between requests"] = {"threads": threads, "spinning": False}
        return found

    def load(self, folder: str | Path, threads: int | None = None, *, spinning: bool = True) -> OnnxRuntimeRunner:
        """Load the engine file as it is, with optimisation off.

        ``spinning``: threads that wait for work keep a core busy instead of going to sleep (ONNX Runtime's default).
        """
        ort = _import()
        manifest, content = load_checked(folder, self.name)
        settings = _settings(ort, threads or manifest.options.get("threads", 1))
        settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        if not spinning:
            settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            session = ort.InferenceSession(content, settings, providers=["CPUExecutionProvider"], enable_fallback=0)
        except Exception as error:  # onnxruntime's exceptions share no public base class
            here, there = versions("onnxruntime").get("onnxruntime"), manifest.versions.get("onnxruntime")
            raise GraphError(
                f"ONNX Runtime {here} cannot load the engine built by ONNX Runtime {there}: {error}.",
                "Build the engine on this machine.",
            ) from None
        return OnnxRuntimeRunner(session, manifest)


def _import() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise NotAvailable(
            f"ONNX Runtime cannot be imported: {error}.", "Run: pip install 'regkd-edge[onnxruntime]'."
        ) from None
    return onnxruntime


def _settings(ort: Any, threads: int) -> Any:
    if not isinstance(threads, int) or threads < 1:
        raise UserError(f"threads is {threads!r}, expected an integer of at least 1.", "Give an integer such as 1.")
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    settings.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    settings.log_severity_level = 3
    # On x86 without VNNI the fast INT8 kernel saturates its 16-bit sums; this asks for the exact one.
    settings.add_session_config_entry("session.x64quantprecision", "1")
    # Weights in INT8 beside float data: multiplied as floats, not with data that the kernel rounds to INT8 on its own.
    settings.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "1")
    return settings


def _describe(value: Any) -> dict[str, Any]:
    return {
        "name": value.name,
        "shape": [n if isinstance(n, int) else str(n) for n in value.shape],
        "dtype": value.type.removeprefix("tensor(").removesuffix(")"),
    }


def _precision(source: Path) -> tuple[str, bool]:
    """Return (label of the graph, whether it has Q/DQ pairs); without the onnx package the graph is not read."""
    try:
        import onnx  # noqa: F401
    except ImportError:
        # The operator's name is in the file as plain bytes, so this needs no parser.
        return "unknown", b"DequantizeLinear" in source.read_bytes()
    from ..graph.precision import graph_precision

    counted = graph_precision(source)
    return counted.label, counted.pairs > 0


def _executed(engine: Path) -> dict[str, float] | None:
    try:
        import onnx  # noqa: F401
    except ImportError:
        return None
    from ..graph.precision import graph_precision

    return graph_precision(engine, executed=True).share


def _notes(precision: str, executed: dict[str, float] | None) -> list[str]:
    if executed is None:
        return ["the executed precision is unknown: the onnx package is not installed"]
    done = "+".join(executed)
    if done == precision:
        return []
    return [f"the graph is {precision}, and this CPU's kernels compute it in {done}"]


BACKEND = OnnxRuntimeBackend()
