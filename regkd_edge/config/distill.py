"""The section ``distill`` of the configuration: the student, its objective, where its inputs come from, its training.

What does not go together is refused by :mod:`.contradictions`, before anything is trained.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, create_model, model_validator

from ..recipes import RECIPES, defaults
from ..recipes import TERMS as TABLE
from ..recipes.samplers import KINDS, SamplerKind
from .contradictions.sections import distill_contradictions
from .fields import (
    AtLeast0,
    Fraction,
    OrNone,
    Positive,
    Section,
    Weight,
    as_list,
    formerly,
    names_of,
    none_for_nothing,
)
from .objective import (
    AUTO,
    BASES,
    GM_ON,
    OBJECTIVE,
    ROUND,
    SAMPLERS,
    TERMS,
    WITHOUT_LABELS,
    active,
)
from .points import PointFields
from .training import TrainingFields

__all__ = ["BASES", "GM_ON", "ROUND", "SAMPLERS", "TERMS", "WITHOUT_LABELS", "DistillConfig", "begun_anew"]

_NAMED = (AUTO, *RECIPES)


_TermWeights = create_model(
    "_TermWeights",
    __base__=Section,
    **{f"w_{t.name}": (Weight, Field(t.weight, description=f"Weight of {t.title}.")) for t in TABLE.values()},
)


class _ObjectiveFields(_TermWeights):
    """The student and the objective it is trained on (METHODS: base + PM + ABM + GM)."""

    recipe: Annotated[Literal[_NAMED] | None, OrNone] = Field(
        AUTO,
        description=(
            "auto: a race on rows kept aside chooses base, terms, weights and noise. Or a named set of the fields "
            "below: " + ", ".join(RECIPES) + "; a field given beside it wins. none: the fields as they are, as "
            "when one of them is given without a recipe."
        ),
    )
    student: str = Field(
        "mlp:32,32:relu",
        description=(
            "Spec of the student: mlp:WIDTHS:ACTIVATION, conv1d:BLOCKS:ACTIVATION, conv2d:BLOCKS:ACTIVATION, gru:UNITS "
            "or factory:package.module:make. A block is 16x5/2 (channels, kernel, stride) or 16d5/2 "
            "(depthwise-separable)."
        ),
    )
    base: Literal[BASES] = Field(
        "mimic",
        description=(
            "How label and teacher are combined: mimic, blend, ail, mix (teacher by trust, label by distrust), tbr, "
            "tor; rkd adds distances between answers, hint a hidden layer."
        ),
    )
    alpha: Annotated[float, Field(ge=0, le=1)] = Field(
        defaults.ALPHA, description="Share of the label in blend and ail."
    )
    nu: AtLeast0 = Field(
        defaults.NU,
        description="Weight of the gated term in tbr, of the distances in rkd, of the hidden layer in hint.",
    )
    margin: AtLeast0 = Field(defaults.MARGIN, description="Margin m of tbr's gate.")
    imitate: bool = Field(False, description="tbr: the gated term follows the teacher instead of the label.")
    outlier_rule: Literal["mean", "median"] = Field(
        defaults.OUTLIER_RULE,
        description=(
            "tor: an outlier lies k deviations above the mean of |T-y|, or above the median (which gross outliers "
            "hardly affect)."
        ),
    )
    outlier_k: AtLeast0 = Field(defaults.OUTLIER_K, description="tor: that k.")
    outlier_loss: Literal["root", "squared", "drop"] = Field(
        defaults.OUTLIER_LOSS, description="tor: an outlier adds sqrt|S-T|, |S-T|^2, or nothing."
    )
    hint_layers: Annotated[
        list[Annotated[int, Field(ge=-1)]], BeforeValidator(as_list), Field(min_length=2, max_length=2)
    ] = Field(
        default_factory=lambda: [-1, -1],
        description="hint: hidden layer of the student and of the teacher, counted from 0; -1 is the last.",
    )
    heads: Annotated[int, Field(ge=1, le=2)] = Field(
        1, description="2: one head learns the labels with the base, the other learns the teacher."
    )
    head_weight: Positive = Field(defaults.HEAD_WEIGHT, description="Weight of the teacher's head.")
    export_head: Literal["label", "teacher", "mean"] = Field("label", description="With two heads: which one is kept.")
    w_base: Weight = Field(
        1.0,
        description=(
            "Weight of the base on the rows (without data: on the described inputs). Like all weights: a number, or "
            "START..END over the steps."
        ),
    )
    terms: names_of("term", TERMS) = Field(  # type: ignore[valid-type]
        default_factory=lambda: list(TERMS), description=f"Matching terms: any of {','.join(TERMS)}, or none."
    )
    gm_scale: Literal["none", "teacher"] = Field(
        "none",
        description=(
            "teacher: w_gm counts in units of the teacher's mean squared gradient over the rows, so that one weight "
            "means the same on every table."
        ),
    )
    gm_on: names_of("point", GM_ON, none=False) = Field(  # type: ignore[valid-type]
        default_factory=lambda: list(GM_ON), description="Points that gm uses: any of original,perturbed,ascended."
    )
    sigma: Annotated[list[Positive], BeforeValidator(as_list), Field(min_length=1)] = Field(
        default_factory=lambda: [defaults.SIGMA],
        description=(
            "Perturbation per standardized feature: one number, or one per feature (images and signals: per channel)."
        ),
    )
    noise_length: AtLeast0 = Field(
        0.0,
        description=(
            "Images and signals: perturbations that are smooth over so many places or time "
            "steps; 0: each number on its own."
        ),
    )
    draws: Annotated[int, Field(ge=1, le=1024)] = Field(defaults.DRAWS, description="Perturbations per row and step.")
    ascent_rule: Annotated[Literal["rmsprop", "sign", "normalised", "random"], formerly(defaults.OLD_ASCENT_RULES)] = (
        Field(
            defaults.ASCENT_RULE,
            description=(
                "How abm and direct search: along the gradient, or the worst of random points (always used for a "
                "teacher without gradients)."
            ),
        )
    )
    ascent_start: Literal["row", "inputs"] = Field(
        "row",
        description=(
            "Where abm starts: sigma around the rows; or without data at inputs of their own, N(0,1) or as described, "
            "as sampler direct does."
        ),
    )
    bounds: Literal["none", "rows"] = Field(
        "none",
        description=(
            "rows: perturbed and searched points stay inside the range of each column of the rows. With --describe or "
            "--like the described ranges count in any case."
        ),
    )
    ascent_steps: Annotated[int, Field(ge=1, le=64)] = Field(defaults.ASCENT_STEPS, description="Steps of that search.")
    ascent_size: Positive = Field(
        defaults.ASCENT_SIZE, description="Step size of that search (rmsprop: learning rate)."
    )
    ascent_candidates: Annotated[int, Field(ge=1, le=1024)] = Field(
        defaults.ASCENT_CANDIDATES, description="Random points per row and step, with ascent_rule random."
    )
    teacher_gradient: Literal["exact", "central"] = Field(
        "exact",
        description=(
            "A teacher without gradients: what needs them is refused (exact), or gets central differences (central), "
            "2 d teacher evaluations per point."
        ),
    )
    teacher_step: Positive = Field(
        defaults.TEACHER_STEP,
        description="Half width of those differences, standardized: trees are flat over shorter ones.",
    )
    fraction: Fraction = Field(1.0, description="Share of the training and validation rows that the student may see.")


class DistillConfig(TrainingFields, PointFields, _ObjectiveFields):  # fields come in the reverse order of these
    """The student, its objective, its points and its training."""

    renamed: ClassVar[dict[str, str]] = {"backend": "compute", "candidates": "ascent_candidates"}

    @property
    def races(self) -> bool:
        """Whether the objective is chosen by a race among candidates."""
        return self.recipe == AUTO and not self.no_data

    @property
    def drawn(self) -> str | None:
        """Return the sampler, with its default resolved."""
        return self.sampler or ("described" if self.no_data else None)

    @property
    def searched(self) -> bool:
        """Whether the points of the sampler are a part of their own, beside rows or beside inputs as described."""
        return self.kind is not None and (not self.no_data or not self.kind.plain)

    @property
    def kind(self) -> SamplerKind | None:
        """What the sampler needs and does."""
        return None if self.drawn is None else KINDS[self.drawn]

    @property
    def active_terms(self) -> tuple[str, ...]:
        """The terms that are named and have a weight, in the order of the table."""
        return tuple(name for name in TERMS if name in self.terms and active(getattr(self, f"w_{name}")))

    @property
    def base_learns(self) -> bool:
        """Return whether the base alone would learn anything, so that a baseline can be trained."""
        return active(self.w_base) or (self.no_data and self.searched)

    @model_validator(mode="before")
    @classmethod
    def _named(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        if "recipe" not in values and OBJECTIVE & set(values):
            return {**values, "recipe": None}  # what is minimised is said field by field
        known = isinstance(values.get("recipe"), str) and values["recipe"] in RECIPES
        return {**RECIPES[values["recipe"]], **values} if known else values

    def contradictions(self) -> list[str]:
        return distill_contradictions(self)


def begun_anew(before: DistillConfig, given: dict[str, Any]) -> dict[str, Any]:
    """The fields of ``before`` as they stand when ``given`` ones are put over them.

    A new recipe takes back what the former one set; a field of the objective given by itself ends recipe auto.
    """
    values = before.model_dump(mode="json")
    if "recipe" not in given:
        if before.recipe == AUTO and OBJECTIVE & set(given):
            values["recipe"] = None
        return values
    name = none_for_nothing(given["recipe"])
    default = lambda field: DistillConfig.model_fields[field].get_default(call_default_factory=True)
    for field, value in RECIPES.get(str(before.recipe), {}).items():
        if getattr(before, field) == value:
            values[field] = default(field)
    if name == AUTO:
        values |= {field: default(field) for field in OBJECTIVE}
    values.update(RECIPES.get(name, {}))
    return values
