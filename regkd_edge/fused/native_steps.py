"""Many training steps of one member or several on the compiled core, in place."""

from __future__ import annotations

import torch
from torch import Tensor

from ..objectives import KERNEL_COLUMNS, LOSS_COLUMNS
from . import cuda, native
from .passes import Net
from .workspace import Workspace

__all__ = ["run"]

_FLOP_A_CALL = 2e9  # under half a second on any CPU of this decade


def run(members: list, n: int, compute: str) -> list[Tensor]:
    """``n`` steps of every member on the core, in place; the tables of losses [n, columns].

    The steps run on copies that are copied back at the end: an interrupted call changes nothing.
    """
    core = native.load()[0]
    works, tables = [], []
    for member in members:
        work, losses = _prepare(member, n)
        works.append(work)
        tables.append(losses)
    if compute == "cuda":
        cuda.train(core, works, n, torch.cuda.current_stream(works[0].device))
    else:
        _run_on_cpu(core, [work.job for work in works], n)
    for member, work in zip(members, works):
        _bring_back(member, work, n)
    return [_all_columns(losses.float().cpu()) for losses in tables]


def _all_columns(losses: Tensor) -> Tensor:  # [n, kernel columns] -> [n, all columns]
    """The columns of the terms that have no kernel are 0: a member that uses one of them does not come here."""
    table = losses.new_zeros(len(losses), len(LOSS_COLUMNS))
    table[:, [LOSS_COLUMNS.index(name) for name in KERNEL_COLUMNS]] = losses
    return table


def _run_on_cpu(core, jobs: list, n: int) -> None:
    """Run in calls of at most a fraction of a second, so that Ctrl-C works; the split does not change any bit.

    The core uses as many threads as pay off, and never more than PyTorch may.
    """
    piece = max(1, int(_FLOP_A_CALL / sum(core.cost(job)["flops"] for job in jobs)))
    done = 0
    while done < n:
        steps = min(piece, n - done)
        core.run(jobs, steps, at_most=torch.get_num_threads())
        for job in jobs:
            job.first_step += steps
            job.losses += steps * len(KERNEL_COLUMNS) * 8  # float64
        done += steps


def _prepare(member, n: int) -> tuple[Workspace, Tensor]:
    own, asked = member.core_forms()
    student = Net.of(own)
    teacher = Net.of(asked) if member.recipe.asks_teacher(member.x is not None) else None
    work = Workspace(native.load()[0], member.recipe, student, teacher, member.device)
    job, optimizer, state = work.job, member.optimizer, member.state
    work.base(member.rows)
    work.data(member.x, member.y)
    job.batch, job.shuffle, job.seed = member.batch, int(member.shuffle), member.seed
    job.first_step, job.total_steps = state.step, member.total
    job.optimizer, job.rate, job.rate_schedule = optimizer.kind, optimizer.lr, optimizer.schedule
    job.weight_decay, job.eps, job.alpha = optimizer.weight_decay, optimizer.eps, optimizer.alpha
    job.beta1, job.beta2 = optimizer.betas
    slots = state.prepare(optimizer, member.parameters())
    work.slots = [work.keep(torch.cat([t.reshape(-1) for t in slots[name]])) for name in optimizer.slots]
    for field, slot in zip(("state1", "state2"), work.slots):
        setattr(job, field, slot.data_ptr())
    losses = torch.zeros(n, len(KERNEL_COLUMNS), dtype=torch.float64, device=member.device)
    job.losses = losses.data_ptr()
    return work, losses


@torch.no_grad()
def _bring_back(member, work: Workspace, n: int) -> None:
    targets = [(work.parameters, member.parameters())]
    targets += [(flat, member.state.slots[name]) for flat, name in zip(work.slots, member.optimizer.slots)]
    for flat, tensors in targets:
        for tensor, part in zip(tensors, flat.split([t.numel() for t in tensors])):
            tensor.copy_(part.view_as(tensor))
    member.state.step += n
