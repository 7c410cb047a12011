"""Sets larger than memory: the same rows, statistics and students as in memory, and nothing read as a whole."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from regkd_edge.config import DataConfig, DistillConfig, TeacherConfig
from regkd_edge.data import load_dataset, prepare, save_dataset, stored
from regkd_edge.data.stored import StoredRows, moments_of
from regkd_edge.models import load_teacher
from regkd_edge.run import RunFolder
from regkd_edge.training import distill, train_teacher
from regkd_edge.training.shards import Shards

RNG = np.random.default_rng(0)
N, SHAPE = 6000, (2, 4)
X = RNG.normal(size=(N, *SHAPE)).astype(np.float32) * 3 + 1
Y = np.tanh(X[:, 0].mean(1)) - 0.3 * X[:, 1, 0]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run folder whose inputs stay in their file."""
    monkeypatch.setattr(stored, "IN_MEMORY", 1000)
    np.savez(tmp_path / "d.npz", x=X, y=Y)
    table, parts = prepare(DataConfig(data=str(tmp_path / "d.npz")), 0)
    folder = RunFolder.prepare(tmp_path / "run")
    paths = save_dataset(folder, table, parts)
    assert [path.name for path in paths] == ["data.npz", "data.json", "x.npy"]
    return folder


def test_rows_split_and_statistics_are_those_of_memory(run, monkeypatch):
    data = load_dataset(run)
    assert isinstance(data.x, StoredRows) and data.input_shape == SHAPE and data.x.shape == (N, 8)
    assert np.array_equal(data.x[np.arange(N)], X.reshape(N, 8)) and np.array_equal(data.y[:, 0], Y)
    assert np.load(run.file("x.npy")).dtype == np.float32
    parts = data.split
    every = np.concatenate([parts.train, parts.validation, parts.test])
    assert sorted(every) == list(range(N)) and len(parts.test) <= stored.held_out_limit(8)
    train = X.reshape(N, 8)[parts.train].astype(np.float64)
    scaler = data.scalers().x
    assert np.allclose(scaler.mean, train.mean(0), rtol=1e-12) and np.allclose(scaler.scale, train.std(0), rtol=1e-12)
    assert np.array_equal(data.columns.low, train.min(0)) and np.array_equal(data.columns.high, train.max(0))


def test_rows_of_a_table_stay_in_their_file_too(tmp_path, monkeypatch):
    monkeypatch.setattr(stored, "IN_MEMORY", 1000)
    np.save(tmp_path / "x.npy", X.reshape(N, 8))
    np.save(tmp_path / "y.npy", Y[:, None])
    table, parts = prepare(DataConfig(data=str(tmp_path / "x.npy"), labels=str(tmp_path / "y.npy")), 0)
    folder = RunFolder.prepare(tmp_path / "run")
    save_dataset(folder, table, parts)
    data = load_dataset(folder)
    assert isinstance(data.x, StoredRows) and data.input_shape is None and data.x.shape == (N, 8)
    teacher = train_teacher(data, TeacherConfig(teacher="mlp:4:tanh", epochs=1), 0).as_teacher()
    student = distill(data, teacher, DistillConfig(student="mlp:4:tanh", recipe="mimic", steps=20), 0)
    assert np.isfinite(student.history[-1]["validation_rmse"])


@pytest.mark.parametrize("index", [slice(3, 9), np.array([5, 2, 2, 4000]), np.arange(N) % 7 == 0])
def test_an_index_means_what_it_means_in_an_array(tmp_path, index):
    np.save(tmp_path / "x.npy", X)
    rows = StoredRows(np.load(tmp_path / "x.npy", mmap_mode="r"))
    assert np.array_equal(rows[index], X.reshape(N, 8)[index])
    some = np.array([7, 3, 5999, 0])
    assert np.array_equal(rows.take(some)[1:], X.reshape(N, 8)[some[1:]])
    assert np.array_equal(rows.take(some).take(np.array([2]))[:], X.reshape(N, 8)[[5999]])


def test_moments_of_blocks_are_those_of_the_whole(monkeypatch):
    monkeypatch.setattr(stored, "_BLOCK", 1000)
    values = RNG.normal(size=(777, 5)) * 1e3 + 1e6
    found = moments_of(values)
    assert np.allclose(found.mean, values.mean(0), rtol=1e-14) and np.allclose(
        found.deviation, values.std(0), rtol=1e-10
    )
    assert moments_of(np.rint(values)).whole and not found.whole and found.count == 777


def test_a_pass_over_the_shards_sees_every_row(monkeypatch):
    monkeypatch.setattr("regkd_edge.training.shards._FEWEST", 640)
    monkeypatch.setattr("regkd_edge.training.shards._BYTES", 1)
    rows = np.setdiff1d(np.arange(5000), np.arange(0, 5000, 7))
    shards = Shards(rows, 8, 32, 3, make=None)
    assert shards.size == 640 and shards.steps == 20
    seen = [shards.rows_of(k) for k in range(8)]
    assert {len(one) for one in seen} == {640} and set(np.concatenate(seen)) == set(rows)
    assert np.array_equal(shards.rows_of(3), Shards(rows, 8, 32, 3, make=None).rows_of(3))
    assert not np.array_equal(seen[0], shards.rows_of(7))


@pytest.mark.parametrize("count", [1, 50, 63, 100])
def test_few_rows_are_one_shard(count):
    rows = np.arange(7, 7 + count)
    shards = Shards(rows, 30_000, 20, 0, None)
    assert set(shards.rows_of(0)) <= set(rows) and len(shards.rows_of(3)) == shards.size == 64
    assert shards.steps == 4


def test_a_student_learns_from_all_shards_and_resumes_with_the_same_bits(run, tmp_path, monkeypatch):
    monkeypatch.setattr("regkd_edge.training.shards._FEWEST", 1024)
    monkeypatch.setattr("regkd_edge.training.shards._BYTES", 1)
    monkeypatch.setattr("regkd_edge.training.loop.SAVE_AFTER", 0.0)
    data = load_dataset(run)
    asked = []

    def teacher(x):
        asked.append(len(x))
        return np.tanh(x[:, :4].mean(1)) - 0.3 * x[:, 4]

    config = DistillConfig(student="mlp:16:tanh", recipe=None, terms=[], base="mimic", steps=400, evaluate_every=50)
    student = distill(data, load_teacher(teacher), config, 0)
    assert student.best_validation < 0.35 * Y.std() and len(student.rows.train) == len(data.split.train)
    assert sum(asked) > 3 * 1024  # of several shards

    def stop(step, *figures):
        if step >= 200:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        distill(data, load_teacher(teacher), config, 0, progress=stop, checkpoint=tmp_path / "state")
    again = distill(data, load_teacher(teacher), config, 0, checkpoint=tmp_path / "state")
    for one, other in zip(student.module.state_dict().values(), again.module.state_dict().values()):
        assert torch.equal(one, other)


def test_a_teacher_is_trained_and_recipe_auto_races_on_a_sample(run):
    data = load_dataset(run)
    trained = train_teacher(data, TeacherConfig(teacher="mlp:16:tanh", epochs=8), 0)
    assert trained.best_validation < 0.5 * Y.std()
    teacher = trained.as_teacher("trained here", data)
    student = distill(data, teacher, DistillConfig(student="mlp:8:tanh", steps=300), 0)
    assert student.race is not None and len(student.rows.train) == len(data.split.train)


def test_known_answers_are_not_requested_again(run):
    from dataclasses import replace

    data = load_dataset(run)
    answers = Y[:, None].astype(np.float64)

    def refuses(x):
        if len(x) > 300:  # the checks of a teacher ask about some rows
            raise AssertionError("asked about many rows")
        return np.tanh(x[:, :4].mean(1)) - 0.3 * x[:, 4]

    config = DistillConfig(student="mlp:8:tanh", recipe=None, terms=[], base="mimic", steps=50, evaluate_every=50)
    with pytest.raises(Exception, match="asked about many rows"):
        distill(data, load_teacher(refuses), config, 0)
    distill(replace(data, answers=answers), load_teacher(refuses), config, 0)


def test_memory_stays_far_below_the_size_of_the_set(tmp_path, monkeypatch):
    monkeypatch.setattr(stored, "IN_MEMORY", 1 << 20)
    monkeypatch.setattr(stored, "_BLOCK", 1 << 20)
    monkeypatch.setattr("regkd_edge.data.flattened._BLOCK", 1 << 17)
    rows = RNG.normal(size=(40_000, 4, 64)).astype(np.float32)  # 40 MB, 80 MB as float64
    np.savez(tmp_path / "d.npz", x=rows, y=rows.mean(axis=(1, 2)))
    del rows
    tracemalloc.start()
    table, parts = prepare(DataConfig(data=str(tmp_path / "d.npz")), 0)
    folder = RunFolder.prepare(tmp_path / "run")
    save_dataset(folder, table, parts)
    load_dataset(folder).scalers()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40 << 20  # half of the set: 3,000 examples are compared with each other, whatever its size
    with pytest.raises(ValueError, match="stays in its file"):
        prepare(DataConfig(data=str(tmp_path / "d.npz"), test_data=str(tmp_path / "d.npz")), 0)


def test_a_damaged_file_of_rows_is_named(run):
    content = run.file("x.npy").read_bytes()
    run.file("x.npy").write_bytes(content[: len(content) // 2])
    with pytest.raises(Exception, match=r"x\.npy' is corrupt: .*ends after"):
        load_dataset(run)


def test_a_read_that_the_system_cuts_short_goes_on(tmp_path):
    """One call of the system reads at most 2 GiB; here it reads 5 bytes."""
    x = np.arange(60.0, dtype=np.float32).reshape(20, 3)
    np.save(tmp_path / "x.npy", x)
    rows = StoredRows(np.load(tmp_path / "x.npy", mmap_mode="r"))
    genuine = rows._file

    class Short:
        name, seek = genuine.name, genuine.seek

        def readinto(self, out):
            return genuine.readinto(out[:5])

    rows._file = Short()
    assert np.array_equal(rows[2:19], x[2:19])
