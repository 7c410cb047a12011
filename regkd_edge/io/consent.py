"""Consent to run code that a file brings: given for one content, and kept outside of every run folder.

A pickle, a module that makes a teacher and a plan that carries code run with the user's rights. A run folder and a
configuration may come from somebody else, so that nothing in them counts as consent. It is given on the command line
(``--trust``, or by naming the module there) and remembered by the SHA-256 of the file's bytes in the user's own state
folder: ``$XDG_STATE_HOME``, else ``~/.local/state`` (Windows: ``%LOCALAPPDATA%``), in ``regkd-edge/trusted``.
"""

from __future__ import annotations

import contextlib
import importlib.machinery
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from .files import digest, file_hash
from .limits import LIST_BYTES
from .regular import read_bytes

__all__ = ["allow", "allowed", "code_key", "file_key", "trusted_list"]

_given: set[str] = set()  # in this process: holds where the list cannot be written


def trusted_list() -> Path:
    """Return the path of the list of what the user allowed."""
    home = os.environ.get("XDG_STATE_HOME") or (os.environ.get("LOCALAPPDATA") if os.name == "nt" else None)
    return Path(home or Path("~/.local/state").expanduser(), "regkd-edge", "trusted")


def allow(key: str, what: str) -> None:
    """Remember that the user allowed ``key``; ``what`` is for a reader of the list."""
    if allowed(key):
        return
    _given.add(key)
    with contextlib.suppress(OSError, RuntimeError):
        path = trusted_list()
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        line = f"{key}  {what}".encode("unicode_escape") + b"\n"
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with open(handle, "ab", buffering=0) as stream:  # one write: two commands do not mix their lines
            stream.write(line)


def allowed(key: str) -> bool:
    """Return whether the user allowed ``key``, now or in an earlier command."""
    if key in _given:
        return True
    try:
        lines = read_bytes(trusted_list(), LIST_BYTES).splitlines()
    except (OSError, RuntimeError):  # RuntimeError: there is no home
        return False
    return any(line[:64] == key.encode() for line in lines)


def file_key(path: str | Path) -> str:
    """Return the key of a file by its content alone, wherever it lies; errors as :func:`.files.file_hash`."""
    return file_hash(path)


def code_key(place: str, name: str) -> str:
    """Return the key of a function in a module, by its name, the module's files, and where they lie.

    The place counts, for a module imports what lies beside it.

    Parameters
    ----------
    place : str
        ``package.module`` or ``path/to/file.py``; nothing is imported.
    name : str
        The attribute of the module.
    """
    files = [(os.path.realpath(file), file_hash(file)) for file in _code_files(place)]
    return digest(["code", os.path.realpath(place) if place.endswith(".py") else place, name, files])


def _code_files(place: str) -> Iterable[Path]:
    """Give the files that importing a module runs, its packages' first; none where it is not found."""
    if place.endswith(".py"):
        path = Path(place).expanduser()
        return [path] if path.is_file() else []
    here = os.getcwd()
    files, where = [], list(sys.path) if here in sys.path else [here, *sys.path]
    parts = place.split(".")
    for count in range(1, len(parts) + 1):
        name = ".".join(parts[:count])
        loaded = sys.modules.get(name)  # then this one is used, whatever lies in the current folder
        spec = getattr(loaded, "__spec__", None) or importlib.machinery.PathFinder.find_spec(name, where)
        if spec is None:
            break
        if spec.origin is not None and Path(spec.origin).is_file():
            files.append(Path(spec.origin))
        where = list(spec.submodule_search_locations or [])
    return files
