"""The only interface to the compiled core: its capabilities on this machine, and its operators on torch tensors.

Loaded on first use, never on import of the package. A function that returns ``None`` in place of a result leaves the
call to the twin.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from ..io.words import counted
from ..models.mlp import MLP
from ..objectives import KERNEL_COLUMNS, LOSS_COLUMNS, RowQuantities, StepRecipe
from ..objectives.networks import Network
from . import cuda, gain
from .passes import Net
from .philox import PERTURB
from .workspace import Workspace

__all__ = [
    "core_for",
    "distill_step",
    "matching_loss",
    "perturb",
    "refuses",
    "run",
    "slower",
    "slower_than_cpu",
    "unavailable",
]

_FLOP_A_CALL = 2e9  # under half a second on any CPU of this decade


@lru_cache(maxsize=1)
def _load():
    """Return ``(module, None)`` or ``(None, why)``."""
    try:
        from .. import _core
    except ImportError as cause:
        return (
            None,
            f"the compiled extension regkd_edge._core is missing ({cause}); reinstall with a C++ compiler",
        )
    return _core, None


def unavailable(compute: str) -> str | None:
    """Return why the core for ``compute`` cannot be used on this machine, or None."""
    core, why = _load()
    if core is None:
        return why
    if compute == "cuda" and not core.has_cuda:
        return "the extension was built without CUDA (no nvcc at build time)"
    if compute == "cuda":
        count, why = core.cuda.device_count()
        return why if count == 0 else None
    return None


def core_for(network, x: Tensor):
    """Return the core if it can evaluate this network at x [n, d], else None."""
    core = _load()[0]
    if core is None or type(network) is not MLP or x.device.type != "cpu" or x.dtype != torch.float32 or x.ndim != 2:
        return None
    if x.shape[0] == 0 or x.shape[1] != network.widths[0] or len(network.widths) - 1 > core.MAX_LAYERS:
        return None
    plain = all(p.dtype == torch.float32 and p.device.type == "cpu" for p in network.parameters())
    hooked = any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())
    return core if plain and not hooked and max(network.widths) <= core.MAX_WIDTH else None


def _why_not(tensors: dict[str, Tensor | None], device: torch.device) -> str | None:
    for name, tensor in tensors.items():
        if tensor is None:
            continue
        if tensor.is_floating_point() and tensor.dtype != torch.float32:
            return f"{name} is {str(tensor.dtype).removeprefix('torch.')}, the fused core computes in float32"
        if tensor.device != device:
            return f"{name} is on {tensor.device} and the student on {device}"
        if name == "x" and tensor.ndim != 2:
            return f"the rows have shape {tuple(tensor.shape[1:])}, and the fused core takes flat ones"
    return None


def refuses(
    student, teacher: Network | None, recipe: StepRecipe, batch: int, x: Tensor | None, y: Tensor | None, compute: str
) -> str | None:
    """Return why the core cannot run this job although it supports every part of it, or None."""
    core, device = _load()[0], next(student.parameters()).device
    why = _why_not({"x": x, "y": y}, device)
    nets = {"student": student, "teacher": teacher if recipe.asks_teacher(x is not None) else None}
    for name, net in nets.items():
        if net is not None and len(net.widths) - 1 > core.MAX_LAYERS:
            why = (
                why
                or f"the {name} has {counted(len(net.widths) - 1, 'layer')}, and the fused core supports 1 to "
                f"{core.MAX_LAYERS}"
            )
    for name in ("sigma", "low", "high"):
        value = getattr(recipe, name)
        if isinstance(value, tuple) and len(value) not in (1, student.widths[0]):
            why = why or f"{name} has {counted(len(value), 'number')} for {counted(student.widths[0], 'feature')}"
    if why:
        return why
    job = _shape_only(student, nets["teacher"], recipe, batch, x, y)
    return core.refuses(job) or (cuda.refuses(core, job, device) if compute == "cuda" else None)


def _shape_only(student, teacher, recipe: StepRecipe, batch: int, x: Tensor | None, y: Tensor | None):
    """Return a job for queries: shapes without contents."""
    teacher = Net.of(teacher) if teacher is not None else None
    work = Workspace(_load()[0], recipe, Net.of(student), teacher, torch.device("cpu"), gather=False)
    filler = torch.zeros(1, student.widths[-1])
    work.base(RowQuantities(filler, *(torch.zeros(1) for _ in range(4))) if x is not None else None)
    work.data(torch.zeros(1, student.widths[0]) if x is not None else None, filler if y is not None else None)
    work.job.batch = batch
    return work.job


# Measured on AVX-512 (tools/bench/results/step-cpu-large.md): the gradient of a large student does not stay in the
# caches between the tiles that add to it. With 8e5 weights the core is still 10 to 20 % faster than eager PyTorch; with
# 1.3e6 and more, in steps of many rows, it is between 12 % faster and 3 % slower, so the matrix library is used.
_LARGE_FLOP, _LARGE_STUDENT = 1.5e9, 1e6
# From two measured numbers: on an H100 eager PyTorch needs 3 ms of launches for a step of any size, and the core's
# float32 kernels do 10 to 16 TFLOP/s (large in csrc/cuda/README.md), a
# matrix library 48: beyond this much work it pays.
_LARGE_FLOP_ON_GPU = 4e10


def slower(
    student, teacher: Network | None, recipe: StepRecipe, batch: int, x: Tensor | None, y: Tensor | None, compute: str
) -> str | None:
    """Return why the core is expected to be slower than PyTorch on this job, or None."""
    weights = sum(a * b for a, b in zip(student.widths[:-1], student.widths[1:]))
    if compute == "cpu" and weights < _LARGE_STUDENT:
        return None
    asked = teacher if recipe.asks_teacher(x is not None) else None
    flops = _load()[0].cost(_shape_only(student, asked, recipe, batch, x, y))["flops"]
    if compute == "cuda" and flops >= _LARGE_FLOP_ON_GPU:
        return f"a step of {flops:.1e} FLOP is left to PyTorch's matrix products"
    if compute == "cpu" and flops >= _LARGE_FLOP:
        size = f"a step of {flops:.1e} FLOP on a student of {weights:,} weights"
        return f"{size} is left to PyTorch's matrix products, about as fast there"
    return None


def slower_than_cpu(
    student, teacher: Network | None, recipe: StepRecipe, batch: int, x: Tensor | None, y: Tensor | None
) -> str | None:
    """Why the CPU core is expected to be faster on this job than the current GPU, or None."""
    asked = teacher if recipe.asks_teacher(x is not None) else None
    job = _shape_only(student, asked, recipe, batch, x, y)
    hidden = [n for net in (student, asked) if net is not None for n in net.widths[1:-1]]
    return gain.slower_than_cpu(_load()[0], job, max(hidden, default=1), cuda.index_of(torch.device("cuda")))


# Many steps


def run(members: list, n: int, compute: str) -> list[Tensor]:
    """``n`` steps of every member on the core, in place; the tables of losses [n, columns].

    The steps run on copies that are copied back at the end: an interrupted call changes nothing.
    """
    core = _load()[0]
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
    work = Workspace(_load()[0], member.recipe, student, teacher, member.device)
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


# Single-call operators


def _compute(*tensors: Tensor | None) -> str | None:
    """Return ``cpu`` or ``cuda`` if all tensors are float32 on one such device and the core is present, else None."""
    device = None
    for t in tensors:
        if t is None:
            continue
        device = t.device if device is None else device
        if t.device != device or (t.dtype != torch.float32 and t.is_floating_point()):
            return None
    return device.type if device.type in ("cpu", "cuda") and unavailable(device.type) is None else None


def perturb(x: Tensor, sigma: Tensor, draws: int, seed: int, step: int) -> Tensor | None:
    """Run the core's ``perturb``, bit-identical to ``perturb_twin``; None if it cannot run."""
    compute = _compute(x, sigma)
    if compute is None or x.numel() == 0:
        return None
    core, features = _load()[0], x[0].numel()
    x, sigma = x.detach().contiguous(), sigma.detach().expand(features).contiguous()
    out = x.new_empty((x.shape[0], draws, *x.shape[1:]))
    sizes = (x.shape[0], features, draws, seed, step)
    if compute == "cuda":
        stream = torch.cuda.current_stream(x.device).cuda_stream
        core.cuda.perturb(x.data_ptr(), sigma.data_ptr(), *sizes, out.data_ptr(), x.device.index, stream)
    else:
        core.perturb(x.data_ptr(), sigma.data_ptr(), *sizes, PERTURB, out.data_ptr())
    return out


def matching_loss(s: Tensor, y: Tensor | None, rows: RowQuantities, recipe: StepRecipe) -> tuple[Tensor, Tensor] | None:
    """Return the core's base loss on outputs, ``(value, gradient)``; None if it cannot run."""
    compute = _compute(s, y, rows.t)
    if compute is None or s.ndim != 2 or not recipe.base_active or (recipe.needs_labels and y is None):
        return None
    core, (n, outputs) = _load()[0], s.shape
    unit = Net([s.new_zeros(outputs, 1)], [s.new_zeros(outputs)], "identity")
    work = Workspace(core, recipe, unit, None, s.device, gather=False)
    work.base(rows)
    s, gradient = work.keep(s), torch.empty_like(s, memory_format=torch.contiguous_format)
    y, t = work.address(y), work.address(rows.t)
    if compute == "cuda":
        stream = torch.cuda.current_stream(s.device).cuda_stream
        return cuda.matching_loss(core, work, s, y, t, gradient, stream), gradient
    value = core.matching_loss(work.job, s.data_ptr(), y, t, n, outputs, gradient.data_ptr())
    return gradient.new_tensor(value), gradient


def distill_step(
    student: Net,
    teacher: Net | None,
    x: Tensor,
    y: Tensor | None,
    rows: RowQuantities,
    recipe: StepRecipe,
    seed: int,
    step: int,
    total: int,
    counter: Tensor | None = None,  # [1] int64, added to ``step``; on a GPU it is read there
) -> tuple[Tensor, Tensor] | None:
    """Return one step's ``(terms [5], flat gradient [P])`` from the core; None if it refuses.

    On a GPU everything runs on the current stream, and nothing is copied from the host after a first call.
    """
    compute = _compute(x, y, rows.t, *student.weights, *(teacher.weights if teacher is not None else ()))
    nets = [net for net in (student, teacher) if net is not None]
    if compute is None or any(len(net.weights) > _load()[0].MAX_LAYERS for net in nets):
        return None
    core = _load()[0]
    work = Workspace(core, recipe, student, teacher, x.device, gather=compute == "cuda")
    job = work.job
    work.base(rows)
    work.data(x, y)
    job.batch, job.shuffle, job.seed = x.shape[0], 0, seed
    job.first_step, job.total_steps, job.optimizer = step, total, "none"
    gradient = x.new_empty(sum(w.numel() + b.numel() for w, b in zip(student.weights, student.biases)))
    losses = torch.empty(len(KERNEL_COLUMNS), dtype=torch.float64, device=x.device)
    job.grad, job.losses = gradient.data_ptr(), losses.data_ptr()
    if core.refuses(job):
        return None
    if compute == "cuda":
        try:
            cuda.train_one(core, work, 1, torch.cuda.current_stream(x.device).cuda_stream, counter)
        except ValueError:  # the device refuses the job
            return None
    else:
        job.first_step = step if counter is None else step + int(counter)
        asked = teacher if recipe.needs_teacher else None
        core.gradient_step(job, work.addresses(student), work.addresses(asked), torch.get_num_threads())
    return losses.float(), gradient
