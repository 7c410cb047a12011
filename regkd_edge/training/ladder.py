"""Training until it stops improving: the steps are doubled, and each time the learning rate falls to 0 on a branch.

A learning rate that falls along a cosine needs the end beforehand. Here it stays constant on a trunk; from the trunk,
at 1,000, 2,000, 4,000, ... steps, a branch is taken on which it falls to 0 over a quarter as many steps more (warmup,
stable, decay: Hu et al. 2024, section 4; branching so is ours). The branch is what is judged and kept. The trunk goes
on as long as a doubling brings at least ``LEAST_GAIN``. The branches together cost up to half of the trunk on top.

A student that reads labels may know the noise of few rows by heart after 1,000 steps. It is judged from a quarter of
these on; what it gains or loses before the first 1,000 does not end its training.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Sequence
from dataclasses import replace

from ..config.objective import LEAST_GAIN, MOST_AUTO
from ..fused import Member, TrainState, advance
from ..objectives import LOSS_COLUMNS
from .checkpoint import Checkpoint
from .divergence import Diverged, check_losses, check_validation
from .loop import SAVE_AFTER, LoopState, Progress, Validation, keep_before, resume, save, snapshot_of
from .pace import say_pace
from .ranks import current
from .shards import Shards, advance_rows

__all__ = ["FIRST", "STILL", "branches", "climb", "decay_steps", "still_improving", "trunk_of"]

STILL = "the student was still improving at the end"  # how its note begins
FIRST = 1_000  # [steps] of the trunk before the first branch
_EARLY = 4  # so many times fewer before the first branch of a student that reads labels
_DECAY, _SHORTEST = 0.25, 10  # steps of a branch: as a share of the trunk's; and at least
_AT_ONCE = 0.05  # [s] that a call of steps takes at least, so that the calls themselves cost nothing
_RUNGS = 2  # doublings without a gain before the end; 1 where many neighbours measure it, with little noise


def decay_steps(trunk: int) -> int:
    """Steps of the branch from a trunk of so many."""
    return max(_SHORTEST, math.ceil(_DECAY * trunk))


def branches(members: Sequence[Member]) -> list[Member]:
    """Copies of the members, taken on together while their learning rate falls to 0; the members stay as they are.

    All members have taken as many steps. The rate falls on a line, from the trunk's after its last step.
    """
    trunk = members[0].state.step
    steps = decay_steps(trunk)
    copies = []
    for member in members:
        slots = {name: [t.clone() for t in tensors] for name, tensors in member.state.slots.items()}
        student, state = copy.deepcopy(member.student), TrainState(member.state.step, slots)
        # lr * (1 - t/T) with T the end of the branch: the same line, seen from step 0
        rate = member.optimizer.lr * (trunk + steps) / steps
        optimizer = replace(member.optimizer, lr=rate, schedule="linear")
        copies.append(replace(member, student=student, state=state, optimizer=optimizer, total=trunk + steps))
        copies[-1].decision = member.decision
    for one, member, done in zip(copies, members, advance(copies, steps)):
        one.optimizer = member.optimizer
        check_losses(done.losses, one)
    return copies


def climb(
    member: Member,
    validation: Validation,
    *,
    shards: Shards | None = None,
    every: int,
    until: float | None = None,
    beyond: int | None = None,
    most: int | None = None,
    early: bool = False,
    progress: Progress | None = None,
    checkpoint: Checkpoint | None = None,
) -> LoopState:
    """Train ``member.student`` in place until a doubling of the steps brings too little, and leave the best in it.

    Parameters
    ----------
    member : Member
        With a constant learning rate, constant weights, and a total of at least twice ``MOST_AUTO``.
    shards : Shards, optional
        Source of the rows where these stay in their file.
    every : int
        Steps between two calls of ``progress``; more of them where they take less than ``_AT_ONCE`` seconds.
    until : float, optional
        Time on the clock ``time.monotonic``: a rung that would end later is not begun (the first one always is). What
        an interrupted call took before it counts too.
    beyond : int, optional
        Steps of the trunk from which the held-out rows must gain as much as the neighbours, in every doubling.
    most : int, optional
        Steps of the trunk; ``MOST_AUTO`` without it.
    early : bool
        Whether branches are taken before ``FIRST`` steps too, of a student that reads labels.
    checkpoint : Checkpoint, optional
        As in :func:`regkd_edge.training.loop.run`; a branch that was interrupted is taken again.
    """
    outcome = resume(member, None, checkpoint)
    until = None if until is None else until - outcome.seconds
    saved = noted = time.monotonic()
    at_once = every
    patience, most = _RUNGS if validation.beside is None else 1, most or MOST_AUTO
    told = until is not None  # a given time needs no word on how long it may take
    rung = _first(early) * 2 ** len(outcome.history)
    snapshot = snapshot_of(member, None, outcome, checkpoint)
    try:
        while not outcome.done:
            while member.state.step < rung:
                left, begun = rung - member.state.step, time.monotonic()
                n = at_once if left >= at_once + every else left  # the last call has ``every`` steps at least
                losses = advance_rows(member, n, shards).losses
                taken = time.monotonic() - begun
                if not told:
                    say_pace(member, taken, n, most)
                told, at_once = True, at_once if taken > _AT_ONCE else 2 * at_once
                check_losses(losses, member, outcome.history[0]["total"] if outcome.history else None)
                outcome.steps += n
                if time.monotonic() - saved > SAVE_AFTER and n < left:
                    noted = _note(outcome, noted)
                    snapshot = snapshot_of(member, None, outcome, checkpoint)
                    save(checkpoint, snapshot)
                    saved = time.monotonic()
                if progress is not None:
                    means = dict(zip(LOSS_COLUMNS, losses.double().mean(0).tolist()))
                    progress(member.state.step, most, means, validation.figures(member.averaged()))
            (branch,) = branches([member])
            outcome.steps += decay_steps(rung)
            counted = branch.averaged()
            judged = validation.judged(counted)
            found, own = judged.figures, (judged.score, judged.progress, judged.distance)
            rmse, score, progressed, distance = current().agreed((found["validation_rmse"], *own))
            check_validation(rmse, outcome.best_rmse, validation.unit_scale, member)
            means = dict(zip(LOSS_COLUMNS, losses[-every:].double().mean(0).tolist()))
            first = not outcome.history
            dear = beyond is not None and rung >= beyond
            gains = [1.0 - progressed / outcome.best_progress, 1.0 - distance / outcome.best_distance]
            outcome.gain = None if first else min(gains[: 1 + dear])
            outcome.history.append({"step": rung + decay_steps(rung), **means, **found, "validation_rmse": rmse})
            outcome.idle = 0 if first or rung <= FIRST or outcome.gain >= LEAST_GAIN else outcome.idle + 1
            outcome.best_progress = min(outcome.best_progress, progressed)
            outcome.best_distance = min(outcome.best_distance, distance)
            if score < outcome.best_score:
                outcome.best_score, outcome.best_rmse, outcome.best_step = score, rmse, rung + decay_steps(rung)
                outcome.best = {key: t.detach().clone() for key, t in counted.state_dict().items()}
            noted = _note(outcome, noted)
            rung *= 2
            late = until is not None and current().agreed(time.monotonic() + 2 * outcome.of_rung > until)
            outcome.of_rung = 0.0
            outcome.done = outcome.idle >= (1 if dear else patience) or late or rung > most
            snapshot = snapshot_of(member, None, outcome, checkpoint)
            save(checkpoint, snapshot)
    except KeyboardInterrupt:
        save(checkpoint, snapshot)
        raise
    except Diverged as error:
        raise keep_before(error, checkpoint, snapshot) from None
    member.student.load_state_dict(outcome.best)
    return outcome


def _note(outcome: LoopState, since: float) -> float:
    """Count the time since then; return the time now."""
    now = time.monotonic()
    outcome.seconds += now - since
    outcome.of_rung += now - since
    return now


def trunk_of(history: Sequence[dict]) -> int:
    """Steps of the trunk after as many rungs as a climb has noted."""
    return _first(history[0]["step"] < FIRST) * 2 ** (len(history) - 1)


def _first(early: bool) -> int:
    return max(1, FIRST // _EARLY) if early else FIRST


def still_improving(outcome: LoopState) -> list[str]:
    """Return a note where the last doubling of the steps still brought something, or none."""
    if outcome.gain is None:
        return [f"the time was up after the first {outcome.steps:,} steps: give more (--budget)"]
    if outcome.gain < LEAST_GAIN:
        return []
    most = 2 * trunk_of(outcome.history) > MOST_AUTO
    more = f"--steps auto takes no more: give --steps {5 * MOST_AUTO // 2}" if most else "give more time (--budget)"
    return [
        f"{STILL}: the last doubling of the steps brought it {outcome.gain:.0%} "
        f"nearer (after {outcome.steps:,} steps); {more}"
    ]
