"""The fast reader answers as the strict one, bit for bit, or leaves the file to it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regkd_edge.data.reading import fast as fast_reader
from regkd_edge.data.reading.cells import Missing, TextFormat
from regkd_edge.data.reading.delimited import _read, _Source
from regkd_edge.data.reading.fast import read_numbers
from regkd_edge.data.reading.layout import layout_of
from regkd_edge.errors import DataError

pytest.importorskip("pyarrow", reason="pyarrow (extra 'data') is not installed")

NUMBERS = st.one_of(
    st.floats().map(repr),
    st.floats(-1e6, 1e6).map(lambda v: f"{v:.4g}"),
    st.integers(-(2**60), 2**60).map(str),
    st.integers(-9, 9).map(str),
)
ODD = st.sampled_from(
    ["", " ", "nan", "NaN", "inf", "-inf", "NA", "-200", "-200.0", "+5", "1_0", " 7 ", "0x1F", "1e5", "1E400", "1,5",
     "true", "TRUE", ".5", "5.", "1e-400", "-0", '"3"', '"a"', "٣", "1 2", "--1", "null", "1d5", "9" * 40]
)  # fmt: skip
CELLS = st.one_of(NUMBERS, ODD)


@pytest.fixture(autouse=True, scope="module")
def small_files():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fast_reader, "_SMALL", 0)
        yield


def both(path, text, form):
    path.write_text(text, encoding="utf-8")
    layout = layout_of(path, text.encode(), True, form)
    try:
        strict = _read(_Source(path, None), layout, form, layout.names, [])
    except DataError:
        strict = None
    return read_numbers(path, layout, form, layout.names), strict


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.lists(CELLS, min_size=2, max_size=2), min_size=1, max_size=6),
    st.sampled_from(
        [TextFormat(), TextFormat(missing=Missing.of(["NA", "-200"])), TextFormat(separator=";", decimal=",")]
    ),
)
def test_what_the_fast_reader_accepts_the_strict_one_reads_alike(tmp_path_factory, rows, form):
    separator = ";" if form.separator == ";" else ","
    text = f"a{separator}y\n" + "".join(separator.join(row) + "\n" for row in rows)
    try:
        fast, strict = both(tmp_path_factory.getbasetemp() / "t.csv", text, form)
    except DataError:
        return  # no table
    if fast is None:
        return
    assert strict is not None and not strict.odd
    assert np.array_equal(fast.values, strict.values, equal_nan=True)
    assert np.array_equal(np.signbit(fast.values), np.signbit(strict.values)) or np.isnan(fast.values).any()


def test_plain_numbers_are_read_by_the_fast_reader(tmp_path):
    values = np.random.default_rng(0).normal(size=(500, 3)) * 10.0 ** np.arange(-3, 6, 3)
    text = "a,b,y\n" + "".join(",".join(map(repr, row)) + "\n" for row in values.tolist())
    fast, strict = both(tmp_path / "t.csv", text, TextFormat())
    assert fast is not None and np.array_equal(fast.values, values) and np.array_equal(strict.values, values)


@pytest.mark.parametrize("cell", ["x", "9007199254740993", "2024-01-01", "1_000", "1,5"])
def test_anything_else_is_left_to_the_strict_reader(tmp_path, cell):
    fast, _ = both(tmp_path / "t.csv", f"a,y\n1,2\n{cell},3\n", TextFormat())
    assert fast is None


def test_pyarrow_never_reads_through_python(tmp_path, monkeypatch):
    """Its threads read ahead: one that waits for Python while Python ends would abort the process."""
    import pyarrow

    class NoFile:
        def __init__(self, *_, **__):
            raise AssertionError("a stream was given to pyarrow")

    monkeypatch.setattr(pyarrow, "PythonFile", NoFile)
    fast, _ = both(tmp_path / "t.csv", "a,y\n1,2\n3,4\n", TextFormat())
    assert fast.values.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize("block", [1, 7, 64, 1000])
def test_rows_across_blocks_are_read_once_each(tmp_path, monkeypatch, block):
    monkeypatch.setattr(fast_reader, "_BLOCK", block)
    values = np.random.default_rng(1).integers(0, 10**6, (300, 2)) / 8
    text = "a,y\n" + "".join(f"{a!r},{y!r}\n" for a, y in values.tolist())
    fast, strict = both(tmp_path / "t.csv", text, TextFormat())
    assert np.array_equal(strict.values, values) and (fast is None or np.array_equal(fast.values, values))
    assert block < 64 or fast is not None  # a block of blank lines or of less than the header is left to the strict one
    for cell in ('"x\ny"', '"\n"'):  # a break of lines inside a cell of a column that nobody wants
        (tmp_path / "q.csv").write_text(f"a,note,y\n1,{cell},2\n3,{cell},4\n")
        layout = layout_of(tmp_path / "q.csv", (tmp_path / "q.csv").read_bytes(), True, TextFormat())
        fast = read_numbers(tmp_path / "q.csv", layout, TextFormat(), ["a", "y"])
        assert fast is None or fast.values.tolist() == [[1, 2], [3, 4]]
