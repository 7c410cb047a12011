"""The section ``quantize`` of the configuration: precisions, calibration, and ways to reduce the error."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from .contradictions.sections import quantize_contradictions
from .fields import MOST_STEPS, Section, as_list, names_of

__all__ = ["CORRECTIONS", "QuantizeConfig"]

AUTO_INCREASE = 0.01  # that --precision auto allows without --max-increase
CORRECTIONS = ("equalize", "cross-layer", "center", "rounding", "bias", "affine", "split")


def _as_share(value: Any) -> Any:
    """Return 0.01 for ``"1%"`` and None for ``"none"``; numbers are unchanged."""
    if isinstance(value, str) and value.strip().lower() == "none":
        return None
    if isinstance(value, str) and value.strip().endswith("%"):
        try:
            return float(value.strip()[:-1]) / 100.0
        except ValueError:
            return value
    return value


Share = Annotated[Annotated[float, Field(gt=0)] | None, BeforeValidator(_as_share)]


class QuantizeConfig(Section):
    """Which precisions to write, on which inputs to calibrate them, and how to reduce the error."""

    renamed: ClassVar[dict[str, str]] = {
        "placer": "quantizer",
        "inputs": "describe",
        "target": "platform",
        "finetune": "qat",
        "finetune_steps": "qat_steps",
        "finetune_lr": "qat_lr",
        "report": "rank_layers",
    }

    precision: Annotated[
        list[Literal["int8", "int8-weights", "fp8", "fp16", "bf16", "auto"]],
        BeforeValidator(as_list),
        Field(min_length=1),
    ] = Field(
        default_factory=lambda: ["fp16", "int8"],
        description=(
            "Precisions besides fp32: int8, int8-weights, fp8, fp16, bf16; or auto: int8, with as many layers in "
            "a higher precision as --max-increase (1%) needs."
        ),
    )
    calibrate: Literal["auto", "real", "synthetic", "both"] = Field(
        "auto",
        description=(
            "Calibration inputs: the student's training rows (real), synthetic ones, or both; auto: the rows if "
            "the student saw any, else synthetic ones."
        ),
    )
    describe: str | None = Field(
        None,
        description=(
            "YAML description of the inputs for synthetic rows (mean and sd, or low and high of each). Default: "
            "the one stored with the student."
        ),
    )
    method: Literal["output", "minmax", "percentile", "entropy"] = Field(
        "output", description="How a range is chosen: by the output's error, or from the calibration values."
    )
    percentile: Annotated[float, Field(gt=50, le=100)] = Field(99.99, description="Percentile of --method percentile.")
    rows: Annotated[int, Field(ge=1)] = Field(2048, description="Maximum number of calibration rows.")
    corrections: names_of("correction", CORRECTIONS) = Field(  # type: ignore[valid-type]
        default_factory=lambda: list(CORRECTIONS),
        description="Corrections to try: any of " + ",".join(CORRECTIONS) + ", or none.",
    )
    quantizer: Literal["auto", "own", "onnxruntime", "modelopt"] = Field(
        "auto",
        description=(
            "What inserts INT8 Q/DQ pairs: own (chains of layers), onnxruntime (any graph), modelopt (NVIDIA's, "
            "installed separately), or auto."
        ),
    )
    max_increase: Share = Field(
        None,
        description=(
            "Maximum increase of the RMSE, e.g. 1%; or none. It is met by INT8 in one part if possible, else in two "
            "parts, else by layers in a higher precision (--high)."
        ),
    )
    high: Literal["fp16", "bf16", "fp32"] = Field("fp16", description="The higher precision of --max-increase.")
    qat: bool = Field(
        False,
        description=(
            "Train the student through its INT8 quantizers with the base and terms of distill (quantization-aware "
            "distillation)."
        ),
    )
    qat_steps: Annotated[int, Field(ge=1, le=MOST_STEPS)] = Field(1500, description="Steps of --qat.")
    qat_lr: Annotated[float, Field(gt=0)] = Field(
        3e-4, description="Learning rate of --qat, falling to 0 along a cosine."
    )
    platform: str | None = Field(
        None, description="Device the graphs are for: orin, thor, sm_89, cpu, ... ; a precision it lacks is refused."
    )
    rank_layers: bool = Field(
        False,
        description=(
            "Rank the layers by the output error that each causes, split into input, weights and activations."
        ),
    )

    @property
    def increase(self) -> float | None:
        """The allowed increase of the RMSE: ``max_increase``, or 1 % where a precision is ``auto``."""
        return AUTO_INCREASE if self.max_increase is None and "auto" in self.precision else self.max_increase

    def contradictions(self) -> list[str]:
        return quantize_contradictions(self)
