"""The two networks of a training: the student with its auxiliary parts (a head, a hidden layer), and its teacher."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from ..config import DistillConfig
from ..fused import Member
from ..models import build
from ..models.spec import TRAINING
from ..objectives import is_differentiable
from ..objectives.central import CentralDifferences
from ..objectives.heads import one_head, two_heads
from ..objectives.hints import hinted, without_hint

__all__ = ["Pair", "pair_of", "plain_pair"]


@dataclass(eq=False)
class Pair:
    """A student, trained to match ``teacher``; ``keep`` turns it into the network of o outputs that is kept."""

    student: nn.Module
    teacher: nn.Module | None  # with as many outputs as the student's first head
    plain_teacher: nn.Module | None  # [n, d] -> [n, o]
    keep: Callable[[nn.Module], nn.Module]

    def to(self, device: torch.device) -> Pair:
        if device.type != "cpu":
            self.student = self.student.to(device)
            # Move a copy: samplers keep the original teacher.
            self.teacher = self.teacher if self.teacher is None else copy.deepcopy(self.teacher).to(device)
        return self

    def look(self, member: Member) -> tuple[nn.Module, nn.Module]:
        """Return what samplers learn from: the student as it would be kept, and the teacher; on the CPU."""
        student = self.keep(member.student)
        return (student if member.device.type == "cpu" else copy.deepcopy(student).cpu()), self.plain_teacher


def plain_pair(spec: str, d: int, o: int, seed: int, shape: tuple[int, ...] | None = None) -> Pair:
    """A network to train on labels alone; ``shape`` is that of a row that is an image or a signal."""
    return Pair(build(spec, d, o, seed, copies=TRAINING, shape=shape), None, None, lambda student: student)


def pair_of(
    config: DistillConfig, teacher: nn.Module, d: int, o: int, seed: int, shape: tuple[int, ...] | None = None
) -> Pair:
    """Return the networks that ``config`` names, for a teacher in standardised space.

    Raises
    ------
    RecipeError
        A named hidden layer does not exist.
    """
    if config.teacher_gradient == "central" and not is_differentiable(teacher):
        teacher = CentralDifferences(teacher, config.teacher_step)
    student = build(config.student, d, o, seed, copies=TRAINING, shape=shape)
    generator = torch.Generator().manual_seed(seed + 1)
    if config.heads == 2:
        return Pair(two_heads(student, generator), teacher, teacher, lambda whole: one_head(whole, config.export_head))
    if config.base == "hint":
        of_student, of_teacher = config.hint_layers
        wide, target = hinted(student, teacher, config.nu, of_student, of_teacher, generator)
        return Pair(wide, target, teacher, lambda whole: without_hint(whole, o))
    return Pair(student, teacher, teacher, lambda whole: whole)
