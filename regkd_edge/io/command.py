"""Command lines in remedies and next steps, quoted for a shell."""

from __future__ import annotations

import shlex
from pathlib import Path

__all__ = ["command_line"]


def command_line(command: str, *words: str | Path) -> str:
    """Return ``regkd-edge COMMAND WORDS...``, each word quoted where the shell needs it.

    A path that begins with a dash would be taken for a flag: it gets ``./`` before it.
    """
    plain = (f"./{word}" if isinstance(word, Path) and str(word).startswith("-") else str(word) for word in words)
    return shlex.join(["regkd-edge", command, *plain])
