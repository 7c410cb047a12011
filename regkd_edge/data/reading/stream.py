"""The bytes of a file behind its compression, with limits on what is believed of it."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from ...errors import DataError
from ...io.arrays import opened_archive
from ...io.limits import INFLATED_BYTES, INFLATED_RATIO

__all__ = ["BROKEN", "HEAD", "LONGEST_LINE", "check_unpacked", "first_lines", "lines_of", "opened"]

HEAD = 2**18  # bytes that the layout is told from, more where they are not two lines
LONGEST_LINE = 16 * 2**20  # characters, and of the first two lines bytes
_LARGEST = 64 * 2**30  # characters of a text table
_UNPACK = "Unpack it and name the file."

#: What a damaged archive raises while it is read.
BROKEN = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, RuntimeError, NotImplementedError)


class _Limited(io.RawIOBase):
    """Decompressed bytes that end in an error where there are too many for the size of the archive."""

    def __init__(self, path: Path, stream: IO[bytes]) -> None:
        self._path, self._stream, self._left = path, stream, max(INFLATED_BYTES, INFLATED_RATIO * path.stat().st_size)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:
        block = self._stream.read(len(buffer))
        self._left -= len(block)
        if self._left < 0:
            raise DataError(
                f"'{self._path}' unpacks to more than {INFLATED_RATIO} times its size.",
                "Unpack it and give the table itself.",
            )
        buffer[: len(block)] = block
        return len(block)

    def close(self) -> None:
        self._stream.close()
        super().close()


def opened(path: Path) -> IO[bytes]:
    """The decompressed bytes of a file (gzip, bzip2, xz, a zip archive of one file), told from its first bytes.

    Raises
    ------
    DataError
        An archive of several files, and, while it is read, one that unpacks to more than 20 times its size.
    """
    packed = _decompressed(path)
    return open(path, "rb") if packed is None else io.BufferedReader(_Limited(path, packed), 2**20)


def check_unpacked(path: Path) -> int:
    """Return the bytes of a file, of a compressed one unpacked: :class:`DataError` for too many,
    before any is parsed."""
    with opened(path) as stream:
        if not (isinstance(stream, io.BufferedReader) and isinstance(stream.raw, _Limited)):
            return path.stat().st_size
        count = 0
        while block := stream.read(2**20):
            count += len(block)
    return count


def _decompressed(path: Path) -> IO[bytes] | None:
    with open(path, "rb") as stream:
        magic = stream.read(6)
    if magic.startswith(b"\x1f\x8b"):
        return gzip.open(path, "rb")
    if magic.startswith(b"BZh"):
        return bz2.open(path, "rb")
    if magic.startswith(b"\xfd7zXZ"):
        return lzma.open(path, "rb")
    if magic.startswith(b"PK\x03\x04"):
        try:
            archive = opened_archive(path)
        except ValueError as error:
            raise DataError(f"'{path}' is not an archive of one table: {error}.", _UNPACK) from None
        entries = archive.infolist()  # is_dir() of Python 3.11 fails on an entry without a name
        files = [
            info for info in entries if not info.filename.endswith("/") and not info.filename.startswith("__MACOSX")
        ]
        if len(files) != 1:
            shown = ", ".join(info.filename for info in files[:5])
            raise DataError(f"'{path}' is an archive of {len(files)} files ({shown}), expected one.", _UNPACK)
        return archive.open(files[0])
    return None


def first_lines(path: Path, stream: IO[bytes]) -> tuple[bytes, bool]:
    """Return the bytes that the layout is told from, at least two lines of them, and whether there are no others.

    Raises
    ------
    DataError
        A line that is too long, before anything is told from it.
    """
    parts, ends, length = [], {b"\n": 0, b"\r": 0}, 0
    while max(ends.values()) < 2 and (part := stream.read(HEAD)):  # a header of many columns is longer
        parts.append(part)
        end = max(map(part.rfind, ends))
        length = length + len(part) if end < 0 else len(part) - end - 1
        for mark in ends:
            ends[mark] += part.count(mark)
        if length > LONGEST_LINE:
            raise _too_long(path, max(ends.values()) + 1, "bytes")
    return b"".join(parts), not stream.read(1)


def lines_of(path: Path, stream: IO[bytes], encoding: str) -> Iterator[str]:
    """The lines with their ends; :class:`DataError` for a line or a file that is too long to be a table."""
    text = io.TextIOWrapper(stream, encoding=encoding, errors="replace", newline="")
    number, size = 0, 0
    while line := text.readline(LONGEST_LINE):
        number += 1
        size += len(line)
        if len(line) == LONGEST_LINE:
            raise _too_long(path, number, "characters")
        if size > _LARGEST:
            raise DataError(
                f"'{path}' has more than {_LARGEST:,} characters.", "Give the table as Parquet, or in parts."
            )
        yield line


def _too_long(path: Path, line: int, unit: str) -> DataError:
    return DataError(
        f"'{path}' line {line} has more than {LONGEST_LINE:,} {unit}.",
        "Give a table with shorter lines, or Parquet.",
    )
