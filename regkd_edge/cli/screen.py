"""What the terminal can show, and how much the user wants to see: --wide, --quiet, --verbose, NO_COLOR, TERM=dumb."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TextIO

from rich.console import Console

from ..io.text import unbroken

__all__ = ["Settings", "clear_screen_settings", "console", "is_live", "put", "say", "settings", "styled", "width"]


@dataclass
class Settings:
    """The output options of this call."""

    wide: bool = False
    quiet: bool = False
    verbose: bool = False


settings = Settings()

console = Console(stderr=True, highlight=False, soft_wrap=True)


def clear_screen_settings() -> None:
    """Forget the options of an earlier call in this process."""
    settings.wide = settings.quiet = settings.verbose = False


def _capable(stream: TextIO) -> bool:
    """Whether a stream is a terminal that understands escape sequences, and the user does not refuse them."""
    terminal = hasattr(stream, "isatty") and not stream.closed and stream.isatty()
    return terminal and os.environ.get("TERM", "") not in ("dumb", "unknown")


def is_live() -> bool:
    """Whether stderr can show a line that is drawn again and again."""
    return _capable(sys.stderr)


def styled(stream: TextIO) -> bool:
    """Whether bold text can be written: a capable terminal, and NO_COLOR is not set."""
    return _capable(stream) and not os.environ.get("NO_COLOR")


def say(text: str, dim: bool = False) -> None:
    """Print a line on stderr, whole where that is a file or a pipe, folded at spaces on a terminal."""
    room = console.width if sys.stderr.isatty() else None
    for line in unbroken(text, room):
        console.print(line, markup=False, style="dim" if dim else None, soft_wrap=True)


def width() -> int | None:
    """Return the cells per line of stdout: COLUMNS, else the terminal's own; None (no limit) for a file or a pipe."""
    given = os.environ.get("COLUMNS", "")
    if given.isdigit() and int(given) > 0:
        return int(given)
    if not sys.stdout.isatty():
        return None
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or 80
    except OSError:
        return 80


def put(lines: Sequence[tuple[str, bool]]) -> None:
    """Print lines on stdout, the bold ones bold where the terminal can and NO_COLOR is not set."""
    can = styled(sys.stdout)
    for line, bold in lines:
        print(f"\x1b[1m{line}\x1b[0m" if bold and can and line else line)
