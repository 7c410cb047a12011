"""The shape of what the report reads: records of engines, cards of models, the end of a deployment.

They lie in a folder that may have been edited, cut or made to harm; what is shown is checked before it is used.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from ..errors import RunFolderError

__all__ = ["check_bench", "check_card", "check_deployed"]

_Finite = Annotated[float, Field(allow_inf_nan=False)]


class _Fields(BaseModel):
    model_config = ConfigDict(extra="allow")


class _Gpu(_Fields):
    p50_ns: _Finite | None


class _Cpp(_Gpu):
    p99_ns: _Finite | None = None


class _Timing(_Fields):
    batch: Annotated[int, Field(ge=1)]
    samples: Annotated[int, Field(ge=1)]
    p50_ns: _Finite | None
    p99_ns: _Finite | None
    overhead_ns: _Finite = 0.0
    gpu: _Gpu = _Gpu(p50_ns=None)
    cpp: _Cpp = _Cpp(p50_ns=None)


class _Setting(_Fields):
    batch: int
    p50_ns: _Finite | None


class _EngineFacts(_Fields):
    sha256: str
    size_bytes: int | None
    notes: list[str] = []


class _Skipped(_Fields):
    batch: int
    reason: str


class _Machine(_Fields):
    load: list[_Finite] | None = None
    cores: int | None = None


class _Bench(_Fields):
    name: str
    backend: str
    precision: str
    executed: dict[str, Any] | None = None
    engine: _EngineFacts
    latency: list[_Timing]
    settings: dict[str, list[_Setting]] = {}
    skipped: list[_Skipped] = []
    machine: _Machine
    machine_after: dict[str, Any] = {}
    measured: str


class _Weight(_Fields):
    start: _Finite
    end: _Finite


class _Card(_Fields):
    kind: str | None = None
    spec: str | None = None
    parameters: int | None = None
    extra: dict[str, Any] | None = None


class _Setup(_Fields):
    base: str | None = None
    sampler: str | None = None
    heads: Any = None
    export_head: str | None = None


class _Verified(_Fields):
    name: str
    passed: bool
    difference: _Finite | None
    allowed: _Finite


class _Deployed(_Fields):
    two_parts: dict[str, dict[str, list[str]]] = {}
    verified: list[_Verified]
    notes: list[str]
    left_out: list[str]


def check_bench(record: dict[str, Any], path: str | Path, remedy: str) -> None:
    """Refuse a record of ``bench/*.json`` that lacks what the report shows; :class:`RunFolderError`."""
    _check(_Bench, record, path, remedy)


def check_card(card: dict[str, Any], path: str | Path, remedy: str) -> None:
    """Refuse a ``model.json`` that does not describe a model; :class:`RunFolderError`."""
    _check(_Card, card, path, remedy)
    extra = card.get("extra") or {}
    for key, kind in (("recipe", dict[str, Any]), ("setup", _Setup)):
        _check(kind, extra.get(key) or {}, path, remedy)
    recipe = extra.get("recipe") or {}
    weights = {key: value for key, value in recipe.items() if key.startswith("w_") and value}
    _check(dict[str, _Weight], weights, path, remedy)
    if weights.get("w_base") is not None:
        _check(str, recipe.get("base"), path, remedy)


def check_deployed(record: dict[str, Any], path: str | Path, remedy: str) -> None:
    """Refuse a ``deploy.json`` that is not what :func:`regkd_edge.bundle.deploy` wrote; :class:`RunFolderError`."""
    _check(_Deployed, record, path, remedy)


def _check(kind: Any, value: Any, path: str | Path, remedy: str) -> None:
    try:
        TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(str(part)[:40] for part in problem["loc"]) or "a field"
        raise RunFolderError(f"'{path}' is corrupt: {place}: {problem['msg']}.", remedy) from None
