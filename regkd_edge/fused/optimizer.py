"""The optimizers of the many-step calls: PyTorch's semantics with an explicit state, so runs can resume anywhere."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..errors import RecipeError

__all__ = ["AVERAGE", "Optimizer", "TrainState"]

AVERAGE = "average"  # the slot of the averaged weights, which no rule of an optimizer reads
_APART, _MOST_APART = 0.05, 100  # weights join the average in steps of so many of its time constants; and steps
_SLOTS = {"rmsprop": ("v",), "adam": ("m", "v"), "adamw": ("m", "v")}


@dataclass(frozen=True)
class Optimizer:
    """RMSprop, Adam or AdamW as ``torch.optim`` computes them, with a learning rate that is a function of the step.

    Parameters
    ----------
    kind : str
        ``adam`` | ``adamw`` | ``rmsprop``.
    lr : float
        Learning rate at step 0.
    weight_decay : float
        L2 added to the gradient (rmsprop, adam) or decoupled (adamw); biases too, as in PyTorch.
    schedule : str
        Factor on ``lr`` at step t of T: ``constant`` 1, ``linear`` 1 - t/T, ``cosine`` (1 + cos(pi t/T)) / 2.
    alpha, betas, eps : float
        RMSprop's smoothing; Adam's; the term in the denominator.
    average : float
        Decay per step of an exponential moving average of the weights, kept beside them; 0: none. The weights join it
        in every ``average_every``-th step, and early ones with a share of 9 / (10 + joined), so that the initial
        weights do not stay in it.
    """

    kind: str = "adam"
    lr: float = 1e-3
    weight_decay: float = 0.0
    schedule: str = "constant"
    alpha: float = 0.99
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    average: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in _SLOTS:
            raise RecipeError(f"optimizer '{self.kind}' is unknown.", f"Use one of: {', '.join(_SLOTS)}.")
        if self.schedule not in ("constant", "linear", "cosine"):
            raise RecipeError(
                f"learning-rate schedule '{self.schedule}' is unknown.", "Use constant, linear or cosine."
            )
        object.__setattr__(self, "betas", tuple(float(b) for b in self.betas))
        for name, value, top in (
            ("lr", self.lr, math.inf), ("weight_decay", self.weight_decay, math.inf), ("eps", self.eps, math.inf),
            ("average", self.average, 1.0), ("alpha", self.alpha, 1.0), ("betas[0]", self.betas[0], 1.0),
            ("betas[1]", self.betas[1], 1.0),
        ):  # fmt: skip
            if not 0.0 <= value < top:
                raise RecipeError(f"{name} must be at least 0 and below {top:g}, got {value!r}.", f"Change {name}.")

    @property
    def slots(self) -> tuple[str, ...]:
        """Names of the running averages in the state of each parameter."""
        return _SLOTS[self.kind]

    @property
    def average_every(self) -> int:
        """Steps between two weights that join the average: it is as smooth, and the core is called for many steps."""
        return max(1, min(_MOST_APART, round(_APART / (1.0 - self.average))))

    @torch.no_grad()
    def join_average(self, parameters: Sequence[Tensor], state: TrainState) -> None:
        """Let the weights join the average if it is the step for it; the first ones are the average."""
        every = self.average_every
        if not self.average or state.step % every:
            return
        average = state.slots.setdefault(AVERAGE, [])
        if not average:
            average.extend(p.detach().clone() for p in parameters)
            return
        joined = state.step // every
        keep = min(self.average**every, (1.0 + joined) / (10.0 + joined))
        torch._foreach_lerp_(average, [p.detach() for p in parameters], 1.0 - keep)

    def rate(self, step: int, total: int) -> float:
        """Return the learning rate at a step of a run of ``total`` steps."""
        factor = 1.0
        if self.schedule == "linear":
            factor = 1.0 - step / total
        elif self.schedule == "cosine":
            factor = 0.5 * (1.0 + math.cos(math.pi * step / total))
        return self.lr * max(0.0, factor)

    @torch.no_grad()
    def update(self, parameters: Sequence[Tensor], gradients: Sequence[Tensor], state: TrainState, total: int) -> None:
        """Take one step in place on the parameters and the state, and increment its step counter."""
        rate, count = self.rate(state.step, total), state.step + 1
        slots = state.prepare(self, parameters)
        parameters, gradients = list(parameters), list(gradients)
        if self.kind == "adamw":
            torch._foreach_mul_(parameters, 1.0 - rate * self.weight_decay)
        elif self.weight_decay:
            gradients = torch._foreach_add(gradients, parameters, alpha=self.weight_decay)
        if self.kind == "rmsprop":
            v = slots["v"]
            torch._foreach_mul_(v, self.alpha)
            torch._foreach_addcmul_(v, gradients, gradients, value=1.0 - self.alpha)
            below = torch._foreach_sqrt(v)
            torch._foreach_add_(below, self.eps)
            torch._foreach_addcdiv_(parameters, gradients, below, value=-rate)
        else:
            m, v = slots["m"], slots["v"]
            first, second = self.betas
            torch._foreach_lerp_(m, gradients, 1.0 - first)
            torch._foreach_mul_(v, second)
            torch._foreach_addcmul_(v, gradients, gradients, value=1.0 - second)
            below = torch._foreach_sqrt(v)
            torch._foreach_div_(below, math.sqrt(1.0 - second**count))
            torch._foreach_add_(below, self.eps)
            torch._foreach_addcdiv_(parameters, m, below, value=-rate / (1.0 - first**count))
        state.step = count


@dataclass
class TrainState:
    """State of a run: the number of steps done and the optimizer's averages, one tensor per parameter.

    A run that is interrupted, stored and resumed is bit-identical to an uninterrupted one.
    """

    step: int = 0
    slots: dict[str, list[Tensor]] = field(default_factory=dict)

    def prepare(self, optimizer: Optimizer, parameters: Sequence[Tensor]) -> dict[str, list[Tensor]]:
        """Return the optimizer's slots for these parameters: zeros at the start, checked later."""
        if not self.slots:
            if self.step:
                raise RecipeError(
                    f"a state at step {self.step} has no optimizer averages.", "Load the whole stored state."
                )
            self.slots = {
                name: [torch.zeros_like(p, requires_grad=False) for p in parameters] for name in optimizer.slots
            }
        elif tuple(name for name in self.slots if name != AVERAGE) != optimizer.slots:
            raise RecipeError(
                f"the state holds {list(self.slots)}, optimizer '{optimizer.kind}' needs {list(optimizer.slots)}.",
                "Continue with the optimizer that started the run, or start a new state.",
            )
        for tensors in self.slots.values():
            ours, theirs = [tuple(p.shape) for p in parameters], [tuple(t.shape) for t in tensors]
            if ours != theirs:
                raise RecipeError(
                    f"the state is for parameters of shapes {theirs}, and the student has {ours}.", "Use its own state."
                )
        return self.slots

    def state_dict(self) -> dict[str, Tensor]:
        """Return a flat dict of tensors, ready for safetensors: ``step`` and ``<slot>.<parameter number>``."""
        flat = {f"{name}.{i}": t for name, tensors in self.slots.items() for i, t in enumerate(tensors)}
        return {"step": torch.tensor(self.step, dtype=torch.int64), **flat}

    @classmethod
    def load(cls, flat: Mapping[str, Tensor]) -> TrainState:
        """Restore from the result of :meth:`state_dict`; the tensors are copied."""
        try:
            slots: dict[str, dict[int, Tensor]] = {}
            for key, tensor in flat.items():
                if key != "step":
                    name, number = key.split(".")
                    slots.setdefault(name, {})[int(number)] = tensor.detach().clone()
            lists = {name: [by[i] for i in range(len(by))] for name, by in sorted(slots.items())}
            return cls(int(flat["step"]), lists)
        except (KeyError, ValueError) as cause:
            raise RecipeError(f"not a stored training state ({cause!r}).", "Restart the run.") from None
