"""The data files of a run: what is written comes back, what is damaged is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from regkd_edge.config import RunConfig
from regkd_edge.data import Columns, Table, load_dataset, load_predictions, save_dataset, save_predictions, split
from regkd_edge.errors import DataError, RunFolderError
from regkd_edge.run import RunFolder


@pytest.fixture
def run(tmp_path):
    run = RunFolder.create(tmp_path / "run", RunConfig())
    rng = np.random.default_rng(0)
    table = Table(rng.normal(size=(20, 3)), rng.normal(size=(20, 2)), ["a", "b", "c"], ["u", "v"], "here.csv", ["note"])
    save_dataset(run, table, split(20, 0.2, 0.2, 0))
    run.table = table
    return run


def test_round_trip(run):
    data = load_dataset(run)
    assert np.array_equal(data.x, run.table.x) and np.array_equal(data.y, run.table.y)
    assert data.table.target_names == ["u", "v"] and data.table.warnings == ["note"] and data.table.source == "here.csv"
    assert data.split.counts() == {"train": 12, "validation": 4, "test": 4}
    x, y = data.rows("validation")
    assert np.array_equal(x, data.x[data.split.validation]) and y.shape == (4, 2)


def test_what_each_input_is_comes_back_with_the_ranges_of_the_training_rows(run):
    x = run.table.x.copy()
    x[:, 1] = np.arange(20) % 4
    parts = split(20, 0.2, 0.2, 0)
    x[parts.test, 0] = 1e3
    declared = Columns.detect(x, ["a", "b", "c"], categorical=["b"])
    save_dataset(run, replace(run.table, x=x, columns=declared), parts)
    columns = load_dataset(run).columns
    assert columns.kinds == ("continuous", "categorical", "continuous") and columns.values[1] == (0, 1, 2, 3)
    assert columns.high[0] == x[parts.train, 0].max() < 1e3


def test_a_run_without_stored_kinds_tells_them_from_its_rows(run):
    names = json.loads(run.file("data.json").read_text())
    del names["columns"]
    run.file("data.json").write_text(json.dumps(names))
    assert load_dataset(run).columns.kinds == ("continuous",) * 3


def test_the_same_data_make_the_same_bytes(run):
    before = run.file("data.npz").read_bytes()
    save_dataset(run, run.table, split(20, 0.2, 0.2, 0))
    assert run.file("data.npz").read_bytes() == before


def test_scalers_see_the_training_rows_only(run):
    data = load_dataset(run)
    data.x[data.split.test] = 1e6
    assert np.abs(data.scalers().x.mean).max() < 10


def test_a_target_constant_over_the_training_rows_is_refused(run):
    data = load_dataset(run)
    data.y[data.split.train, 1] = 5
    with pytest.raises(DataError, match=r"target 'v' is constant \(5\) over the 12 training rows"):
        data.scalers()


def _rename_kinds(run):
    names = json.loads(run.file("data.json").read_text())
    names["columns"]["names"][0] = "z"
    run.file("data.json").write_text(json.dumps(names))


def _replace(run, **changes):
    with np.load(run.file("data.npz")) as stored:
        arrays = dict(stored)
    arrays.update(changes)
    np.savez(run.file("data.npz"), **arrays)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda run: run.file("data.npz").unlink(), "no file"),
        (lambda run: run.file("data.json").unlink(), "no file"),
        (lambda run: run.file("data.npz").write_bytes(run.file("data.npz").read_bytes()[:300]), "corrupt"),
        (lambda run: run.file("data.npz").write_bytes(b""), "corrupt"),
        (lambda run: run.file("data.json").write_text("{"), "corrupt"),
        (lambda run: run.file("data.json").write_text("[]"), "corrupt"),
        (lambda run: run.file("data.json").write_text(json.dumps({"format": 99})), "format 99, expected 1"),
        (_rename_kinds, "column kinds name other inputs"),
        (lambda run: _replace(run, test=np.array([0])), "not a partition"),
        (lambda run: _replace(run, test=np.array(["a"])), "no row numbers"),
        (lambda run: _replace(run, train=np.array(3)), "no row numbers"),
        (lambda run: _replace(run, x=np.zeros((20, 4))), "feature_names does not name the 4 columns"),
        (lambda run: _replace(run, x=np.zeros((19, 3))), "equal numbers of rows"),
        (lambda run: _replace(run, y=np.full((20, 2), np.nan)), "not finite"),
        (lambda run: _replace(run, y=np.full((20, 2), "a")), "expected two float64 tables"),
    ],
)
def test_damaged_files_are_refused(run, damage, message):
    damage(run)
    with pytest.raises(RunFolderError, match=message):
        load_dataset(run)


def test_predictions_round_trip_and_are_checked(tmp_path):
    path = save_predictions(tmp_path / "student" / "predictions.npz", np.arange(6.0).reshape(3, 2))
    assert load_predictions(path, (3, 2)).tolist() == [[0, 1], [2, 3], [4, 5]]
    with pytest.raises(RunFolderError, match=r"\(3, 2\) of float64, expected \(4, 2\)"):
        load_predictions(path, (4, 2))
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(RunFolderError, match="corrupt"):
        load_predictions(path)
