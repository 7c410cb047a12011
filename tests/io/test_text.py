"""A table at any width: whole numbers or fewer columns, and no two rows under one name."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regkd_edge.io.text import Column, TextTable, display_width, fold, printable, significant, unbroken

NAMES = ["onnxruntime.fp32", "onnxruntime.fp16", "tensorrt-rtx.int8+fp32", "native.int8", "teacher"]


def table(names=NAMES, columns=8):
    heads = [Column("", text=True), Column("target", text=True)]
    heads += [Column(f"p{i} µs, batch {i}", rank=i) for i in range(columns)]
    rows = [
        [name, "capacity_after_formation [mAh]", *(f"{(i + 1) * 12345.678 / 10**j:,.4f}" for j in range(columns))]
        for i, name in enumerate(names)
    ]
    return TextTable(heads, rows)


def text(lines):
    return [line for line, _ in lines]


@pytest.mark.parametrize("width", [20, 40, 60, 70, 80, 100, 160])
def test_no_line_is_wider_than_the_terminal_and_every_number_is_whole(width):
    made = table()
    lines, hidden = made.lines(width)
    assert max(display_width(line) for line in text(lines)) <= width
    known = {cell for row in made.rows for cell in row[2:]}
    shown = set(re.findall(r"(?<!\S)[\d,]+\.\d+(?!\S)", "\n".join(text(lines))))
    assert shown <= known
    assert len(shown) == len(made.rows) * (8 - sum(heading.startswith("p") for heading in hidden))


def test_a_long_name_takes_three_lines_where_columns_can_be_left_out_and_more_where_none_can():
    name = "cycle_life_until_eighty_percent_of_the_first_capacity [cycles]"
    heads = [Column("", text=True), Column("target", text=True), Column("RMSE"), Column("p50 µs, batch 1", rank=2)]
    made = TextTable(heads, [["native.int8-weights", name, "23.75", "0.469"]])
    lines, hidden = made.lines(50)
    assert hidden == ["p50 µs, batch 1"] and len(lines) - 2 <= 4
    made = TextTable([*heads[:3], Column("p50 µs, batch 1")], made.rows)
    lines, hidden = made.lines(50)
    assert hidden == [] and len(lines) - 2 > 4 and max(display_width(line) for line in text(lines)) <= 50


@pytest.mark.parametrize("width", [40, 60, 80])
def test_wide_shows_all_columns_in_parts(width):
    made = table()
    lines, hidden = made.lines(width, wide=True)
    assert hidden == [] and max(display_width(line) for line in text(lines)) <= width
    joined = "\n".join(text(lines))
    assert all(cell in joined for row in made.rows for cell in row[2:])


def test_without_a_limit_there_is_one_line_per_row():
    lines, hidden = table().lines(None)
    below = [i for i, line in enumerate(text(lines)) if "─" in line]
    assert hidden == [] and len(lines) - below[0] - 1 == len(NAMES)


def test_the_columns_of_the_highest_rank_go_first():
    heads = [Column("name", text=True), Column("aaaaaaaaaa", rank=2), Column("bbbbbbbbbb", rank=0), Column("c", rank=2)]
    made = TextTable(heads, [["x", "1", "2", "3"]])
    assert made.lines(28)[1] == ["c"]
    assert made.lines(25)[1] == ["aaaaaaaaaa", "c"]


def test_long_names_are_folded_and_stay_different():
    names = [f"a_very_long_engine_name_that_differs_only_at_its_end.{p}" for p in ("fp32", "fp16")]
    lines, _ = table(names, columns=3).lines(60)
    firsts = "".join(
        re.split(r"\s{2,}", line)[0].strip() if not line.startswith(" ") else "" for line in text(lines)[2:]
    )
    assert all(name in firsts for name in names)


def test_bold_is_kept_with_its_row():
    made = TextTable([Column("", text=True), Column("n")], [["a", "1"], ["b", "2"]], {1})
    assert [bold for _, bold in made.lines(80)[0]] == [True, False, False, True]


def test_control_characters_cannot_reach_the_terminal():
    made = TextTable([Column("", text=True), Column("n")], [["a\x1b[31mred\n\u202e", "1"]])
    assert "\x1b" not in "".join(text(made.lines(80)[0])) and printable("a\nb") == "a b"


def test_wide_characters_take_two_cells():
    assert display_width("容量") == 4 and display_width("é") == 1
    assert fold("容量容量", 4) == ["容量", "容量"]


@settings(max_examples=150, deadline=None)
@given(
    width=st.integers(60, 160),
    names=st.lists(st.text("ab.-_ 容", min_size=1, max_size=50), min_size=1, max_size=5, unique_by=str.strip),
    values=st.lists(st.lists(st.floats(-1e9, 1e9), min_size=9, max_size=9), min_size=5, max_size=5),
    heading=st.text("abc ,_", min_size=1, max_size=40),
)
def test_every_number_of_the_wide_table_is_shown_whole_or_not_at_all(width, names, values, heading):
    heads = [Column("", text=True), *(Column(f"{heading} {i}", rank=i % 4) for i in range(9))]
    rows = [[name, *(f"{v:.6g}" for v in line)] for name, line in zip(names, values)]
    made = TextTable(heads, rows)
    lines, hidden = made.lines(width)
    assert max(display_width(line) for line in text(lines)) <= width
    whole = {cell for row in rows for cell in row[1:]}
    below = text(lines)[next(i for i, line in enumerate(text(lines)) if "─" in line) + 1 :]
    numbers = [token for line in below for token in line.split() if re.fullmatch(r"-?\d[\d.e+-]*", token)]
    assert set(numbers) <= whole and len(numbers) == len(rows) * (9 - len(hidden))


@given(st.text(max_size=60), st.integers(2, 20))
def test_folding_loses_nothing_but_blanks(written, width):
    lines = fold(written, width)
    assert all(display_width(line) <= width for line in lines)
    assert "".join("".join(lines).split()) == "".join(printable(written).split())


@pytest.mark.parametrize(
    ("value", "digits", "written"),
    [
        (46.0, 4, "46.00"),
        (45.99, 4, "45.99"),
        (9.9996, 4, "10.00"),
        (99996.0, 4, "99,996"),
        (0.00012, 3, "0.000120"),
        (0.0000999996, 3, "0.000100"),
        (1.5e-7, 4, "1.500e-07"),
        (9_999_499.0, 4, "9,999,499"),
        (803_465_800.0, 4, "8.035e+08"),
        (9_999_996.0, 4, "1.000e+07"),
        (-1234.5, 3, "-1,234"),
        (0.0, 4, "0"),
        (float("nan"), 3, "nan"),
        (float("-inf"), 3, "-inf"),
    ],
)
def test_figures_of_a_column_have_the_same_digits(value, digits, written):
    assert significant(value, digits) == written


def test_a_spec_is_folded_between_its_parts():
    assert fold("mlp:128,128:relu", 14) == ["mlp:128,128:", "relu"]
    assert fold("conv1d:64,64x9:relu", 12) == ["conv1d:64,", "64x9:relu"]


def test_a_command_stays_whole_to_be_copied():
    said = "no run folder 'a'. Create it with: regkd-edge train-teacher a --data FILE.csv --target NAME"
    assert unbroken(said, None) == [said]
    assert unbroken(said, 30) == [
        "no run folder 'a'. Create it",
        "with:",
        "regkd-edge train-teacher a --data FILE.csv --target NAME",
    ]
    assert unbroken("regkd-edge 1.2 of a bundle and so on and on", 20) == fold(
        "regkd-edge 1.2 of a bundle and so on and on", 20
    ), "the name alone is no command"
    assert unbroken("/venv/bin/python3 -m pip install 'torch>=2.4'", 20) == [
        "/venv/bin/python3 -m pip install 'torch>=2.4'"
    ]
