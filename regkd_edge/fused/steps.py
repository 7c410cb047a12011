"""Many training steps in one call: a student on its teacher, a network on labels, or several members together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ..errors import DataError, RecipeError
from ..io.progress import tick
from ..objectives import LOSS_COLUMNS, RowQuantities, StepRecipe, row_quantities
from ..objectives.terms import Network
from . import native
from .choose import Choice, choose
from .forms import core_forms
from .ops import matching_loss, perturb
from .optimizer import Optimizer, TrainState
from .permutation import batch_rows
from .points import clamp, gaussian_inputs
from .reference import Operators, step_loss

__all__ = ["Member", "StepsDone", "advance", "distill_steps", "fit_steps"]


_OPERATORS = Operators(perturb, matching_loss)  # values and losses go through them, whatever the network


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

    Attributes
    ----------
    decision : Choice or None
        The back end and why, from the first call on; what a later call asks for is not looked at.
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
    decision: Choice | None = field(default=None, init=False, repr=False)
    _forms: tuple[nn.Module, Network | None] | None = field(default=None, init=False, repr=False)

    def parameters(self) -> list[Tensor]:
        """The student's trainable parameters in the order of ``state``."""
        return [p for p in self.student.parameters() if p.requires_grad]

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

    def decide(self, backend: str) -> Choice:
        """Return the back end for this member, decided once, since its networks do not change."""
        if self.decision is None:
            self.decision = choose(
                *self.core_forms(), self.recipe, batch=self.batch, x=self.x, y=self.y, backend=backend
            )
        return self.decision

    def batch_at(self, step: int) -> tuple[Tensor, Tensor | None, RowQuantities | None]:
        """Return ``(x [B, ...], y [B, o] or None, their quantities)`` of a step."""
        if self.x is None:
            dtype = next(self.student.parameters()).dtype
            x = gaussian_inputs(self.batch, (self.inputs,), self.seed, step, dtype=dtype, device=self.device)
            return clamp(x, self.recipe), None, None
        n = self.x.shape[0]
        if self.shuffle:
            index = batch_rows(self.seed, step, self.batch, n)
        else:
            index = torch.arange(step * self.batch, (step + 1) * self.batch) % n
        index = index.to(self.x.device)
        y = self.y[index] if self.y is not None else None
        return self.x[index], y, self.rows.take(index) if self.rows is not None else None


@dataclass(frozen=True)
class StepsDone:
    """What a call did: ``losses`` [n, 5] float32 (columns ``LOSS_COLUMNS``), the state after it, and the back end that ran."""

    losses: Tensor
    state: TrainState
    choice: Choice


def advance(members: Sequence[Member], n: int, backend: str = "auto") -> list[StepsDone]:
    """Run ``n`` steps of every member, in place on students and states (an ensemble over seeds, folds or sizes).

    Each member's result is bit-identical to running it alone. Members that the fused core supports run in one call.
    """
    choices = []
    for member in members:
        member.prepare(n)
        choices.append(member.decide(backend))
    losses: dict[int, Tensor] = {}
    for target in ("cpu", "cuda"):
        group = [i for i, choice in enumerate(choices) if choice.backend == target]
        if group:
            losses.update(zip(group, native.run([members[i] for i in group], n, target)))
    for i, choice in enumerate(choices):
        if choice.backend == "torch":
            losses[i] = _torch_steps(members[i], n)
    return [StepsDone(losses[i], member.state, choices[i]) for i, member in enumerate(members)]


def _torch_steps(member: Member, n: int) -> Tensor:  # [n, 5]
    table = torch.zeros(n, len(LOSS_COLUMNS))
    parameters = member.parameters()
    for i in range(n):
        step = member.state.step
        x, y, rows = member.batch_at(step)
        with torch.enable_grad():
            loss, terms = step_loss(
                member.student,
                member.teacher,
                x,
                y,
                rows,
                member.recipe,
                seed=member.seed,
                step=step,
                total=member.total,
                operators=_OPERATORS,
            )
        if loss.requires_grad:
            gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
        else:
            gradients = [None] * len(parameters)
        gradients = [g if g is not None else torch.zeros_like(p) for g, p in zip(gradients, parameters)]
        member.optimizer.update(parameters, gradients, member.state, member.total)
        table[i] = terms
        tick("steps", i + 1)
    return table


def distill_steps(
    student: nn.Module,
    teacher: Network,
    x: Tensor | None,  # [N, ...]
    y: Tensor | None,  # [N, o]
    recipe: StepRecipe,
    optimizer: Optimizer,
    state: TrainState | None = None,
    *,
    n: int,
    total: int,
    batch: int,
    seed: int = 0,
    rows: RowQuantities | None = None,
    inputs: int | None = None,
    shuffle: bool = True,
    backend: str = "auto",
) -> StepsDone:
    """Run steps ``state.step .. state.step + n - 1`` of a run of ``total`` steps, in place on student and state.

    The arguments are those of :class:`Member`. Splitting a run into several calls does not change any bit.
    """
    state = state if state is not None else TrainState()
    member = Member(student, teacher, x, y, recipe, optimizer, total, batch, seed, rows, state, inputs, shuffle)
    return advance([member], n, backend)[0]


def fit_steps(
    model: nn.Module,
    x: Tensor,  # [N, ...]
    y: Tensor,  # [N, o]
    optimizer: Optimizer,
    state: TrainState | None = None,
    *,
    n: int,
    total: int,
    batch: int,
    seed: int = 0,
    loss: str = "squared",
    delta: float = 1.0,
    backend: str = "auto",
) -> StepsDone:
    """Train a network on labels alone, as for a teacher; ``loss`` is ``squared`` or ``huber``."""
    if loss not in ("squared", "huber"):
        raise RecipeError(f"loss '{loss}' is unknown.", "Use 'squared' or 'huber'.")
    recipe = StepRecipe(base="labels" if loss == "squared" else "huber", delta=delta)
    state = state if state is not None else TrainState()
    return advance([Member(model, None, x, y, recipe, optimizer, total, batch, seed, None, state)], n, backend)[0]
