"""Jobs for the compiled core from recipes, networks and rows: they fill the fields of ``csrc/core/job.h``."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from ..objectives import KERNEL_COLUMNS, RowQuantities, StepRecipe
from ..objectives.bases import label_and_teacher_weights
from .passes import Net

__all__ = ["Workspace", "flatten"]

_POINT_BITS = {"original": 1, "perturbed": 2, "ascended": 4}
_ABSENT = 0  # a null address
# What captured graphs point at and no one else holds. A graph may be replayed as long as the process lives and does not
# say when it goes, so neither do these few floats.
_captured: dict[int, tuple[Tensor, ...]] = {}


class Workspace:
    """A job of the core and the tensors whose addresses it holds.

    Parameters
    ----------
    core : module
        ``regkd_edge._core``.
    device : torch.device
        Where every array of the job lies.
    gather : bool
        False omits the networks' weights: only their shapes are needed, or ``core.gradient_step`` gathers them.
    """

    def __init__(
        self,
        core,
        recipe: StepRecipe,
        student: Net,
        teacher: Net | None,
        device: torch.device,
        *,
        gather: bool = True,
    ):
        if not recipe.needs_teacher:
            teacher = None
        shapes = [None if net is None else (_widths(net), net.activation) for net in (student, teacher)]
        self._fill(*_template(core.Job, recipe, *shapes, device), recipe, device)
        if gather:
            self.parameters = self.keep(flatten(student))
            self.job.params = self.parameters.data_ptr()
            if teacher is not None:
                self.job.set_teacher(*shapes[1], self.address(flatten(teacher)))

    def _fill(self, job, constants: tuple[Tensor, ...], recipe: StepRecipe, device: torch.device) -> None:
        if constants and _capturing(device):
            _captured[id(constants)] = constants
        self.job, self.recipe, self.device = job.copy(), recipe, device
        self.constants = constants  # what the job of every call points to: sigma and the box
        self.slots: list[Tensor] = []  # the optimizer's averages, flat
        self._kept: list[Tensor] = list(constants)

    def again(self) -> Workspace:
        """Return the same job for another call, without what this one keeps beside the constants."""
        other = Workspace.__new__(Workspace)
        other._fill(self.job, self.constants, self.recipe, self.device)
        return other

    def addresses(self, net: Net | None) -> list[int]:
        """Gather W_1, b_1, W_2, ...: dense float32 memory on the job's device."""
        tensors = [] if net is None else [p for pair in zip(net.weights, net.biases) for p in pair]
        plain = [p.dtype == torch.float32 and p.is_contiguous() for p in tensors]
        return [p.data_ptr() if fine else self.address(p) for p, fine in zip(tensors, plain)]

    def keep(self, tensor: Tensor) -> Tensor:
        """Keep a dense float32 tensor on the job's device alive as long as the job."""
        tensor = tensor.detach().to(self.device, torch.float32).contiguous()
        self._kept.append(tensor)
        return tensor

    def address(self, tensor: Tensor | None) -> int:
        return _ABSENT if tensor is None else self.keep(tensor).data_ptr()

    def base(self, rows: RowQuantities | None) -> None:
        """Fill in the base and its quantities per row, for all N rows in order."""
        job, recipe = self.job, self.recipe
        rows = rows if rows is not None else RowQuantities(None)
        if not recipe.base_active:
            return
        job.row_weight = self.address(rows.weight)
        pair = label_and_teacher_weights(recipe, rows)
        job.base = recipe.base if pair is None else "squares"
        for name, value in zip(("a", "b"), pair or ()):
            if isinstance(value, Tensor):
                setattr(job, f"row_{name}", self.address(value))
            else:
                setattr(job, f"base_{name}", value)
        if recipe.base == "tbr":
            job.row_error = self.address(rows.e)
        if recipe.base == "tor":
            job.row_outlier = self.address(rows.outlier)
        if recipe.base not in ("labels", "huber"):
            job.t = self.address(rows.t)

    def data(self, x: Tensor | None, y: Tensor | None) -> None:
        job = self.job
        if x is not None:
            job.x, job.rows = self.address(x), x.shape[0]
        if self.recipe.needs_labels:
            job.y = self.address(y)


def _capturing(device: torch.device) -> bool:
    return device.type == "cuda" and torch.cuda.is_current_stream_capturing()


def flatten(net: Net) -> Tensor:
    """Return W_1 row-major, b_1, W_2, ...: the core's single flat array."""
    return torch.cat([p.detach().reshape(-1) for pair in zip(net.weights, net.biases) for p in pair])


def _widths(net: Net) -> tuple[int, ...]:
    return (net.weights[0].shape[1], *(b.numel() for b in net.biases))


@lru_cache(maxsize=256)
def _template(make_job, recipe: StepRecipe, student, teacher, device: torch.device):
    """The fields of a job from recipe and shapes ``(widths, activation)``, and the tensors that they point to.

    Created once: a single step takes less time than setting these fields. On a GPU it also keeps sigma and the box on
    the device, so that a later call copies nothing from the host.
    """
    job, kept = make_job(), []
    features, outputs = student[0][0], student[0][-1]

    def per_feature(values) -> int:
        if values is None:
            return _ABSENT
        flat = torch.as_tensor(values, dtype=torch.float32).flatten()
        flat = (flat.expand(features) if flat.numel() == 1 else flat).to(device).contiguous()
        kept.append(flat)
        return flat.data_ptr()

    job.set_student(*student)
    if teacher is not None:
        job.set_teacher(*teacher, _ABSENT)
    for name in KERNEL_COLUMNS[1:]:
        w = recipe.weight_of(name)
        job.set_weight(name, w.start, w.end, w.hold)
    if not recipe.base_active:
        job.base = "none"
        job.set_weight("base", 0.0, 0.0, 1)
    job.draws, job.cotangents = recipe.draws, recipe.cotangent_count(outputs)
    job.gm_on = sum(_POINT_BITS[kind] for kind in recipe.gm_points)
    job.sigma = per_feature(recipe.sigma)
    job.low, job.high = per_feature(recipe.low), per_feature(recipe.high)
    if recipe.w_abm.active:
        job.ascent_rule = recipe.ascent_rule
    job.ascent_steps, job.ascent_from_anchor = recipe.ascent_steps, int(recipe.ascent_from_anchor)
    job.ascent_sigma, job.ascent_size = recipe.ascent_sigma, recipe.ascent_size
    job.ascent_ridge, job.ascent_decay = recipe.ascent_ridge, recipe.ascent_weight_decay
    job.nu, job.margin, job.imitate = recipe.nu, recipe.margin, int(recipe.imitate)
    job.delta = recipe.delta
    job.drop_outliers = int(recipe.outlier_loss == "drop")
    return job, tuple(kept)
