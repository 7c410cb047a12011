"""Measurements: the accuracy of an engine, the latency of a request, and the machine. Nothing here needs torch."""

from __future__ import annotations

from .accuracy import accuracy, compare
from .bench import Measurement, measure_engines
from .latency import latencies, latency, percentiles
from .machine import machine_state

__all__ = [
    "Measurement",
    "accuracy",
    "compare",
    "latencies",
    "latency",
    "machine_state",
    "measure_engines",
    "percentiles",
]
