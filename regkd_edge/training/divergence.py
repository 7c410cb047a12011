"""A training that diverged: recognized by its losses and its validation, said with step, loss and remedy."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..errors import UserError
from ..fused import Member

__all__ = ["Diverged", "check_losses", "check_validation"]

_EXPLODED = 1e6  # times the loss at the beginning, or 1 if that is less: losses are standardized
_LASTING = 5  # steps in a row up to now: a single point where the teacher's answer is huge passes, and Adam survives it
_FAR = 1e3  # times the best validation so far, or a standard deviation of the targets


class Diverged(UserError):
    """A training whose loss is not finite any more, or has exploded; it has no result."""

    def kept_in(self, path: object, step: int) -> Diverged:
        """The same, with where the last state before it is kept."""
        return Diverged(f"{self.cause.rstrip('.')}; the state of step {step:,} is kept in '{path}'.", self.remedy)


def check_losses(losses: Tensor, member: Member, before: float | None = None) -> None:  # losses [n, terms]
    """Refuse losses of the last n steps that are not finite, or a total that has exploded and stays so.

    Parameters
    ----------
    before : float, optional
        The total loss at the beginning of the training; the first of these steps where it is not known.

    Raises
    ------
    Diverged
    """
    total = losses[:, 0]
    start = abs(float(total[0])) if before is None else abs(before)
    limit = _EXPLODED * max(1.0, start if math.isfinite(start) else 1.0)
    if torch.isfinite(losses).all() and total.abs().max() <= limit:
        return
    exploded = (total.abs() > limit).flip(0).cummin(0).values.flip(0)  # in every step from there to the last
    bad = ~torch.isfinite(losses).all(1)
    if exploded.sum() >= min(_LASTING, len(losses)):
        bad |= exploded
    if not bad.any():
        return
    at = int(bad.nonzero()[0])
    good = float(total[at - 1]) if at else before
    what = f"is {float(total[at]):.3g}" if math.isfinite(total[at]) else "is not finite"
    since = "" if good is None else f", after {good:.3g}"
    raise _diverged(f"the loss {what}{since}", member.state.step - len(losses) + at, member)


def check_validation(rmse: float, best: float, unit: float, member: Member) -> None:
    """Refuse a validation RMSE that is not finite, or far above the best one so far.

    Parameters
    ----------
    best : float
        inf: none so far.
    unit : float
        A standard deviation of the targets, in the unit of ``rmse``.

    Raises
    ------
    Diverged
    """
    if not math.isfinite(rmse):
        raise _diverged("the validation RMSE is not finite", member.state.step, member)
    if math.isfinite(best) and rmse > _FAR * max(best, unit):
        raise _diverged(f"the validation RMSE is {rmse:.3g}, after {best:.3g}", member.state.step, member)


def _diverged(what: str, step: int, member: Member) -> Diverged:
    return Diverged(
        f"training diverged at step {step:,}: {what} (learning rate {member.optimizer.lr:g}).",
        "Lower the learning rate (--lr), or the weights of the terms.",
    )
