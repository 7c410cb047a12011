"""NPZ files: zip archives of arrays, of which no size is believed before it was checked against the file."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..errors import RunFolderError, UserError
from .limits import ARRAYS, INFLATED_BYTES, INFLATED_RATIO, TABLE_BYTES
from .regular import file_problem

__all__ = [
    "archive_problem",
    "check_inflated",
    "check_texts",
    "inflated_problem",
    "npy_header",
    "opened_archive",
    "read_npz",
]

_DIRECTORY = 32 << 20  # bytes at the end of a zip archive that hold its directory

_HEADER_BYTES = 10_000  # of an NPY file, as NumPy has it


def read_npz(
    path: str | Path,
    keys: Iterable[str] | None = None,
    kind: type[UserError] = RunFolderError,
    remedy: str = "Save plain number arrays with numpy.savez.",
) -> dict[str, np.ndarray]:
    """Return arrays of an NPZ file, never a pickle.

    Parameters
    ----------
    path : path
    keys : iterable of str, optional
        The arrays to read; all of them by default.
    kind, remedy
        Error to raise and what it tells the user to do.

    Raises
    ------
    UserError
        Of the ``kind`` given: missing, no ordinary file, cut, garbled, without one of ``keys``, or of arrays that would
        take more memory than a file of its size holds (:mod:`.limits`).
    """
    path = Path(path)
    if not path.exists():
        raise kind(f"no file '{path}'.", remedy)
    problem = file_problem(path, TABLE_BYTES)
    if problem is not None:
        raise kind(f"'{path}' cannot be read: {problem}.", remedy)
    try:
        with opened_archive(path) as archive:
            check_inflated(archive, os.path.getsize(path))
            names = archive.namelist()
            wanted = [name.removesuffix(".npy") for name in names] if keys is None else list(keys)
            for key in wanted:
                if f"{key}.npy" not in names:
                    raise ValueError(f"it has no array '{key}'")
            return {key: _array(archive, f"{key}.npy") for key in wanted}
    except Exception as error:  # a damaged archive raises one of a dozen kinds (zip, zlib, header, pickle refused)
        raise kind(f"'{path}' is corrupt, not a readable NPZ file: {archive_problem(path, error)}.", remedy) from None


def opened_archive(path: str | Path) -> zipfile.ZipFile:
    """Open a zip archive that lists no more entries than :data:`.limits.ARRAYS`; :class:`ValueError` for others.

    zipfile takes 13 us per entry before it can be asked how many there are, so the marks of its directory are counted.
    """
    with open(path, "rb") as stream:
        stream.seek(max(0, stream.seek(0, os.SEEK_END) - _DIRECTORY))
        count = stream.read().count(b"PK\1\2")
    if count > ARRAYS:
        raise ValueError(f"it lists {count:,} entries, expected at most {ARRAYS:,}")
    return zipfile.ZipFile(path)


def check_inflated(archive: zipfile.ZipFile, size: int) -> None:
    """Refuse a zip archive of ``size`` bytes that claims to
    hold more than :mod:`.limits` allow; :class:`ValueError`."""
    entries = archive.infolist()
    if len(entries) > ARRAYS:
        raise ValueError(f"it lists {len(entries):,} arrays, expected at most {ARRAYS:,}")
    total = sum(entry.file_size for entry in entries)
    if total > max(INFLATED_BYTES, INFLATED_RATIO * size):
        raise ValueError(
            f"its {size:,} bytes claim to hold {total:,}: it is a compression bomb, or save it uncompressed"
        )


def inflated_problem(path: str | Path) -> str | None:
    """Return why a library must not open a zip archive: damaged, or more inside than its size holds; None if it may.

    A file of another kind is the library's to judge.
    """
    try:
        if not zipfile.is_zipfile(path):
            return None
        with opened_archive(path) as archive:
            check_inflated(archive, os.path.getsize(path))
    except Exception as error:  # as in read_npz
        return " ".join(str(error).split()).strip(".") or type(error).__name__
    return None


def npy_header(stream: IO[bytes], what: str) -> tuple[tuple[int, ...], bool, Any]:
    """Return shape, Fortran order and dtype from the head of an NPY file; :class:`ValueError` for Python objects."""
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(stream, max_header_size=_HEADER_BYTES)
    if dtype.hasobject:
        raise ValueError(f"{what} holds Python objects, which are never loaded")
    return shape, fortran, dtype


def _array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """Read one array whose header agrees with the size of its entry."""
    size = archive.getinfo(name).file_size
    with archive.open(name) as stream:
        shape, fortran, kind = npy_header(stream, f"array '{name[:-4]}'")
        count = 1
        for extent in shape:
            count *= int(extent)
        if min(shape, default=0) < 0 or count * kind.itemsize > size:
            raise ValueError(f"array '{name[:-4]}' announces the shape {shape}, and {size:,} bytes are there")
        if kind.itemsize == 0:
            raise ValueError(f"array '{name[:-4]}' has elements of no bytes")
        content = np.empty(count * kind.itemsize, np.uint8)
        at = 0
        while at < len(content):
            part = stream.read(min(1 << 20, len(content) - at))
            if not part:
                raise ValueError(f"array '{name[:-4]}' ends after {at:,} of {len(content):,} bytes")
            content[at : at + len(part)] = np.frombuffer(part, np.uint8)
            at += len(part)
    array = content.view(kind)
    check_texts(array, f"array '{name[:-4]}'")
    return array.reshape(shape[::-1]).T if fortran else array.reshape(shape)


def check_texts(array: np.ndarray, what: str) -> None:
    """Refuse an array of texts that holds numbers which are no characters; :class:`ValueError`.

    NumPy stores four bytes per character and believes them; Python ends in a SystemError when it makes a text of them.
    """
    for name in array.dtype.names or ():
        check_texts(array[name], f"{what}, field '{name}'")
    if array.dtype.kind != "U" or not array.dtype.itemsize:
        return
    codes = np.ascontiguousarray(array).reshape(-1).view(np.dtype(np.uint32).newbyteorder(array.dtype.byteorder))
    if ((codes > 0x10FFFF) | ((codes >= 0xD800) & (codes < 0xE000))).any():
        raise ValueError(f"{what} holds texts with characters that do not exist")


def archive_problem(path: str | Path, error: Exception) -> str:
    """What is wrong with an NPZ file (a zip archive of arrays)."""
    size = os.path.getsize(path)
    with open(path, "rb") as stream:
        begin = stream.read(4)
    if size < 4:
        return f"it has {size} bytes" if size else "it is empty"
    if not begin.startswith(b"PK"):
        return f"it begins with {begin!r}, and an NPZ file begins with b'PK'"
    if "not a zip file" in str(error):
        return f"after {size:,} bytes it ends without the list of its arrays: it is truncated"
    return " ".join(str(error).split()).strip(".") or type(error).__name__
