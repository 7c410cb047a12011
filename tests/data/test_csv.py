"""CSV in: strict, and every problem named by file, line and column."""

from __future__ import annotations

import numpy as np
import pytest

from regkd_edge.data import load_table
from regkd_edge.errors import DataError


@pytest.fixture
def csv(tmp_path):
    def write(text, name="t.csv", encoding="utf-8"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
        return path

    return write


def test_columns_are_parted_into_inputs_and_targets_in_the_order_named(csv):
    table = load_table(csv("a,b,c,d\n1,2,3,4\n5,6,7,8.5\n"), ["d", "b"])
    assert table.feature_names == ["a", "c"] and table.target_names == ["d", "b"]
    assert table.x.tolist() == [[1, 3], [5, 7]] and table.y.tolist() == [[4, 2], [8.5, 6]]
    assert table.x.dtype == table.y.dtype == np.float64 and len(table) == 2 and (table.d, table.o) == (2, 2)


def test_byte_order_mark_crlf_quotes_blank_lines_and_spaces_are_read(csv):
    table = load_table(csv(b'\xef\xbb\xbf"a",  b \r\n\r\n "1", 2e1\r\n3,-4\r\n\r\n'), ["b"])
    assert table.feature_names == ["a"] and table.y.tolist() == [[20], [-4]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        (",,,\n,,,\n", "is empty"),
        ("a,b\n", "no rows"),
        ("a,b\n1,x\n", r"column 'b' holds 1 word, such as 'x' in line 2"),
        ("a,b\n1,1_000\n", r"column 'b' holds digits with underscores, such as '1_000'"),
        ("a,b\n1,2\n3,\n", r"column 'b' holds 1 blank or nan cell of 2 \(first in line 3\)"),
        ("a,b\n1,2\n\n3,nan\n", r"column 'b' holds 1 blank or nan cell of 2 \(first in line 4\)"),
        ("a,b\n1,-inf\n3,4\n", r"column 'b' holds -inf \(line 2; 1 such cell\)"),
        ("a,b\n1,2\n3,4,5\n", r"line 3 has 3 cells, expected 2"),
        ("a,b\n1\n", r"line 2 has 1 cell, expected 2.*read '1'.*Correct that line"),
        ("a,b\n1,2\n3", r"line 3 has 1 cell, expected 2.*read '3'.*seems cut"),
        ("a,a\n1,2\n", r"column 'a' appears more than once"),
        ("1,2\n3,4\n", r"starts with numbers \(1, 2\), separated by commas.*--no-header"),
        ("1 2\n 3  4\n", r"starts with numbers \(1, 2\), separated by spaces.*--no-header"),
        ("M,0.4,0.5\nF,0.3,0.2\n", r"starts with numbers \(M, 0.4, 0.5\)"),
        ("b\n1\n", r"has one column"),
        ('a,b\n1,"2\n', r"is not CSV"),
        ('a,b\n1,2\n\n3,"4\n5,6\n7,8\n', r"line 4 opens a quote, and its row is not over in line 6"),
        ("a,b\n1,3\n2,3\n", r"target 'b' .* is constant \(3\)"),
        ("a,b\n1,1e200\n2,3\n", r"column 'b' .* beyond the range of a float32 engine.*--missing b=1e\+200"),
        ("a,b\n1e-40,1\n2e-40,3\n", r"column 'a' .* a spread of 1e-40"),
        ("a,b\n9007199254740993,1\n2,3\n", r"column 'a' holds 1 cell with more digits than float64 keeps.*--drop a"),
        ("a,b\n" + "9" * 6000 + ",1\n2,3\n", r"more digits than float64 keeps"),
        (b"a,b\n1,\x002\n", "is not a text file"),
    ],
)  # fmt: skip
def test_bad_files_are_refused_with_the_place(csv, text, message):
    with pytest.raises(DataError, match=message):
        load_table(csv(text), ["b"])


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-8-sig"])
def test_the_encodings_of_spreadsheet_programs_are_read(csv, encoding):
    assert load_table(csv("Größe,b\n1,2\n2,3\n", encoding=encoding), ["b"]).feature_names == ["Größe"]


def test_missing_file_suggests_a_near_name(csv):
    path = csv("a,b\n1,2\n", name="pump.csv")
    with pytest.raises(DataError, match=r"no file .*pmp\.csv.*Did you mean .*pump\.csv"):
        load_table(path.with_name("pmp.csv"), ["b"])
    with pytest.raises(DataError, match="is a folder"):
        load_table(path.parent, ["b"])


def test_missing_column_suggests_a_near_name_or_lists_the_columns(csv):
    path = csv("speed,torque\n1,2\n")
    with pytest.raises(DataError, match="no column 'torqe'. Did you mean 'torque'"):
        load_table(path, ["torqe"])
    with pytest.raises(DataError, match="no column 'zzz'. Its columns are: speed, torque"):
        load_table(path, ["zzz"])
    with pytest.raises(DataError, match="no target named .* speed, torque"):
        load_table(path, [])


def test_targets_must_differ_and_leave_an_input(csv):
    path = csv("a,b\n1,2\n3,4\n")
    with pytest.raises(DataError, match="'b' is named twice"):
        load_table(path, ["b", "b"])
    with pytest.raises(DataError, match="at least one input"):
        load_table(path, ["a", "b"])


def test_constant_and_coarse_inputs_are_allowed_and_reported(csv):
    table = load_table(csv("a,b,c\n7,100000000,1\n7,100000001,2\n7,100000002,3\n"), ["c"])
    assert [w.split("'")[1] for w in table.warnings] == ["a", "b"]
    assert "constant" in table.warnings[0] and "float32" in table.warnings[1]
