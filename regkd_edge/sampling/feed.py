"""Supply of samplers' points to training steps: each round of a few steps gets fresh points and may train samplers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..errors import RecipeError
from ..fused import Member, StepsDone, advance, answers
from ..fused.permutation import batch_rows
from ..objectives import LOSS_COLUMNS, RowQuantities, Schedule
from .sampler import Network, Sampler

__all__ = ["Feed", "Part", "RealRows", "advance_fed"]


class RealRows(Sampler):
    """Real rows as a part of the batch, without replacement epoch by epoch, with their labels and quantities.

    A synthetic point added to them counts as a row labelled by the teacher: no error, full trust, no outlier.
    """

    def __init__(self, x: Tensor, y: Tensor, quantities: RowQuantities, *, seed: int = 0):
        self.x, self.y, self.quantities, self.seed, self.features = x, y, quantities, seed, x.shape[1]

    def index(self, count: int, step: int, steps: int) -> Tensor:  # [count] int64
        """Return the rows of the round of ``steps`` steps that begins with ``step``."""
        return batch_rows(self.seed, step // steps, count, len(self.x))


@dataclass(frozen=True)
class Part:
    """A part of every batch: ``rows`` points of a sampler, whose mean base loss has ``weight``.

    The weight is evaluated once per round, at its last step: with ``Schedule(1, 0)`` and rounds of ten steps it is the
    ``alpha = 1 - (e + 1) / E`` of Zhou & Chiam 2023.
    """

    sampler: Sampler
    rows: int
    weight: Schedule | float = 1.0


class Feed:
    """Source of a member's rows.

    Parameters
    ----------
    parts : sequence of Part
        Together they make the batch; ``sum of weight_p * mean of the base over part p`` is the base's loss.
    steps : int
        Student steps per round: points are drawn for this many steps at once, and the samplers learn after them.
    look : callable(member) -> (student, teacher), optional
        Networks that the samplers learn from, if the member trains networks with more outputs than are kept.
    """

    def __init__(
        self, parts: Sequence[Part], *, steps: int = 10, look: Callable[[Member], tuple[Network, Network]] | None = None
    ):
        if not parts or steps < 1:
            raise RecipeError(
                f"a feed needs at least one part and one step per round, got {len(parts)} and {steps}.",
                "Give a sampler.",
            )
        for part in parts:
            if part.rows < 1:
                raise RecipeError(f"a part of the batch needs at least one row, got {part.rows}.", "Omit the part.")
        widths = {part.sampler.features for part in parts}
        if len(widths) > 1:
            raise RecipeError(
                f"the samplers give inputs of different widths {sorted(widths)}.", "Give all the same inputs."
            )
        self.parts, self.steps = tuple(parts), steps
        self.batch = sum(part.rows for part in parts)
        self.features = widths.pop()
        self._look = look or (lambda member: (member.student, member.teacher))
        self._weighted = len(parts) > 1 or Schedule.of(parts[0].weight) != Schedule(1.0)

    @property
    def labelled(self) -> bool:
        """Whether real rows are among the parts."""
        return any(isinstance(part.sampler, RealRows) for part in self.parts)

    def _interleaved(self, drawn: Sequence[Tensor]) -> Tensor:
        """Parts [steps * rows_p, ...] -> [steps * batch, ...] in the order in which the steps take them."""
        return torch.cat(
            [v.reshape(self.steps, part.rows, *v.shape[1:]) for part, v in zip(self.parts, drawn)], 1
        ).flatten(0, 1)

    def _indices(self, step: int) -> list[Tensor | None]:
        """Return the row numbers of each part of real rows, None for the others."""
        real = (isinstance(part.sampler, RealRows) for part in self.parts)
        return [
            part.sampler.index(self.steps * part.rows, step, self.steps) if rows else None
            for part, rows in zip(self.parts, real)
        ]

    @torch.no_grad()
    def draw(self, step: int) -> Tensor:  # [steps * batch, d]
        """Return the points of the round that begins with ``step``, in the order in which the steps use them."""
        rows = self._indices(step)
        drawn = [
            part.sampler.draw(self.steps * part.rows, step) if i is None else part.sampler.x[i]
            for part, i in zip(self.parts, rows)
        ]
        return self._interleaved(drawn)

    def row_weights(self, step: int, total: int) -> Tensor | None:  # [steps * batch]
        if not self._weighted:
            return None
        last = min(step + self.steps, total) - 1
        each = [Schedule.of(part.weight).at(last, total) * self.batch / part.rows for part in self.parts]
        one = torch.cat([torch.full((part.rows,), w) for part, w in zip(self.parts, each)])
        return one.repeat(self.steps)

    @torch.no_grad()
    def fill(self, member: Member) -> None:
        """Put the next round's rows and their weights into the member; its batch must be the feed's."""
        if member.batch != self.batch:
            raise RecipeError(
                f"the member's batch is {member.batch}, but the feed supplies {self.batch} rows per step.",
                "Use the feed's batch.",
            )
        if member.recipe.needs_labels and not self.labelled:
            raise RecipeError(
                f"base '{member.recipe.base}' needs labels, and synthetic rows have none.", "Use base 'mimic'."
            )
        step = member.state.step
        if step % self.steps:
            raise RecipeError(
                f"step {step} is inside a round of {self.steps} steps.", "Stop and continue between rounds."
            )
        member.x = self.draw(step).to(member.device)
        member.y, member.shuffle = None, False
        weights = self.row_weights(step, member.total)
        t = self._with_known_answers(answers(member.teacher, member.x), step)
        member.rows = RowQuantities(t, weight=weights if weights is None else weights.to(member.device))
        if self.labelled:
            self._label(member, t, step)

    def _with_known_answers(self, t: Tensor, step: int) -> Tensor:  # [steps * batch, o]
        """The same with the stored answers of the real rows, which the teacher saw in raw units."""
        rows = self._indices(step)
        if not any(i is not None and part.sampler.quantities.t is not None for part, i in zip(self.parts, rows)):
            return t
        of_parts = t.reshape(self.steps, self.batch, -1).split([part.rows for part in self.parts], 1)
        known = [
            asked.flatten(0, 1)
            if i is None or part.sampler.quantities.t is None
            else part.sampler.quantities.t.to(t.device)[i.to(t.device)]
            for part, i, asked in zip(self.parts, rows, of_parts)
        ]
        return self._interleaved(known)

    def _label(self, member: Member, t: Tensor, step: int) -> None:
        """Return labels and quantities of the real rows, with answers as labels of the synthetic points."""
        rows, sizes, device, t = self._indices(step), [self.steps * part.rows for part in self.parts], t.device, t.cpu()
        if member.recipe.needs_labels:
            of_parts = t.reshape(self.steps, self.batch, -1).split([part.rows for part in self.parts], 1)
            member.y = self._interleaved(
                [p.flatten(0, 1) if i is None else part.sampler.y[i] for part, i, p in zip(self.parts, rows, of_parts)]
            ).to(device)
        filler = {
            "e": t.new_zeros,
            "phi": t.new_ones,
            "mix": t.new_ones,
            "outlier": lambda n: t.new_zeros(n, dtype=torch.bool),
        }
        known: dict[str, Tensor] = {}
        for name, full in filler.items():
            stored = [
                getattr(part.sampler.quantities, name) if i is not None else None for part, i in zip(self.parts, rows)
            ]
            if any(s is not None for s in stored):
                known[name] = self._interleaved(
                    [full(n) if s is None else s[i] for s, i, n in zip(stored, rows, sizes)]
                ).to(device)
        member.rows = replace(member.rows, **known)

    def learn(self, member: Member) -> None:
        """Let the samplers learn from the finished round."""
        student, teacher = self._look(member)
        for part in self.parts:
            part.sampler.learn(student, teacher, member.state.step)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the samplers' states, flat."""
        return {f"{i}.{k}": v for i, part in enumerate(self.parts) for k, v in part.sampler.state_dict().items()}

    def load_state_dict(self, flat) -> None:
        for i, part in enumerate(self.parts):
            part.sampler.load_state_dict({k.removeprefix(f"{i}."): v for k, v in flat.items() if k.startswith(f"{i}.")})


def advance_fed(members: Sequence[Member], feeds: Sequence[Feed], n: int, compute: str = "auto") -> list[StepsDone]:
    """Run ``n`` steps of every member on its feed's points, round by round; :func:`regkd_edge.fused.advance` for feeds.

    All feeds need the same number of steps per round, of which ``n`` is a multiple (except at the end of a run).
    """
    steps = {feed.steps for feed in feeds}
    if len(steps) != 1 or len(members) != len(feeds):
        raise RecipeError("members and feeds go in pairs with rounds of one length.", "Give each member its feed.")
    length, done = steps.pop(), 0
    tables: list[list[Tensor]] = [[] for _ in members]
    last: list[StepsDone] = []
    while done < n:
        count = min(length, n - done)
        for member, feed in zip(members, feeds):
            feed.fill(member)
        last = advance(members, count, compute)
        for table, progress in zip(tables, last):
            table.append(progress.losses)
        if count == length:
            for member, feed in zip(members, feeds):
                feed.learn(member)
        done += count
    empty = torch.zeros(0, len(LOSS_COLUMNS))
    return [StepsDone(torch.cat(t or [empty]), p.state, p.choice) for t, p in zip(tables, last)]
