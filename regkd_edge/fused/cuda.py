"""The CUDA half of :mod:`.native`: device memory for jobs, plans and workspaces; no waiting for the device.

All memory is PyTorch's, taken and freed in the order of the current stream, so nothing here needs to outlive its
launch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .workspace import Workspace

__all__ = ["matching_loss", "refuses", "train"]


def refuses(core, job, device: torch.device) -> str | None:
    """Why the CUDA back end cannot run a job that the core as such can, or None."""
    try:
        core.cuda.plan([job], device.index or 0)
    except (ValueError, RuntimeError) as cause:
        return str(cause)
    return None


def train(core, works: list[Workspace], steps: int, stream: int) -> None:
    """Every job advances by ``steps``, all in one launch; ``stream`` is the address of a CUDA stream."""
    device = works[0].device
    index = device.index or 0
    plan = core.cuda.plan([work.job for work in works], index)
    image = b"".join(work.job.to_bytes() for work in works)
    jobs = torch.frombuffer(bytearray(image), dtype=torch.uint8).to(device)
    workspace = torch.zeros(plan.workspace_bytes, dtype=torch.uint8, device=device)
    core.cuda.train(plan, jobs.data_ptr(), workspace.data_ptr(), steps, 0, index, stream)


def matching_loss(core, work: Workspace, s: Tensor, y: int, t: int, gradient: Tensor, stream: int) -> Tensor:  # scalar
    """The base loss of outputs ``s`` [n, o]; ``y`` and ``t`` are addresses on its device, the gradient is written."""
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
