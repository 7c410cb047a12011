"""TensorRT 10.3 to 11.4 by its Python API, one path: what the typed graph says is what is built.

Names that differ between versions are asked for, never numbered: TensorRT 11 moved the flags' values and dropped every
precision flag. Nothing here makes a Runtime before the driver has counted a device.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError, GraphError, NotAvailable, RunFolderError, UserError
from ..run import write_atomic
from .base import MANIFEST, Manifest, checked_options, checked_source, load_checked, require, seal, versions
from .gpu import Buffer, Driver, missing_gpu
from .host import cpu_model, device_model

__all__ = ["ENGINE", "TensorRTEngine", "TensorRTRunner"]

_FILE = "engine.plan"
_DEFAULTS = {
    "workspace_mib": 256,
    "optimization_level": 3,
    "min_batch": None,  # all three None: batch 1 only, or the graph's own fixed batch
    "opt_batch": None,
    "max_batch": None,
    "timing_cache": None,
    "version_compatible": False,
    "hardware_compatible": False,
}
_OLDEST, _TOO_NEW = (10, 3), (12, 0)


class TensorRTRunner:
    """An engine on the first GPU. It belongs to the thread that loaded it."""

    def __init__(self, trt: Any, driver: Driver, runtime: Any, engine: Any, manifest: Manifest):
        self.manifest = manifest
        self._driver, self._runtime, self._engine = driver, runtime, engine
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        inputs = [n for n in names if engine.get_tensor_mode(n) == trt.TensorIOMode.INPUT]
        outputs = [n for n in names if engine.get_tensor_mode(n) == trt.TensorIOMode.OUTPUT]
        types = {engine.get_tensor_dtype(n) for n in names}
        if len(inputs) != 1 or len(outputs) != 1 or types != {trt.DataType.FLOAT}:
            raise GraphError(f"the engine has inputs {inputs} and outputs {outputs} of types {types}, expected one float32 tensor each.", "Build it from a graph of 'export'.")
        self._input, self._output = inputs[0], outputs[0]
        self._shape = tuple(manifest.inputs[0]["shape"][1:])
        self._context = engine.create_execution_context()
        self._stream = driver.stream()
        self._buffers: dict[int, tuple[Buffer, Buffer]] = {}
        self._batch = 0

    def infer(
        self,
        x: np.ndarray,  # [b, d] float32
    ) -> np.ndarray:  # [b, o] float32
        """Copy in, run, copy out, wait: one synchronous request. A shape outside the profile is a :class:`DataError`."""
        if self._context is None:
            raise UserError("the engine was closed.", "Load it again.")
        if len(x) != self._batch:
            self._prepare(x)
        source, target = self._buffers[self._batch]
        if x.shape != source.host.shape:
            raise self._refusal(x)
        source.host[...] = x
        source.upload(self._stream)
        if not self._context.execute_async_v3(self._stream):
            raise GraphError("TensorRT could not run the engine.", "Build it again on this machine.")
        target.download(self._stream)
        self._driver.call("cuStreamSynchronize", self._stream)
        return target.host.copy()

    def _prepare(self, x: np.ndarray) -> None:
        """Set shapes and addresses for the batch size of ``x``; buffers are kept, so going back to a size is cheap."""
        self._batch = 0
        if x.ndim != 1 + len(self._shape) or tuple(x.shape[1:]) != self._shape or not self._context.set_input_shape(self._input, tuple(x.shape)):
            raise self._refusal(x)
        if len(x) not in self._buffers:
            output = tuple(self._context.get_tensor_shape(self._output))
            self._buffers[len(x)] = (Buffer(self._driver, tuple(x.shape)), Buffer(self._driver, output))
        source, target = self._buffers[len(x)]
        self._context.set_tensor_address(self._input, source.device)
        self._context.set_tensor_address(self._output, target.device)
        self._batch = len(x)

    def _refusal(self, x: np.ndarray) -> DataError:
        options = self.manifest.options
        low, high = options.get("min_batch"), options.get("max_batch")
        return DataError(f"the engine takes float32 [{low}..{high}, {', '.join(map(str, self._shape))}], got {x.dtype} {list(x.shape)}.", "Build it with a larger max_batch, or give fewer rows.")

    def close(self) -> None:
        if self._context is None:
            return
        for pair in self._buffers.values():
            for buffer in pair:
                buffer.free()
        self._buffers.clear()
        self._context = self._engine = self._runtime = None  # in this order: each lives in the next
        self._driver.call("cuStreamDestroy_v2", self._stream)
        self._driver.release(0)

    def __enter__(self) -> TensorRTRunner:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class TensorRTEngine:
    """The back end ``tensorrt``; see the head of this file."""

    name = "tensorrt"

    def missing(self) -> str | None:
        try:
            _import()
        except NotAvailable as error:
            return error.cause
        return missing_gpu()

    def require(self) -> None:
        require(self)

    def build(self, onnx_path: str | Path, folder: str | Path, options: Mapping[str, Any] | None = None) -> Manifest:
        """Build a plan for the GPU of this machine.

        Parameters
        ----------
        onnx_path : path
            A typed graph of ``export`` or ``quantize``.
        folder : path
            Gets ``engine.plan`` and ``manifest.json``.
        options : mapping
            ``workspace_mib``, ``optimization_level`` (0 to 5), ``min_batch`` / ``opt_batch`` / ``max_batch`` (a dynamic
            graph gets batch 1 without them), ``timing_cache`` (a path, read and written), ``version_compatible`` (loads
            in later minor versions; loading then runs code of the plan), ``hardware_compatible`` (any GPU since Ampere).

        Raises
        ------
        NotAvailable
            TensorRT, the driver or a GPU is missing; the cause says which.
        GraphError
            What the parser or the builder said, with the node's name.
        """
        started = time.monotonic()
        chosen = checked_options(self.name, options, _DEFAULTS)
        source = checked_source(onnx_path)
        trt = _import()
        device = Driver().device(0)
        logger = _logger(trt)
        builder = trt.Builder(logger)
        strong = _strong_typing_flag(trt)
        network = builder.create_network(strong or 0)
        _parse(trt, network, logger, source)
        config = builder.create_builder_config()
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, int(chosen["workspace_mib"]) << 20)
        config.builder_optimization_level = int(chosen["optimization_level"])
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
        if chosen["version_compatible"]:
            config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
        if chosen["hardware_compatible"]:
            config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
        notes = [] if strong is not None else _allow_weak_types(trt, network, config)
        _profile(builder, network, config, chosen)
        cache = _read_timing_cache(config, chosen["timing_cache"])
        plan = builder.build_serialized_network(network, config)
        if plan is None:
            raise GraphError(f"TensorRT {trt.__version__} cannot build '{source.name}': {logger.said()}", "Read the node it names; try a higher workspace_mib.")
        if cache is not None:
            with write_atomic(chosen["timing_cache"]) as temporary:
                temporary.write_bytes(memoryview(config.get_timing_cache().serialize()))
        Path(folder, MANIFEST).unlink(missing_ok=True)  # while it is written, no manifest vouches for the old file
        with write_atomic(Path(folder, _FILE)) as temporary:
            temporary.write_bytes(memoryview(plan))
        notes.append("the precision that each layer runs in was not read from the engine")
        recorded = {key: value for key, value in chosen.items() if key != "timing_cache"}
        return seal(
            folder,
            _FILE,
            source,
            backend=self.name,
            precision=_precision(source),
            batch=chosen["max_batch"] if chosen["min_batch"] == chosen["max_batch"] else None,
            max_batch=chosen["max_batch"],
            inputs=[_describe(network.get_input(0))],
            outputs=[_describe(network.get_output(0))],
            executed=None,
            seconds=round(time.monotonic() - started, 3),
            options=recorded,
            versions={"tensorrt": trt.__version__, **versions("numpy", "regkd-edge")},
            machine={"cpu": cpu_model(), "board": device_model(), **device},
            notes=notes,
        )

    def load(self, folder: str | Path, threads: int | None = None, *, run_code_of_plan: bool = False) -> TensorRTRunner:
        """Load a plan onto the first GPU.

        Parameters
        ----------
        folder : path
        threads : int, optional
            Ignored: the GPU decides.
        run_code_of_plan : bool
            A version-compatible plan brings a runtime of its own that is executed on loading; say True only for a plan
            that you built or trust.

        Raises
        ------
        RunFolderError
            Not the file that was built, or built for another TensorRT version or GPU.
        NotAvailable
            TensorRT, the driver or a GPU is missing.
        """
        manifest, content = load_checked(folder, self.name)
        trt = _import()
        driver = Driver()
        _check_origin(trt, manifest, driver.device(0), folder, run_code_of_plan)
        driver.make_current(0)
        logger = _logger(trt)
        runtime = trt.Runtime(logger)
        if run_code_of_plan:
            runtime.engine_host_code_allowed = True
        engine = runtime.deserialize_cuda_engine(content)
        if engine is None:
            raise RunFolderError(f"TensorRT {trt.__version__} cannot load '{Path(folder, manifest.engine)}': {logger.said()}", "Build the engine on this machine.")
        return TensorRTRunner(trt, driver, runtime, engine, manifest)


def _import() -> Any:
    """The module, when its version is one that we know."""
    try:
        import tensorrt as trt
    except ImportError as error:
        missing = "TensorRT is not installed" if isinstance(error, ModuleNotFoundError) else "TensorRT is installed and cannot be imported"
        raise NotAvailable(f"{missing}: {error}.", "On a Jetson use the system's Python and its tensorrt package; elsewhere: pip install 'regkd-edge[tensorrt]'.") from None
    if not _OLDEST <= _version(trt) < _TOO_NEW:
        raise NotAvailable(f"TensorRT {trt.__version__} is installed, expected 10.3 to 11.x.", "Install a version in that range.")
    return trt


def _version(trt: Any) -> tuple[int, int]:
    major, minor = trt.__version__.split(".")[:2]
    return int(major), int(minor)


def _logger(trt: Any) -> Any:
    class Logger(trt.ILogger):
        """Keeps warnings and errors, so that they reach the user with the exception and not on the terminal."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.lines: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if int(severity) <= int(trt.ILogger.Severity.ERROR):
                self.lines.append(message)

        def said(self) -> str:
            return " | ".join(self.lines[-3:]) or "it gave no reason."

    return Logger()


def _strong_typing_flag(trt: Any) -> int | None:
    """Flags of a strongly typed network, or None where types are hints.

    NVIDIA calls strong typing complete from 10.12 on. The flag is absent in 8.6, 1 in 10.x and 0 in 11.x.
    """
    member = trt.NetworkDefinitionCreationFlag.__members__.get("STRONGLY_TYPED")
    if _version(trt) < (10, 12) or member is None:
        return None
    return 1 << int(member)


def _allow_weak_types(trt: Any, network: Any, config: Any) -> list[str]:
    """Below 10.12: allow the lower precisions that the parsed network asks for, by flags that TensorRT 11 dropped."""
    wanted = []
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        if layer.type == trt.LayerType.DEQUANTIZE:
            wanted += ["INT8", "FP16"]
        elif layer.num_outputs and layer.get_output(0).dtype == trt.DataType.HALF:
            wanted.append("FP16")
    chosen = sorted(set(wanted))
    for name in chosen:
        config.set_flag(trt.BuilderFlag.__members__[name])
    if not chosen:
        return []
    return [f"TensorRT {trt.__version__} takes the graph's types as hints ({', '.join(chosen)} allowed): a layer may run in another precision"]


def _parse(trt: Any, network: Any, logger: Any, source: Path) -> None:
    parser = trt.OnnxParser(network, logger)
    if parser.parse_from_file(str(source)):
        return
    errors = [parser.get_error(i) for i in range(parser.num_errors)]
    said = "; ".join(f"node '{e.node_name()}' ({e.node_operator()}): {e.desc()}" for e in errors) or logger.said()
    raise GraphError(f"TensorRT {trt.__version__} cannot read '{source.name}': {said}", "Change the layer it names, or use the back end 'onnxruntime'.")


def _profile(builder: Any, network: Any, config: Any, chosen: dict[str, Any]) -> None:
    """One optimization profile; fills ``chosen``'s batches with what was built."""
    tensor = network.get_input(0)
    shape = list(tensor.shape)
    asked = [chosen[key] for key in ("min_batch", "opt_batch", "max_batch")]
    if shape[0] != -1:
        if any(n not in (None, shape[0]) for n in asked):
            raise UserError(f"the graph has batch {shape[0]}, the options ask for {asked}.", "Export with a dynamic batch, or leave the batches out.")
        asked = [shape[0]] * 3
    else:
        low = asked[0] or 1
        high = asked[2] or asked[1] or low
        asked = [low, asked[1] or high, high]
        if not 1 <= asked[0] <= asked[1] <= asked[2]:
            raise UserError(f"min, opt and max batch are {asked}, expected 1 <= min <= opt <= max.", "Order them.")
        profile = builder.create_optimization_profile()
        profile.set_shape(tensor.name, *((n, *shape[1:]) for n in asked))
        config.add_optimization_profile(profile)
    chosen["min_batch"], chosen["opt_batch"], chosen["max_batch"] = asked


def _read_timing_cache(config: Any, path: str | Path | None) -> Any:
    """A cache that lets a second build reuse the first one's timings; one of another device is ignored by TensorRT."""
    if path is None:
        return None
    content = Path(path).read_bytes() if Path(path).is_file() else b""
    cache = config.create_timing_cache(content)
    config.set_timing_cache(cache, False)
    return cache


def _check_origin(trt: Any, manifest: Manifest, device: dict[str, Any], folder: str | Path, run_code_of_plan: bool) -> None:
    """Refuse a plan of another TensorRT or GPU by name, before anything is deserialized."""
    remedy = "Build the engine on this machine: plans do not travel."
    built, here = manifest.versions.get("tensorrt", "?"), trt.__version__
    if manifest.options.get("version_compatible"):
        if not run_code_of_plan:
            raise RunFolderError(f"the plan in '{folder}' is version compatible: loading it executes code from it.", "Pass run_code_of_plan=True if you trust it.")
    elif built != here:
        raise RunFolderError(f"the plan in '{folder}' was built by TensorRT {built}, here is {here}.", remedy)
    for key in () if manifest.options.get("hardware_compatible") else ("compute_capability", "gpu"):
        if manifest.machine.get(key) != device[key]:
            raise RunFolderError(f"the plan in '{folder}' was built for {key} {manifest.machine.get(key)}, here is {device[key]}.", remedy)


def _precision(source: Path) -> str:
    try:
        import onnx  # noqa: F401
    except ImportError:
        return "unknown"
    from ..quantize import graph_precision

    return graph_precision(source).label


def _describe(tensor: Any) -> dict[str, Any]:
    return {"name": tensor.name, "shape": ["batch" if n == -1 else int(n) for n in tensor.shape], "dtype": "float"}


ENGINE = TensorRTEngine()
