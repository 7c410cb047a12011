"""Ordinary files: a pipe, a device, a folder or a file of absurd size is refused before anything is read."""

from __future__ import annotations

import os
import stat
from pathlib import Path

__all__ = ["file_problem", "read_bytes"]

# O_NONBLOCK: opening a pipe that nobody writes to returns at once instead of never.
_READING = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


def file_problem(path: str | Path, largest: int | None = None) -> str | None:
    """Return why a path cannot be read as a file of at most ``largest`` bytes, or None; never waits on a pipe.

    A path that does not exist is a problem like the others. For libraries that open the path themselves.
    """
    try:
        facts = os.stat(path)
        if not stat.S_ISREG(facts.st_mode):
            return _no_file(facts.st_mode)
        handle = os.open(path, _READING)
        try:
            os.read(handle, 1)  # files of /proc look ordinary, and some of them wait for what is to come
        finally:
            os.close(handle)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        return _reason(error)
    return _too_large(facts.st_size, largest)


def read_bytes(path: str | Path, largest: int) -> bytes:
    """Return the content of an ordinary file of at most ``largest`` bytes.

    Raises
    ------
    FileNotFoundError
        There is none.
    OSError
        Not readable, a folder, a pipe, a device, or too large; ``strerror`` says which.
    """
    try:
        handle = os.open(path, _READING)
    except ValueError as error:
        raise OSError(0, str(error)) from None
    with open(handle, "rb") as stream:
        facts = os.fstat(handle)
        problem = _no_file(facts.st_mode) if not stat.S_ISREG(facts.st_mode) else _too_large(facts.st_size, largest)
        if problem is not None:
            raise OSError(0, problem)
        content = stream.read(largest + 1)  # a file that grows meanwhile, or one of /proc that states no size
    if content is None:
        raise OSError(0, "reading it would wait for something to come")
    if len(content) > largest:
        raise OSError(0, _too_large(len(content), largest))
    return content


def _no_file(mode: int) -> str:
    return f"it is {next((name for test, name in _KINDS if test(mode)), 'no ordinary file')}, expected a file"


def _too_large(size: int, largest: int | None) -> str | None:
    return None if largest is None or size <= largest else f"it has {size:,} bytes, expected at most {largest:,}"


def _reason(error: OSError | ValueError) -> str:
    return getattr(error, "strerror", None) or str(error)
