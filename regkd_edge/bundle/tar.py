"""A gzipped tar that is read in one pass and only as far as it was promised: no header, length or name is believed.

:mod:`tarfile` follows extension headers (PAX, GNU long names) of any length, so 13 MB of them take gigabytes. A bundle
has none: every member is one USTAR header and its content.
"""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ..errors import RunFolderError
from .schema import REMEDY

__all__ = ["ArchivedFile", "members"]

_BLOCK = 512
_CHUNK = 1 << 16


class ArchivedFile:
    """One file of the archive; :meth:`read` it before asking for the next."""

    def __init__(self, name: str, size: int, stream: _Inflated):
        self.name, self.size = name, size
        self._stream, self._left = stream, size + -size % _BLOCK

    def read(self) -> bytes:
        """Return the content, ``size`` bytes; the caller has compared ``size`` with what it expects."""
        content = self._stream.read(self.size)
        self._left -= self.size
        return content

    def finish(self) -> None:
        """Go to the next header; what was not read is not kept."""
        while self._left > 0:
            self._left -= len(self._stream.read(min(self._left, _CHUNK)))


def members(stream: BinaryIO, path: Path) -> Iterator[ArchivedFile]:
    """Yield the members of a gzipped tar.

    Raises
    ------
    RunFolderError
        Damaged, or a member that is not a plain file: a link, a device, a folder, an extension header.
    """
    inflated = _Inflated(stream, path)
    while True:
        block = inflated.read(_BLOCK)
        if not any(block):
            return
        try:
            header = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
        except (tarfile.HeaderError, UnicodeDecodeError, ValueError) as error:
            raise RunFolderError(f"bundle '{path}' is damaged: {error}.", REMEDY) from None
        if header.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
            raise RunFolderError(f"'{header.name}' of bundle '{path}' is not a plain file.", REMEDY)
        if header.size < 0:
            raise RunFolderError(f"bundle '{path}' is damaged: '{header.name}' has {header.size} bytes.", REMEDY)
        member = ArchivedFile(header.name, header.size, inflated)
        yield member
        member.finish()


class _Inflated:
    """A gzip stream that is inflated as far as it is read, and no further."""

    def __init__(self, stream: BinaryIO, path: Path):
        self._stream, self._path = stream, path
        self._inflate = zlib.decompressobj(wbits=31)

    def read(self, count: int) -> bytes:
        """Return exactly ``count`` bytes."""
        content = bytearray(count)
        at = 0
        while at < count:
            waiting = self._inflate.unconsumed_tail or self._stream.read(_CHUNK)
            try:
                part = self._inflate.decompress(waiting, min(count - at, _CHUNK))
            except zlib.error as error:
                header = "incorrect header" in str(error)
                raise self._damaged("it is not a gzip file" if header else str(error)) from None
            if not part and (not waiting or self._inflate.eof):
                raise self._damaged("it ends too early")
            content[at : at + len(part)] = part
            at += len(part)
        return bytes(content)

    def _damaged(self, how: str) -> RunFolderError:
        return RunFolderError(f"bundle '{self._path}' is damaged: {how}.", REMEDY)
