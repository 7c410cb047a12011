"""Fields of the section ``distill`` about synthetic points: where they come from, and what they are shaped like."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ..recipes.samplers import NOISES
from .fields import OrNone, Section, Weight, panel
from .objective import SAMPLERS

__all__ = ["PointFields"]

_POINTS = panel("Synthetic points")


class PointFields(Section):
    """Points beside the rows, or in their place."""

    no_data: bool = Field(
        False,
        description=(
            "Train without rows: on synthetic inputs with the teacher's answers, validated on other such inputs."
        ),
        json_schema_extra=_POINTS,
    )
    sampler: Annotated[Literal[SAMPLERS] | None, OrNone] = Field(
        None,
        description=(
            "Synthetic points: gaussian, described, heavy-tailed (same mean and spread), mixed (half "
            "of each), generator, direct, anchored, latent. Without data the default is described. With rows it is "
            "none, and the named points are added to the rows."
        ),
        json_schema_extra=_POINTS,
    )
    w_sampler: Weight = Field(
        1.0,
        description=(
            "Weight of the points of generator, direct, anchored and latent, or of all points added to rows. They are "
            "half of each batch."
        ),
        json_schema_extra=_POINTS,
    )
    noise: Literal[NOISES] = Field(
        "mixed",
        description=(
            "neighbours: isotropic (sigma in every column), open (the same, and continuous columns may leave the "
            "range of the rows), principal (sigma times the rows' own covariance), crossover (each column from "
            "another row with probability sigma), all of them in equal parts (mixed), or principal noise of three "
            "sizes (mixed-principal). Images and signals: smooth too (over places or time steps; it is part of mixed)."
        ),
        json_schema_extra=_POINTS,
    )
    describe: Annotated[str | None, OrNone] = Field(
        None,
        description=(
            "YAML file that describes the inputs, or 'standard' for N(0,1). Default: the teacher's scalers, or the "
            "rows."
        ),
        json_schema_extra=_POINTS,
    )
    like: Annotated[str | None, OrNone] = Field(
        None,
        description=(
            "CSV of a few real inputs (no labels needed) whose correlation is used; without --describe their "
            "means, spreads and ranges are used too."
        ),
        json_schema_extra=_POINTS,
    )
