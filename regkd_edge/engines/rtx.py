"""TensorRT for RTX: NVIDIA's parser, type checker and builder on the CPU, for GPUs that this machine lacks.

A plan is compiled ahead of time for given compute capabilities and completed on the GPU that first runs it. So building
needs no GPU, and proves that the parser reads the graph, that its types hold and that the formats exist on those GPUs.
It does not prove that kernels exist or how fast they are. Loading needs such a GPU; TensorRT cannot load these plans.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..config.platforms import formats_of
from ..errors import GraphError, NotAvailable, RunFolderError, UserError
from ..io.files import write_atomic
from .base import checked_options, checked_source, require, versions
from .gpu import Driver, missing_gpu
from .host import cpu_model
from .manifest import MANIFEST, Manifest, load_checked, seal
from .tensorrt.network import add_profile, logger, parse_graph, tensor_of
from .tensorrt.precision import label_of, network_layers
from .tensorrt.runner import TensorRTRunner

__all__ = ["BACKEND", "ARCHITECTURES", "RTXBackend", "compile_plan"]

_FILE = "engine.rtx"
#: Compute capabilities that plans are built for: Ampere server and desktop, Ada, Blackwell.
ARCHITECTURES = ("80", "86", "89", "120")
_DEFAULTS = {"architectures": None, "min_batch": None, "opt_batch": None, "max_batch": None, "tf32": False}
_INSTALL = "Run: pip install 'regkd-edge[rtx]' (228 MB)."


class RTXBackend:
    """The back end ``tensorrt-rtx``; see the module docstring."""

    name = "tensorrt-rtx"

    def missing(self) -> str | None:
        try:
            _import()
        except NotAvailable as error:
            return error.cause
        return None

    def cannot_run(self) -> str | None:
        return self.missing() or missing_gpu()

    def require(self) -> None:
        require(self)

    def build(self, onnx_path: str | Path, folder: str | Path, options: Mapping[str, Any] | None = None) -> Manifest:
        """Compile one plan for several GPUs, on any x86 machine.

        Parameters
        ----------
        onnx_path : path
            A typed graph of ``export`` or ``quantize``.
        folder : path
            Gets ``engine.rtx`` and ``manifest.json``.
        options : mapping
            ``architectures`` (of :data:`ARCHITECTURES`; by default all that support the graph's formats, which the
            manifest names), ``min_batch`` / ``opt_batch`` / ``max_batch`` as for ``tensorrt``, ``tf32`` (let FP32
            layers use 10 bits of mantissa; off by default).

        Raises
        ------
        NotAvailable
            The package is missing.
        GraphError
            The message of the parser or the builder, with the node's name.
        """
        started = time.monotonic()
        chosen = checked_options(self.name, options, _DEFAULTS)
        source = checked_source(onnx_path)
        trt = _import()
        notes = ["a plan compiled ahead of time does not prove that kernels exist or how fast they are"]
        plan, network = compile_plan(trt, source, chosen)
        if len(chosen["architectures"]) < len(ARCHITECTURES):
            notes.append(f"compiled for {', '.join('sm_' + str(sm) for sm in chosen['architectures'])} only")
        Path(folder, MANIFEST).unlink(missing_ok=True)  # while it is written, no manifest vouches for the old file
        with write_atomic(Path(folder, _FILE)) as temporary:
            temporary.write_bytes(memoryview(plan))
        return seal(
            folder,
            _FILE,
            source,
            backend=self.name,
            precision=label_of(network_layers(trt, network)),
            batch=chosen["max_batch"] if chosen["min_batch"] == chosen["max_batch"] else None,
            max_batch=chosen["max_batch"],
            inputs=[tensor_of(network.get_input(0))],
            outputs=[tensor_of(network.get_output(0))],
            executed=None,
            seconds=round(time.monotonic() - started, 3),
            options=chosen,
            versions={"tensorrt-rtx": trt.__version__, **versions("numpy", "regkd-edge")},
            machine={"cpu": cpu_model()},
            notes=notes,
        )

    def load(self, folder: str | Path, threads: int | None = None) -> TensorRTRunner:
        """Load a plan onto the first GPU; the driver is queried for one before a runtime is created."""
        manifest, content = load_checked(folder, self.name)
        trt = _import()
        driver = Driver()
        device = driver.device(0)
        built, here = manifest.versions.get("tensorrt-rtx", "?"), trt.__version__
        if built != here:
            raise RunFolderError(
                f"the plan in '{folder}' was compiled by tensorrt-rtx {built}, and this machine has {here}.",
                "Build it again here.",
            )
        sm = device["compute_capability"].replace(".", "")
        if sm not in manifest.options.get("architectures", ()):
            made_for = ", ".join(f"sm_{a}" for a in manifest.options.get("architectures", ()))
            raise RunFolderError(
                f"the plan in '{folder}' was compiled for {made_for}, and this GPU is sm_{sm}.",
                "Build it for this GPU.",
            )
        driver.make_current(0)
        log = logger(trt)
        runtime = trt.Runtime(log)
        engine = runtime.deserialize_cuda_engine(content)
        if engine is None:
            raise RunFolderError(
                f"tensorrt-rtx {here} cannot load '{Path(folder, manifest.engine)}': {log.said()}",
                "Build it again here.",
            )
        return TensorRTRunner(trt, driver, runtime, engine, manifest)


def compile_plan(trt: Any, source: Path, chosen: dict[str, Any]) -> tuple[Any, Any]:
    """Return (plan, network) of a graph; fill the architectures and batches of ``chosen`` that are None."""
    log = logger(trt)
    builder = trt.Builder(log)
    strong = trt.NetworkDefinitionCreationFlag.__members__.get("STRONGLY_TYPED")
    network = builder.create_network(0 if strong is None else 1 << int(strong))
    parser = parse_graph(trt, network, log, source)
    if chosen["architectures"] is None:
        asked = label_of(network_layers(trt, network)).split("+")
        chosen["architectures"] = [
            sm for sm in ARCHITECTURES if all(precision in (*formats_of(int(sm)), "unknown") for precision in asked)
        ]
    architectures = _checked_architectures(trt, chosen["architectures"])
    config = builder.create_builder_config()
    if not chosen["tf32"]:
        config.clear_flag(trt.BuilderFlag.TF32)
    config.num_compute_capabilities = len(architectures)
    for index, architecture in enumerate(architectures):
        config.set_compute_capability(architecture, index)
    add_profile(builder, network, config, chosen)
    plan = builder.build_serialized_network(network, config)
    del parser  # not earlier: it owns the network's weights
    if plan is None:
        targets = ", ".join(f"sm_{a}" for a in chosen["architectures"])
        raise GraphError(
            f"tensorrt-rtx {trt.__version__} cannot compile '{source.name}' for {targets}: {log.said()}",
            "Check the node it names, or choose other architectures or another precision.",
        )
    return plan, network


def _checked_architectures(trt: Any, asked: Sequence[Any]) -> list[Any]:
    known = {
        name.removeprefix("SM"): value
        for name, value in trt.ComputeCapability.__members__.items()
        if name.startswith("SM")
    }
    for architecture in asked:
        if str(architecture) not in known:
            raise UserError(
                f"tensorrt-rtx has no architecture '{architecture}'.",
                f"It compiles for {', '.join(known)}; a Jetson builds its own engines.",
            )
    if not asked:
        raise UserError("no architecture is given.", f"Give one or more of {', '.join(known)}.")
    return [known[str(architecture)] for architecture in asked]


def _import() -> Any:
    try:
        import tensorrt_rtx
    except ImportError as error:
        state = "not installed" if isinstance(error, ModuleNotFoundError) else "installed and cannot be imported"
        raise NotAvailable(f"the package tensorrt-rtx is {state}: {error}.", _INSTALL) from None
    return tensorrt_rtx


BACKEND = RTXBackend()
