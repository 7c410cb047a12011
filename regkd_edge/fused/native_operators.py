"""The operators of the compiled core on torch tensors: perturbation, the matching loss, one step.

A function that returns ``None`` in place of a result leaves the call to the twin.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..objectives import KERNEL_COLUMNS, RowQuantities, StepRecipe
from . import cuda, native
from .passes import Net
from .philox import PERTURB
from .workspace import Workspace

__all__ = ["distill_step", "matching_loss", "perturb"]


def _compute(*tensors: Tensor | None) -> str | None:
    """Return ``cpu`` or ``cuda`` if all tensors are float32 on one such device and the core is present, else None."""
    device = None
    for t in tensors:
        if t is None:
            continue
        device = t.device if device is None else device
        if t.device != device or (t.dtype != torch.float32 and t.is_floating_point()):
            return None
    return device.type if device.type in ("cpu", "cuda") and native.unavailable(device.type) is None else None


def perturb(x: Tensor, sigma: Tensor, draws: int, seed: int, step: int) -> Tensor | None:
    """Run the core's ``perturb``, bit-identical to ``perturb_twin``; None if it cannot run."""
    compute = _compute(x, sigma)
    if compute is None or x.numel() == 0:
        return None
    core, features = native.load()[0], x[0].numel()
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
    core, (n, outputs) = native.load()[0], s.shape
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
    if compute is None or any(len(net.weights) > native.load()[0].MAX_LAYERS for net in nets):
        return None
    core = native.load()[0]
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
