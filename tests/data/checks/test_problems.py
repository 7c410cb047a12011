"""One message for all that stands in the way, with options that let the table be read when they are typed."""

from __future__ import annotations

import re
import shlex

import pytest

from regkd_edge.config import RunConfig
from regkd_edge.data import load_table
from regkd_edge.errors import DataError


def rows(count, line):
    return "".join(line(i) + "\n" for i in range(count))


@pytest.fixture
def refused(tmp_path):
    def read(text, target="y", **options):
        path = tmp_path / "t.csv"
        path.write_text(text, encoding="utf-8")
        with pytest.raises(DataError) as error:
            load_table(path, [target], **options)
        return path, error.value

    return read


def follow(path, error, target="y"):
    """What the remedy says, typed: the table that comes of it."""
    words = shlex.split(re.match(r"Add: (.*?)(\.( |$)|$)", error.remedy)[1])
    options = {f"data.{flag.removeprefix('--')}": value for flag, value in zip(words[::2], words[1::2])}
    config = RunConfig().updated({"data.target": target, **options}).data
    return load_table(path, [target], **config.model_dump(include={name.removeprefix("data.") for name in options}))


MIXED = {
    "logger": (
        "id,when,kind,load,temp,y\n"
        + rows(40, lambda i: f"{i},2024-01-01 00:{i}:00,{'AB'[i % 2]},{i * i},{'' if i % 9 == 3 else i / 4},{i % 7}"),
        ["when", "kind", "temp"],
        ["load", "temp", "kind=A", "kind=B"],
    ),
    "weather": (
        "Date;Wind dir;Rain, mm;T;y\n"
        + rows(40, lambda i: f"{i % 28 + 1}.01.2009;{['NW', 'SE'][i % 2]};NA;{i},5;{i % 7}"),
        ["Date", "Wind dir", "Rain, mm"],
        ["T", "Wind dir"],
    ),
    "plant": (
        "tag,p,q,y\n"
        + rows(40, lambda i: f'PT-{i:03d},"{1 + i % 5},{100 + i}",{"?" if i == 7 else i * i % 11},{i % 7}.5'),
        ["tag", "p", "q"],
        ["p", "q"],
    ),
}


@pytest.mark.parametrize("name", MIXED)
def test_every_column_in_the_way_is_named_and_the_remedy_works(refused, name):
    text, named, inputs = MIXED[name]
    path, error = refused(text)
    for column in named:
        assert f"column '{column}' holds" in error.cause
    if name == "weather":
        assert """--drop 'Date,"Rain, mm"'""" in error.remedy
    table = follow(path, error)
    assert set(inputs) <= {*table.feature_names, *(n.split("=")[0] for n in table.feature_names)}
    assert not set(named) & set(table.feature_names) - {"temp", "p", "q"} and len(table) >= 30


@pytest.mark.parametrize(
    ("cells", "words", "never"),
    [
        (["37,900", "25,750", "1,036,090"], "thousands separator, such as '37,9.*--thousands comma", "decimal point"),
        (["2,71,903", "1,02,05,001", "5,08,639"], "thousands separator, such as '2,71,903'.*--thousands comma", "drop"),
        (["37\u2019900", "25\u2019750", "36\u2019090"], "thousands separator.*--thousands apostrophe", "drop"),
        (["37.900,5", "1.250,25", "36.090,0"], "thousands separator.*--thousands x=. --decimal comma", "drop"),
        (["37 900", "25 750", "36 090"], "thousands separator.*--thousands space", "drop"),
        (["12%", "7%", "8%"], "numbers with a unit, such as '12%'.*Remove the unit", "categorical"),
        (["$5.20", "$7", "$8"], "numbers with a unit", "drop"),
        (["12:30", "12:31", "12:45"], "dates or times, such as '12:30'.*--drop x", "categorical"),
        (["03-Jan-2020", "04-Jan-2020", "05-Feb-2021"], "dates or times", "categorical"),
        (["SN001", "SN002", "SN003"] * 14, "", "--missing"),
        (["1234567890123456789", "1234567890123456781", "3"], "more digits than float64 keeps.*--drop x", "missing"),
    ],
)  # fmt: skip
def test_a_remedy_fits_what_the_cells_are(refused, cells, words, never):
    _, error = refused("x,a,y\n" + rows(len(cells), lambda i: f'"{cells[i]}",{i * i % 5},{i % 3}'))
    assert re.search(words, str(error)) and never not in error.remedy


def test_a_decimal_comma_among_decimal_points_is_not_read_as_thousands(refused):
    _, error = refused('x,a,y\n"1,5",0.25,1\n"2,750",0.5,2\n"3,1",1.5,4\n')
    assert "column 'x' holds numbers with a decimal comma" in error.cause
    assert error.remedy == "Write 'x' with a decimal point, as the other columns are."


def test_a_target_is_never_to_be_dropped(refused):
    _, error = refused("a,y\n" + rows(9, lambda i: f"{i * i % 5},2024-01-0{i + 1}"))
    assert "column 'y' holds dates" in error.cause and "--drop" not in error.remedy


def test_words_that_name_units_may_be_a_group(refused):
    _, error = refused("engine,a,y\n" + rows(30, lambda i: f"{'PQR'[i % 3]}7,{i * i % 11},{i % 7}"))
    assert "--categorical engine" in error.remedy and "--group engine instead" in error.remedy


def test_a_row_of_totals_is_told_from_text(refused):
    _, error = refused("site,a,y\n1,2,3\n2,3,4\n3,9,1\nTotal,14,8\n")
    assert "'Total' in line 5, a row of totals" in error.cause and "Remove that row" in error.remedy


@pytest.mark.parametrize(
    ("cell", "what"),
    [
        ("(11.4)", "negative numbers in brackets"), ("0xe7", "hexadecimal numbers"), ("'11.4'", "numbers in quotes"),
        ("11.4 \u00b1 0.1", "numbers with their uncertainty"), ("11-14", "ranges of numbers or codes"),
        ("<0.5", "limits in place of readings"), ("2.978-", "negative numbers with the minus sign behind"),
        ("25/4", "fractions"), ("271_903", "digits with underscores"),
    ],
)  # fmt: skip
def test_numbers_inside_a_text_are_never_guessed(refused, cell, what):
    _, error = refused("a,b,y\n" + rows(30, lambda i: f"{cell if i % 3 else i},{i * i},{i % 7}"))
    assert f"column 'a' holds {what}, such as '{cell}'" in error.cause
    assert error.remedy == "Write each cell of 'a' as one plain number, or leave it out: --drop a."


@pytest.mark.parametrize(
    ("cells", "units"),
    [(["5%", "0.05"], "%, none"), (["1.2 bar", "120 kPa"], "bar, kPa"), (["$5", "7 EUR"], "$, EUR")],
)
def test_units_that_differ_are_never_only_removed(refused, cells, units):
    _, error = refused("a,b,y\n" + rows(30, lambda i: f"{cells[i % 2]},{i * i},{i % 7}"))
    assert error.remedy == f"Convert 'a' to one unit first (it has {units}), then remove it."
    _, error = refused("a,b,y\n" + rows(30, lambda i: f"{i} bar,{i * i},{i % 7}"))
    assert error.remedy == "Remove the unit from the cells of 'a'."


def test_truth_words_among_numbers_are_no_marks_for_missing_values(refused):
    path, error = refused("f,a,y\n" + rows(40, lambda i: f"{'YN10'[i % 4]},{i * i},{i % 7}"))
    assert "--missing" not in error.remedy and len(follow(path, error)) == 40
    path, error = refused("f,a,y\n" + rows(40, lambda i: f"{['open', 'closed'][i % 2]},{i * i},{i % 7}"))
    assert follow(path, error).feature_names == ["f=closed", "f=open", "a"]


def test_rows_of_statistics_and_the_names_again_are_told_from_marks(refused):
    _, error = refused("id,a,y\n" + rows(30, lambda i: f"{i},{i},{i % 7}") + "Mittelwert,3,4\nStd.abw.,1,2\nMax,9,9\n")
    assert "'Mittelwert' in line 32, 3 rows of totals or means" in error.cause and "--missing" not in error.remedy
    path, error = refused("a,b,y\n" + rows(30, lambda i: f"{i},{i * i},{i % 7}") + "a,b,y\n1,2,3\n")
    assert "column 'a' holds its own name in line 32, the line of names again" in error.cause
    assert len(follow(path, error)) == 31


@pytest.mark.parametrize("mark", ["NA", "?", "null", "-", "#N/A", "bad", "1.#QNAN", "-nan(ind)"])
def test_marks_for_missing_values_are_named_and_typed(refused, mark):
    path, error = refused("a,b,y\n" + rows(30, lambda i: f"{i * i % 17},{mark if i in (3, 8) else i % 5},{i % 7}"))
    assert f"'{mark}' in 2 cells (first in line 5)" in error.cause
    assert len(follow(path, error)) == 28


def test_blanks_are_counted_by_column_and_a_mostly_blank_one_is_dropped(refused):
    path, error = refused(
        "a,b,c,y\n" + rows(20, lambda i: f"{i * i % 7},{'' if i else 1},{'' if i == 4 else i % 3},{i % 5}")
    )
    assert (
        "'b' holds 19 blank or nan cells of 20" in error.cause and "'c' holds 1 blank or nan cell of 20" in error.cause
    )
    assert error.remedy.startswith("Add: --drop b --blanks drop. That leaves out 1 of 20 rows")
    assert len(follow(path, error)) == 19


def test_the_rows_that_a_remedy_leaves_out_are_those_with_marks_too(refused):
    cells = {3: "NA", 8: "?", 11: "", 12: ""}
    path, error = refused("a,b,y\n" + rows(30, lambda i: f"{i * i % 17},{cells.get(i, i % 5)},{i % 7}"))
    assert "That leaves out 4 of 30 rows" in error.remedy
    assert len(follow(path, error)) == 26


def test_what_means_missing_may_hold_for_one_column_alone(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,b,y\n-1,5,1\n2,-1,2\n3,6,4\n4,7,9\n")
    table = load_table(path, ["y"], missing=["a=-1.0"], blanks="drop")
    assert table.x.tolist() == [[2, -1], [3, 6], [4, 7]]
    with pytest.raises(DataError, match="--missing names 'z'"):
        load_table(path, ["y"], missing=["z=-1"])


def test_words_become_inputs_of_0_and_1_and_codes_stay(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("kind,code,y\nB,3,1\nA,1,2\nB,1,4\nC,2,9\n")
    table = load_table(path, ["y"], categorical=["kind", "code"])
    assert table.feature_names == ["kind=A", "kind=B", "kind=C", "code"]
    assert table.x.tolist() == [[0, 1, 0, 3], [1, 0, 0, 1], [0, 1, 0, 1], [0, 0, 1, 2]]
    assert table.columns.groups == ((0, 1, 2),) and table.columns.kinds[3] == "categorical"


def test_a_decimal_comma_among_decimal_points_is_never_made_a_thousands_mark(tmp_path):
    """19,604 among 20.377 is 19.604: as 19604 it would be a thousandfold error."""
    cells = [f"{19 + i / 7:.3f}" for i in range(40)]
    path = tmp_path / "t.csv"
    text = [c.replace(".", ",") if i % 2 else c for i, c in enumerate(cells)]
    path.write_text("a;b;y\n" + "".join(f"{c};{i / 8};{i * i}\n" for i, c in enumerate(text)))
    with pytest.raises(DataError) as error:
        load_table(path, ["y"])
    assert "decimal comma beside others with a point" in str(error.value) and "thousands" not in str(error.value)
    path.write_text("a;b;y\n" + "".join(f"{'1,234' if i == 7 else 900 + i / 2};{i / 8};{i * i}\n" for i in range(40)))
    with pytest.raises(DataError, match="--thousands comma"):
        load_table(path, ["y"])


@pytest.mark.parametrize("footer", ["Exported by LabSoft 3.1\n", "# end", "-- end of data --\nLab 4\n"])
def test_a_note_below_the_table_is_called_that(tmp_path, footer):
    path = tmp_path / "t.csv"
    path.write_text("a,b,y\n" + "".join(f"{i},{i % 7},{i * i}\n" for i in range(40)) + footer)
    with pytest.raises(DataError, match="has 1 cell, expected 3.*Remove .*note below the table"):
        load_table(path, ["y"])


def test_names_of_files_beside_the_table_are_its_inputs(tmp_path, refused):
    names = ["a.wav", "b c.wav"]
    for name in names:
        (tmp_path / name).write_bytes(b"RIFF")
    path, error = refused("file,y\n" + rows(30, lambda i: f"{names[i % 2]},{i % 7}"))
    assert "column 'file' holds 2 file names, such as 'a.wav' in line 2" in str(error)
    assert f"--data {shlex.quote(str(tmp_path))} --labels {shlex.quote(str(path))}." in str(error)
    (tmp_path / names[1]).unlink()
    assert "--categorical file" in str(refused("file,y\n" + rows(30, lambda i: f"{names[i % 2]},{i % 7}"))[1])
