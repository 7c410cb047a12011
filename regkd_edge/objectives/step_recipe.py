"""The loss of a training step as data: the base, the matching terms, their weights over the run, their constants.

A :class:`StepRecipe` holds no network, no rows and no tensor, so that it can be compared, stored in a run folder and
handed to a kernel. Its meaning is defined once, in :mod:`regkd_edge.fused.reference` (any module) and
:mod:`regkd_edge.fused.twin` (the explicit passes that the C++ core repeats).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from ..config.contradictions.objective import Objective, objective_contradictions
from ..config.step_values import step_problems
from ..errors import RecipeError
from ..recipes import RECIPES, TERMS, defaults
from ..recipes.defaults import POINT_KINDS
from .schedule import Schedule, weight

__all__ = [
    "STEP_BASES",
    "KERNEL_COLUMNS",
    "LOSS_COLUMNS",
    "POINT_KINDS",
    "Schedule",
    "StepRecipe",
]

LOSS_COLUMNS = ("total", "base", *TERMS)
"""Columns of every table of losses: the weighted sum, then each term without its weight."""
KERNEL_COLUMNS = ("total", "base", *(name for name, term in TERMS.items() if term.kernel))
"""Those that the fused core writes, in its order."""

STEP_BASES = ("none", "labels", "mimic", "blend", "ail", "mix", "huber", "tbr", "tor", "rkd")

_OF_BASE = {"base", "alpha", "nu", "margin", "imitate", "delta", "outlier_rule", "outlier_k", "outlier_loss"}
_NEEDS_LABELS = ("labels", "blend", "ail", "mix", "huber", "tbr", "tor")
_NO_TEACHER = ("none", "labels", "huber")


_TermWeights = dataclasses.make_dataclass(
    "_TermWeights",
    [(f"w_{name}", "Schedule | float", dataclasses.field(default=0.0, kw_only=True)) for name in TERMS],
    frozen=True,
)


@dataclass(frozen=True)
class StepRecipe(_TermWeights):
    """The loss of one step (sources: METHODS of the four papers; "ours" marks a choice where nothing is published).

    ``L = w_base L_base + w_pm L_PM + w_abm L_ABM + w_gm L_GM``, and so on for every row of ``recipes.TERMS``. Squared
    errors are summed over the outputs and averaged over the points; inputs and targets are standardised, so every
    length below is in standard deviations.

    Parameters
    ----------
    base : str
        ``none`` | ``labels`` |S-y|^2 | ``mimic`` |S-T|^2 | ``blend`` a|S-y|^2 + (1-a)|S-T|^2 | ``ail`` a|S-y|^2 +
        (1-a) Phi_i |S-T|^2 (Saputra et al. 2019) | ``mix`` (1-m_i)|S-y|^2 + m_i |S-T|^2 with ``RowQuantities.mix`` |
        ``huber`` on the labels | ``tbr`` smoothL1(S,y) + nu |S-y|^2 [|S-y|^2 + margin > e_i] (Chen et al. 2017) |
        ``tor`` |S-y|^2 for an inlier, ``outlier_loss`` for an outlier (Imaoka et al. 2020) | ``rkd`` |S-T|^2 + nu
        times the Huber loss between the distances of every pair of outputs (Park et al. 2019; torch path only).
    alpha, nu, margin, delta : float
        Constants of blend and ail; of tbr; of Huber.
    imitate : bool
        tbr: the gated term is |S-T|^2, the form that Saputra et al. use.
    outlier_rule, outlier_k : str, float
        tor: which rows are outliers, by ``u_i = |T - y|`` over the training set. ``mean``: above mean + k sd (the
        third party's form, k = 2); ``median``: above median + k 1.4826 MAD (ours), which gross outliers hardly affect.
    outlier_loss : str
        tor: the loss of an outlier. ``root`` sqrt(|S-T| + 1e-7) (the third party's form; its slope is unbounded as
        S approaches T), ``squared`` |S-T|^2 (ours), ``drop`` zero (it still counts in the mean).
    second_head : float
        lambda of the two-headed student (Imaoka et al. 2020; torch path only): above 0 the student has 2 o
        outputs, the first o have the base and the terms, the others add ``lambda |s2 - T|^2`` to the base. See
        ``objectives.heads``.
    w_base, w_pm, w_abm, w_gm, ... : Schedule or float
        Weights over the run; one field per row of ``recipes.TERMS``.
    sigma : float or tuple of d floats
        Standard deviation of the perturbation of PM (ours).
    draws : int
        K, perturbations per row, fresh at every step.
    ascent_steps, ascent_rule, ascent_size, ascent_weight_decay, ascent_ridge
        How the points of ABM are found: that many steps down ``mean(-|S-T|^2 + ridge |S|^2)`` plus weight decay on the
        input by ``rmsprop`` (PyTorch's, fresh state; Zhou & Chiam 2023), ``sign`` or ``normalised`` gradients; or
        ``random``: the largest |S-T|^2 among random points around the row (needs no gradient of the teacher).
    ascent_sigma, ascent_from_anchor
        The search starts at ``from_anchor * x + ascent_sigma * eps``. Exactly at x the student may equal the teacher
        and the gradient vanish. ``ascent_sigma=None``: the mean of ``sigma``. ``from_anchor=False, ascent_sigma=1``
        starts at N(0, I), as Zhou & Chiam do.
    ascent_candidates : int
        Number of random points per row under ``random``; they lie ``ascent_sigma`` around it, which should exceed
        0.1.
    gm_on : tuple of str
        The points on which the gradients are matched; those that no other active term produces are left out.
    cotangents : int
        0: the full Jacobian up to 4 outputs, else one vector of random signs per point; C > 0: the mean over C such
        vectors.
    teacher_gradient : str
        ``exact`` by autograd, or ``central`` differences of half width ``teacher_step`` for a teacher without
        gradients.
    low, high : tuple of d floats, optional
        Perturbed and searched points are clamped into this box.
    noise_length : float
        Above 0 the noise of perturbed and searched points is smooth over so many places or time steps of a row of shape
        ``shape`` with its channels along ``channel_axis`` (ours; torch path only).
    """

    base: str = "mimic"
    alpha: float = defaults.ALPHA
    nu: float = defaults.NU
    margin: float = defaults.MARGIN
    imitate: bool = False
    delta: float = 1.0
    outlier_rule: str = defaults.OUTLIER_RULE
    outlier_k: float = defaults.OUTLIER_K
    outlier_loss: str = defaults.OUTLIER_LOSS
    second_head: float = 0.0
    w_base: Schedule | float = 1.0
    sigma: float | tuple[float, ...] = defaults.SIGMA
    draws: int = defaults.DRAWS
    ascent_steps: int = defaults.ASCENT_STEPS
    ascent_rule: str = defaults.ASCENT_RULE
    ascent_size: float = defaults.ASCENT_SIZE
    ascent_weight_decay: float = 0.0
    ascent_ridge: float = 0.0
    ascent_sigma: float | None = None
    ascent_from_anchor: bool = True
    noise_length: float = 0.0
    shape: tuple[int, ...] | None = None
    channel_axis: int = 0
    ascent_candidates: int = defaults.ASCENT_CANDIDATES
    gm_on: tuple[str, ...] = POINT_KINDS
    cotangents: int = 0
    teacher_gradient: str = "exact"
    teacher_step: float = defaults.TEACHER_STEP
    low: tuple[float, ...] | None = None
    high: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        put = lambda name, value: object.__setattr__(self, name, value)  # the dataclass is frozen
        for name in ("w_base", *(f"w_{term}" for term in TERMS)):
            put(name, Schedule.of(getattr(self, name)))
        for problem in step_problems({f.name: getattr(self, f.name) for f in dataclasses.fields(self)}, STEP_BASES):
            raise RecipeError(f"{problem.reason}.", f"{problem.remedy[0].upper()}{problem.remedy[1:]}.")
        put("ascent_rule", defaults.OLD_ASCENT_RULES.get(self.ascent_rule, self.ascent_rule))
        put("gm_on", tuple(self.gm_on))
        if self.shape is not None:
            put("shape", tuple(int(n) for n in self.shape))
        each = self.sigma if isinstance(self.sigma, (tuple, list)) else (self.sigma,)
        if self.ascent_sigma is None:
            put("ascent_sigma", sum(each) / len(each))
        for name in ("sigma", "low", "high"):
            value = getattr(self, name)
            if value is None or isinstance(value, (int, float)):
                continue
            put(name, tuple(float(v) for v in value))
        objective = Objective(
            base=self.base,
            base_learns=self.base_active,
            labels=self.base in _NEEDS_LABELS,
            terms=self.active_terms,
            gm_on=self.gm_on,
            second_head="second_head" if self.second_head else "",
        )
        for problem in objective_contradictions(objective):
            raise RecipeError(f"{problem.reason}.", f"{problem.remedy[0].upper()}{problem.remedy[1:]}.")
        # Not a field: the operators carry a recipe as one string, and torch.compile reads an attribute but traces no
        # JSON.
        put("text", json.dumps(self.to_dict()))

    # What the recipe needs

    @property
    def active_terms(self) -> tuple[str, ...]:
        """The terms whose weight is ever above 0."""
        return tuple(name for name in TERMS if self.weight_of(name).active)

    @property
    def made(self) -> tuple[str, ...]:
        """The kinds of points that the active terms make beside the rows."""
        return tuple(TERMS[name].points for name in self.active_terms if TERMS[name].points is not None)

    @property
    def base_active(self) -> bool:
        return self.base != "none" and self.w_base.active

    @property
    def needs_labels(self) -> bool:
        """Whether labels y are required."""
        return self.base_active and self.base in _NEEDS_LABELS

    @property
    def needs_teacher(self) -> bool:
        """Whether any active part asks the teacher."""
        return bool(self.active_terms) or self.second_head > 0 or (self.base_active and self.base not in _NO_TEACHER)

    def asks_teacher(self, rows: bool) -> bool:
        """Whether the steps themselves evaluate the teacher; with rows its answers to them are stored beforehand."""
        return self.needs_teacher and (not rows or bool(self.active_terms))

    @cached_property
    def base_alone(self) -> StepRecipe:
        """The same base without terms: what the operator ``matching_loss`` needs to know."""
        kept = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name in _OF_BASE}
        return StepRecipe(**kept)

    @property
    def base_in_torch(self) -> str | None:
        """Why the operator ``matching_loss`` lacks this base; None if it has it."""
        if self.second_head:
            return "the two-headed student runs in torch"
        if self.base_active and self.base == "rkd":
            return "rkd compares pairs of rows and runs in torch"
        return None

    @property
    def torch_only(self) -> str | None:
        """Why the fused path and its twin lack this recipe; None if they support it."""
        if self.base_in_torch:
            return self.base_in_torch
        if self.noise_length:
            return "noise that is smooth over places runs in torch"
        without = [TERMS[name].title for name in self.active_terms if not TERMS[name].kernel]
        return f"{without[0]} has no kernel, it runs in torch" if without else None

    @property
    def gm_points(self) -> tuple[str, ...]:
        """The kinds of points on which gradients are matched: ``gm_on`` without the kinds that no active term makes."""
        made = ("original", *self.made)
        return tuple(kind for kind in POINT_KINDS if kind in self.gm_on and kind in made) if self.w_gm.active else ()

    def cotangent_count(self, outputs: int) -> int:
        """Return the vectors of random signs per point, or 0 if the exact loop over all outputs is cheap (up to 4)."""
        return self.cotangents if self.cotangents else (0 if outputs <= 4 else 1)

    def weight_of(self, name: str) -> Schedule:
        """The weight of the base (``"base"``) or of a term."""
        return getattr(self, f"w_{name}")

    def weights(self, step: int, total: int) -> tuple[float, ...]:
        """The weights at a step, in the order of ``LOSS_COLUMNS`` after the total."""
        base = self.w_base.at(step, total) if self.base != "none" else 0.0
        return (base, *(self.weight_of(name).at(step, total) for name in TERMS))

    # Named recipes

    @classmethod
    def named(cls, name: str, **over) -> StepRecipe:
        """The objective of a recipe of the catalogue (``regkd_edge.recipes.RECIPES``), as ``--recipe NAME`` has it.

        Fields of the catalogue that are not about the objective (sampler, optimizer, steps) are left out; fields given
        here win.
        """
        if name not in RECIPES:
            raise RecipeError(f"recipe '{name}' is unknown.", f"Use one of: {', '.join(RECIPES)}.")
        return cls(**{**cls.fields_of(RECIPES[name]), **over})

    @classmethod
    def fields_of(cls, given: Mapping) -> dict:
        """The fields of an objective out of those of a configuration: weights of terms that are not named are 0."""
        known = {f.name for f in dataclasses.fields(cls)}
        fields = {key: value for key, value in given.items() if key in known}
        terms = given.get("terms", ())
        for term in TERMS:
            fields.pop(f"w_{term}", None)
            if term in terms:
                fields[f"w_{term}"] = weight(given.get(f"w_{term}", TERMS[term].weight))
        if "w_base" in fields:
            fields["w_base"] = weight(fields["w_base"])
        sigma = fields.get("sigma")
        if isinstance(sigma, (list, tuple)):
            fields["sigma"] = sigma[0] if len(sigma) == 1 else tuple(sigma)
        return fields

    @classmethod
    def kang2024(cls, base: str = "mimic", **over) -> StepRecipe:
        """A base plus PM, ABM and GM (Kang & Kang 2024; all constants are ours, none is published)."""
        return cls.named("kang2024", base=base, **over)

    @classmethod
    def direct2023(cls, alpha: str | float = "decreasing", **over) -> StepRecipe:
        """Return the data-free student step with bounded ascent (Zhou & Chiam 2023, from the authors' code).

        ``alpha`` is ``"decreasing"`` (batch of 50 Gaussian and 50 searched points), 0 (Gaussian only) or 1 (searched
        only; batch of 100 in both). Use it with ``x=None``, RMSprop 1e-3 and weight decay 1e-5.
        """
        if alpha == "decreasing":
            weights = {"w_base": Schedule(0.0, 1.0, 10), "w_abm": Schedule(1.0, 0.0, 10)}
        elif alpha in (0, 1):
            weights = {"w_base": 1.0 - alpha, "w_abm": float(alpha)}
        else:
            raise RecipeError(
                f"alpha must be 'decreasing', 0 or 1, got {alpha!r}.", "Use one of them, or set w_base and w_abm."
            )
        ascent = {"ascent_steps": 2, "ascent_rule": "rmsprop", "ascent_size": 0.1, "ascent_weight_decay": 1e-5}
        start = {"ascent_ridge": 1e-5, "ascent_sigma": 1.0, "ascent_from_anchor": False}
        return cls(**{"base": "mimic", **weights, **ascent, **start, **over})

    # As plain data

    def to_dict(self) -> dict:
        """Return numbers, strings and lists only, suitable for JSON and YAML."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(self).items()}

    @classmethod
    def from_dict(cls, fields: Mapping) -> StepRecipe:
        """Build from the result of :meth:`to_dict`; unknown names are an error."""
        known = {f.name for f in dataclasses.fields(cls)}
        unknown = sorted(set(fields) - known)
        if unknown:
            raise RecipeError(
                f"unknown field {unknown[0]!r} in a recipe.", f"Known fields: {', '.join(sorted(known))}."
            )
        return cls(**fields)
