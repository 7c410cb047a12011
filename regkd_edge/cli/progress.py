"""Progress on stderr: a bar on a terminal, a line every ten seconds elsewhere, from the first second to the last.

The work calls back after each validation, and a slow teacher may need minutes for the first one. So a thread draws on
its own, from what was last reported: the stage, the step of how many, the rate, the time left, the losses in words.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.live import Live
from rich.text import Text

from ..io.progress import listening
from ..io.text import fold, per_target, significant
from ..recipes.terms import TERMS
from .screen import console, is_live, say, settings

__all__ = ["LINE_EVERY", "Watch", "clear_progress", "progress_bar"]

LINE_EVERY = 10.0  # [s] between two lines where there is no terminal
_BAR = 20

_log = logging.getLogger("regkd_edge.cli")

_stops: list[Callable[[], None]] = []  # what ends the displays that are on

_STAGES = {
    "data": "reading the table",
    "teacher": "teacher",
    "distill": "student",
    "export": "writing the ONNX graph",
    "quantize": "quantizing",
    "build": "building engines",
    "bench": "measuring",
    "report": "writing the report",
}


def _in_words(loss: str) -> str:
    """The name of a loss in words; "total" is their weighted sum."""
    return TERMS[loss].title if loss in TERMS else {"total": "loss", "base": "base loss"}.get(loss, loss)


@dataclass
class Watch:
    """The state of the work, as last reported. Call it with (label, step, total, losses, validation)."""

    clock: Callable[[], float] = time.monotonic
    label: str = "starting"
    step: int = 0
    total: int = 0
    figures: str = ""
    targets: Sequence[str] = ()  # names, for the validation RMSE of each in its unit
    synthetic: bool = False  # students are validated by their teacher's answers to synthetic inputs
    phase: str = ""  # of a training that has several: the race, its winner, the last heat
    doing: str = ""
    began: float = 0.0
    first: tuple[float, int] | None = None  # when steps were first reported for this label, and which
    base: int = 0  # the step of the last call, to which the ticks of the steps since are added
    lock: Any = field(default_factory=threading.Lock, repr=False)

    def __post_init__(self) -> None:
        self.began = self.clock()

    def stage(self, name: str) -> None:
        """Begin a stage of the run."""
        self._begin(_STAGES.get(name, name))

    def __call__(
        self, label: str, step: int, total: int, losses: dict[str, float], validation: dict[str, Any] | None
    ) -> None:
        if label != self.label:
            self._begin(label)
        if not total:  # it begins, with something else than steps
            return
        with self.lock:
            if self.first is None:
                self.first = (self.clock(), step)
            self.step, self.base, self.total, self.doing = step, step, total, ""
            words = [f"{_in_words(name)} {significant(value, 3)}" for name, value in losses.items() if value]
            if validation is not None:
                said = per_target(validation["target_rmse"], self.targets, validation["validation_rmse"])
                words.append(f"{self._validated()} {said}")
            self.figures = ", ".join(words)

    def _validated(self) -> str:
        """What a validation measures: the error, or without data the distance from the teacher."""
        own = self.synthetic and self.label in ("student", "baseline")
        return "distance from the teacher on synthetic inputs" if own else "validation RMSE"

    def tick(self, what: str, done: int, total: int | None) -> None:
        """Take a tick of :func:`regkd_edge.io.progress.tick`: "steps" count on from the last call; what has no total
        is a phase, with a count of its own."""
        with self.lock:
            if what == "steps":
                self.step = self.base + done
                self.total = max(self.total, self.step)
            elif total is None:
                self.phase, self.doing = what, ""
                if self.total:  # another network: its steps begin again
                    self._count_again()
            else:
                self.doing = f"{what} {done:,} of {total:,}"

    def _begin(self, label: str) -> None:
        with self.lock:
            self.label, self.phase, self.doing = label, "", ""
            self._count_again()

    def _count_again(self) -> None:
        self.step, self.base, self.total, self.figures = 0, 0, 0, ""
        self.began, self.first = self.clock(), None

    def line(self, bar: bool = False) -> str:
        """Return the state in one line: label, step of how many, rate, time so far, time left."""
        with self.lock:
            now = self.clock()
            parts = [self.label, *([self.phase] if self.phase else [])]
            if self.total > 1 or self.step:
                share = self.step / max(self.total, 1)
                if bar:
                    filled = round(_BAR * min(share, 1))
                    parts.append("█" * filled + "░" * (_BAR - filled))
                parts.append(f"step {self.step:,} of {self.total:,}")
                since, at = self.first or (self.began, 0)
                if self.step == at and self.step <= self.total // 10:  # reported once, and not resumed
                    since, at = self.began, 0  # with the time before the first step: there is no better figure yet
                rate = (self.step - at) / (now - since) if now > since and self.step > at else None
                if rate:
                    parts.append(f"{significant(rate, 3)} steps/s")
                if self.step >= self.total:  # what was kept is restored and scored: no time is known
                    parts.append("finishing")
                elif rate:
                    parts.append(f"{_duration((self.total - self.step) / rate)} left")
            if self.doing:
                parts.append(self.doing)
            if not self.total or now - self.began >= 60:
                parts.append(f"{_duration(now - self.began)} so far")
            return "  ".join(parts)

    def __rich__(self) -> Text:
        lines = [line for text in (self.line(bar=True), self.figures) if text for line in fold(text, console.width - 1)]
        return Text("\n".join(lines), no_wrap=True)


def _duration(seconds: float) -> str:
    seconds = round(seconds)
    hours, minutes = seconds // 3600, seconds // 60 % 60
    return f"{hours}:{minutes:02d}:{seconds % 60:02d}" if hours else f"{minutes}:{seconds % 60:02d}"


@contextlib.contextmanager
def progress_bar(as_json: bool = False) -> Iterator[Watch]:
    """Show the state of a :class:`Watch` while the block runs; nothing with ``--quiet``."""
    watch = Watch()
    with contextlib.ExitStack() as stack:
        stack.enter_context(listening(watch.tick))
        if settings.quiet:
            pass
        elif is_live() and not settings.verbose:
            live = Live(
                get_renderable=watch.__rich__, console=console, transient=True, refresh_per_second=4,
                redirect_stdout=False, redirect_stderr=False,
            )  # fmt: skip
            stack.enter_context(live)
            stack.enter_context(_cleared_by(live.stop))
        else:
            stop = stack.enter_context(_lines(watch))
            stack.enter_context(_cleared_by(stop))
        yield watch


def clear_progress() -> None:
    """End what is shown of the progress, before a result is printed."""
    while _stops:
        _stops.pop()()


@contextlib.contextmanager
def _cleared_by(stop: Callable[[], None]) -> Iterator[None]:
    _stops.append(stop)
    try:
        yield
    finally:
        if stop in _stops:
            _stops.remove(stop)


@contextlib.contextmanager
def _lines(watch: Watch) -> Iterator[Callable[[], None]]:
    """Print the state every :data:`LINE_EVERY` seconds; yields what ends it."""
    done = threading.Event()

    def go_on() -> None:
        while not done.wait(LINE_EVERY):
            text = "  ".join(part for part in (watch.line(), watch.figures) if part)
            _log.debug("%s", text)
            say(text)

    thread = threading.Thread(target=go_on, daemon=True, name="progress")
    thread.start()
    try:
        yield done.set
    finally:
        done.set()
        thread.join(timeout=2)
