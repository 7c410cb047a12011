"""The CUDA half of :mod:`.native`: device memory for jobs, plans and workspaces, without synchronization.

All memory is PyTorch's, taken and freed in the order of the current stream, so nothing here needs to outlive its
launch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .workspace import Workspace

__all__ = ["matching_loss", "refuses", "train", "train_one"]


def refuses(core, job, device: torch.device) -> str | None:
    """Return why the CUDA back end cannot run a job that the core otherwise supports, or None."""
    try:
        core.cuda.plan([job], device.index or 0)
    except (ValueError, RuntimeError) as cause:
        return str(cause)
    return None


def train(core, works: list[Workspace], steps: int, stream: int) -> None:
    """Advance every job by ``steps``, all in one launch; ``stream`` is the address of a CUDA stream."""
    if len(works) == 1:
        train_one(core, works[0], steps, stream)
        return
    device = works[0].device
    index = device.index or 0
    plan = core.cuda.plan([work.job for work in works], index)
    image = torch.frombuffer(bytearray(b"".join(work.job.to_bytes() for work in works)), dtype=torch.uint8)
    if device.type == "cuda":  # a copy from pageable memory would synchronize
        image = image.pin_memory()
    jobs = image.to(device, non_blocking=True)
    workspace = torch.zeros(plan.workspace_bytes, dtype=torch.uint8, device=device)
    core.cuda.train(plan, jobs.data_ptr(), workspace.data_ptr(), steps, 0, index, stream)


def train_one(core, work: Workspace, steps: int, stream: int, counter: Tensor | None = None) -> None:
    """Run one job, passed with the launch: no copy from the host, so a captured graph may contain it.

    ``counter`` is an int64 on the device that is added to the job's first step. Raises ValueError if the device
    refuses the job.
    """
    index = work.device.index or 0
    plan = core.cuda.plan([work.job], index)
    workspace = torch.zeros(plan.workspace_bytes, dtype=torch.uint8, device=work.device)
    address = 0 if counter is None else counter.data_ptr()
    core.cuda.train_one(plan, work.job, workspace.data_ptr(), steps, index, stream, address)


def matching_loss(core, work: Workspace, s: Tensor, y: int, t: int, gradient: Tensor, stream: int) -> Tensor:  # scalar
    """Return the base loss of outputs ``s`` [n, o]; ``y`` and ``t`` are device addresses; write the gradient."""
    (n, outputs), index = s.shape, s.device.index or 0
    value = torch.zeros(1, dtype=torch.float64, device=s.device)
    size = core.cuda.loss_workspace_bytes(n, outputs)
    workspace = torch.zeros(size, dtype=torch.uint8, device=s.device)
    core.cuda.matching_loss(
        work.job,
        s.data_ptr(),
        y,
        t,
        n,
        outputs,
        gradient.data_ptr(),
        value.data_ptr(),
        workspace.data_ptr(),
        index,
        stream,
    )
    return value[0].float()
