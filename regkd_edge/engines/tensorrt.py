"""TensorRT 10.3 to 11.4 by its Python API, one path: what the typed graph says is what is built.

Nothing here makes a Runtime before the driver has counted a device: without one it would end the process.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import GraphError, NotAvailable, RunFolderError
from ..run import write_atomic
from .base import MANIFEST, Manifest, checked_options, checked_source, load_checked, require, seal, versions
from .gpu import Driver, missing_gpu
from .host import cpu_model, device_model
from .tensorrt_network import (
    add_profile,
    allow_weak_types,
    graph_label,
    import_tensorrt,
    logger,
    parse_graph,
    read_timing_cache,
    strong_typing_flag,
    tensor_of,
)
from .tensorrt_runner import TensorRTRunner

__all__ = ["ENGINE", "TensorRTEngine"]

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
    "tf32": False,
}


class TensorRTEngine:
    """The back end ``tensorrt``; see the head of this file."""

    name = "tensorrt"

    def missing(self) -> str | None:
        try:
            import_tensorrt()
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
            in later minor versions; loading then runs code of the plan), ``hardware_compatible`` (any GPU from Ampere),
            ``tf32`` (let FP32 layers multiply with 10 bits of mantissa; TensorRT does so unless told not to, and here it
            is told: FP32 means FP32).

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
        trt = import_tensorrt()
        device = Driver().device(0)
        log = logger(trt)
        builder = trt.Builder(log)
        strong = strong_typing_flag(trt)
        network = builder.create_network(strong or 0)
        parser = parse_graph(trt, network, log, source)
        config = builder.create_builder_config()
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, int(chosen["workspace_mib"]) << 20)
        config.builder_optimization_level = int(chosen["optimization_level"])
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
        if not chosen["tf32"]:
            config.clear_flag(trt.BuilderFlag.TF32)
        if chosen["version_compatible"]:
            config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
        if chosen["hardware_compatible"]:
            config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
        notes = [] if strong is not None else allow_weak_types(trt, network, config)
        add_profile(builder, network, config, chosen)
        cache = read_timing_cache(config, chosen["timing_cache"])
        plan = builder.build_serialized_network(network, config)
        del parser  # not before: the network's weights lie in it
        if plan is None:
            raise GraphError(
                f"TensorRT {trt.__version__} cannot build '{source.name}': {log.said()}",
                "Read the node it names; try a higher workspace_mib.",
            )
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
            precision=graph_label(source),
            batch=chosen["max_batch"] if chosen["min_batch"] == chosen["max_batch"] else None,
            max_batch=chosen["max_batch"],
            inputs=[tensor_of(network.get_input(0))],
            outputs=[tensor_of(network.get_output(0))],
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
        trt = import_tensorrt()
        driver = Driver()
        _check_origin(trt, manifest, driver.device(0), folder, run_code_of_plan)
        driver.make_current(0)
        log = logger(trt)
        runtime = trt.Runtime(log)
        if run_code_of_plan:
            runtime.engine_host_code_allowed = True
        engine = runtime.deserialize_cuda_engine(content)
        if engine is None:
            raise RunFolderError(
                f"TensorRT {trt.__version__} cannot load '{Path(folder, manifest.engine)}': {log.said()}",
                "Build the engine on this machine.",
            )
        return TensorRTRunner(trt, driver, runtime, engine, manifest)


def _check_origin(
    trt: Any, manifest: Manifest, device: dict[str, Any], folder: str | Path, run_code_of_plan: bool
) -> None:
    """Refuse a plan of another TensorRT or GPU by name, before anything is deserialized."""
    remedy = "Build the engine on this machine: plans do not travel."
    built, here = manifest.versions.get("tensorrt", "?"), trt.__version__
    if manifest.options.get("version_compatible"):
        if not run_code_of_plan:
            raise RunFolderError(
                f"the plan in '{folder}' is version compatible: loading it executes code from it.",
                "Pass run_code_of_plan=True if you trust it.",
            )
    elif built != here:
        raise RunFolderError(f"the plan in '{folder}' was built by TensorRT {built}, here is {here}.", remedy)
    for key in () if manifest.options.get("hardware_compatible") else ("compute_capability", "gpu"):
        if manifest.machine.get(key) != device[key]:
            raise RunFolderError(
                f"the plan in '{folder}' was built for {key} {manifest.machine.get(key)}, here is {device[key]}.",
                remedy,
            )


ENGINE = TensorRTEngine()
