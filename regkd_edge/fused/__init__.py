"""Training steps: one public function per kernel, its pure-torch twin, and the choice between them."""

from .answers import answers
from .choose import Choice, choose
from .ops import matching_loss, perturb
from .optimizer import Optimizer, TrainState
from .place import place
from .single_step import distill_backward, distill_step
from .steps import Member, StepsDone, advance, distill_steps, fit_steps

__all__ = [
    "Choice",
    "Member",
    "Optimizer",
    "StepsDone",
    "TrainState",
    "advance",
    "answers",
    "choose",
    "distill_backward",
    "distill_step",
    "distill_steps",
    "fit_steps",
    "matching_loss",
    "perturb",
    "place",
]
