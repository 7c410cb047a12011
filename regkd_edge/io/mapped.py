"""NPY files and uncompressed NPZ entries mapped into memory: nothing is read before it is used.

What a header announces is held against the size of the file; arrays of Python objects are refused.
"""

from __future__ import annotations

import math
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from .arrays import check_inflated, check_texts, npy_header, opened_archive

__all__ = ["Stored", "map_npy", "map_npz", "npz_entries"]


@dataclass(frozen=True)
class Stored:
    """Where an array lies in a file, and what it is.

    Parameters
    ----------
    offset : int or None
        Byte at which its elements begin; None where they are compressed.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool
    offset: int | None


def map_npy(path: str | Path) -> np.ndarray:
    """Map the array of an NPY file; :class:`ValueError` says in one line what is wrong with it."""
    with open(path, "rb") as stream:
        stored = _header(stream, "the array")
    return _mapped(path, stored)


def map_npz(path: str | Path, name: str) -> np.ndarray | None:
    """Map one array of an NPZ file; None where it is compressed, or not there."""
    stored = npz_entries(path).get(name)
    return None if stored is None or stored.offset is None else _mapped(path, stored)


def npz_entries(path: str | Path) -> dict[str, Stored]:
    """Return what an NPZ file holds by name; :class:`ValueError` for a damaged or hostile one."""
    found = {}
    try:
        with opened_archive(path) as archive:
            check_inflated(archive, Path(path).stat().st_size)
            for info in archive.infolist():
                if not info.filename.endswith(".npy"):
                    continue
                name = info.filename.removesuffix(".npy")
                with archive.open(info) as stream:
                    stored = _header(stream, f"array '{name}'")
                plain = info.compress_type == zipfile.ZIP_STORED and not info.flag_bits & 1
                offset = _begin(path, info) + (stored.offset or 0) if plain else None
                found[name] = Stored(stored.shape, stored.dtype, stored.fortran, offset)
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        raise ValueError(" ".join(str(error).split()).strip(".") or type(error).__name__) from None
    return found


def _begin(path: str | Path, info: zipfile.ZipInfo) -> int:
    """The byte at which the content of an entry begins: its local header may be longer than the central one."""
    with open(path, "rb") as stream:
        stream.seek(info.header_offset)
        local = stream.read(30)
    return info.header_offset + 30 + int.from_bytes(local[26:28], "little") + int.from_bytes(local[28:30], "little")


def _header(stream: IO[bytes], what: str) -> Stored:
    shape, fortran, dtype = npy_header(stream, what)
    if dtype.itemsize == 0 or min(shape, default=0) < 0:
        raise ValueError(f"{what} announces the shape {shape} of {dtype}")
    return Stored(tuple(int(n) for n in shape), dtype, fortran, stream.tell())


def _mapped(path: str | Path, stored: Stored) -> np.ndarray:
    needed = stored.offset + math.prod(stored.shape) * stored.dtype.itemsize
    size = Path(path).stat().st_size
    if needed > size:
        raise ValueError(f"it announces the shape {stored.shape} of {stored.dtype}, and ends after {size:,} bytes")
    if not math.prod(stored.shape):
        return np.empty(stored.shape, stored.dtype)
    order = "F" if stored.fortran else "C"
    mapped = np.memmap(path, stored.dtype, "r", stored.offset, stored.shape, order)
    check_texts(mapped, "an array")
    return mapped
