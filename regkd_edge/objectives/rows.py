"""Trust in each training row: quantities of the whole training set, computed once before the first step."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import RecipeError

__all__ = ["RowQuantities", "row_quantities"]


@dataclass(frozen=True)
class RowQuantities:
    """The teacher's outputs on the training rows, and derived quantities.

    The last three are ``None`` without labels. ``mix`` (the share of the teacher in base ``mix``) and ``weight`` (a
    factor on the row's base loss) are set by the caller, through :func:`dataclasses.replace`.
    """

    t: Tensor  # [N, o] teacher's outputs
    e: Tensor | None = None  # [N] |T - y|^2
    phi: Tensor | None = None  # [N] attentive imitation's trust, max(0, 1 - e / (max e - min e))
    outlier: Tensor | None = None  # [N] bool
    mix: Tensor | None = None  # [N] in [0, 1]
    weight: Tensor | None = None  # [N]

    def to(self, device: torch.device) -> RowQuantities:
        return RowQuantities(**{k: v if v is None else v.to(device) for k, v in self.__dict__.items()})

    def take(self, index: Tensor) -> RowQuantities:  # index [B] int64
        """Return the quantities of the given rows."""
        picked = {k: v[index] if v is not None else None for k, v in self.__dict__.items()}
        return RowQuantities(**picked)


def row_quantities(
    t: Tensor,  # [N, o]
    y: Tensor | None,  # [N, o]
    k: float = 2.0,
    rule: str = "mean",
) -> RowQuantities:
    """Compute e_i, Phi_i and the outlier flags of METHODS sections 0 and 4.

    Parameters
    ----------
    t, y : Tensor
        Teacher's outputs and labels, standardised; ``y=None`` gives ``t`` alone.
    k : float
        A row is an outlier if ``u_i > mean(u) + k sd(u)`` with ``u_i = |T - y|`` (Euclidean over the outputs; k = 2 is
        a third party's constant, the paper publishes none).
    rule : str
        ``mean``: as above. ``median``: ``u_i > median(u) + k 1.4826 MAD(u)`` (ours), robust to a large
        share of outliers; with 30 % gross outliers the mean and the standard deviation hide most of them.

    Returns
    -------
    RowQuantities
        In the type of ``t``; sums are taken in float64.
    """
    if y is None:
        return RowQuantities(t)
    if t.shape != y.shape:
        raise RecipeError(
            f"the teacher's outputs have shape {tuple(t.shape)} and the labels {tuple(y.shape)}.",
            "Give both as [rows, outputs].",
        )
    e = (t.double() - y.double()).square().flatten(1).sum(1)
    u = e.sqrt()
    spread = e.max() - e.min()
    # Equal errors everywhere give no reason to distrust any row: full trust, where the formula would divide by 0.
    phi = (1 - e / spread).clamp(min=0) if spread > 0 else torch.ones_like(e)
    if rule == "median":
        middle = u.median()
        outlier = u > middle + k * 1.4826 * (u - middle).abs().median()
    elif rule == "mean":
        outlier = u > u.mean() + k * u.std(correction=0)
    else:
        raise RecipeError(f"the outlier rule '{rule}' is unknown.", "Use 'mean' or 'median'.")
    return RowQuantities(t, e.to(t.dtype), phi.to(t.dtype), outlier)
