"""Choice of what computes the steps of a member: the fused core if it supports everything, else the torch path.

A kernel refuses what it does not implement, with the reason, and the torch path runs. Nothing is dropped silently.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn

from ..errors import NotAvailable, RecipeError
from ..models.mlp import MLP, is_plain
from ..objectives import StepRecipe, is_differentiable
from ..objectives.networks import Network
from .forms import core_forms

__all__ = ["COMPUTE", "Choice", "choose", "covered"]

COMPUTE = ("auto", "cpu", "cuda", "torch")

_log = logging.getLogger("regkd_edge.fused")


@dataclass(frozen=True)
class Choice:
    """What computes the steps and the reason in words; stored with the run."""

    compute: str  # cpu | cuda | torch
    reason: str


def covered(
    student: nn.Module, teacher: Network | None, recipe: StepRecipe, device: torch.device, rows: bool = True
) -> str | None:
    """Why the fused core cannot run this member on this kind of device, or None where it can."""
    if recipe.torch_only:
        return recipe.torch_only
    for name, net in (("student", student), ("teacher", teacher if recipe.asks_teacher(rows) else None)):
        if net is None:
            continue
        if type(net) is not MLP:
            return f"the {name} is a {getattr(net, 'kind', type(net).__name__)}, and the fused core supports MLPs"
        if name == "teacher" and not is_differentiable(net):
            return "the teacher is marked as not differentiable"
        for p in net.parameters():
            if p.dtype != torch.float32:
                return f"the {name} is {str(p.dtype).removeprefix('torch.')}, and the fused core computes in float32"
            if p.device.type != device.type:
                return f"the {name} is on {p.device.type} and the data on {device.type}"
            if name == "student" and not p.requires_grad:
                return "a parameter of the student is frozen"
        if any(m._forward_hooks or m._forward_pre_hooks for m in net.modules()):
            return f"the {name} has forward hooks"
        if not is_plain(net):
            return f"the weights of the {name} are computed from others (a parametrization)"
    if recipe.w_abm.active and recipe.ascent_rule == "random":
        return "the search among random points runs in torch"
    if recipe.gm_points and recipe.teacher_gradient != "exact":
        return "central differences of the teacher run in torch"
    return None


def choose(
    student: nn.Module,
    teacher: Network | None,
    recipe: StepRecipe,
    *,
    batch: int,
    x: Tensor | None = None,
    y: Tensor | None = None,
    compute: str = "auto",
    mixed: bool = False,
) -> Choice:
    """Return what computes the steps of one member.

    Parameters
    ----------
    batch : int
        Rows per step.
    x, y : Tensor or None
        The rows [N, ...] and labels [N, o]; their shapes, types and devices decide.
    compute : str
        ``auto`` uses the fused core if it supports the member and is expected to be faster, else torch; ``cpu`` and
        ``cuda`` require the core and raise :class:`NotAvailable` if it cannot run; ``torch`` requires torch.
    mixed : bool
        Products in bfloat16, which torch computes.
    """
    from . import native

    if compute not in COMPUTE:
        raise RecipeError(f"compute '{compute}' is unknown.", f"Use one of: {', '.join(COMPUTE)}.")
    if compute == "torch":
        return Choice("torch", "requested")
    student, teacher = core_forms(student, teacher, x.shape[1] if x is not None and x.ndim == 2 else None)
    device = next((p.device for p in student.parameters()), torch.device("cpu"))
    target = device.type if compute == "auto" else compute
    why = f"the core does not support tensors on '{device.type}'" if target not in ("cpu", "cuda") else None
    if target == "cuda":
        why = why or native.unavailable("cuda")  # the real cause, rather than the device of the tensors
    if why is None and device.type != target:
        why = f"the tensors are on {device.type} and compute is {target}"
    why = (
        why
        or ("mixed precision is computed by torch" if mixed else None)
        or covered(student, teacher, recipe, device, x is not None)
        or native.unavailable(target)
        or native.refuses(student, teacher, recipe, batch, x, y, target)
    )
    if compute != "auto":
        if why:
            raise NotAvailable(
                f"--compute {compute} cannot run this step: {why}.", "Use --compute auto or torch, or fix the cause."
            )
        return Choice(compute, "requested")
    why = why or native.slower(student, teacher, recipe, batch, x, y, target)
    asked = recipe.asks_teacher(x is not None)
    fits = "both networks are MLPs" if asked else "the network is an MLP, no step asks a teacher,"
    choice = Choice("torch", why) if why else Choice(target, f"{fits} and every term is supported")
    _announce(choice)
    return choice


@lru_cache(maxsize=64)
def _announce(choice: Choice) -> None:
    """Log each choice once per process."""
    _log.info("training steps run on '%s': %s", choice.compute, choice.reason)
