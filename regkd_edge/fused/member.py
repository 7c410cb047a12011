"""One student in training: its networks, rows, objective, optimizer and state, and the rows of each step."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ..errors import DataError, RecipeError
from ..objectives import RowQuantities, StepRecipe, row_quantities
from ..objectives.networks import Network
from .choose import Choice, choose
from .forms import core_forms
from .optimizer import AVERAGE, Optimizer, TrainState
from .permutation import batch_rows
from .points import clamp, gaussian_inputs
from .share import Share

__all__ = ["Member"]


@dataclass
class Member:
    """One student in training and everything that decides its steps. Members of one call may differ in everything.

    Parameters
    ----------
    student : nn.Module
        Changed in place.
    teacher : nn.Module, callable or None
        [B, ...] -> [B, o]. A plain callable, or anything with ``differentiable = False``, is used for values only.
    x : Tensor [N, ...] or None
        Standardised inputs; None trains on N(0, I) (then ``inputs`` is the number of features, or an MLP's first
        width).
    y : Tensor [N, o] or None
        Standardised labels.
    recipe, optimizer : StepRecipe, Optimizer
    total : int
        Steps of the whole run, the T of every schedule.
    batch : int
        Rows per step, drawn without replacement epoch by epoch; may exceed N.
    seed : int
        Of rows, noise and cotangents, in [0, 2^63).
    rows : RowQuantities, optional
        Of all N rows; computed here if the recipe needs it and it is None.
    state : TrainState
        Changed in place.
    inputs : int, optional
        Features of a run without rows.
    shuffle : bool
        False: the rows are taken in order, position modulo N (a sampler feeds the rows of several steps at once).
    share : Share, optional
        Of the rows of each step, where several processes train this student; steps in torch only.
    mixed : bool
        Compute products in bfloat16 on a GPU (``torch.autocast``); weights, losses and updates stay float32. Steps in
        torch only.

    Attributes
    ----------
    decision : Choice or None
        What computes the steps and why, from the first call on; what a later call requests is ignored.
    """

    student: nn.Module
    teacher: Network | None
    x: Tensor | None
    y: Tensor | None
    recipe: StepRecipe
    optimizer: Optimizer
    total: int
    batch: int
    seed: int = 0
    rows: RowQuantities | None = None
    state: TrainState = field(default_factory=TrainState)
    inputs: int | None = None
    shuffle: bool = True
    share: Share | None = None
    mixed: bool = False
    decision: Choice | None = field(default=None, init=False, repr=False)
    _forms: tuple[nn.Module, Network | None] | None = field(default=None, init=False, repr=False)

    def parameters(self) -> list[Tensor]:
        """The student's trainable parameters in the order of ``state``."""
        return [p for p in self.student.parameters() if p.requires_grad]

    def averaged(self) -> nn.Module:
        """Return the student that counts: a copy with the averaged weights where the optimizer keeps an average."""
        average = self.state.slots.get(AVERAGE)
        if not average:
            return self.student
        student = copy.deepcopy(self.student)
        with torch.no_grad():
            for p, value in zip([p for p in student.parameters() if p.requires_grad], average):
                p.copy_(value)
        return student

    def core_forms(self) -> tuple[nn.Module, Network | None]:
        """Student and teacher as the fused core takes them, decided once; see :func:`core_forms`."""
        if self._forms is None:
            inputs = self.x.shape[1] if self.x is not None and self.x.ndim == 2 else self.inputs
            self._forms = core_forms(self.student, self.teacher, inputs)
        return self._forms

    @property
    def device(self) -> torch.device:
        return next((p.device for p in self.student.parameters()), torch.device("cpu"))

    def prepare(self, n: int) -> None:
        """Check the arguments and fill in ``rows`` and ``inputs``."""
        for name, value, low in (
            ("n", n, 1),
            ("total", self.total, 1),
            ("batch", self.batch, 1),
            ("seed", self.seed, 0),
        ):
            if isinstance(value, bool) or not isinstance(value, int) or value < low or value >= 2**63:
                raise RecipeError(f"{name} must be an integer of at least {low}, got {value!r}.", f"Change {name}.")
        if self.state.step + n > self.total:
            raise RecipeError(
                f"{n} steps from step {self.state.step} exceed the run's total of {self.total}.",
                "Use fewer, or start a longer run: the schedules depend on the total.",
            )
        if not self.parameters():
            raise RecipeError("the student has no trainable parameter.", "Unfreeze it, or use another student.")
        if self.recipe.needs_teacher and self.teacher is None:
            raise RecipeError("the recipe needs a teacher, and there is none.", "Give a teacher, or use base 'labels'.")
        if self.recipe.needs_labels and (self.y is None or self.x is None):
            raise RecipeError(f"base '{self.recipe.base}' needs labelled rows.", "Give x and y, or use base 'mimic'.")
        if self.x is None:
            self.inputs = self.inputs or getattr(self.student, "widths", [None])[0]
            if not self.inputs:
                raise RecipeError(
                    "without rows the number of features is unknown.", "Give x, or inputs=<number of features>."
                )
            return
        if self.x.shape[0] == 0:
            raise DataError("there are 0 training rows.", "Give at least one row.")
        for name, network in (("student", self.student), ("teacher", self.teacher)):
            first = next(iter(network.children()), None) if isinstance(network, nn.Sequential) else None
            width = first.in_features if isinstance(first, nn.Linear) else None
            if width is not None and self.x.shape[-1] != width:
                raise DataError(
                    f"x has shape {list(self.x.shape)}, and the {name} takes {width} inputs.",
                    f"Give rows [n, {width}].",
                )
        if self.y is not None and (self.y.ndim != 2 or self.y.shape[0] != self.x.shape[0]):
            raise DataError(
                f"x is {tuple(self.x.shape)} and y is {tuple(self.y.shape)}.",
                "Give y as [rows, outputs] with as many rows as x.",
            )
        if self.rows is None and self.recipe.needs_teacher:
            with torch.no_grad():
                answers = torch.cat([self.teacher(part) for part in self.x.split(4096)])
            self.rows = row_quantities(answers, self.y, self.recipe.outlier_k, self.recipe.outlier_rule)
        if self.rows is not None and self.rows.t is not None and self.rows.t.shape[0] != self.x.shape[0]:
            raise DataError(
                f"rows holds {self.rows.t.shape[0]} rows and x {self.x.shape[0]}.", "Compute rows from this x."
            )

    def decide(self, compute: str) -> Choice:
        """Return what computes the steps of this member, decided once, since its networks do not change."""
        if self.decision is None:
            self.decision = choose(
                *self.core_forms(),
                self.recipe,
                batch=self.batch,
                x=self.x,
                y=self.y,
                compute=compute,
                mixed=self.mixed,
            )
        return self.decision

    def batch_at(self, step: int) -> tuple[Tensor, Tensor | None, RowQuantities | None]:
        """Return ``(x [B, ...], y [B, o] or None, their quantities)`` of a step; of this process's rows of it."""
        first, count = (0, self.batch) if self.share is None else self.share.of(self.batch)
        if self.x is None:
            dtype = next(self.student.parameters()).dtype
            x = gaussian_inputs(self.batch, (self.inputs,), self.seed, step, dtype=dtype, device=self.device)
            return clamp(x[first : first + count], self.recipe), None, None
        n = self.x.shape[0]
        if self.shuffle:
            index = batch_rows(self.seed, step, self.batch, n)
        else:
            index = torch.arange(step * self.batch, (step + 1) * self.batch) % n
        index = index[first : first + count].to(self.x.device)
        y = self.y[index] if self.y is not None else None
        return self.x[index], y, self.rows.take(index) if self.rows is not None else None
