"""What stands around the names of a table, as spreadsheets, loggers and test benches write it."""

from __future__ import annotations

import numpy as np
import pytest

from regkd_edge.data import load_table
from regkd_edge.errors import DataError

ROWS = "".join(f"{i},{i * i % 7},{(i * 5) % 11}.5\n" for i in range(9))
TOA5 = '"TOA5","site","CR1000","1234"\n"TS","a","b","y"\n"TS","C","hPa","W"\n"","Smp","Avg","Smp"\n' + "".join(
    f'"2024-01-0{i + 1} 00:00:00",{i},{i * i % 7},{i * 5 % 11}.5\n' for i in range(9)
)


def read(tmp_path, text, target="y", encoding="utf-8", **options):
    path = tmp_path / "t.csv"
    path.write_bytes(text.encode(encoding))
    return load_table(path, [target], **options)


@pytest.mark.parametrize(
    "head",
    [
        "Report 2024,,\n,,\na,b,y\n°C,hPa,W\n",
        "Bench 7\nSerial,SN123\n\na,b,y\n",
        "a,b,y\n°C,hPa,W\nSmp,Avg,Smp\n",
        "a,b,y,\n",
    ],
    ids=["padded title", "ragged lines above", "units and kinds of reading", "separator at the end of the names alone"],
)
def test_lines_around_the_names_are_no_rows(tmp_path, head):
    table = read(tmp_path, head + ROWS)
    assert table.feature_names == ["a", "b"] and table.x[:, 0].tolist() == list(range(9)) and table.y[1, 0] == 5.5


def test_a_logger_of_campbell_is_read(tmp_path):
    table = read(tmp_path, TOA5, drop=["TS"])
    assert table.feature_names == ["a", "b"] and table.x[:, 0].tolist() == list(range(9))
    assert "line 4 is left out: it holds no numbers (, Smp, Avg, Smp), units perhaps" in table.warnings


def test_names_in_two_lines_become_one(tmp_path):
    table = read(tmp_path, "inlet,inlet,pump\na,b,y\n" + ROWS, target="pump y")
    assert table.feature_names == ["inlet a", "inlet b"] and table.warnings[0].startswith("lines 1 and 2 are the names")


def test_names_below_what_was_taken_for_names_are_found(tmp_path):
    with pytest.raises(DataError, match="no column 'y'") as error:
        read(tmp_path, "one,two,three\na,b,y\n" + ROWS)
    assert error.value.remedy == "Line 2 of the file has that name: remove the lines above it."


def test_a_name_in_other_letters_is_the_nearest(tmp_path):
    with pytest.raises(DataError) as error:
        read(tmp_path, "a,b,Y\n" + ROWS)
    assert error.value.remedy == "Did you mean 'Y'?"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig", "utf-32"])
def test_encodings_of_spreadsheets_with_and_without_a_mark(tmp_path, encoding):
    table = read(tmp_path, "a\tb\ty\n" + ROWS.replace(",", "\t") * 300, encoding=encoding)
    assert len(table) == 2700 and table.x[8].tolist() == [8, 1]


def test_row_names_of_thousands_of_digits_are_no_numbers(tmp_path):
    with pytest.raises(DataError, match=r"expected 2 as in the header|has 3 cells"):
        read(tmp_path, "a,y\n" + "".join(f"{'7' * 6001},{i},1\n" for i in range(4)))


def test_texts_of_characters_that_do_not_exist_are_refused(tmp_path):
    names = np.array(["a", "b"])
    names.view(np.uint32)[0] = 0x44444444
    np.savez(tmp_path / "t.npz", x=np.ones((3, 2)), y=np.arange(3.0), feature_names=names)
    with pytest.raises(DataError, match="characters that do not exist"):
        load_table(tmp_path / "t.npz")
    table = np.zeros(3, [("a", "<f8"), ("n", "<u4")])
    table["n"] = 0x7F000000
    np.save(tmp_path / "t.npy", table.view([("a", "<f8"), ("n", "<U1")]))
    with pytest.raises(DataError, match="field 'n' holds texts with characters that do not exist"):
        load_table(tmp_path / "t.npy", ["a"])
