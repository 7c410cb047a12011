"""From the fields of a configuration to the objective and the optimizer of the steps."""

from __future__ import annotations

from collections.abc import Sequence

from ..config import DistillConfig, TeacherConfig
from ..config.contradictions.loaded import require_noise, require_sigma
from ..data import Places
from ..fused import Optimizer
from ..objectives import StepRecipe
from ..objectives.schedule import weight

__all__ = ["optimizer_of", "recipe_of"]


def recipe_of(
    config: DistillConfig,
    d: int,
    *,
    fed: bool = False,
    differentiable: bool = True,
    plain: bool = False,
    places: Places | None = None,
    box: tuple[Sequence[float], Sequence[float]] | None = None,
) -> StepRecipe:
    """Return the objective that ``config`` names, for d inputs.

    Parameters
    ----------
    fed : bool
        A feed supplies the rows, and the weights of the base with them.
    differentiable : bool
        Without a gradient of the teacher, ABM picks among random points.
    plain : bool
        For a student without a second head or a widened output (as in training after distillation).
    places : Places, optional
        Of rows that are images or signals: ``sigma`` may have one number per channel, and noise may be smooth.
    box : (low [d], high [d]), optional
        Bounds of perturbed and searched points, standardised.
    """
    sigma = list(config.sigma if places is None else places.spread(config.sigma, "sigma"))
    require_noise(config.noise_length, places)
    require_sigma(sigma, d)
    fields = StepRecipe.fields_of({**config.model_dump(), "sigma": sigma})
    if config.noise_length and places is not None:
        fields |= {"shape": places.shape, "channel_axis": places.axis}
    if config.drawn == "direct" or config.ascent_start == "inputs":
        # Zhou & Chiam 2023, from the authors' code: from N(0, I), with weight decay on the input and a ridge on |S|^2.
        fields |= {"ascent_weight_decay": 1e-5, "ascent_ridge": 1e-5}
        if config.drawn == "direct":
            fields["w_abm"] = weight(config.w_sampler)
        if config.describe is None and config.like is None:  # else from inputs as described, sigma around them
            fields |= {"ascent_sigma": 1.0, "ascent_from_anchor": False}
    return StepRecipe(
        **{
            **fields,
            "base": "mimic" if config.base == "hint" else config.base,
            "second_head": config.head_weight if config.heads == 2 and not plain else 0.0,
            "w_base": 1.0 if fed else weight(config.w_base),
            "ascent_rule": config.ascent_rule if differentiable else "random",
            "low": None if box is None else tuple(float(v) for v in box[0]),
            "high": None if box is None else tuple(float(v) for v in box[1]),
        }
    )


def optimizer_of(config: DistillConfig | TeacherConfig) -> Optimizer:
    """Return the optimizer that ``config`` names; a teacher's learning rate has cosine decay to 0, and no average."""
    return Optimizer(
        kind=config.optimizer,
        lr=config.lr,
        weight_decay=config.weight_decay,
        schedule=getattr(config, "lr_schedule", "cosine"),
        average=getattr(config, "ema", 0.0),
    )
