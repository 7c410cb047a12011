"""The table on a terminal: at any width the numbers are whole, every engine keeps its name, the targets their units."""

from __future__ import annotations

import re

import pytest
from hostile import crowded_report

from regkd_edge.cli.output import show
from regkd_edge.cli.screen import settings
from regkd_edge.io.text import display_width
from regkd_edge.report import console_table


@pytest.fixture(scope="module")
def crowded(measured_run):
    return crowded_report(measured_run)


@pytest.fixture
def printed(crowded, monkeypatch, capsys):
    def at(width, wide=False, with_notes=False):
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setattr(settings, "wide", wide)
        show("Results", crowded.rows, as_json=False, table=console_table(crowded.rows), notes=crowded.notes)
        out = capsys.readouterr().out
        return out if with_notes else out[: out.index(crowded.notes[0][:20])]

    return at


def numbers(text):
    below = text[text.index("─") :] if "─" in text else text
    return re.findall(r"(?<![\w.])[+-]?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?%?(?![\w.])", below)


@pytest.mark.parametrize("width", [60, 70, 80, 100, 160])
def test_every_number_shown_is_a_number_of_the_wide_table(printed, crowded, width):
    narrow, whole = printed(width, with_notes=True), printed(100_000)
    table = narrow[: narrow.index("\n\n")].split("Not shown")[0]
    assert max(display_width(line) for line in narrow.splitlines()) <= width
    assert set(numbers(table)) <= set(numbers(whole))
    for row in crowded.rows:
        for target in row["targets"]:
            assert f"{target['rmse']:.4g}" in table or f"{target['rmse']:.3e}" in table


@pytest.mark.parametrize("width", [60, 80])
def test_names_are_whole_and_all_different(printed, crowded, width):
    lines = printed(width).splitlines()
    key = next(len(line.split(" ")[0]) for line in lines if line.startswith("─"))
    joined = "".join(line[:key].strip() for line in lines)
    assert all(row["name"] in joined for row in crowded.rows)


@pytest.mark.parametrize("width", [60, 80, 100])
def test_wide_leaves_out_nothing(printed, crowded, width):
    wide, whole = printed(width, wide=True), printed(100_000)
    assert "Not shown" not in wide
    headings = {str(batch) for batch in crowded.batches}  # repeated above each part
    assert set(numbers(whole)) <= set(numbers(wide)) <= set(numbers(whole)) | headings


def test_each_target_has_its_line_with_its_name(printed, crowded):
    text = printed(100_000)
    assert text.count("life [cycles]") == len(crowded.rows)


def test_no_escape_sequence_reaches_a_file(printed):
    assert "\x1b" not in printed(80)
