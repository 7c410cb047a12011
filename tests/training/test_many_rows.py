"""Tables of many rows in memory: what is copied is small, and nothing else changes."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from regkd_edge.config import TeacherConfig
from regkd_edge.data import Dataset, Table, split, store
from regkd_edge.data.scaler import Scalers
from regkd_edge.training import result, train_teacher
from regkd_edge.training.setting import standardized_rows


@pytest.fixture(scope="module")
def long():
    rng = np.random.default_rng(0)
    x = rng.normal([300.0, 0.0, 1e-3, 5.0], [20.0, 1.0, 1e-4, 2.0], size=(120_000, 4))
    table = Table(x, np.sin(x[:, 1:2]) + 0.1 * x[:, 3:], list("abcd"), ["y"], "long")
    return Dataset(table, split(len(x), 0.1, 0.1, 0))


def test_rows_are_standardised_as_the_whole_at_once(long):
    scalers = long.scalers()
    x, y = long.rows("train")
    whole = scalers.x.standardize(x), scalers.y.standardize(y)
    for kind in (np.float64, np.float32):
        for ours, theirs in zip(standardized_rows(long, long.split.train, scalers, kind), whole, strict=True):
            assert ours.dtype == kind and np.array_equal(ours, theirs.astype(kind))


def test_scalers_of_many_rows_are_those_of_few(long, monkeypatch):
    monkeypatch.setattr(store, "_AT_ONCE", 1000)
    many, few = long.scalers(), Scalers.fit(*long.rows("train"))
    for a, b in ((many.x, few.x), (many.y, few.y)):  # sums in another order
        assert np.allclose(a.mean, b.mean, rtol=1e-12) and np.allclose(a.scale, b.scale, rtol=1e-12)


def test_a_teacher_of_many_rows_copies_less_than_the_table(long, monkeypatch, tmp_path):
    """It was twice the table: a float64 copy of the training rows, its standardised one, its quantiles and ranks."""
    monkeypatch.setattr(store, "_AT_ONCE", 1000)
    monkeypatch.setattr(result, "_SUMMARIZED", 1 << 14)
    monkeypatch.setattr("regkd_edge.data.stored._BLOCK", 1 << 18)
    summaries, genuine = [], result.summary_of_inputs
    monkeypatch.setattr(result, "summary_of_inputs", lambda x, ends: (summaries.append(len(x)), genuine(x, ends))[1])
    tracemalloc.start()
    trained = train_teacher(long, TeacherConfig(teacher="mlp:4:tanh", epochs=1), 0)
    teacher = trained.as_teacher("here", long)
    peak = tracemalloc.get_traced_memory()[1]  # float32 rows, the checks' blocks, float64 validation rows
    tracemalloc.stop()
    trained.save(tmp_path, long)
    assert len(summaries) == 1 and summaries[0] <= (1 << 14) // 4, "once, of a sample"
    assert peak < 1.0 * long.x.nbytes
    train = long.rows("train")[0]
    quantiles = teacher.extra["inputs"]["quantiles"]
    assert np.array_equal(quantiles[0], train.min(0)) and np.array_equal(quantiles[-1], train.max(0))
