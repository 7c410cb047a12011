"""The samplers by name, each with what it needs and does: the one place that configuration, refusals and training ask.

A kind is plain data without torch; :meth:`SamplerKind.make` builds the sampler. A new sampler is a class in
:mod:`regkd_edge.sampling`, a function that makes it there, and a class here.
"""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["KINDS", "NOISES", "SamplerKind"]

_MAKING = "regkd_edge.sampling.making"
# Of the points around rows.
NOISES = ("isotropic", "principal", "crossover", "mixed", "mixed-principal", "open", "smooth")


class SamplerKind:
    """What a sampler needs and does.

    Attributes
    ----------
    name : str
        As in ``--sampler``.
    help : str
        Half a sentence for ``--help``.
    described : bool
        It draws from a description of the inputs (``--describe``, ``--like``, the teacher's scalers, or the rows).
    plain : bool
        Without data its points are the rows themselves, drawn once; others stand beside inputs as described.
    learns : bool
        It looks at the student once per round.
    teacher_gradient : bool
        It climbs the teacher's gradient.
    needs_rows : bool
        It learns from rows, the run's or those of ``--like``.
    pooled : bool
        Its points are drawn once, before the first step, and stand in one table with the rows.
    function : str
        ``module:name`` of what makes the sampler, ``f(Context) -> Sampler``; resolved on use, so that this table needs
        no torch. Empty where there is no sampler to make.
    """

    name = ""
    help = ""
    described = False
    plain = False
    learns = False
    teacher_gradient = False
    needs_rows = False
    pooled = False
    function = ""

    def make(self, about: Any) -> Any:
        """Build the sampler from a :class:`regkd_edge.sampling.making.Context`."""
        module, _, name = self.function.partition(":")
        return getattr(importlib.import_module(module), name)(about)


class GaussianKind(SamplerKind):
    name, help, plain = "gaussian", "N(0, 1) in every feature", True
    function = f"{_MAKING}:gaussian"


class Described(SamplerKind):
    name, help, plain, described = "described", "as described", True, True
    function = f"{_MAKING}:spread"


class HeavyTailedKind(Described):
    name, help = "heavy-tailed", "around the same mean and spread"


class Mixed(Described):
    name, help = "mixed", "half described, half heavy-tailed"


class Broad(Described):
    name, help = "broad", "described, some heavy-tailed, some moved by random common factors"


class Generator(SamplerKind):
    name, help, learns, teacher_gradient = "generator", "an adversarial network (Kang & Kang 2021)", True, True
    function = f"{_MAKING}:generator"


class Direct(SamplerKind):
    """The search of abm from random starts, inside the step itself: there is no sampler to make."""

    name, help, teacher_gradient = "direct", "bounded ascent (Zhou & Chiam 2023)", True


class Anchored(SamplerKind):
    name, help = "anchored", "answers near random targets (Zhou & Chiam 2023)"
    described, learns = True, True
    function = f"{_MAKING}:anchored"


class LatentKind(SamplerKind):
    name, help, needs_rows = "latent", "a tuned latent distribution (after Nguyen et al. 2021)", True
    function = f"{_MAKING}:latent"


class NeighboursKind(SamplerKind):
    """Points around rows, made once with the teacher's answers: :class:`regkd_edge.training.pool.Pool` holds them."""

    name, help = "neighbours", "around the rows, where rows can be (--noise)"
    needs_rows, pooled = True, True


_ALL = (
    GaussianKind(),
    Described(),
    HeavyTailedKind(),
    Mixed(),
    Broad(),
    Generator(),
    Direct(),
    Anchored(),
    LatentKind(),
    NeighboursKind(),
)

KINDS: dict[str, SamplerKind] = {kind.name: kind for kind in _ALL}
