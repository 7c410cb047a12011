"""Sources of synthetic inputs: described, searched, generated (only the description needs no torch)."""

from __future__ import annotations

import importlib

_HOME = {
    "InputDescription": "describe",
    "Sampler": "sampler",
    "DescribedInputs": "gaussian",
    "Gaussian": "gaussian",
    "HeavyTailed": "gaussian",
    "Spread": "spread",
    "AdversarialGenerator": "generator",
    "TargetAnchored": "anchored",
    "ConditionalVAE": "latent",
    "TunedLatent": "latent",
    "Feed": "feed",
    "Part": "feed",
    "RealRows": "feed",
    "advance_fed": "feed",
}

__all__ = sorted(_HOME)


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
