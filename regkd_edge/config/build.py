"""The section ``build`` of the configuration: which engines, with which options of their back ends."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from .contradictions.sections import build_contradictions
from .fields import Section, as_list, none_for_nothing

__all__ = ["BuildConfig"]

# Fields that a back end for GPUs takes.
_GPU_OPTIONS = {
    "tensorrt": (
        "workspace_mib",
        "optimization_level",
        "tf32",
        "version_compatible",
        "hardware_compatible",
        "refit",
        "dla",
    ),
    "tensorrt-rtx": ("tf32",),
}


class BuildConfig(Section):
    """Which engines to build."""

    renamed: ClassVar[dict[str, str]] = {"header": "c_header"}

    backend: Annotated[
        list[Literal["onnxruntime", "tensorrt", "native", "tensorrt-rtx"]],
        BeforeValidator(as_list),
        Field(min_length=1),
    ] = Field(
        default_factory=lambda: ["onnxruntime"],
        description=(
            "onnxruntime, native, tensorrt, tensorrt-rtx (ahead of time, no GPU), or several separated by commas."
        ),
    )
    workspace_mib: Annotated[int, Field(ge=1)] = Field(
        256, description="TensorRT: maximum workspace memory per layer, MiB."
    )
    optimization_level: Annotated[int, Field(ge=0, le=5)] = Field(
        3, description="TensorRT: builder optimization level."
    )
    tf32: bool = Field(False, description="TensorRT: let FP32 layers use TF32 (10 bits of mantissa).")
    version_compatible: bool = Field(
        False, description="TensorRT: allow loading in later minor versions; loading then runs code from the plan."
    )
    hardware_compatible: bool = Field(False, description="TensorRT: allow any GPU from Ampere on.")
    refit: Literal["off", "refit", "strip"] = Field(
        "off", description="TensorRT: weights can be replaced later; strip: they are left out of the plan."
    )
    dla: Annotated[int, Field(ge=0, le=1)] | None = Field(
        None, description="TensorRT: DLA core of an Orin for the layers it supports; the GPU runs the rest."
    )
    profile: Annotated[
        list[Annotated[int, Field(ge=1, le=65536)]] | None,
        BeforeValidator(lambda value: as_list(none_for_nothing(value))),
    ] = Field(
        None,
        description=(
            "TensorRT: minimum, optimal, maximum batch of a dynamic graph (1,1,64), or one number for a static batch; "
            "none: a static batch of 1."
        ),
    )
    c_header: Annotated[str | None, BeforeValidator(none_for_nothing)] = Field(
        None,
        description=(
            "native: also write each engine as one C99 header NAME.h, all symbols prefixed with NAME, for a device "
            "without an operating system; or none."
        ),
    )

    def options(self, backend: str) -> dict[str, Any]:
        """The options of one back end."""
        options: dict[str, Any] = {"c_header": self.c_header} if backend == "native" and self.c_header else {}
        if backend in _GPU_OPTIONS:
            options |= {field: getattr(self, field) for field in _GPU_OPTIONS[backend]}
            if self.profile is not None:
                options |= dict(zip(("min_batch", "opt_batch", "max_batch"), (self.profile * 3)[:3]))
        return options

    def contradictions(self) -> list[str]:
        return build_contradictions(self)
