"""The section ``bench`` of the configuration: how engines are measured and judged."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from .budget import checked_allowance
from .fields import Section, as_list, none_for_nothing

__all__ = ["BenchConfig"]


class BenchConfig(Section):
    """How engines are measured."""

    batches: Annotated[list[Annotated[int, Field(ge=1, le=65536)]], BeforeValidator(as_list), Field(min_length=1)] = (
        Field(default_factory=lambda: [1, 64], description="Batch sizes to time.")
    )
    samples: Annotated[int, Field(ge=10)] = Field(3000, description="Timed requests per batch size.")
    warmup: Annotated[int, Field(ge=0)] = Field(300, description="Untimed requests before the measurement.")
    threads: Annotated[int, Field(ge=1, le=1024)] = Field(1, description="ONNX Runtime: threads per request.")
    sweep: bool = Field(True, description="Also time other settings of each engine: threads and spinning, CUDA graph.")
    run_code_of_plan: bool = Field(
        False,
        description=(
            "TensorRT: load version-compatible plans that were not built on this machine; loading runs code from the "
            "plan. In a YAML file it has no effect."
        ),
    )
    allow: Annotated[
        list[Annotated[str, BeforeValidator(checked_allowance)]],
        BeforeValidator(lambda value: [] if none_for_nothing(value) is None else as_list(value)),
    ] = Field(
        default_factory=list,
        description=(
            "Error budget: the largest RMSE allowed per target in its own unit, TARGET=RMSE (or RMSE with one target), "
            "for pass or fail in tables and report; or none."
        ),
    )
