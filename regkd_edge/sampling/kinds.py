"""The samplers by name, each with what it needs and does: the one place that configuration, refusals and training ask.

A kind is plain data without torch; :meth:`SamplerKind.make` builds the sampler. A new sampler is a class in a module
of this folder and a class here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .sampler import Network, Sampler

__all__ = ["KINDS", "NOISES", "Context", "SamplerKind"]

NOISES = (
    "isotropic",
    "principal",
    "crossover",
    "mixed",
    "mixed-principal",
    "open",
    "smooth",
)  # of the points around rows


@dataclass(frozen=True)
class Context:
    """What a sampler can be made from; arrays and tensors are standardised.

    Parameters
    ----------
    d : int
    teacher : callable
        [n, d] -> [n, o].
    scaler : Scaler
        From raw inputs to the space of the points.
    description : InputDescription or None
    rows : (x [N, d], y [N, o]) or None
        The rows that the student sees; None without data.
    like : float64 [n, d] or None
        Real inputs beside a description, raw units.
    many : int
        Points per step.
    sigma : tuple of float
        Of the noise around a row: one number, or one per feature.
    seed : int
    """

    d: int
    teacher: Network
    scaler: Any
    description: Any
    rows: Any
    like: Any
    many: int
    sigma: tuple[float, ...]
    seed: int


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
    """

    name = ""
    help = ""
    described = False
    plain = False
    learns = False
    teacher_gradient = False
    needs_rows = False
    pooled = False

    def make(self, about: Context) -> Sampler:
        """Build the sampler."""
        raise NotImplementedError


class Gaussian(SamplerKind):
    name, help, plain = "gaussian", "N(0, 1) in every feature", True

    def make(self, about: Context) -> Sampler:
        from .gaussian import Gaussian

        return Gaussian(about.d, seed=about.seed)


class Described(SamplerKind):
    name, help, plain, described = "described", "as described", True, True

    def make(self, about: Context) -> Sampler:
        from .spread import Spread

        return Spread(self.name, about.description, about.scaler, seed=about.seed)


class HeavyTailed(Described):
    name, help = "heavy-tailed", "around the same mean and spread"


class Mixed(Described):
    name, help = "mixed", "half described, half heavy-tailed"


class Broad(Described):
    name, help = "broad", "described, some heavy-tailed, some moved by random common factors"


class Generator(SamplerKind):
    name, help, learns, teacher_gradient = "generator", "an adversarial network (Kang & Kang 2021)", True, True

    def make(self, about: Context) -> Sampler:
        from .generator import AdversarialGenerator

        return AdversarialGenerator(about.d, seed=about.seed, batch=about.many)


class Direct(SamplerKind):
    """The search of abm from random starts, inside the step itself: there is no sampler to make."""

    name, help, teacher_gradient = "direct", "bounded ascent (Zhou & Chiam 2023)", True


class Anchored(SamplerKind):
    name, help = "anchored", "answers near random targets (Zhou & Chiam 2023)"
    described, learns = True, True

    def make(self, about: Context) -> Sampler:
        import torch

        from ..fused import answers
        from .anchored import TargetAnchored
        from .gaussian import DescribedInputs

        low, high = (torch.from_numpy(v).float() for v in about.description.box(about.scaler))
        around = answers(about.teacher, DescribedInputs(about.description, about.scaler, seed=about.seed).draw(2048, 0))
        # The authors' outputs lie in (0, 1); here the targets span what the teacher answers to described inputs (ours).
        spread = torch.quantile(around, torch.tensor([0.01, 0.99]))
        return TargetAnchored(low, high, seed=about.seed, targets=(spread[0].item(), spread[1].item()))


class Latent(SamplerKind):
    name, help, needs_rows = "latent", "a tuned latent distribution (after Nguyen et al. 2021)", True
    size = 4  # numbers of the latent, as in tools/reproduce/nguyen2021.py

    def make(self, about: Context) -> Sampler:
        """From the rows and their labels; without data from ``like`` rows, the teacher's answers, its uncertainty."""
        import torch

        from ..fused import answers
        from . import latent

        if about.rows is None:
            x = torch.from_numpy(about.scaler.standardize(about.like)).float()
            c, reward = answers(about.teacher, x), "uncertainty"
        else:
            (x, c), reward = (torch.from_numpy(v).float() for v in about.rows), "label"
        vae = latent.fit_vae(x, c, latent=self.size, seed=about.seed)
        tuned = latent.tune(vae, about.teacher, c, reward=reward, seed=about.seed)
        return latent.TunedLatent(vae, tuned, about.teacher, c, reward=reward, seed=about.seed)


class Neighbours(SamplerKind):
    """Points around rows, made once with the teacher's answers: :class:`regkd_edge.training.pool.Pool` holds them."""

    name, help = "neighbours", "around the rows, where rows can be (--noise)"
    needs_rows, pooled = True, True


_ALL = (
    Gaussian(),
    Described(),
    HeavyTailed(),
    Mixed(),
    Broad(),
    Generator(),
    Direct(),
    Anchored(),
    Latent(),
    Neighbours(),
)

KINDS: dict[str, SamplerKind] = {kind.name: kind for kind in _ALL}
