"""Calibration inputs where no row is: drawn within what is known of each feature."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..data import Scalers
from ..errors import DataError
from ..sampling import InputDescription

__all__ = ["described_inputs", "synthetic_rows"]


def described_inputs(student: str | Path, described: str | Path | None = None) -> InputDescription:
    """What is known of a student's inputs: a YAML description, else its scaler with the ranges stored beside it.

    Parameters
    ----------
    student : path of a folder with model.json
    described : path of a YAML file, optional
    """
    card = json.loads(Path(student, "model.json").read_text(encoding="utf-8"))
    scaler = Scalers.from_dict(card["scalers"]).x
    if described is not None:
        description = InputDescription.from_yaml(described)
        if description.d != len(scaler.mean):
            raise DataError(f"'{described}' describes {description.d} inputs, the student takes {len(scaler.mean)}.", "Describe each input once, in order.")
        return description
    extra = card.get("extra") or {}
    description = InputDescription.from_scaler(scaler, extra.get("feature_names"))
    ranges = extra.get("inputs")
    if ranges is None:
        return description
    low, high = np.asarray(ranges["low"], float), np.asarray(ranges["high"], float)
    # A constant column has scale 1 in a scaler; its range tells it apart.
    return replace(description, low=low, high=high, sd=np.where(high > low, description.sd, 0.0), integer=np.asarray(ranges["integer"], bool))


def synthetic_rows(description: InputDescription, n: int, seed: int = 0) -> np.ndarray:  # [n, d] float32, raw units
    """Inputs with each feature's mean and standard deviation, inside its range.

    Where the range is known, half the rows draw each feature from the Beta distribution of that mean, deviation and range: it
    has the skew and the tails that the three imply (a rare binary column comes out rare and binary). The other half, and
    features without a range, are Gaussian.
    """
    rng = np.random.default_rng(seed)
    x = description.inputs(rng.standard_normal((n, description.d)))
    known = np.isfinite(description.low) & np.isfinite(description.high) & (description.sd > 0) & ~description.uniform
    for j in np.flatnonzero(known):
        low, high = description.low[j], description.high[j]
        m = np.clip((description.mean[j] - low) / (high - low), 1e-3, 1 - 1e-3)
        v = min((description.sd[j] / (high - low)) ** 2, 0.99 * m * (1 - m))
        concentration = m * (1 - m) / v - 1.0
        half = n // 2
        x[:half, j] = low + (high - low) * rng.beta(m * concentration, (1 - m) * concentration, half)
    x = description.restrict(x)
    return rng.permutation(x).astype(np.float32)  # every part of the rows holds both halves
