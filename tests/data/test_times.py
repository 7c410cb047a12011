"""Rows in the order of a column of times, and rows that are copies of each other but for noise."""

from __future__ import annotations

import re

import numpy as np
import pytest

from regkd_edge.config import DataConfig
from regkd_edge.data import prepare
from regkd_edge.data.checks.near import close_groups
from regkd_edge.data.times import times_of
from regkd_edge.errors import DataError, UserError

RNG = np.random.default_rng(0)
ORDER = RNG.permutation(80)
FORMS = {
    "seconds": lambda i: f"{1.7e9 + 60 * i:.0f}",
    "ISO": lambda i: f"2024-01-{1 + i // 24:02d}T{i % 24:02d}:00:00Z",
    "ISO with fractions": lambda i: f"2024-01-{1 + i // 24:02d} {i % 24:02d}:00:00.25",
    "European": lambda i: f"{1 + i // 4}.03.2024 {i % 4}:30",
    "American": lambda i: f"{1 + i // 28}/{1 + i % 28}/2024",
    "words": lambda i: f"{1 + i // 4}-Feb-2024" if i < 100 else "",
}


def table(tmp_path, cell, rows=None):
    path = tmp_path / "t.csv"
    rows = RNG.normal(size=(80, 2)) if rows is None else rows
    path.write_text("when,a,y\n" + "".join(f"{cell(int(i))},{a},{i}\n" for i, (a, _) in zip(ORDER, rows)))
    return str(path)


@pytest.mark.parametrize("form", ["seconds", "ISO", "ISO with fractions", "American"])
def test_the_latest_rows_are_held_out_of_a_shuffled_table(tmp_path, form):
    config = DataConfig(data=table(tmp_path, FORMS[form]), target="y", split="time", time="when")
    read, parts = prepare(config, 0)
    assert read.feature_names == ["a"] and sorted(read.y[parts.test, 0]) == list(range(68, 80))
    assert sorted(read.y[parts.validation, 0]) == list(range(56, 68))


def test_a_shuffled_table_is_not_split_in_its_own_order_without_a_word(tmp_path):
    config = {"data": table(tmp_path, FORMS["seconds"]), "target": "y", "split": "time"}
    read, _ = prepare(DataConfig(**config), 0)
    assert any("not the latest by 'when': add --time when" in note for note in read.warnings)
    read, _ = prepare(DataConfig(**config, time="when"), 0)
    assert not any("latest" in note for note in read.warnings)


@pytest.mark.parametrize("form", list(FORMS))
def test_times_rise_as_they_are_written(form):
    cells = [FORMS[form](i) for i in range(80)]
    values = times_of(cells, "when")
    assert (np.diff(values) >= 0).all() and values[0] < values[-1]


def test_what_is_no_time_is_refused():
    with pytest.raises(DataError, match="holds 'soon', expected numbers or dates"):
        times_of(["2024-01-01", "soon"], "when")
    with pytest.raises(DataError, match="holds no time in 1 of 2 rows"):
        times_of(["2024-01-01", ""], "when")
    with pytest.raises(DataError, match="days and months could be exchanged"):
        times_of(["02/01/2024", "01/03/2024"], "when")
    for options in ({"time": "when"}, {"time": "y", "split": "time"}, {"time": "when", "split": "time", "window": "8"}):
        with pytest.raises((UserError, ValueError)):
            prepare(DataConfig(data="t.csv", target=["y"], **options), 0)


@pytest.mark.parametrize("noise", [1e-7, 1e-4, 2e-3])
def test_copies_but_for_noise_are_on_one_side(tmp_path, noise):
    distinct = RNG.normal([20, 1000, 5], [3, 8, 2], (60, 3))
    rows = np.tile(distinct, (5, 1))[RNG.permutation(300)]
    rows = rows + noise * RNG.normal(size=rows.shape) * distinct.std(axis=0)
    path = tmp_path / "t.csv"
    path.write_text("a,b,c,y\n" + "".join(f"{a!r},{b!r},{c!r},{RNG.normal()}\n" for a, b, c in rows.tolist()))
    read, parts = prepare(DataConfig(data=str(path), target="y"), 0)
    said = next(note for note in read.warnings if "groups of nearly equal inputs" in note)
    assert 57 <= int(re.match(r"300 rows form (\d+) groups", said)[1]) <= 60  # two points may be close by chance
    nearest = np.abs(read.x[parts.test][:, None] - read.x[parts.train]).max(axis=2).min(axis=1)
    assert nearest.min() > 10 * noise


def test_tight_groups_of_rows_are_warned_about_where_they_matter(tmp_path):
    unit = RNG.integers(0, 12, 400)
    x = RNG.normal(size=(12, 3))[unit] + 0.04 * RNG.normal(size=(400, 3))
    path = tmp_path / "t.csv"
    for y, warned in ((20 * RNG.normal(size=12)[unit] + RNG.normal(size=400), True), (RNG.normal(size=400), False)):
        path.write_text("a,b,c,y\n" + "".join(f"{a},{b},{c},{v}\n" for (a, b, c), v in zip(x, y)))
        read, _ = prepare(DataConfig(data=str(path), target="y"), 0)
        assert any("tight groups" in note for note in read.warnings) == warned


@pytest.mark.parametrize("d", [2, 5, 20])
def test_independent_rows_form_no_groups(d):
    for rows in (RNG.normal(size=(500, d)), RNG.uniform(size=(500, d)), RNG.integers(0, 9, (500, d)).astype(float)):
        assert close_groups(rows) is None
    assert close_groups(np.cumsum(RNG.normal(size=(500, d)), axis=0)) is None


@pytest.mark.parametrize("levels", [2, 3, 5])
@pytest.mark.parametrize("n", [300, 2000, 4000])
def test_a_fine_axis_beside_switches_forms_no_groups(n, levels):
    switch, other = RNG.integers(0, levels, n), RNG.integers(0, 2, n)
    for axis in (RNG.random(n), RNG.normal(size=n).round(2), np.exp(RNG.normal(0, 2, n))):
        assert not any(close_groups(np.column_stack(columns)) for columns in ([switch, axis], [switch, other, axis]))


def test_copies_beside_a_switch_are_found():
    settings = np.column_stack([RNG.integers(0, 2, 60), RNG.normal(size=(60, 3))])
    rows = np.repeat(settings, 5, axis=0)
    rows[:, 1:] += 1e-3 * RNG.normal(size=(300, 3))
    groups, copies = close_groups(rows)
    assert copies and 57 <= groups.max() + 1 <= 60


@pytest.mark.parametrize("noise", [5e-3, 1e-2, 1.5e-2])
def test_a_row_a_little_off_its_copies_is_on_their_side(noise):
    unit = np.repeat(np.arange(20), 20)[RNG.permutation(400)]
    rows = RNG.normal(size=(20, 3))[unit] + noise * RNG.normal(size=(400, 3))
    groups, _ = close_groups(rows)
    assert np.unique(np.column_stack([unit, groups]), axis=0).shape == (20, 2)  # whole units, each a group
