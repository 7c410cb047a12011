"""The CUDA half of :mod:`.native`: device memory for jobs, plans and workspaces.

Only ``train`` waits for the device, between the launches of a long run.

All memory is PyTorch's, taken and freed in the order of the current stream, so nothing here needs to outlive its
launch.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import torch
from torch import Tensor

from ..objectives import KERNEL_COLUMNS
from .workspace import Workspace

__all__ = ["index_of", "launch_one", "matching_loss", "pieces", "refuses", "train", "train_one"]


_FIRST_FLOP = 5e9  # of a first launch: under 100 ms on the slowest device of the list
_FIRST_STEPS = 2000  # of the smallest networks
_LAUNCH_SECONDS = 0.15  # of every later one


def index_of(device: torch.device) -> int:
    """The device's number; of ``cuda`` without one, and of a job that lies on the CPU still, the current device."""
    if device.type == "cpu":
        return torch.cuda.current_device() if torch.cuda.is_available() else 0
    return torch.cuda.current_device() if device.index is None else device.index


def refuses(core, job, device: torch.device) -> str | None:
    """Why the CUDA core cannot run a job that the core as such can, or None."""
    try:
        core.cuda.plan([job], index_of(device))
    except (ValueError, RuntimeError) as cause:
        return str(cause)
    return None


def pieces(n: int, flops: float, wait) -> Iterator[tuple[int, int]]:
    """Cut ``n`` steps of ``flops`` each into launches of about 0.15 s: (first step, steps) of each.

    A kernel cannot be interrupted: longer ones would hold Ctrl-C, a display's watchdog and the other work of a Jetson's
    GPU. ``wait`` is called after every launch but the last and returns when the device is done. Each launch is as long
    as the one before suggests and at most four times as long, so one that was slowed down does no harm.
    """
    steps, done = max(1, min(_FIRST_STEPS, int(_FIRST_FLOP / max(flops, 1.0)))), 0
    while done < n:
        steps, start = min(steps, n - done), time.perf_counter()
        yield done, steps
        done += steps
        if done < n:
            wait()
            took = max(time.perf_counter() - start, 1e-6)
            steps = max(1, min(4 * steps, int(steps * _LAUNCH_SECONDS / took)))


def train(core, works: list[Workspace], steps: int, stream: torch.cuda.Stream) -> None:
    """Every job advances by ``steps`` on a CUDA stream, all together; where launches are cut changes no bit."""
    jobs, index = [work.job for work in works], index_of(works[0].device)
    plan = core.cuda.plan(jobs, index)
    workspace = torch.zeros(plan.workspace_bytes, dtype=torch.uint8, device=works[0].device)
    table = None if len(works) == 1 else _table(jobs, works[0].device)
    flops = sum(core.cost(job)["flops"] for job in jobs)
    for first, some in pieces(steps, flops, stream.synchronize):
        address = stream.cuda_stream
        if table is not None:
            core.cuda.train(plan, table.data_ptr(), workspace.data_ptr(), some, first, index, address)
        else:
            core.cuda.train_one(plan, jobs[0], workspace.data_ptr(), some, index, address)
            jobs[0].first_step += some
            jobs[0].losses += some * len(KERNEL_COLUMNS) * 8  # float64


def _table(jobs: list, device: torch.device) -> Tensor:
    """The jobs of an ensemble in device memory."""
    image = torch.frombuffer(bytearray(b"".join(job.to_bytes() for job in jobs)), dtype=torch.uint8)
    if device.type == "cuda":  # from other memory the copy would wait for the device
        image = image.pin_memory()
    return image.to(device, non_blocking=True)


def train_one(core, work: Workspace, steps: int, stream: int, counter: Tensor | None = None) -> None:
    """One job, which travels with the launch: no copy from the host, so a captured graph may hold it.

    ``stream`` is a stream's address; ``counter`` is an int64 on the device that is added to the job's first step.
    Raises ValueError where the device refuses the job.
    """
    launch_one(core, work, core.cuda.plan([work.job], index_of(work.device)), steps, stream, counter)


def launch_one(core, work: Workspace, plan, steps: int, stream: int, counter: Tensor | None = None) -> None:
    """The same by a plan that was made for such a job on its device."""
    workspace = torch.zeros(plan.workspace_bytes, dtype=torch.uint8, device=work.device)
    address = 0 if counter is None else counter.data_ptr()
    core.cuda.train_one(plan, work.job, workspace.data_ptr(), steps, index_of(work.device), stream, address)


def matching_loss(core, work: Workspace, s: Tensor, y: int, t: int, gradient: Tensor, stream: int) -> Tensor:  # scalar
    """The base loss of outputs ``s`` [n, o]; ``y`` and ``t`` are addresses on its device, the gradient is written."""
    (n, outputs), index = s.shape, index_of(s.device)
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
