"""The one place that talks to the compiled core: what it can do on this machine, and its operators on torch tensors.

Loaded on first use, never on import of the package. Every function that returns ``None`` in place of a result leaves the
call to the twin.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from ..objectives import TERMS, RowQuantities, StepRecipe
from ..objectives.bases import label_and_teacher_weights
from ..objectives.terms import Teacher
from .passes import Net

__all__ = ["distill_step", "matching_loss", "perturb", "refuses", "run", "slower", "unavailable"]

_POINT_BITS = {"original": 1, "perturbed": 2, "ascended": 4}
_ABSENT = 0  # a null address


@lru_cache(maxsize=1)
def _load():
    """``(module, None)`` or ``(None, why)``."""
    try:
        from .. import _core
    except ImportError as cause:
        return None, f"the compiled extension regkd_edge._core is not there ({cause}); reinstall the package with a C++ compiler"
    return _core, None


def unavailable(backend: str) -> str | None:
    """Why a back end of the core cannot be used on this machine, or None."""
    core, why = _load()
    if core is None:
        return why
    if backend == "cuda" and not core.has_cuda:
        return "the extension was built without CUDA (no nvcc at build time)"
    return None


class Workspace:
    """A job of the core and the tensors whose addresses it holds."""

    def __init__(self, recipe: StepRecipe, student: Net, teacher: Net | None, device: torch.device):
        self.job = _load()[0].Job()
        self.recipe, self.device = recipe, device
        self._kept: list[Tensor] = []
        job, outputs = self.job, student.biases[-1].numel()
        widths = [student.weights[0].shape[1], *(b.numel() for b in student.biases)]
        self.features, self.outputs = widths[0], outputs
        job.set_student(widths, student.activation)
        self.parameters = self.keep(flatten(student))
        job.params = self.parameters.data_ptr()
        if teacher is not None and recipe.needs_teacher:
            widths = [teacher.weights[0].shape[1], *(b.numel() for b in teacher.biases)]
            job.set_teacher(widths, teacher.activation, self.address(flatten(teacher)))
        self._objective()

    def keep(self, tensor: Tensor) -> Tensor:
        """Hold a dense float32 tensor on the job's device alive as long as the job."""
        tensor = tensor.detach().to(self.device, torch.float32).contiguous()
        self._kept.append(tensor)
        return tensor

    def address(self, tensor: Tensor | None) -> int:
        return _ABSENT if tensor is None else self.keep(tensor).data_ptr()

    def _objective(self) -> None:
        job, recipe = self.job, self.recipe
        weights = {"base": recipe.w_base, "pm": recipe.w_pm, "abm": recipe.w_abm, "gm": recipe.w_gm}
        for name, w in weights.items():
            job.set_weight(name, w.start, w.end, w.hold)
        if not recipe.base_active:
            job.base = "none"
            job.set_weight("base", 0.0, 0.0, 1)
        job.draws, job.cotangents = recipe.draws, recipe.cotangent_count(self.outputs)
        job.gm_on = sum(_POINT_BITS[kind] for kind in recipe.gm_points)
        job.sigma = self.address(self._per_feature(recipe.sigma))
        job.low, job.high = (self.address(self._per_feature(v)) for v in (recipe.low, recipe.high))
        if recipe.w_abm.active:
            job.ascent_rule = recipe.ascent_rule
        job.ascent_steps, job.ascent_from_anchor = recipe.ascent_steps, int(recipe.ascent_from_anchor)
        job.ascent_sigma, job.ascent_size = recipe.ascent_sigma, recipe.ascent_size
        job.ascent_ridge, job.ascent_decay = recipe.ascent_ridge, recipe.ascent_weight_decay
        job.nu, job.margin, job.imitate = recipe.nu, recipe.margin, int(recipe.imitate)
        job.delta, job.drop_outliers = recipe.delta, int(recipe.drop_outliers)

    def _per_feature(self, values) -> Tensor | None:
        if values is None:
            return None
        flat = torch.as_tensor(values, dtype=torch.float32).flatten()
        return flat.expand(self.features) if flat.numel() == 1 else flat

    def base(self, rows: RowQuantities | None) -> None:
        """The base and its quantities a row; of all N rows, in their order."""
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


def flatten(net: Net) -> Tensor:
    """W_1 row-major, b_1, W_2, ...: the core's one flat array."""
    return torch.cat([p.detach().reshape(-1) for pair in zip(net.weights, net.biases) for p in pair])


def _threads(core, job) -> int:
    """As many as pay, and never more than PyTorch is allowed to take."""
    return max(1, min(torch.get_num_threads(), core.cost(job)["threads"]))


def _why_not(tensors: dict[str, Tensor | None], device: torch.device) -> str | None:
    for name, tensor in tensors.items():
        if tensor is None:
            continue
        if tensor.is_floating_point() and tensor.dtype != torch.float32:
            return f"{name} is {str(tensor.dtype).removeprefix('torch.')}, the fused core computes in float32"
        if tensor.device.type != device.type:
            return f"{name} is on {tensor.device.type} and the student on {device.type}"
        if name == "x" and tensor.ndim != 2:
            return f"the rows have shape {tuple(tensor.shape[1:])}, the fused core takes flat ones"
    return None


def refuses(student, teacher: Teacher | None, recipe: StepRecipe, batch: int, x: Tensor | None, y: Tensor | None) -> str | None:
    """Why the core cannot run this job although every part of it is of a kind it knows, or None."""
    device = next(student.parameters()).device
    why = _why_not({"x": x, "y": y}, device)
    if why:
        return why
    for name in ("sigma", "low", "high"):
        value = getattr(recipe, name)
        if isinstance(value, tuple) and len(value) not in (1, student.widths[0]):
            return f"{name} has {len(value)} numbers for {student.widths[0]} features"
    return _load()[0].refuses(_shape_only(student, teacher, recipe, batch, x, y))


def _shape_only(student, teacher, recipe: StepRecipe, batch: int, x: Tensor | None, y: Tensor | None):
    """A job to ask questions about: what is there, not what it holds."""
    work = Workspace(recipe, Net.of(student), Net.of(teacher) if teacher is not None and recipe.needs_teacher else None, torch.device("cpu"))
    n, o = (1, student.widths[-1])
    filler = torch.zeros(n, o)
    there = RowQuantities(filler, *(torch.zeros(n) for _ in range(4)))
    work.base(there if x is not None else RowQuantities(None))
    work.data(torch.zeros(n, student.widths[0]) if x is not None else None, filler if y is not None else None)
    work.job.batch = batch
    return work.job


def slower(student, teacher: Teacher | None, recipe: StepRecipe, batch: int, x: Tensor | None, y: Tensor | None, backend: str) -> str | None:
    """Why the core is expected to be slower than PyTorch on this job, or None."""
    return None


# Many steps ----------------------------------------------------------------------------------------------------------------


def run(members: list, n: int, backend: str) -> list[Tensor]:
    """``n`` steps of every member on the core, in place; the tables of losses [n, 5]."""
    core = _load()[0]
    works, tables = [], []
    for member in members:
        work, losses = _prepare(member, n)
        works.append(work)
        tables.append(losses)
    threads = _threads(core, works[0].job) if len(works) == 1 else torch.get_num_threads()
    core.run([work.job for work in works], n, threads)
    for member, work in zip(members, works):
        _bring_back(member, work, n)
    return [losses.float() for losses in tables]


def _prepare(member, n: int) -> tuple[Workspace, Tensor]:
    student = Net.of(member.student)
    teacher = Net.of(member.teacher) if member.recipe.needs_teacher else None
    work = Workspace(member.recipe, student, teacher, member.device)
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
    losses = torch.zeros(n, len(TERMS), dtype=torch.float64, device=member.device)
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


# Single-call operators -----------------------------------------------------------------------------------------------------


def _fits(*tensors: Tensor | None) -> bool:
    there = [t for t in tensors if t is not None]
    return all(t.device.type == "cpu" and (t.dtype == torch.float32 or not t.is_floating_point()) for t in there) and _load()[0] is not None


def perturb(x: Tensor, sigma: Tensor, draws: int, seed: int, step: int) -> Tensor | None:
    """The core's ``perturb``, the bits of ``perturb_twin``; None where it cannot run."""
    if not _fits(x, sigma) or x.numel() == 0:
        return None
    core = _load()[0]
    features = x[0].numel()
    x, sigma = x.detach().contiguous(), sigma.detach().expand(features).contiguous()
    out = x.new_empty((x.shape[0], draws, *x.shape[1:]))
    core.perturb(x.data_ptr(), sigma.data_ptr(), x.shape[0], features, draws, seed, step, 0, out.data_ptr())
    return out


def matching_loss(s: Tensor, y: Tensor | None, rows: RowQuantities, recipe: StepRecipe) -> tuple[Tensor, Tensor] | None:
    """The core's base loss on outputs, ``(value, gradient)``; None where it cannot run."""
    if not recipe.base_active or s.ndim != 2 or not _fits(s, y, rows.t):
        return None
    core = _load()[0]
    outputs = s.shape[1]
    unit = Net([s.new_zeros(outputs, 1)], [s.new_zeros(outputs)], "identity")
    work = Workspace(recipe, unit, None, s.device)
    work.base(rows)
    s, gradient = work.keep(s), torch.empty_like(s, memory_format=torch.contiguous_format)
    value = core.matching_loss(work.job, s.data_ptr(), work.address(y), work.address(rows.t), s.shape[0], outputs, gradient.data_ptr())
    return gradient.new_tensor(value), gradient


def distill_step(
    student: Net, teacher: Net | None, x: Tensor, y: Tensor | None, rows: RowQuantities, recipe: StepRecipe, seed: int, step: int, total: int
) -> tuple[Tensor, Tensor] | None:
    """One step's ``(terms [5], flat gradient [P])`` on the core; None where it refuses."""
    if not _fits(x, y, rows.t, *student.weights, *(teacher.weights if teacher is not None else ())):
        return None
    core = _load()[0]
    work = Workspace(recipe, student, teacher, x.device)
    job = work.job
    work.base(rows)
    work.data(x, y)
    job.batch, job.shuffle, job.seed = x.shape[0], 0, seed
    job.first_step, job.total_steps, job.optimizer = step, total, "none"
    gradient = torch.zeros_like(work.parameters)
    losses = torch.zeros(len(TERMS), dtype=torch.float64)
    job.grad, job.losses = gradient.data_ptr(), losses.data_ptr()
    if core.refuses(job):
        return None
    core.run([job], 1, _threads(core, job))
    return losses.float(), gradient
