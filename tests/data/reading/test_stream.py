"""How far a text table is read before its layout is told, and where it is refused."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from regkd_edge.data.reading.stream import HEAD, LONGEST_LINE, first_lines
from regkd_edge.errors import DataError


class Repeated(io.RawIOBase):
    """A beginning, then the same byte for ever."""

    def __init__(self, begin: bytes, byte: bytes):
        self.begin, self.byte, self.given = begin, byte, 0

    def read(self, size: int = -1) -> bytes:
        assert size > 0
        part = (self.begin[self.given : self.given + size] + self.byte * size)[:size]
        self.given += size
        return part


@pytest.mark.parametrize(
    "begin, line",
    [(b"", 1), (b"a,y\n", 2), (b"a,y\r", 2), (b"a,y\r\n", 2)],
    ids=["one line", "below a header", "carriage returns", "both"],
)
def test_a_line_that_never_ends_is_refused_at_its_limit(begin, line):
    stream = Repeated(begin, b"1")
    with pytest.raises(DataError, match=f"'t.csv' line {line} has more than 16,777,216 bytes"):
        first_lines(Path("t.csv"), stream)
    assert LONGEST_LINE <= stream.given <= LONGEST_LINE + 2 * HEAD


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
@pytest.mark.parametrize("columns", [2, 60_000, 99_999])
def test_two_lines_are_enough(end, columns):
    line = b",".join(b"c%d" % j for j in range(columns)) + end
    stream = io.BytesIO(line * (3 * HEAD // len(line) + 4))
    head, whole = first_lines(Path("t.csv"), stream)
    assert head == stream.getvalue()[: len(head)] and head.count(end) >= 2 and not whole
    assert len(head) >= min(2 * len(line), HEAD) and len(head) <= 2 * len(line) + HEAD


def test_a_short_file_is_whole():
    assert first_lines(Path("t.csv"), io.BytesIO(b"a,y\n1,2")) == (b"a,y\n1,2", True)
