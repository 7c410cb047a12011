"""From a typed ONNX graph to TensorRT's network and configuration, on every version from 10.3 to 11.x.

Names that differ between versions are looked up by name, never numbered: TensorRT 11 moved the flags' values and
dropped every precision flag.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...errors import GraphError, NotAvailable, UserError

__all__ = [
    "add_profile",
    "allow_weak_types",
    "configure",
    "import_tensorrt",
    "logger",
    "parse_graph",
    "read_timing_cache",
    "refit_weights",
    "strong_typing_flag",
    "tensor_of",
]

OLDEST, TOO_NEW = (10, 3), (12, 0)


def import_tensorrt() -> Any:
    """The module, when its version is one that we know."""
    try:
        import tensorrt as trt
    except ImportError as error:
        missing = (
            "TensorRT is not installed"
            if isinstance(error, ModuleNotFoundError)
            else "TensorRT is installed and cannot be imported"
        )
        raise NotAvailable(
            f"{missing}: {error}.",
            "On a Jetson use the system's Python and its tensorrt package; elsewhere: pip install "
            "'regkd-edge[tensorrt]'.",
        ) from None
    if not OLDEST <= version(trt) < TOO_NEW:
        raise NotAvailable(
            f"TensorRT {trt.__version__} is installed, expected 10.3 to 11.x.", "Install a version in that range."
        )
    return trt


def version(trt: Any) -> tuple[int, int]:
    major, minor = trt.__version__.split(".")[:2]
    return int(major), int(minor)


_LOGGERS: dict[str, Any] = {}


def logger(trt: Any) -> Any:
    """The process's logger, emptied. TensorRT keeps the first one that it is given and ignores every later one."""
    if trt.__name__ not in _LOGGERS:
        _LOGGERS[trt.__name__] = _make_logger(trt)
    _LOGGERS[trt.__name__].lines.clear()
    return _LOGGERS[trt.__name__]


def _make_logger(trt: Any) -> Any:
    class Logger(trt.ILogger):
        """Keeps errors, so that they reach the user with the exception and not on the terminal."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.lines: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if int(severity) <= int(trt.ILogger.Severity.ERROR):
                self.lines.append(message)

        def said(self) -> str:
            return " | ".join(self.lines[-3:]) or "it gave no reason."

    return Logger()


def strong_typing_flag(trt: Any) -> int | None:
    """Flags of a strongly typed network, or None where types are hints.

    NVIDIA calls strong typing complete from 10.12 on. The flag is absent in 8.6, 1 in 10.x and 0 in 11.x.
    """
    member = trt.NetworkDefinitionCreationFlag.__members__.get("STRONGLY_TYPED")
    if version(trt) < (10, 12) or member is None:
        return None
    return 1 << int(member)


def configure(trt: Any, builder: Any, config: Any, chosen: dict[str, Any], label: str) -> None:
    """What the options ask for, less batches and timing cache, which need the network."""
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, int(chosen["workspace_mib"]) << 20)
    config.builder_optimization_level = int(chosen["optimization_level"])
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if not chosen["tf32"]:
        config.clear_flag(trt.BuilderFlag.TF32)
    if chosen["version_compatible"]:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    if chosen["hardware_compatible"]:
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
    if chosen["refit"] not in ("off", "refit", "strip"):
        raise UserError(f"refit is '{chosen['refit']}', expected off, refit or strip.", "Leave it out if in doubt.")
    if chosen["refit"] == "refit":
        config.set_flag(trt.BuilderFlag.REFIT)
    if chosen["refit"] == "strip":  # the weights come back from the graph when the plan is loaded
        config.set_flag(trt.BuilderFlag.STRIP_PLAN)
        config.set_flag(trt.BuilderFlag.REFIT_IDENTICAL)
    if chosen["dla"] is not None:
        cores = builder.num_DLA_cores
        if not 0 <= int(chosen["dla"]) < cores:
            raise NotAvailable(
                f"this device has {cores} DLA cores, core {chosen['dla']} was requested.",
                "Leave 'dla' out to use the GPU.",
            )
        if label == "fp32":
            raise UserError(
                "a DLA computes in FP16 and INT8, the graph is FP32.", "Give an FP16 or INT8 graph, or leave 'dla' out."
            )
        config.default_device_type = trt.DeviceType.DLA
        config.DLA_core = int(chosen["dla"])
        config.set_flag(trt.BuilderFlag.GPU_FALLBACK)


def refit_weights(trt: Any, engine: Any, log: Any, graph: Path) -> None:
    """Put the weights of an ONNX file into a loaded engine."""
    refitter = trt.Refitter(engine, log)
    parser = trt.OnnxParserRefitter(refitter, log)
    if not parser.refit_from_file(str(graph)) or not refitter.refit_cuda_engine():
        raise GraphError(
            f"TensorRT {trt.__version__} cannot take the weights of '{graph.name}' into the engine: {log.said()}",
            "Give a graph of the same layers and precision.",
        )


def allow_weak_types(trt: Any, network: Any, config: Any) -> list[str]:
    """Below 10.12: allow the lower precisions that the parsed network asks for, by flags that TensorRT 11 dropped."""
    flags = {trt.DataType.HALF: "FP16", trt.DataType.BF16: "BF16", trt.DataType.FP8: "FP8", trt.DataType.INT8: "INT8"}
    wanted = set()
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        kinds = [layer.get_output(0).dtype] if layer.num_outputs else []
        if layer.type == trt.LayerType.DEQUANTIZE:  # its codes, and what a product over them may come out in
            kinds += [layer.get_input(0).dtype, trt.DataType.HALF]
        elif layer.type in (trt.LayerType.QUANTIZE, trt.LayerType.CONSTANT):
            kinds = []
        wanted |= {flags[kind] for kind in kinds if kind in flags}
    chosen = sorted(wanted)
    for name in chosen:
        config.set_flag(trt.BuilderFlag.__members__[name])
    if not chosen:
        return []
    return [
        f"TensorRT {trt.__version__} takes the graph's types as hints ({', '.join(chosen)} allowed): a layer may run "
        f"in another precision"
    ]


def parse_graph(trt: Any, network: Any, logger: Any, source: Path) -> Any:
    """Fill the network from an ONNX file; returns the parser, which owns the weights until the network is built."""
    parser = trt.OnnxParser(network, logger)
    if parser.parse_from_file(str(source)):
        return parser
    errors = [parser.get_error(i) for i in range(parser.num_errors)]
    said = "; ".join(f"node '{e.node_name()}' ({e.node_operator()}): {e.desc()}" for e in errors) or logger.said()
    raise GraphError(
        f"TensorRT {trt.__version__} cannot read '{source.name}': {said}",
        "Change the layer it names, or use the back end 'onnxruntime'.",
    )


def add_profile(builder: Any, network: Any, config: Any, chosen: dict[str, Any]) -> None:
    """One optimization profile; fills ``chosen``'s batches with what was built."""
    tensor = network.get_input(0)
    shape = list(tensor.shape)
    asked = [chosen[key] for key in ("min_batch", "opt_batch", "max_batch")]
    if shape[0] != -1:
        if any(n not in (None, shape[0]) for n in asked):
            raise UserError(
                f"the graph has batch {shape[0]}, the options ask for {asked}.",
                "Export with a dynamic batch, or leave the batches out.",
            )
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


def read_timing_cache(config: Any, path: str | Path | None) -> Any:
    """A cache that lets a second build reuse the first one's timings; one of another device is ignored by TensorRT."""
    if path is None:
        return None
    content = Path(path).read_bytes() if Path(path).is_file() else b""
    cache = config.create_timing_cache(content)
    config.set_timing_cache(cache, False)
    return cache


def tensor_of(tensor: Any) -> dict[str, Any]:
    """Name, shape and type of a network's input or output, as a manifest holds them."""
    return {"name": tensor.name, "shape": ["batch" if n == -1 else int(n) for n in tensor.shape], "dtype": "float"}
