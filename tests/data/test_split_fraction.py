"""A share of the rows keeps whole units where the table names them."""

from __future__ import annotations

import numpy as np
import pytest

from regkd_edge.config import DataConfig
from regkd_edge.data import load_dataset, save_dataset
from regkd_edge.data.prepare import prepare
from regkd_edge.data.split import subset
from regkd_edge.errors import RunFolderError
from regkd_edge.run import RunFolder


@pytest.fixture
def dataset(tmp_path):
    """40 machines with 2 to 9 rows each."""
    rng = np.random.default_rng(0)
    machine = np.repeat(np.arange(40), rng.integers(2, 10, 40))
    x = rng.normal(size=len(machine))
    lines = [f"m{m},{v},{2 * v + m}" for m, v in zip(machine, x)]
    (tmp_path / "t.csv").write_text("machine,a,y\n" + "\n".join(lines))
    config = DataConfig(source=str(tmp_path / "t.csv"), target="y", group="machine")
    table, split = prepare(config, 0)
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    save_dataset(run, table, split)
    return load_dataset(run), machine, run


def test_units_are_kept_whole_and_shares_are_nested(dataset):
    stored, machine, _ = dataset
    whole = stored.split
    before: set[int] = set()
    for fraction in (0.1, 0.3, 0.6, 1.0):
        kept = subset(whole, fraction, 3)
        for rows, all_rows in ((kept.train, whole.train), (kept.validation, whole.validation)):
            drawn = set(machine[rows])
            assert all(np.isin(np.flatnonzero(machine == m), rows).all() for m in drawn), fraction
            assert abs(len(rows) - fraction * len(all_rows)) <= 9  # the rows of one machine
        assert before <= set(kept.train.tolist())
        before = set(kept.train.tolist())
    assert before == set(whole.train.tolist())


def test_without_units_rows_are_drawn(dataset):
    stored, machine, _ = dataset
    from dataclasses import replace

    kept = subset(replace(stored.split, units=None), 0.3, 3)
    halved = [m for m in set(machine[kept.train]) if not np.isin(np.flatnonzero(machine == m), kept.train).all()]
    assert halved


def test_units_that_do_not_fit_are_refused(dataset):
    stored, _, run = dataset
    arrays = dict(np.load(run.file("data.npz")))
    for wrong in (arrays["units"][:-1], arrays["units"] + 0.5):
        np.savez(run.file("data.npz"), **{**arrays, "units": wrong})
        with pytest.raises(RunFolderError, match="units is"):
            load_dataset(run)
