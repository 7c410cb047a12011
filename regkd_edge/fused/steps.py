"""Many training steps in one call: a student on its teacher, a network on labels, or several members together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ..errors import RecipeError
from ..io.progress import tick
from ..objectives import LOSS_COLUMNS, RowQuantities, StepRecipe
from ..objectives.networks import Network
from . import native_steps
from .choose import Choice
from .member import Member
from .ops import matching_loss, perturb
from .optimizer import Optimizer, TrainState
from .reference import Operators, step_loss
from .share import Slice

__all__ = ["Member", "StepsDone", "advance", "distill_steps", "fit_steps"]


_OPERATORS = Operators(perturb, matching_loss)  # values and losses go through them, whatever the network


@dataclass(frozen=True)
class StepsDone:
    """What a call did: ``losses`` [n, 5] float32 (columns ``LOSS_COLUMNS``), the state after it,
    and what computed it."""

    losses: Tensor
    state: TrainState
    choice: Choice


def advance(members: Sequence[Member], n: int, compute: str = "auto") -> list[StepsDone]:
    """Run ``n`` steps of every member, in place on students and states (an ensemble over seeds, folds or sizes).

    Each member's result is bit-identical to running it alone. Members that the fused core supports run in one call.
    An average of the weights is kept here, between calls of as many steps, whatever computes the steps.
    """
    done: list[StepsDone] = []
    tables: list[list[Tensor]] = [[] for _ in members]
    left = n
    while left or not done:
        to_join = [
            m.optimizer.average_every - m.state.step % m.optimizer.average_every for m in members if m.optimizer.average
        ]
        count = min([left, *to_join])
        done = _advance(members, count, compute)
        left -= count
        for member, table, piece in zip(members, tables, done):
            member.optimizer.join_average(member.parameters(), member.state)
            table.append(piece.losses)
        if not members:
            break
    return [replace(one, losses=torch.cat(table)) if len(table) > 1 else one for one, table in zip(done, tables)]


def _advance(members: Sequence[Member], n: int, compute: str) -> list[StepsDone]:
    choices = []
    for member in members:
        member.prepare(n)
        choices.append(member.decide(compute))
    losses: dict[int, Tensor] = {}
    for target in ("cpu", "cuda"):
        group = [i for i, choice in enumerate(choices) if choice.compute == target]
        if group:
            losses.update(zip(group, native_steps.run([members[i] for i in group], n, target)))
    for i, choice in enumerate(choices):
        if choice.compute == "torch":
            losses[i] = _torch_steps(members[i], n)
    return [StepsDone(losses[i], member.state, choices[i]) for i, member in enumerate(members)]


def _torch_steps(member: Member, n: int) -> Tensor:  # [n, 5]
    table = torch.zeros(n, len(LOSS_COLUMNS))
    parameters = member.parameters()
    share, part = member.share, None
    if share is not None:
        share.require(member.recipe, member.batch)
        part = Slice(share.of(member.batch)[0], member.batch)
    for i in range(n):
        step = member.state.step
        x, y, rows = member.batch_at(step)
        with torch.enable_grad(), torch.autocast(member.device.type, torch.bfloat16, enabled=member.mixed):
            loss, terms = step_loss(
                member.student,
                member.teacher,
                x,
                y,
                rows,
                member.recipe,
                seed=member.seed,
                step=step,
                total=member.total,
                operators=_OPERATORS,
                part=part,
            )
        if loss.requires_grad:
            gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
        else:
            gradients = [None] * len(parameters)
        gradients = [g if g is not None else torch.zeros_like(p) for g, p in zip(gradients, parameters)]
        if share is not None:
            gradients, terms = share.sum(gradients, terms, len(x), member.batch)
        member.optimizer.update(parameters, gradients, member.state, member.total)
        table[i] = terms
        tick("steps", i + 1)
    return table


def distill_steps(
    student: nn.Module,
    teacher: Network,
    x: Tensor | None,  # [N, ...]
    y: Tensor | None,  # [N, o]
    recipe: StepRecipe,
    optimizer: Optimizer,
    state: TrainState | None = None,
    *,
    n: int,
    total: int,
    batch: int,
    seed: int = 0,
    rows: RowQuantities | None = None,
    inputs: int | None = None,
    shuffle: bool = True,
    compute: str = "auto",
) -> StepsDone:
    """Run steps ``state.step .. state.step + n - 1`` of a run of ``total`` steps, in place on student and state.

    Splitting a run into several calls does not change any bit.

    Parameters
    ----------
    student, teacher, x, y, recipe, optimizer, state, total, batch, seed, rows, inputs, shuffle
        As in :class:`~regkd_edge.fused.member.Member`: rows [N, ...] and labels [N, o] are standardised.
    n : int
        Steps of this call.
    compute : ``auto`` | ``cpu`` | ``cuda`` | ``torch``
        As in :func:`~regkd_edge.fused.choose`.

    Raises
    ------
    RecipeError
        The objective does not fit the networks or the rows.
    DataError
        ``x``, ``y`` or ``rows`` do not fit each other or the networks.
    NotAvailable
        ``compute`` requires a core that cannot run these steps.
    """
    state = state if state is not None else TrainState()
    member = Member(student, teacher, x, y, recipe, optimizer, total, batch, seed, rows, state, inputs, shuffle)
    return advance([member], n, compute)[0]


def fit_steps(
    model: nn.Module,
    x: Tensor,  # [N, ...]
    y: Tensor,  # [N, o]
    optimizer: Optimizer,
    state: TrainState | None = None,
    *,
    n: int,
    total: int,
    batch: int,
    seed: int = 0,
    loss: str = "squared",
    delta: float = 1.0,
    compute: str = "auto",
) -> StepsDone:
    """Train a network on labels alone, as for a teacher: :func:`distill_steps` without one.

    Parameters
    ----------
    model : nn.Module
        Changed in place.
    x, y : Tensor [N, ...] and [N, o]
        Standardised rows and labels.
    loss : ``squared`` or ``huber``
        |S-y|^2 per row, or Huber's loss, which is quadratic up to |S-y| = ``delta`` and linear beyond.
    optimizer, state, n, total, batch, seed, compute
        As in :func:`distill_steps`.

    Raises
    ------
    RecipeError
        An unknown loss.
    DataError, NotAvailable
        As in :func:`distill_steps`.
    """
    if loss not in ("squared", "huber"):
        raise RecipeError(f"loss '{loss}' is unknown.", "Use 'squared' or 'huber'.")
    recipe = StepRecipe(base="labels" if loss == "squared" else "huber", delta=delta)
    state = state if state is not None else TrainState()
    return advance([Member(model, None, x, y, recipe, optimizer, total, batch, seed, None, state)], n, compute)[0]
