"""Hashes of files, and atomic writes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..errors import NotAvailable, RunFolderError
from .regular import file_problem

__all__ = [
    "digest",
    "file_hash",
    "folder_hash",
    "folder_mode",
    "scratch_folder",
    "temporary_folder",
    "write_atomic",
    "write_json",
]


def digest(value: Any) -> str:
    """Return the SHA-256 of a JSON-able value, independent of the order of keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def file_hash(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes, or of a folder's files with their names.

    Anything but a readable ordinary file is a :class:`RunFolderError`.
    """
    path = Path(path)
    if path.is_dir():
        return _files_hash(path, file_hash)
    problem = file_problem(path)
    if problem is not None:
        raise RunFolderError(f"'{path}' cannot be read: {problem}.", "Give a readable file.")
    sha = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            sha.update(block)
    return sha.hexdigest()


def folder_hash(path: str | Path) -> str:
    """Return the SHA-256 of a folder's files with their names; one that cannot be read counts by its reason."""
    return _files_hash(Path(path), lambda inner: file_problem(inner) or file_hash(inner))


def _files_hash(folder: Path, content: Callable[[Path], str]) -> str:
    sha = hashlib.sha256()
    for inner in sorted(p for p in folder.rglob("*") if p.is_file()):
        sha.update(inner.relative_to(folder).as_posix().encode() + b"\0" + content(inner).encode())
    return sha.hexdigest()


@contextlib.contextmanager
def write_atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` to write to; move it over ``path`` if the block ends without error.

    A reader sees the old file or the new one, never a part. An operating-system error (no permission, disk full)
    becomes a :class:`RunFolderError` and leaves the old file as it was.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp" + path.suffix, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise RunFolderError(f"cannot write '{path}': {reason}.", "Free space, or choose a writable folder.") from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


def write_json(path: str | Path, value: Any) -> None:
    """Write JSON atomically, indented, in the given order."""
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    with write_atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def folder_mode() -> int:
    """Return the mode that a new folder gets: what :mod:`tempfile` makes is for its owner only."""
    return 0o777 & ~_umask()


@contextlib.contextmanager
def scratch_folder(beside: str | Path) -> Iterator[Path]:
    """Give an empty folder that is removed at the end; it lies beside a file that is being written.

    So it needs no temporary directory of the system, and what a killed process leaves is found by the next one.
    """
    beside = Path(beside)
    with tempfile.TemporaryDirectory(prefix=f".{beside.name}.", suffix=".tmp", dir=beside.parent) as folder:
        yield Path(folder)


def temporary_folder() -> tempfile.TemporaryDirectory[str]:
    """Return an empty folder among the system's temporary ones, which lives as long as the object.

    :class:`NotAvailable` where none can be written to.
    """
    try:
        return tempfile.TemporaryDirectory(prefix="regkd-edge-")
    except OSError as error:
        reason = "none can be written to" if isinstance(error, FileNotFoundError) else error.strerror or str(error)
        raise NotAvailable(
            f"no temporary folder: {reason}.", "Set TMPDIR to a folder that can be written to, or give a path."
        ) from None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
