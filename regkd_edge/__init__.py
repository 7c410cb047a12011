"""regkd-edge: distil, quantize, build and measure regression networks for edge devices.

Importing the package imports neither torch, onnxruntime nor tensorrt: public names are resolved when they are first
used, so the light half (measure, report, the command line) works on a device that has none of them.
"""

from __future__ import annotations

import importlib

__version__ = "0.2.0.dev0"

# Public name -> the module it lives in (PEP 562).
_PUBLIC = {
    "load_teacher": "api",
    "train_teacher": "api",
    "distill": "api",
    "quantize": "api",
    "build": "api",
    "load_engine": "api",
    "bench": "api",
    "DistilledRegressor": "sklearn",
    "Teacher": "models",
    "Student": "models",
    "MLP": "models",
    "Graph": "graph.file",
    "Engine": "engines.engine",
    "BenchResult": "measure.result",
    "RunConfig": "config",
    "RunFolder": "run",
    "DataWarning": "errors",
    "TeacherWarning": "errors",
    "UserError": "errors",
    "Scaler": "data",
    "Scalers": "data",
    "Table": "data",
    "load_table": "data",
    "distill_backward": "fused",
    "distill_step": "fused",
    "distill_steps": "fused",
    "fit_steps": "fused",
    "matching_loss": "fused",
    "perturb": "fused",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str):
    if name in _PUBLIC:
        return getattr(importlib.import_module(f"{__name__}.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
