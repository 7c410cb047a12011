"""Choice of the device for a training, CPU or GPU: decided before anything is moved, with the reason."""

from __future__ import annotations

import logging
from functools import lru_cache

import torch
from torch import Tensor, nn

from ..errors import NotAvailable, RecipeError
from ..objectives import StepRecipe
from ..objectives.networks import Network
from . import native
from .choose import covered

__all__ = ["DEVICES", "no_gpu", "place"]

DEVICES = ("auto", "cpu", "cuda")

_log = logging.getLogger("regkd_edge.fused")


def no_gpu() -> str | None:
    """Return why PyTorch cannot use an NVIDIA GPU, or None."""
    if torch.cuda.is_available():
        return None
    if torch.version.cuda is None:
        return f"this PyTorch ({torch.__version__}) is built without CUDA"
    core = native.load()[0]
    why = core.cuda.device_count()[1] if core is not None and core.has_cuda else ""
    return why or f"PyTorch {torch.__version__} for CUDA {torch.version.cuda} finds no NVIDIA GPU"


def place(
    student: nn.Module,
    teacher: Network | None,
    recipe: StepRecipe,
    *,
    batch: int,
    x: Tensor | None = None,
    y: Tensor | None = None,
    device: str = "auto",
    compute: str = "auto",
    fed: bool = False,
    mixed: bool = False,
) -> tuple[torch.device, str]:
    """Return the device for a training whose parts are still on the CPU, and why.

    Parameters
    ----------
    batch, x, y
        As in :func:`regkd_edge.fused.choose`.
    device : str
        ``auto`` uses the GPU if one is present, the fused core runs the whole step on it, and it is faster: by the
        table of ``tools/gpu_check`` for this device, or without one by an estimated factor of 2. Else the CPU.
    compute : str
        ``cuda`` requires a GPU, ``cpu`` excludes it.
    fed : bool
        Rows are drawn round by round on the CPU; ``auto`` then stays there.
    mixed : bool
        Products in bfloat16: requires a GPU.

    Raises
    ------
    NotAvailable
        A GPU was requested and cannot be used; the message says what is missing.
    RecipeError
        ``device`` and ``compute`` exclude each other, or the device is unknown.
    """
    if device not in DEVICES:
        raise RecipeError(f"device '{device}' is unknown.", f"Use one of: {', '.join(DEVICES)}.")
    if mixed:
        why = "the CPU was requested" if "cpu" in (device, compute) else no_gpu()
        if why:
            raise NotAvailable(
                f"mixed precision needs a GPU, and there is none to use: {why}.",
                "Omit --mixed-precision: training on a CPU is in float32.",
            )
        return torch.device("cuda"), "mixed precision was requested"
    if {device, compute} == {"cpu", "cuda"}:
        raise RecipeError(
            f"--device {device} and --compute {compute} exclude each other.", "Leave one of them on auto."
        )
    if "cuda" in (device, compute):
        name = "--device" if device == "cuda" else "--compute"
        why = no_gpu() or (native.unavailable("cuda") if compute == "cuda" else None)
        if why:
            raise NotAvailable(
                f"{name} cuda was requested and cannot be used: {why}.", f"Use {name} auto, or fix the cause."
            )
        return torch.device("cuda"), "cuda was requested"
    if device == "cpu" or compute in ("cpu", "torch"):
        return torch.device("cpu"), f"{'--device cpu' if device == 'cpu' else f'--compute {compute}'} was requested"
    why = (
        no_gpu()
        or native.unavailable("cuda")
        or ("the rows are drawn on the CPU, round by round" if fed else None)
        or covered(student, teacher, recipe, torch.device("cpu"), x is not None or fed)  # where everything lies by now
        or native.refuses(student, teacher, recipe, batch, x, y, "cuda")
    )
    if why:
        device, why = "cpu", f"no GPU: {why}"
    elif slower := native.slower_than_cpu(student, teacher, recipe, batch, x, y):
        device, why = "cpu", f"the GPU is left out: {slower}"
    else:
        device, why = "cuda", "a GPU is present and the fused core runs on it"
    _announce(torch.device(device), why)
    return torch.device(device), why


@lru_cache(maxsize=64)
def _announce(device: torch.device, why: str) -> None:
    """Log each reason once per process."""
    _log.info("training runs on '%s': %s", device.type, why)
