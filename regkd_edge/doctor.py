"""What this machine has and lacks, and what follows from each finding. Every claim is checked, none assumed."""

from __future__ import annotations

import importlib
import importlib.metadata
import platform
import sys

from . import __version__

__all__ = ["findings"]

# Library -> what it is needed for and the extra that installs it.
_LIBRARIES = {
    "torch": ("train and distil", "distill"),
    "onnx": ("export and quantize", "distill"),
    "onnxruntime": ("run engines on any machine", "onnxruntime"),
    "scikit-learn": ("load the bundled data sets", "distill"),
    "safetensors": ("read and write models", "distill"),
    "pyarrow": ("read Parquet", "data"),
    "tensorrt": ("build engines for NVIDIA GPUs", "tensorrt"),
}


def findings() -> list[dict[str, str]]:
    """Return one ``{"what", "state", "meaning"}`` per line; works without torch and without the extension."""
    return [
        {
            "what": "regkd-edge",
            "state": __version__,
            "meaning": f"Python {platform.python_version()}, {platform.system()} {platform.machine()}",
        },
        *_extension(),
        *_libraries(),
        *_backends(),
    ]


def _line(what: str, state: str, meaning: str) -> dict[str, str]:
    return {"what": what, "state": state, "meaning": meaning}


def _extension() -> list[dict[str, str]]:
    try:
        core = importlib.import_module("regkd_edge._core")
    except ImportError as error:
        return [_line("extension", "absent", f"training falls back to autograd: {error}")]
    lines = [
        _line(
            "extension, CPU half",
            core.simd_level(),
            f"built for {', '.join(core.simd_levels_available())}; the widest that this processor supports is used",
        )
    ]
    if core.has_cuda:
        lines.append(
            _line(
                "extension, CUDA half",
                "built",
                f"for {core.cuda_architectures.replace(';', ', ')}; used when an NVIDIA GPU is present",
            )
        )
    else:
        lines.append(
            _line("extension, CUDA half", "not built", "no nvcc was found at installation: fused steps run on the CPU")
        )
    return lines


def _libraries() -> list[dict[str, str]]:
    lines = []
    for library, (purpose, extra) in _LIBRARIES.items():
        try:
            version = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            # Jetson's system packages come without pip metadata: ask the module itself, but never import torch for it.
            module = sys.modules.get(library) or (library == "tensorrt" and _try_import(library))
            version = getattr(module, "__version__", None) if module else None
        if version:
            lines.append(_line(library, version, purpose))
        else:
            lines.append(_line(library, "absent", f"needed to {purpose}: pip install 'regkd-edge[{extra}]'"))
    return lines


def _try_import(library: str):
    try:
        return importlib.import_module(library)
    except ImportError:
        return None


def _backends() -> list[dict[str, str]]:
    from .engines import available

    return [
        _line(f"back end {name}", "ready" if reason is None else "unavailable", reason or "build and bench can use it")
        for name, reason in available().items()
    ]
