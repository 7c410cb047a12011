"""Configuration of a run: one :class:`RunConfig` with a section per command, validated once when it is read."""

from __future__ import annotations

from .distill import BASES, SAMPLERS, TERMS, DistillConfig
from .quantize import CORRECTIONS, QuantizeConfig
from .run import PATHS, PRECISIONS, BenchConfig, BuildConfig, DataConfig, RunConfig, TeacherConfig

__all__ = [
    "BASES",
    "CORRECTIONS",
    "PATHS",
    "PRECISIONS",
    "SAMPLERS",
    "TERMS",
    "BenchConfig",
    "BuildConfig",
    "DataConfig",
    "DistillConfig",
    "QuantizeConfig",
    "RunConfig",
    "TeacherConfig",
]
