"""A step whose rows several processes divide: which rows are this process's, and how their results become one.

All points of a step belong to a row, and its noise is a function of the row's number in the whole step. Every loss is a
mean over rows. So each process computes its rows, and the gradients and losses are added with the weights ``rows of the
process / rows of the step``: the sums that one process computes, in another order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import RecipeError
from ..objectives import StepRecipe
from ..recipes import TERMS

__all__ = ["Share", "Slice"]


@dataclass(frozen=True)
class Slice:
    """Rows ``first, first + 1, ...`` of a step of ``whole`` rows."""

    first: int
    whole: int

    def placed(self, perturb: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """Return ``perturb`` with the noise that these rows have in the whole step."""

        def moved(x: Tensor, sigma, draws: int, seed: int, step: int) -> Tensor:  # [b, ...] -> [b, draws, ...]
            before = x.new_zeros(self.first, *x.shape[1:])
            return perturb(torch.cat([before, x]), sigma, draws, seed, step)[self.first :]

        return moved


@dataclass(frozen=True)
class Share:
    """One process of several that train one student.

    Parameters
    ----------
    rank, size : int
        Its number, from 0, and how many there are.
    add : callable(Tensor)
        Replaces a tensor, in place, by its sum over all processes: the same bits in each.
    """

    rank: int
    size: int
    add: Callable[[Tensor], None]

    def of(self, batch: int) -> tuple[int, int]:
        """Return the first row and the number of rows of this process, of a step of ``batch`` rows."""
        first, end = (batch * r // self.size for r in (self.rank, self.rank + 1))
        return first, end - first

    def require(self, recipe: StepRecipe, batch: int) -> None:
        """Refuse what cannot be divided by rows.

        Raises
        ------
        RecipeError
        """
        together = [TERMS[name].title for name in recipe.active_terms if not TERMS[name].by_row]
        together += ["base rkd"] if recipe.base_active and recipe.base == "rkd" else []
        if together:
            raise RecipeError(
                f"{together[0]} compares the rows of a step with each other, and {self.size} processes divide them.",
                "Train in one process, without torchrun.",
            )
        if batch < self.size:
            raise RecipeError(
                f"a step has {batch} rows, fewer than the {self.size} processes that divide them.",
                "Use a larger batch, or fewer processes.",
            )

    def sum(self, gradients: Sequence[Tensor], losses: Tensor, rows: int, batch: int) -> tuple[list[Tensor], Tensor]:
        """Return gradients and losses [columns] of the whole step, from those of this process's ``rows`` rows."""
        flat = torch.cat([g.reshape(-1) for g in gradients] + [losses.to(gradients[0].dtype)]) * (rows / batch)
        self.add(flat)
        parts = flat.split([g.numel() for g in gradients] + [len(losses)])
        return [part.reshape(g.shape) for part, g in zip(parts, gradients)], parts[-1]
