"""The section ``distill`` of the configuration: the student, its objective, where its inputs come from, its training.

Contradictions are refused here, before anything is trained. What depends on the teacher (whether it has a
gradient, which hidden layers) is checked by :mod:`regkd_edge.training.fits`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from ..recipes import RECIPES
from .fields import MOST_STEPS, Count, Fraction, Names, Optimizer, OrNone, Section, Weight, as_list, panel, weight_parts

__all__ = ["BASES", "DESCRIBED", "GM_ON", "LEARNING", "ROUND", "SAMPLERS", "TERMS", "DistillConfig"]

BASES = ("mimic", "blend", "ail", "mix", "tbr", "tor", "rkd", "hint")
TERMS = ("pm", "abm", "gm")
GM_ON = ("original", "perturbed", "ascended")
SAMPLERS = ("gaussian", "described", "heavy-tailed", "mixed", "generator", "direct", "anchored", "latent")

WITHOUT_LABELS = ("mimic", "rkd", "hint")  # bases that use the teacher's answers alone
DESCRIBED = ("described", "heavy-tailed", "mixed", "anchored")  # samplers that draw from a description of the inputs
LEARNING = ("generator", "anchored")  # samplers that use the student once per round
SEARCHING = ("generator", "direct", "anchored", "latent")
ROUND = 10  # [steps] per round, as in Zhou & Chiam 2023

_POINTS, _TRAINING = panel("Synthetic points"), panel("Training")
Positive = Annotated[float, Field(gt=0)]
AtLeast0 = Annotated[float, Field(ge=0)]


class DistillConfig(Section):
    """The student and the objective it is trained on (METHODS: base + PM + ABM + GM)."""

    recipe: Annotated[Literal[tuple(RECIPES)] | None, OrNone] = Field(
        None,
        description="Named set of the fields below: " + ", ".join(RECIPES) + ".An explicit field takes precedence.",
    )
    student: str = Field("mlp:32,32:relu", description="Spec of the student: mlp:WIDTHS:ACTIVATION.")
    base: Literal[BASES] = Field(
        "mimic",
        description=(
            "How label and teacher are combined: mimic, blend, ail, mix (teacher by trust, label by distrust), tbr, "
            "tor; rkd adds distances between outputs, hint a hidden layer."
        ),
    )
    alpha: Annotated[float, Field(ge=0, le=1)] = Field(0.5, description="Share of the label in blend and ail.")
    nu: AtLeast0 = Field(
        0.5, description="Weight of the gated term in tbr, of the distances in rkd, of the hidden layer in hint."
    )
    margin: AtLeast0 = Field(0.0, description="Margin m of tbr's gate.")
    imitate: bool = Field(False, description="tbr: the gated term follows the teacher instead of the label.")
    outlier_rule: Literal["mean", "median"] = Field(
        "mean",
        description=(
            "tor: an outlier lies k deviations above the mean of |T-y|, or above the median (which gross outliers "
            "hardly affect)."
        ),
    )
    outlier_k: AtLeast0 = Field(2.0, description="tor: the k of outlier_about.")
    outlier_loss: Literal["root", "squared", "drop"] = Field(
        "root", description="tor: the loss of an outlier: sqrt|S-T|, |S-T|^2, or none."
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
    head_weight: Positive = Field(0.5, description="Weight of the teacher's head.")
    export_head: Literal["label", "teacher", "mean"] = Field("label", description="With two heads: the one to export.")
    w_base: Weight = Field(
        1.0,
        description=(
            "Weight of the base on the rows (without data: on the described inputs). Like all weights: a number, or "
            "START..END over the steps."
        ),
    )
    terms: Names = Field(default_factory=lambda: list(TERMS), description="Matching terms: any of pm,abm,gm, or none.")
    w_pm: Weight = Field(1.0, description="Weight of perturbation matching.")
    w_abm: Weight = Field("1..0", description="Weight of adversarial belief matching.")
    w_gm: Weight = Field(0.1, description="Weight of gradient matching.")
    gm_on: Names = Field(
        default_factory=lambda: list(GM_ON), description="Points that gm uses: any of original,perturbed,ascended."
    )
    sigma: Annotated[list[Positive], BeforeValidator(as_list), Field(min_length=1)] = Field(
        default_factory=lambda: [0.3],
        description="Perturbation per standardized feature: one number, or one per feature.",
    )
    draws: Annotated[int, Field(ge=1, le=1024)] = Field(1, description="Perturbations per row and step.")
    ascent_rule: Literal["rmsprop", "sign", "normalised", "candidates"] = Field(
        "rmsprop",
        description=(
            "How abm and direct search: along the gradient, or the worst of random candidates (used for a "
            "teacher without gradients)."
        ),
    )
    ascent_steps: Annotated[int, Field(ge=1, le=64)] = Field(2, description="Gradient steps of the search.")
    ascent_size: Positive = Field(0.03, description="Step size of the search (rmsprop: learning rate).")
    candidates: Annotated[int, Field(ge=1, le=1024)] = Field(16, description="Candidates per row and step.")
    teacher_gradient: Literal["exact", "central"] = Field(
        "exact",
        description=(
            "For a teacher without gradients: refuse what needs them (exact), or use central differences "
            "(central), 2 d teacher evaluations per point."
        ),
    )
    teacher_step: Positive = Field(
        0.1, description="Half width of the central differences, standardized. Trees are flat over smaller steps."
    )
    fraction: Fraction = Field(1.0, description="Share of the training and validation rows that the student may see.")
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
    steps: Annotated[int, Field(ge=1, le=MOST_STEPS)] = Field(
        5000, description="Training steps.", json_schema_extra=_TRAINING
    )
    batch: Count = Field(64, description="Points per step.", json_schema_extra=_TRAINING)
    optimizer: Optimizer = Field("adam", description="rmsprop, adam or adamw.", json_schema_extra=_TRAINING)
    lr: Positive = Field(3e-3, description="Learning rate.", json_schema_extra=_TRAINING)
    lr_schedule: Literal["cosine", "linear", "constant"] = Field(
        "cosine",
        description="Decay of the learning rate to 0: cosine, linear, or constant (no decay).",
        json_schema_extra=_TRAINING,
    )
    weight_decay: AtLeast0 = Field(0.0, description="Weight decay.", json_schema_extra=_TRAINING)
    evaluate_every: Annotated[int, Field(ge=1, le=10**6)] = Field(
        100, description="Steps between two validations.", json_schema_extra=_TRAINING
    )
    baseline: bool = Field(
        True,
        description="Also train the same student with the base alone, to measure what the terms add.",
        json_schema_extra=_TRAINING,
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto",
        description=("Where to train; auto: on the GPU if one is present and the fused core supports the networks."),
        json_schema_extra=_TRAINING,
    )
    backend: Literal["auto", "cpu", "cuda", "torch"] = Field(
        "auto",
        description="What computes the steps: the fused core (cpu, cuda), autograd (torch), or auto.",
        json_schema_extra=_TRAINING,
    )

    @property
    def drawn(self) -> str | None:
        """Return the sampler, with its default resolved."""
        return self.sampler or ("described" if self.no_data else None)

    @property
    def searched(self) -> bool:
        """Return whether the sampler's points are a separate part, added to rows or to described inputs."""
        return self.drawn is not None and (not self.no_data or self.drawn in SEARCHING)

    @property
    def base_learns(self) -> bool:
        """Return whether the base alone would learn anything, so that a baseline can be trained."""
        return _active(self.w_base) or (self.no_data and self.searched)

    @model_validator(mode="before")
    @classmethod
    def _named(cls, values: Any) -> Any:
        known = isinstance(values, dict) and isinstance(values.get("recipe"), str) and values["recipe"] in RECIPES
        return {**RECIPES[values["recipe"]], **values} if known else values

    @model_validator(mode="after")
    def _known_names(self) -> DistillConfig:
        for name, allowed in (("terms", TERMS), ("gm_on", GM_ON)):
            given = getattr(self, name)
            if name == "terms" and [t.lower() for t in given] == ["none"]:
                self.__dict__["terms"] = given = []
            for value in given:
                if value not in allowed:
                    raise ValueError(
                        f"unknown {'term' if name == 'terms' else name} '{value}': use any of {', '.join(allowed)}"
                        + (", or none" if name == "terms" else "")
                    )
        return self

    @model_validator(mode="after")
    def _goes_together(self) -> DistillConfig:
        for problem in _contradictions(self):
            raise ValueError(problem)
        return self


def _contradictions(c: DistillConfig) -> list[str]:
    """Return the contradictions between fields, each with its reason and its remedy."""
    found, drawn = [], c.drawn
    if c.no_data and c.base not in WITHOUT_LABELS:
        found.append(
            f"no_data needs one of the bases {', '.join(WITHOUT_LABELS)}: base {c.base} reads labels, and synthetic "
            "inputs have none"
        )
    if c.no_data and c.fraction != 1.0:
        found.append("no_data and fraction exclude each other: the student sees no row")
    if c.heads == 2 and c.base in WITHOUT_LABELS:
        found.append(
            f"heads 2 needs a base that uses labels in its first head: base {c.base} does not; use tor, tbr, ail, "
            "mix or blend, or heads 1"
        )
    if c.heads == 2 and not _active(c.w_base):
        found.append("heads 2 needs w_base above 0: its first head learns from the base alone; give w_base, or heads 1")
    if c.heads == 1 and c.export_head != "label":
        found.append(
            f"export_head {c.export_head} needs heads 2, and the student has one head; use heads 2, or export_head "
            "label"
        )
    if drawn == "direct" and "abm" in c.terms:
        found.append(
            "sampler direct is abm from random starts, and both are one search: leave abm out of terms, or "
            "sampler direct"
        )
    if drawn == "latent" and c.no_data and c.like is None:
        found.append(
            "sampler latent learns the input distribution from rows, and no_data has none: give like, or use another"
        )
    for name in ("describe", "like"):
        if getattr(c, name) is None:
            continue
        if drawn == "gaussian":
            found.append(f"sampler gaussian draws N(0,1) and ignores {name}: use sampler described")
        elif not c.no_data and drawn not in DESCRIBED:
            found.append(
                f"{name} needs no_data or one of the samplers {', '.join(DESCRIBED)}: without them the inputs "
                "come from the rows"
            )
    if c.searched and not _active(c.w_sampler):
        found.append(
            f"with w_sampler 0 the sampler {drawn} has no effect: "
            + ("use sampler described or gaussian" if c.no_data else "omit the sampler")
        )
    if c.searched and c.batch < 2:
        found.append(f"batch 1 cannot hold both rows and points of sampler {drawn}: use at least 2")
    if drawn in LEARNING and c.evaluate_every % ROUND:
        found.append(
            f"sampler {drawn} learns every {ROUND} steps: evaluate_every {c.evaluate_every} must be a multiple of "
            f"{ROUND}"
        )
    weights = {"pm": c.w_pm, "abm": c.w_abm, "gm": c.w_gm}
    if not _active(c.w_base) and not (c.searched or any(_active(weights[t]) for t in c.terms)):
        found.append("every weight is 0: there is nothing to learn; give w_base, a term or a sampler")
    if "gm" in c.terms and _active(c.w_gm) and not set(c.gm_on) & _made(c):
        found.append(
            f"gm_on {','.join(c.gm_on) or '(empty)'} names no point that the other terms produce: add original, or the "
            "term pm or abm"
        )
    return found


def _made(c: DistillConfig) -> set[str]:
    """Return the kinds of points that the steps use."""
    searched = (c.drawn == "direct" and _active(c.w_sampler)) or ("abm" in c.terms and _active(c.w_abm))
    return (
        {"original"}
        | ({"perturbed"} if "pm" in c.terms and _active(c.w_pm) else set())
        | ({"ascended"} if searched else set())
    )


def _active(weight: float | str) -> bool:
    start, end, _ = weight_parts(weight)
    return start != 0 or end != 0
