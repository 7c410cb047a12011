"""The compiled core: whether it is there, and which jobs it can run and should run on this machine.

Loaded on first use, never on import of the package. What it computes is called by ``native_steps`` (many steps of a
student) and ``native_operators`` (one call on tensors).
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from ..io.words import counted
from ..models.mlp import MLP
from ..objectives import RowQuantities, StepRecipe
from ..objectives.networks import Network
from . import cuda, gain
from .passes import Net
from .workspace import Workspace

__all__ = ["core_for", "load", "refuses", "slower", "slower_than_cpu", "unavailable"]


@lru_cache(maxsize=1)
def load():
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
    core, why = load()
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
    core = load()[0]
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
    core, device = load()[0], next(student.parameters()).device
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
    work = Workspace(load()[0], recipe, Net.of(student), teacher, torch.device("cpu"), gather=False)
    filler = torch.zeros(1, student.widths[-1])
    work.base(RowQuantities(filler, *(torch.zeros(1) for _ in range(4))) if x is not None else None)
    work.data(torch.zeros(1, student.widths[0]) if x is not None else None, filler if y is not None else None)
    work.job.batch = batch
    return work.job


def flops_of(member) -> float:
    """FLOP of a step of a member that the core trains; the core counts them."""
    asked = member.recipe.asks_teacher(member.x is not None)
    student, teacher = member.core_forms()
    job = _shape_only(student, teacher if asked else None, member.recipe, member.batch, member.x, member.y)
    return load()[0].cost(job)["flops"]


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
    flops = load()[0].cost(_shape_only(student, asked, recipe, batch, x, y))["flops"]
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
    return gain.slower_than_cpu(load()[0], job, max(hidden, default=1), cuda.index_of(torch.device("cuda")))
