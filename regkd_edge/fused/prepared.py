"""Plans of the single step: what outlives a call of the operator, so that a small step costs little more than its work.

A plan belongs to a student, a teacher and a recipe by identity. It holds no tensor of theirs: every call reads which
tensors the networks have now, and where they lie. What no longer fits the plan is left to the general path.
"""

from __future__ import annotations

import weakref

import torch
from torch import Tensor

from ..objectives import KERNEL_COLUMNS, RowQuantities, StepRecipe
from . import cuda, native
from .eager import layout_of
from .passes import Net
from .workspace import Workspace

__all__ = ["StepPlan", "find", "prepare", "tensors_of"]

_MOST = 64  # plans; the oldest goes first
_plans: dict[tuple[int, int, int], StepPlan] = {}


def tensors_of(net) -> list[Tensor]:
    """W_1, b_1, W_2, ... of an MLP as it is now."""
    found = []
    for layer in net._modules["layers"]._modules.values():
        own = layer._parameters
        weight, bias = own.get("weight"), own.get("bias")
        # Parametrized layers have a weight that is not a parameter.
        found.append(layer.weight if weight is None else weight)
        found.append(layer.bias if bias is None else bias)
    return found


def find(student, teacher, recipe: StepRecipe) -> StepPlan | None:
    """The plan that was prepared for these three objects, or None."""
    plan = _plans.get((id(student), id(teacher), id(recipe)))
    if plan is None or plan.student() is not student or plan.teacher() is not teacher:
        return None  # another object had this id
    if student.activation != plan.activations[0] or (plan.asks and teacher.activation != plan.activations[1]):
        return None
    return plan


def prepare(student, teacher, recipe: StepRecipe, ours: list[Tensor], theirs: list[Tensor]) -> StepPlan | None:
    """Make the plan of later calls from what the general path was given; None if the core cannot run the step."""
    device = ours[0].device
    if native.unavailable(device.type) if device.type in ("cpu", "cuda") else True:
        return None
    core = native.load()[0]
    if max(len(ours), len(theirs)) > 2 * core.MAX_LAYERS:
        return None
    plan = StepPlan(core, student, teacher, recipe, ours, theirs)
    key = (id(student), id(teacher), id(recipe))
    if key not in _plans:
        for old in list(_plans)[: max(0, len(_plans) - _MOST + 1)]:
            _plans.pop(old, None)
    _plans[key] = plan
    return plan


class StepPlan:
    """One step of a student, a teacher and a recipe, ready to be run on the tensors of a call."""

    def __init__(self, core, student, teacher, recipe: StepRecipe, ours: list[Tensor], theirs: list[Tensor]):
        self.core, self.recipe, self.device = core, recipe, ours[0].device
        self.student = weakref.ref(student)
        self.teacher = (lambda: None) if teacher is None else weakref.ref(teacher)
        self.asks = bool(theirs)
        self.activations = (student.activation, teacher.activation if theirs else "identity")
        nets = [Net(t[::2], t[1::2], a) if t else None for t, a in zip((ours, theirs), self.activations)]
        self.work = Workspace(core, recipe, *nets, self.device, gather=False)
        self.plain = not recipe.base_active  # the work holds the base of a call without quantities per row
        self.needs_labels, self.base_active = recipe.needs_labels, recipe.base_active
        self.outputs = ours[-1].numel()
        shapes = [tuple(p.shape for p in tensors) for tensors in (ours, theirs)]
        self.layout, self.parameters = layout_of(shapes[0]), sum(p.numel() for p in ours)
        self.tensors = core.StepTensors(*shapes, torch.float32, self.device)
        self.launches: dict = {}  # the CUDA core's plans

    def run(  # the arguments of the operator, and its networks' tensors
        self,
        ours: list[Tensor],
        theirs: list[Tensor],
        x: Tensor,
        y: Tensor | None,
        rows: RowQuantities | None,
        seed: int,
        step: int,
        total: int,
        counter: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor] | None:
        """Return ``(loss [], terms [5], flat gradient [P])``; None leaves the call to the general path."""
        if self.device.type == "cuda":
            return self._run_on_device(ours, theirs, x, y, rows, seed, step, total, counter)
        loss, terms, flat = x.new_empty(()), x.new_empty(len(KERNEL_COLUMNS)), x.new_empty(self.parameters)
        done = self._run_on_cpu(ours, theirs, x, y, rows, seed, step, total, counter, loss, terms, flat, [])
        return (loss, terms, flat) if done else None

    def add_to(self, gradients: list[Tensor | None], add: list[bool], ours, theirs, x: Tensor, *call) -> Tensor | None:
        """Write the gradient to tensors, or add it where ``add`` says so; return the terms. On the CPU only.

        The other arguments are those of :meth:`run`; None where that gives None.
        """
        if self.device.type != "cpu":
            return None
        terms = x.new_empty(len(KERNEL_COLUMNS))
        return terms if self._run_on_cpu(ours, theirs, x, *call, None, terms, gradients, add) else None

    def _work(self, rows: RowQuantities | None, x: Tensor) -> Workspace | None:
        """The job with its base; None: the quantities per row do not fit."""
        if rows is not None and self.base_active:
            return self._with(rows, x)
        if not self.plain:
            self.work.base(None)
            self.plain = True
        return self.work

    def _run_on_cpu(self, ours, theirs, x, y, rows, seed, step, total, counter, loss, terms, gradient, add) -> bool:
        work = self._work(rows, x)
        if work is None:
            return False
        if counter is not None:
            step += int(counter)
        y = y if self.needs_labels else None
        place = (seed, step, total, loss, terms, gradient, add, torch.get_num_threads())
        return self.tensors.step(work.job, ours, theirs, x, y, *place)

    def _with(self, rows: RowQuantities, x: Tensor) -> Workspace | None:
        for name, value in rows.__dict__.items():
            if value is None:
                continue
            shape = (x.shape[0], self.outputs) if name == "t" else x.shape[:1]
            if value.device != self.device or value.dtype not in (torch.float32, torch.bool) or value.shape != shape:
                return None
        work = self.work.again()
        work.base(rows)
        return work

    def _run_on_device(self, ours, theirs, x, y, rows, seed, step, total, counter):
        """On the current stream: nothing is copied from the host and nothing is waited for after a first call."""
        y, work = y if self.needs_labels else None, self._work(rows, x)
        if work is None or not self.tensors.fit(ours, theirs, x, y):
            return None
        work = work.again() if work is self.work else work
        job = work.job
        with torch.no_grad():
            job.params = work.address(torch._utils._flatten_dense_tensors(ours))
            if theirs:
                widths = (theirs[0].shape[1], *(b.numel() for b in theirs[1::2]))
                flat = torch._utils._flatten_dense_tensors(theirs)
                job.set_teacher(widths, self.activations[1], work.address(flat))
        work.data(x, y)
        job.batch, job.shuffle, job.seed = x.shape[0], 0, seed
        job.first_step, job.total_steps, job.optimizer = step, total, "none"
        gradient = x.new_empty(self.parameters)
        losses = x.new_empty(len(KERNEL_COLUMNS), dtype=torch.float64)
        job.grad, job.losses = gradient.data_ptr(), losses.data_ptr()
        given = () if rows is None else tuple(name for name, value in rows.__dict__.items() if value is not None)
        key = (x.shape[0], y is not None, given)
        launch = self.launches.get(key)
        if launch is None:  # asks the driver about occupancy: once
            if self.core.refuses(job):
                return None
            try:
                launch = self.launches[key] = self.core.cuda.plan([job], cuda.index_of(self.device))
            except ValueError:  # the device refuses the job
                return None
        cuda.launch_one(self.core, work, launch, 1, torch.cuda.current_stream(self.device).cuda_stream, counter)
        terms = losses.float()
        return terms[0].clone(), terms, gradient
