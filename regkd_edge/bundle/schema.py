"""What a bundle may hold: the fields of its list, and the names of its files. Anything else is refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..config import BuildConfig
from ..errors import RunFolderError
from ..io.limits import LISTED_BYTES
from ..io.names import name_problem
from .wheel import WHEEL_NAME

__all__ = ["FORMAT", "LIST", "REMEDY", "SIGNATURE", "check_list", "check_name"]

LIST = "bundle.json"
SIGNATURE = "bundle.sig"
FORMAT = 1
REMEDY = "Copy the archive again, or create it again: regkd-edge bundle RUN --platform PLATFORM."

# A graph is named by its precision; the name becomes a part of paths.
_GRAPH = r"[a-z][a-z0-9_-]{0,31}"
_FILES = re.compile(
    r"run\.yaml|data\.(npz|json)|expected\.npz|README\.txt"
    r"|(teacher|baseline|student)/(model\.json|predictions\.npz)"
    rf"|onnx/student\.{_GRAPH}\.onnx"
    rf"|engines/native\.{_GRAPH}/(engine\.rkdn|manifest\.json)"
    rf"|wheel/{WHEEL_NAME}"
)

_Text = Annotated[str, Field(max_length=4096)]
_Hash = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
_Graph = Annotated[str, Field(pattern=f"^{_GRAPH}$")]
_Finite = Annotated[float, Field(allow_inf_nan=False)]
_Error = Annotated[_Finite, Field(ge=0)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _File(_Strict):
    sha256: _Hash
    bytes: Annotated[int, Field(ge=0, le=LISTED_BYTES)]


class _Target(_Strict):
    name: _Text
    what: _Text
    tensorrt: dict[_Text, _Text]
    checked_for: _Text
    python: _Text


class _Rows(_Strict):
    kind: Literal["held-out", "synthetic"]
    count: Annotated[int, Field(ge=1)]


class _Errors(_Strict):
    rmse: _Error
    mae: _Error
    max_error: _Error
    r2: _Finite | None


class _TargetErrors(_Errors):
    name: _Text
    unit: _Text | None


class _Accuracy(_Errors):
    """What :func:`regkd_edge.measure.accuracy` gives."""

    n: Annotated[int, Field(ge=1)]
    targets: Annotated[list[_TargetErrors], Field(min_length=1)]
    unit: _Text


class _GraphEntry(_Strict):
    file: _Text
    sha256: _Hash
    precision: _Text
    accuracy: _Accuracy
    allowed: Annotated[list[_Error], Field(min_length=1)]
    two_parts: dict[_Text, list[Literal["data", "weights"]]] = {}  # layer -> what of it is in two INT8 parts

    @model_validator(mode="after")
    def _judged(self) -> _GraphEntry:
        if len(self.accuracy.targets) != len(self.allowed):
            raise ValueError(f"it has errors of {len(self.accuracy.targets)} targets and limits of {len(self.allowed)}")
        return self


class _List(_Strict):
    """``bundle.json``."""

    format: Literal[1]
    name: _Text
    target: _Target
    rows: _Rows
    graphs: Annotated[dict[_Graph, _GraphEntry], Field(min_length=1)]
    left_out: list[_Text]
    tensorrt_options: dict[_Text, bool | int | _Text | None]
    versions: dict[_Text, _Text]
    files: dict[_Text, _File]

    @model_validator(mode="after")
    def _graphs_are_files(self) -> _List:
        for name, graph in self.graphs.items():
            if graph.file != f"onnx/student.{name}.onnx":
                raise ValueError(f"graph '{name}' names the file '{graph.file}', expected 'onnx/student.{name}.onnx'")
            if graph.file not in self.files or self.files[graph.file].sha256 != graph.sha256:
                raise ValueError(f"the file of graph '{name}' is not listed, or listed with another hash")
        if "fp32" not in self.graphs:
            raise ValueError("there is no fp32 graph")
        return self

    @model_validator(mode="after")
    def _options_are_known(self) -> _List:
        known = BuildConfig(profile=[1]).options("tensorrt")
        for name in self.tensorrt_options:
            if name not in known:
                raise ValueError(f"TensorRT has no option '{name}' here")
        fields: dict[str, Any] = {k: v for k, v in self.tensorrt_options.items() if k in BuildConfig.model_fields}
        batches = [value for name, value in self.tensorrt_options.items() if name.endswith("_batch")]
        fields |= {"profile": batches} if batches else {}
        try:
            BuildConfig.model_validate(fields)
        except ValidationError as error:
            raise ValueError(f"tensorrt_options.{error.errors()[0]['loc'][0]}: {error.errors()[0]['msg']}") from None
        return self


def check_name(name: Any, where: str) -> None:
    """Refuse a file name that leads out of its folder, or that no bundle has; :class:`RunFolderError`."""
    problem = name_problem(name)
    if problem is not None:
        raise RunFolderError(
            f"bundle {where} holds a file named {str(name)[:80]!r}, which leads out of its folder: it {problem}.",
            "Do not use this archive.",
        )
    if _FILES.fullmatch(name) is None:
        raise RunFolderError(f"bundle {where} holds a file named '{name}', which no bundle has.", "Do not use it.")


def check_list(content: Any, path: str | Path) -> None:
    """Raise :class:`RunFolderError` when the content of ``bundle.json`` is not as :func:`make_bundle` writes it."""
    if not isinstance(content, Mapping) or content.get("format") != FORMAT:
        met = content.get("format") if isinstance(content, Mapping) else type(content).__name__
        raise RunFolderError(
            f"{LIST} of bundle '{path}' has format {met!r}, expected {FORMAT}.",
            "Use the version of regkd-edge that made it.",
        )
    files = content.get("files")
    if not isinstance(files, Mapping):
        raise RunFolderError(f"{LIST} of bundle '{path}' lists no files.", REMEDY)
    for name in files:
        check_name(name, f"'{path}'")
    try:
        checked = _List.model_validate(dict(content))
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(str(part)[:40] for part in problem["loc"]) or "the list"
        raise RunFolderError(f"{LIST} of bundle '{path}': {place}: {problem['msg']}.", REMEDY) from None
    total = sum(file.bytes for file in checked.files.values())
    if total > LISTED_BYTES:
        raise RunFolderError(
            f"{LIST} of bundle '{path}' lists {total:,} bytes, expected at most {LISTED_BYTES >> 20} MiB.", REMEDY
        )
