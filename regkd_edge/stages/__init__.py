"""Stages of a run: one module per stage, each with what it depends on and what it writes.

A stage knows three things: the stages before it, its *inputs* (everything that decides its result, as JSON-able values
and hashes) and its *work*. From these :func:`perform` tells done from stale, and refuses to build on a stale stage.
"""

from __future__ import annotations

import functools
import importlib

from ..run import pipeline
from ..run.pipeline import external_hash, machine_name
from ..run.stage import Done, Parts, Stage, StageProgress

__all__ = [
    "Done",
    "Parts",
    "StageProgress",
    "Stage",
    "external_hash",
    "get",
    "machine_name",
    "perform",
    "require_fresh",
    "stale_reason",
]


def get(name: str) -> Stage:
    """Return the stage of that name, importing its module on first use."""
    return importlib.import_module(f"{__name__}.{name}").STAGE


#: :mod:`regkd_edge.run.pipeline` with these stages.
perform = functools.partial(pipeline.perform, get)
require_fresh = functools.partial(pipeline.require_fresh, get)
stale_reason = functools.partial(pipeline.stale_reason, get)
