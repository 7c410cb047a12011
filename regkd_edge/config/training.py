"""Fields of the section ``distill`` about the training itself: steps, time, optimizer, what computes them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from .fields import MOST_STEPS, AtLeast0, Count, Optimizer, Positive, Section, panel, seconds
from .objective import LEAST_GAIN, MOST_AUTO

__all__ = ["TrainingFields"]

_TRAINING = panel("Training")


class TrainingFields(Section):
    """How a student is trained."""

    initial: Literal["random", "teacher"] = Field(
        "random",
        description=(
            "Weights that the student begins with; teacher: the neurons of the teacher that contribute most, and its "
            "answer fitted behind them, where both are MLPs of one activation and the teacher is as deep (else random)."
        ),
        json_schema_extra=_TRAINING,
    )
    steps: Literal["auto"] | Annotated[int, Field(ge=1, le=MOST_STEPS)] = Field(
        "auto",
        description=(
            "Training steps; auto: doubled, each time with a learning rate that falls to 0 at the end, until a "
            f"doubling brings less than {LEAST_GAIN:.0%} (at most {MOST_AUTO:,})."
        ),
        json_schema_extra=_TRAINING,
    )
    budget: Annotated[Annotated[float, Field(gt=0)] | None, BeforeValidator(seconds)] = Field(
        None,
        description="Time for race and training together: 60s, 2m, or a number of seconds. The result depends on it.",
        json_schema_extra=_TRAINING,
    )
    batch: Count = Field(64, description="Points per step.", json_schema_extra=_TRAINING)
    optimizer: Optimizer = Field("adam", description="rmsprop, adam or adamw.", json_schema_extra=_TRAINING)
    lr: Positive = Field(5e-3, description="Learning rate.", json_schema_extra=_TRAINING)
    lr_schedule: Literal["cosine", "linear", "constant"] = Field(
        "cosine",
        description=(
            "How the learning rate falls to 0 over a given number of steps: cosine, linear, or not (constant). "
            "Steps auto has its own."
        ),
        json_schema_extra=_TRAINING,
    )
    weight_decay: AtLeast0 = Field(0.0, description="Weight decay.", json_schema_extra=_TRAINING)
    ema: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0,
        description=(
            "Decay per step of an exponential moving average of the student's weights, which is validated and kept in "
            "their place: 0.999 spans the last thousand steps. 0: none."
        ),
        json_schema_extra=_TRAINING,
    )
    evaluate_every: Annotated[int, Field(ge=1, le=10**6)] = Field(
        100, description="Steps between two validations.", json_schema_extra=_TRAINING
    )
    baseline: bool = Field(
        True,
        description="Train the same student by its base alone too, to measure what the terms add.",
        json_schema_extra=_TRAINING,
    )
    accept_teacher: bool = Field(
        False,
        description="run: go on with a teacher that is worse than the mean or than a linear model on held-out rows.",
        json_schema_extra=_TRAINING,
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto",
        description=("Where to train; auto: on the GPU if one is present and the fused core supports the networks."),
        json_schema_extra=_TRAINING,
    )
    compute: Literal["auto", "cpu", "cuda", "torch"] = Field(
        "auto",
        description="What computes the steps: the fused core (cpu, cuda), autograd (torch), or auto.",
        json_schema_extra=_TRAINING,
    )
    mixed_precision: bool = Field(
        False,
        description=(
            "Compute products in bfloat16 on a GPU (PyTorch autocast, not the fused core); weights, losses and updates "
            "stay float32."
        ),
        json_schema_extra=_TRAINING,
    )
