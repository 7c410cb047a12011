"""Runs side by side: a row per model and target, and what makes them comparable."""

from __future__ import annotations

import json

import numpy as np
import pytest
from documented import keys

from regkd_edge.errors import RunFolderError, UserError
from regkd_edge.report.collect import collect
from regkd_edge.report.comparison import compare_runs, comparison_table


def test_two_runs_on_the_same_rows(measured_run, run_copy):
    rows, notes = compare_runs([measured_run.path, run_copy.path])
    report = collect(measured_run)
    assert len(rows) == 2 * sum(len(row["targets"]) for row in report.rows)
    assert [row["run"] for row in rows[:: len(rows) - 1]] == [str(measured_run.path), str(run_copy.path)]
    for row, expected in zip(rows, report.rows):
        (target,) = expected["targets"]
        assert all(
            row[key] == expected[key] for key in ("name", "kind", "p50_us_b1", "p99_us_b16", "size_bytes", "what")
        )
        assert all(
            row[key] == target[key] for key in ("unit", "rmse", "rmse_low", "rmse_high", "mae", "r2", "max_error")
        )
    assert notes == [
        f"'{run_copy.path}' and '{measured_run.path}' were measured on the same {len(report.truth)} held-out rows."
    ]


def test_keys_are_those_that_the_documents_list(measured_run, run_copy):
    rows, _ = compare_runs([measured_run.path, run_copy.path])
    assert {tuple(row) for row in rows} == {tuple(keys("compare", [1, 16]))}
    report = collect(measured_run)
    assert {tuple(row) for row in report.rows} == {tuple(keys("report", [1, 16]))}
    assert {tuple(target) for row in report.rows for target in row["targets"]} == {tuple(keys("report targets"))}


def test_batches_that_only_one_run_was_measured_with_are_columns_too(measured_run, run_copy, monkeypatch):
    from regkd_edge.report import comparison

    reports = {str(run.path): collect(run) for run in (measured_run, run_copy)}
    other = reports[str(run_copy.path)]
    other.batches = [16, 256]
    for row in other.rows:
        row["p50_us_b256"], row["p99_us_b256"] = 7.0, None
    monkeypatch.setattr(comparison, "collect", lambda run: reports[str(run.path)])
    rows, _ = compare_runs(list(reports))
    assert rows[0]["p50_us_b256"] is None and rows[-1]["p50_us_b256"] == 7.0
    headings = [column.heading for column in comparison.comparison_table(rows).columns]
    assert "p50 µs, batch 256" in headings and "p99 µs, batch 256" not in headings


def test_other_rows_and_other_targets_are_said(measured_run, run_copy, monkeypatch):
    from regkd_edge.report import comparison

    reports = {str(run.path): collect(run) for run in (measured_run, run_copy)}
    monkeypatch.setattr(comparison, "collect", lambda run: reports[str(run.path)])
    other = reports[str(run_copy.path)]
    other.truth = np.array(other.truth) + 1.0
    assert "different held-out rows" in compare_runs(list(reports))[1][0]
    other.target_names = ["torque"]
    assert "targets torque" in compare_runs(list(reports))[1][0]


def test_one_run_is_no_comparison_and_a_folder_is_no_run(measured_run, tmp_path):
    with pytest.raises(UserError, match="twice"):
        compare_runs([measured_run.path, measured_run.path.parent / "." / measured_run.path.name])
    with pytest.raises(UserError, match="1 run, expected at least 2"):
        compare_runs([measured_run.path])
    with pytest.raises(RunFolderError):
        compare_runs([measured_run.path, tmp_path])


def test_the_command_prints_both_and_json_holds_numbers(measured_run, run_copy, capsys, monkeypatch):
    from regkd_edge.cli.app import app

    monkeypatch.setenv("COLUMNS", "200")
    assert not app(["compare", str(measured_run.path), str(run_copy.path)], standalone_mode=False)
    out = capsys.readouterr().out
    assert out.count("teacher") >= 2 and "same" in out and "…" not in out
    assert not app(["compare", str(measured_run.path), str(run_copy.path), "--json"], standalone_mode=False)
    table = json.loads(capsys.readouterr().out)["table"]
    assert all(isinstance(row["rmse"], float) for row in table)


def test_one_target_of_all_runs_takes_no_column_and_its_unit_stands_in_the_heading(measured_run, run_copy):
    rows, _ = compare_runs([measured_run.path, run_copy.path])
    heads = [column.heading for column in comparison_table(rows).columns]
    assert "RMSE (power)" in heads and "target" not in heads
    several = [*rows, {**rows[0], "target": "torque"}]
    heads = [column.heading for column in comparison_table(several).columns]
    assert "RMSE" in heads and "target" in heads
