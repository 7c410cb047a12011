"""TensorRT 10.3 to 11.4 through its Python API: the engine has exactly the types of the graph.

Nothing here creates a Runtime before the driver has found a device: without one it would end the process.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import GraphError, NotAvailable, RunFolderError, UserError
from ...io.files import file_hash, write_atomic
from ..base import checked_options, checked_source, require, versions
from ..gpu import Driver, missing_gpu
from ..host import cpu_model, device_model
from ..manifest import MANIFEST, Manifest, load_checked, seal
from .network import (
    add_profile,
    allow_weak_types,
    configure,
    import_tensorrt,
    logger,
    parse_graph,
    read_timing_cache,
    refit_weights,
    strong_typing_flag,
    tensor_of,
)
from .precision import Planned, executed_share, label_of, network_layers
from .runner import TensorRTRunner

__all__ = ["BACKEND", "TensorRTBackend"]

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
    "refit": "off",
    "dla": None,
}


class TensorRTBackend:
    """The back end ``tensorrt``; see the module docstring."""

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
            in later minor versions; loading then runs code from the plan), ``hardware_compatible`` (from Ampere on),
            ``tf32`` (let FP32 layers use 10 bits of mantissa; TensorRT's own default is on, ours is off:
            FP32 means FP32), ``refit`` ("refit": weights can be replaced at load time; "strip": they
            are not in the plan and come from the graph at load time), ``dla`` (core of an Orin's accelerator, for
            the layers it supports; the GPU runs the rest).

        Raises
        ------
        NotAvailable
            TensorRT, the driver or a GPU is missing; the cause says which.
        GraphError
            The message of the parser or builder, with the node's name; or an engine that computes a layer in another
            precision than the graph says.
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
        planned = network_layers(trt, network)
        label = label_of(planned)
        configure(trt, builder, config, chosen, label)
        notes = [] if strong is not None else allow_weak_types(trt, network, config)
        add_profile(builder, network, config, chosen)
        if chosen["dla"] is not None and chosen["min_batch"] != chosen["max_batch"]:
            raise UserError(
                "a DLA supports one batch size only.", "Omit 'dla', or set min, opt and max batch to the same number."
            )
        cache = read_timing_cache(config, chosen["timing_cache"])
        plan = builder.build_serialized_network(network, config)
        del parser  # not earlier: it owns the network's weights
        if plan is None:
            raise GraphError(
                f"TensorRT {trt.__version__} cannot build '{source.name}': {log.said()}",
                "Check the node it names, or try a higher workspace_mib.",
            )
        executed, read = _executed(trt, log, plan, planned, chosen)
        notes += read
        if cache is not None:
            with write_atomic(chosen["timing_cache"]) as temporary:
                temporary.write_bytes(memoryview(config.get_timing_cache().serialize()))
        Path(folder, MANIFEST).unlink(missing_ok=True)  # while it is written, no manifest vouches for the old file
        with write_atomic(Path(folder, _FILE)) as temporary:
            temporary.write_bytes(memoryview(plan))
        recorded = {key: value for key, value in chosen.items() if key != "timing_cache"}
        return seal(
            folder,
            _FILE,
            source,
            backend=self.name,
            precision=label,
            batch=chosen["max_batch"] if chosen["min_batch"] == chosen["max_batch"] else None,
            max_batch=chosen["max_batch"],
            inputs=[tensor_of(network.get_input(0))],
            outputs=[tensor_of(network.get_output(0))],
            executed=executed,
            seconds=round(time.monotonic() - started, 3),
            options=recorded,
            versions={"tensorrt": trt.__version__, **versions("numpy", "regkd-edge")},
            machine={"cpu": cpu_model(), "board": device_model(), **device},
            notes=notes,
        )

    def variants(self, manifest: Manifest) -> dict[str, dict[str, Any]]:
        return {"CUDA graph": {"cuda_graph": True}}

    def load(
        self,
        folder: str | Path,
        threads: int | None = None,
        *,
        run_code_of_plan: bool = False,
        cuda_graph: bool = False,
        weights: str | Path | None = None,
    ) -> TensorRTRunner:
        """Load a plan onto the first GPU.

        Parameters
        ----------
        folder : path
        threads : int, optional
            Ignored: the GPU decides.
        run_code_of_plan : bool
            A version-compatible plan contains its own runtime, which loading executes; pass True only for a plan
            that you built or trust.
        cuda_graph : bool
            Record the copies and kernels of a request once and launch them with one call.
        weights : path, optional
            The graph with the weights, for an engine built with ``refit``; a stripped one finds the graph it was
            built from in the run folder.

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
        if manifest.options.get("dla") is not None:
            runtime.DLA_core = int(manifest.options["dla"])
        if run_code_of_plan:
            runtime.engine_host_code_allowed = True
        engine = runtime.deserialize_cuda_engine(content)
        if engine is None:
            raise RunFolderError(
                f"TensorRT {trt.__version__} cannot load '{Path(folder, manifest.engine)}': {log.said()}",
                "Build the engine on this machine.",
            )
        stripped = manifest.options.get("refit") == "strip"
        if weights is not None or stripped:
            refit_weights(
                trt, engine, log, checked_source(weights) if weights is not None else _own_graph(folder, manifest)
            )
        return TensorRTRunner(trt, driver, runtime, engine, manifest, cuda_graph=cuda_graph)


def _executed(
    trt: Any, log: Any, plan: Any, planned: list[Planned], chosen: dict[str, Any]
) -> tuple[dict[str, float] | None, list[str]]:
    """Compare the inspector's description of the plan just built with its network; a device is present."""
    runtime = trt.Runtime(log)
    if chosen["version_compatible"]:
        runtime.engine_host_code_allowed = True  # it was built a moment ago, in this process
    if chosen["dla"] is not None:
        runtime.DLA_core = int(chosen["dla"])
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise GraphError(
            f"TensorRT {trt.__version__} cannot load the plan it has just built: {log.said()}",
            "Check the driver and the device with nvidia-smi.",
        )
    text = engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON)
    return executed_share(planned, text, tf32=bool(chosen["tf32"]))


def _own_graph(folder: str | Path, manifest: Manifest) -> Path:
    """Return the graph that a stripped plan was built from, in the engine's run folder."""
    path = Path(folder).parent.parent / "onnx" / Path(manifest.source).name
    if not path.is_file() or file_hash(path) != manifest.source_sha256:
        raise RunFolderError(
            f"the plan in '{folder}' holds no weights, and '{path}' is not the graph it was built from.",
            "Put that graph there, or name it with weights=.",
        )
    return path


def _check_origin(
    trt: Any, manifest: Manifest, device: dict[str, Any], folder: str | Path, run_code_of_plan: bool
) -> None:
    """Refuse a plan of another TensorRT version or GPU before anything is deserialized."""
    remedy = "Build the engine on this machine: plans are not portable."
    built, here = manifest.versions.get("tensorrt", "?"), trt.__version__
    if manifest.options.get("version_compatible"):
        if not run_code_of_plan:
            raise RunFolderError(
                f"the plan in '{folder}' is version compatible: loading it executes code from it.",
                "Pass run_code_of_plan=True if you trust it.",
            )
    elif built != here:
        raise RunFolderError(
            f"the plan in '{folder}' was built by TensorRT {built}, and this machine has {here}.", remedy
        )
    for key in () if manifest.options.get("hardware_compatible") else ("compute_capability", "gpu"):
        if manifest.machine.get(key) != device[key]:
            raise RunFolderError(
                f"the plan in '{folder}' was built for {key} {manifest.machine.get(key)}, "
                f"and this machine has {device[key]}.",
                remedy,
            )


BACKEND = TensorRTBackend()
