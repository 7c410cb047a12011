"""Tables as they are downloaded: read as they come, or refused with what to type."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import zipfile

import numpy as np
import pytest

from regkd_edge.data import load_table
from regkd_edge.data.reading import stream
from regkd_edge.errors import DataError


@pytest.fixture
def table(tmp_path):
    def read(text, target="y", name="t.csv", **options):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load_table(path, [target], **options)

    return read


@pytest.mark.parametrize(
    ("text", "x", "y"),
    [
        ("a;y\n1;2\n3;4\n", [1, 3], [2, 4]),
        ("a\ty\n1\t2\n3\t4\n", [1, 3], [2, 4]),
        ("a|y\n1|2\n3|4\n", [1, 3], [2, 4]),
        ("  a   y \n 1  2\n\t3 4  \n", [1, 3], [2, 4]),
        ("sep=;\na;y\n1;2\n3;4\n", [1, 3], [2, 4]),
        ("a;y\n1,5;2\n3,25;4\n", [1.5, 3.25], [2, 4]),
        ('a,y\n"1,5",2\n"3,25",4\n', [1.5, 3.25], [2, 4]),
        ("# 7 rows of 2024\n# a y\n1 2\n3 4\n", [1, 3], [2, 4]),
        ("Station 5\nSince: 2001\n\na,y\n1,2\n3,4\n5,6\n", [1, 3, 5], [2, 4, 6]),
        ("a,y\nmm,kW\n1,2\n3,4\n5,7\n6,6\n", [1, 3, 5, 6], [2, 4, 7, 6]),
        ("a,y,\n1,2,\n3,4,\n", [1, 3], [2, 4]),
        ("a,y\n1,2,\n3,4,\n", [1, 3], [2, 4]),
        (",a,y\n0,1,2\n1,3,4\n2,5,6\n", [1, 3, 5], [2, 4, 6]),
        ('"a","y"\n"1",1,2\n"2",3,4\n"3",5,6\n', [1, 3, 5], [2, 4, 6]),
        ("a;y;;\n1,5;2;;\n3;4;;\n;;;\n;;;\n", [1.5, 3], [2, 4]),
        ("a,y\nTRUE,1\nFALSE,3\n", [1, 0], [1, 3]),
        ("a,y\n\u22121,1\n2,3\n", [-1, 2], [1, 3]),
        ("a,y\r1,2\r3,4\r", [1, 3], [2, 4]),
    ],
    ids=[
        "semicolons", "tabs", "bars", "spaces", "sep=", "decimal comma", "quoted decimal comma", "commented header",
        "lines above", "units below", "nameless empty column", "separator at the end", "index of pandas",
        "row names of R", "empty rows of a spreadsheet", "truth values", "typographic minus", "old line ends",
    ],
)  # fmt: skip
def test_a_table_is_read_as_it_comes(table, text, x, y):
    read = table(text)
    assert read.feature_names == ["a"] and read.x.ravel().tolist() == x and read.y.ravel().tolist() == y


def test_what_was_left_out_or_decided_is_said(table):
    assert table("Station 5\n\na,y\n1,2\n3,4\n5,6\n").warnings[0] == "1 line above the header left out"
    assert "decimal comma" in table("a;y\n1,5;2\n3;4\n").warnings[0]
    assert "units perhaps" in table("a,y\nmm,kW\n1,2\n3,4\n5,7\n6,6\n").warnings[0]
    assert "has no name and counts the rows" in table(",a,y\n0,1,2\n1,3,4\n2,5,6\n").warnings[0]


@pytest.mark.parametrize(
    ("mark", "cells", "typed"),
    [
        (",", ('"37,900"', '"1,205,001"'), [37900, 1205001]),
        ("space", ("37 900", "1\u202f205\u00a0001"), [37900, 1205001]),
        ("'", ("37'900", "1'205'001.5"), [37900, 1205001.5]),
        ("'", ("37\u2019900", "1\u2019205\u2019001"), [37900, 1205001]),  # as typesetters write it
        (",", ('"2,71,903"', '"1,02,05,001.5"'), [271903, 10205001.5]),  # lakhs and crores
        ("a=.", ("37.900", '"1.205.001,5"'), [37900, 1205001.5]),
    ],
)
def test_thousands_marks_are_taken_out_when_they_are_named(table, mark, cells, typed):
    read = table(f"a,y\n{cells[0]},0.5\n{cells[1]},2.25\n900,4\n", thousands=mark)
    assert read.x.ravel().tolist() == [*typed, 900] and read.y.ravel().tolist() == [0.5, 2.25, 4]


def test_a_cell_that_does_not_fit_its_thousands_mark_is_no_number(table):
    with pytest.raises(DataError, match="column 'a'"):
        table('a,y\n"1,5",0.5\n"2,500",2\n', thousands=",")


def test_no_header_names_the_columns_by_their_place(table):
    read = table("1 0.5\n 2  0.7 \n3 0.1\n", target="c2", header=False)
    assert read.feature_names == ["c1"] and read.y.ravel().tolist() == [0.5, 0.7, 0.1]


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_compressed_tables_are_told_by_their_bytes(table, pack):
    assert table(pack(b"a,y\n1,2\n3,4\n"), name="t.data").x.ravel().tolist() == [1, 3]


def test_an_archive_of_one_table_is_read_and_of_two_refused(tmp_path):
    path = tmp_path / "t.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("inner/t.csv", "a,y\n1,2\n3,4\n")
    assert load_table(path, ["y"]).x.ravel().tolist() == [1, 3]
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("readme.txt", "x")
    with pytest.raises(DataError, match="archive of 2 files .inner/t.csv, readme.txt."):
        load_table(path, ["y"])


def test_an_archive_that_unpacks_to_far_more_than_its_size_is_refused(table, monkeypatch):
    monkeypatch.setattr(stream, "INFLATED_BYTES", 2**16)
    with pytest.raises(DataError, match="unpacks to more than 20 times its size"):
        table(gzip.compress(b"a,y\n" + b"1,2\n" * 100_000), name="t.csv.gz")


def test_a_line_without_end_is_refused(table, monkeypatch):
    monkeypatch.setattr(stream, "LONGEST_LINE", 2**10)
    with pytest.raises(DataError, match="line 3 has more than 1,024 characters"):
        table("a,y\n1,2\n" + "1" * 5000 + ",2\n")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("<!DOCTYPE html><html><body>404</body></html>", "HTML or XML"),
        ('[{"a": 1, "y": 2}]', "JSON"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 3\n", "Git LFS"),
    ],
)
def test_what_is_often_met_in_place_of_a_table_is_named(table, text, what):
    with pytest.raises(DataError, match=what):
        table(text)


def test_old_collections(table):
    cars = "".join(f'{18 + i}.0   8   {300 + i}.0  {"?" if i == 2 else 130 + i % 3}  70\t"car {i}"\n' for i in range(9))
    read = table(cars, "c1", header=False, drop=["c6"], missing=["?"], blanks="drop")
    assert read.feature_names == ["c2", "c3", "c4", "c5"] and len(read) == 8
    arff = "% about\n@relation cars\n@attribute 'fuel use' numeric\n@attribute y {1,2}\n@data\n1,2\n3,4\n"
    assert table(arff).feature_names == ["fuel use"]
    assert table("a,y\n0.5D+03,1\n2.D0,3\n").x.ravel().tolist() == [500, 2]


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "t.csv")
    with pytest.raises(DataError, match="it is a pipe"):
        load_table(tmp_path / "t.csv", ["y"])


def test_a_spreadsheet(tmp_path):
    pytest.importorskip("python_calamine", reason="python-calamine (extra 'data') is not installed")
    openpyxl = pytest.importorskip("openpyxl", reason="openpyxl, which writes the file, is not installed")
    book = openpyxl.Workbook()
    book.active.title = "About"
    sheet = book.create_sheet("Data")
    for row in (["a", "kind", "y"], [0.1, "A", 1], [1 / 3, "B", 2.5], [7, "A", None]):
        sheet.append(row)
    book.save(tmp_path / "t.xlsx")
    with pytest.raises(DataError, match="column 'kind' holds 2 words.*'y' holds 1 blank.*first in line 4"):
        load_table(tmp_path / "t.xlsx", ["y"])
    read = load_table(tmp_path / "t.xlsx", ["y"], categorical=["kind"], blanks="drop")
    assert read.x.tolist() == [[0.1, 1, 0], [1 / 3, 0, 1]] and "sheet 'Data' was read, not: About" in read.warnings


_SHEET = (
    '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>{}</sheetData></worksheet>'
)
_RELATED = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"


def workbook(path, **sheets):
    """Write rows of texts and numbers as the sheets of a workbook."""
    cell = lambda v: f"<c><v>{v}</v></c>" if not isinstance(v, str) else f'<c t="inlineStr"><is><t>{v}</t></is></c>'
    with zipfile.ZipFile(path, "w") as archive:
        names, links = "", ""
        for place, (name, rows) in enumerate(sheets.items(), start=1):
            inner = "".join(f"<row>{''.join(map(cell, row))}</row>" for row in rows)
            archive.writestr(f"xl/worksheets/sheet{place}.xml", _SHEET.format(inner))
            names += f'<sheet name="{name}" sheetId="{place}" r:id="r{place}"/>'
            links += f'<Relationship Id="r{place}" Type="{_RELATED}/worksheet" Target="worksheets/sheet{place}.xml"/>'
        main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
        archive.writestr(
            "xl/workbook.xml", f'<workbook xmlns="{main}" xmlns:r="{_RELATED}"><sheets>{names}</sheets></workbook>'
        )
        package = "http://schemas.openxmlformats.org/package/2006/relationships"
        first = f'<Relationship Id="r1" Type="{_RELATED}/officeDocument" Target="xl/workbook.xml"/>'
        for name, listed in (("_rels/.rels", first), ("xl/_rels/workbook.xml.rels", links)):
            archive.writestr(name, f'<Relationships xmlns="{package}">{listed}</Relationships>')


def test_a_page_of_notes_is_not_the_table(tmp_path):
    pytest.importorskip("python_calamine", reason="python-calamine (extra 'data') is not installed")
    rows = [["a", "y"], [0.5, 1], [2, 2.5], [7, 3]]
    workbook(tmp_path / "t.xlsx", Notes=[["measured in May"], ["by hand"]], Data=rows, Old=rows)
    read = load_table(tmp_path / "t.xlsx", ["y"])
    assert read.x.tolist() == [[0.5], [2], [7]] and "sheet 'Data' was read, not: Notes, Old" in read.warnings


def test_matlab_files(tmp_path):
    scipy_io = pytest.importorskip("scipy.io")
    x, y = np.arange(6.0).reshape(3, 2), np.array([[1.0], [2], [4]])
    scipy_io.savemat(tmp_path / "t.mat", {"x": x, "y": y})
    assert load_table(tmp_path / "t.mat").x.tolist() == x.tolist()
    scipy_io.savemat(tmp_path / "columns.mat", {"speed": y, "power": 2 * y**2})
    assert load_table(tmp_path / "columns.mat", ["power"]).feature_names == ["speed"]
    scipy_io.savemat(tmp_path / "s.mat", {"s": {"speed": y}})
    with pytest.raises(DataError, match="'s' is a struct"):
        load_table(tmp_path / "s.mat", ["power"])
    (tmp_path / "t.mat").write_bytes(b"MATLAB 5.0 and nothing more")
    with pytest.raises(DataError, match="not a readable MAT file"):
        load_table(tmp_path / "t.mat", ["y"])


def test_npy_files(tmp_path):
    np.save(tmp_path / "t.npy", np.arange(8).reshape(4, 2) ** 2)
    read = load_table(tmp_path / "t.npy", ["c2"])
    assert read.feature_names == ["c1"] and read.y.ravel().tolist() == [1, 9, 25, 49]
    np.save(tmp_path / "big.npy", np.array([[2**53 + 1, 1], [3, 4]]))
    with pytest.raises(DataError, match="more digits than float64 keeps, such as '9007199254740993' in row 1"):
        load_table(tmp_path / "big.npy", ["c2"])


def test_a_header_longer_than_what_the_layout_is_told_from_is_read_whole(table):
    names = [f"a_long_name_of_a_column_{i}" for i in range(12_000)]
    read = table(",".join([*names, "y"]) + "\n" + "".join(f"{'1,' * len(names)}{i}\n" for i in range(3)))
    assert read.feature_names == names and read.y.ravel().tolist() == [0, 1, 2]
