"""Arrays of any rank: NPZ and NPY with their labels, mapped into memory, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from regkd_edge.config import DataConfig
from regkd_edge.data import as_rows, dataset_of, load_dataset, prepare, save_dataset
from regkd_edge.data.named import read_rows
from regkd_edge.errors import DataError
from regkd_edge.inspection import inspect
from regkd_edge.io.mapped import map_npy, map_npz
from regkd_edge.run import RunFolder

RNG = np.random.default_rng(0)
X = RNG.normal(size=(30, 2, 3, 4)).astype(np.float32)
Y = X.sum(axis=(1, 2, 3)).astype(np.float64)


def read(source, **options):
    return prepare(DataConfig(data=str(source), **options), 0)


@pytest.mark.parametrize("kind", ["stored", "compressed", "fortran", "npy"])
def test_examples_and_labels_arrive_as_they_are(tmp_path, kind):
    source, options = tmp_path / "data.npz", {}
    if kind == "npy":
        source = tmp_path / "data.npy"
        np.save(source, X)
        (tmp_path / "labels.csv").write_text("sum\n" + "".join(f"{v!r}\n" for v in Y.tolist()))
        np.save(tmp_path / "labels.npy", Y)
        assert np.array_equal(read(source, labels=str(tmp_path / "labels.npy"))[0].y[:, 0], Y)
        (tmp_path / "labels.csv").write_text("sum,n\n" + "".join(f"{v!r},{i}\n" for i, v in enumerate(Y.tolist())))
        options = {"labels": str(tmp_path / "labels.csv"), "target": "sum"}
    elif kind == "fortran":
        np.savez(source, x=np.asfortranarray(X), y=Y)
    else:
        (np.savez if kind == "stored" else np.savez_compressed)(source, x=X, y=Y)
    table, parts = read(source, **options)
    assert table.input_shape == (2, 3, 4) and table.feature_names[-1] == "x1.2.3"
    assert np.array_equal(table.x, X.reshape(30, 24)) and np.array_equal(table.y[:, 0], Y)
    assert sum(parts.counts().values()) == 30


def test_vectors_beside_x_are_units_parts_and_targets(tmp_path):
    source = tmp_path / "data.npz"
    part = np.array(["train"] * 20 + ["validation"] * 5 + ["test"] * 5)
    np.savez(source, x=X, y=np.stack([Y, Y**2], 1), target_names=["s", "q"], subject=np.arange(30) // 3, part=part)
    table, parts = read(source, target="q,s", group="subject")
    assert table.target_names == ["q", "s"] and np.array_equal(table.y, np.stack([Y**2, Y], 1))
    subject = np.arange(30) // 3
    assert not set(subject[parts.train]) & set(subject[parts.test])
    table, parts = read(source, target="s", split_column="part")
    assert parts.test.tolist() == list(range(25, 30)) and table.d == 24
    table, parts = read(source, target="s", split="time")
    assert parts.test.min() > parts.validation.min() > parts.train.max()


def test_arrays_are_mapped_not_read(tmp_path):
    np.save(tmp_path / "x.npy", X)
    np.savez(tmp_path / "x.npz", y=Y, x=X)
    for mapped in (map_npy(tmp_path / "x.npy"), map_npz(tmp_path / "x.npz", "x")):
        assert isinstance(mapped, np.memmap) and np.array_equal(mapped, X) and not mapped.flags.writeable
    np.savez_compressed(tmp_path / "z.npz", x=X)
    assert map_npz(tmp_path / "z.npz", "x") is None


def test_a_matrix_with_labels_is_a_table(tmp_path):
    np.save(tmp_path / "x.npy", X.reshape(30, 24))
    np.save(tmp_path / "y.npy", Y)
    table, _ = read(tmp_path / "x.npy", labels=str(tmp_path / "y.npy"))
    assert table.input_shape is None and table.d == 24


def test_the_run_folder_keeps_the_shape(tmp_path):
    np.savez(tmp_path / "d.npz", x=X, y=Y)
    table, parts = read(tmp_path / "d.npz")
    run = RunFolder.prepare(tmp_path / "run")
    save_dataset(run, table, parts)
    data = load_dataset(run)
    assert data.input_shape == (2, 3, 4) and np.array_equal(data.x, table.x)
    text = (tmp_path / "run" / "data.json").read_text()
    (tmp_path / "run" / "data.json").write_text(text.replace('"input_shape"', '"input_shapes"'))
    assert load_dataset(run).input_shape is None


def test_rows_for_a_prediction_need_no_labels(tmp_path):
    np.save(tmp_path / "x.npy", X)
    names = read_names = [f"x{i}.{j}.{k}" for i in range(2) for j in range(3) for k in range(4)]
    assert np.array_equal(read_rows(tmp_path / "x.npy", names, (2, 3, 4)).x, X.reshape(30, 24))
    with pytest.raises(DataError, match=r"shape \[2, 3, 4\], expected \[4, 3, 2\]"):
        read_rows(tmp_path / "x.npy", read_names, (4, 3, 2))


def test_inspect_says_what_is_there(tmp_path):
    np.savez(tmp_path / "d.npz", x=X, y=Y)
    kind, facts = inspect(tmp_path / "d.npz")
    assert kind == "array" and facts == {"x": "[30, 2, 3, 4] float32", "y": "[30] float64"}


def test_python_takes_arrays_of_any_rank():
    data = dataset_of(X, Y, seed=0)
    assert data.input_shape == (2, 3, 4) and np.array_equal(data.x, X.reshape(30, 24))
    assert np.array_equal(as_rows(X, shape=(2, 3, 4))[0], data.x) and as_rows(data.x, shape=(2, 3, 4))[0].shape == (
        30,
        24,
    )
    with pytest.raises(DataError, match=r"shape \[30, 3, 4, 2\]"):
        as_rows(np.moveaxis(X, 1, 3), shape=(2, 3, 4))


def spoil(path, how):
    if how == "objects":
        np.savez(path, x=np.array([[[1]], [[{}]]], dtype=object), y=np.zeros(2))
        return np.save(path.with_suffix(".npy"), np.ones((2, 1, 1)))
    content = {
        "too few labels": {"x": X, "y": Y[:-1]},
        "nan": {"x": np.where(np.arange(30)[:, None, None, None] == 3, np.nan, X), "y": Y},
        "large": {"x": X.astype(np.float64) * 1e35, "y": Y},
        "constant target": {"x": X, "y": np.ones(30)},
        "complex": {"x": X * 1j, "y": Y},
        "no targets": {"x": X},
        "equal": {"x": np.ones_like(X), "y": Y},
        "wide": {"x": np.zeros((3, 400, 400)), "y": Y[:3]},
        "empty": {"x": X[:0], "y": Y[:0]},
    }[how]
    np.savez(path, **content)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("objects", "holds Python objects, which are never loaded"),
        ("too few labels", r"x has the shape \(30, 2, 3, 4\) and y \(29,\), expected y of 30 rows"),
        ("nan", "1 of 30 examples hold values that are not finite .first: example 3.*--blanks drop"),
        ("large", "example 0 has values beyond 1e.30"),
        ("constant target", "target 'y' .* is constant"),
        ("complex", "x is of type complex64, expected real numbers"),
        ("no targets", "no target named"),
        ("equal", "30 rows hold 1 distinct inputs"),
        ("wide", r"an example \(400, 400\) has 160,000 numbers"),
        ("empty", r"shape \(0, 2, 3, 4\)"),
    ],
)
def test_what_cannot_be_used_is_said(tmp_path, how, message):
    spoil(tmp_path / "d.npz", how)
    with pytest.raises(DataError, match=message):
        read(tmp_path / "d.npz")


def test_headers_that_lie_and_bombs_are_refused_at_once(tmp_path):
    head = b"{'descr': '<f4', 'fortran_order': False, 'shape': (100000, 3000, 3000), }".ljust(117) + b"\n"
    lie = tmp_path / "lie.npy"
    lie.write_bytes(b"\x93NUMPY\x01\x00v\x00" + head + b"\0" * 100)
    np.save(tmp_path / "y.npy", Y)
    with pytest.raises(DataError, match="announces the shape .* ends after"):
        read(lie, labels=str(tmp_path / "y.npy"))
    np.savez_compressed(tmp_path / "bomb.npz", x=np.zeros((2000, 100, 100)), y=np.zeros(2000))
    with pytest.raises(DataError, match="compression bomb"):
        read(tmp_path / "bomb.npz", labels=str(tmp_path / "y.npy"))
    np.save(tmp_path / "x.npy", X)
    (tmp_path / "l.csv").write_text("y,z\n1,2\n2,3\n")
    with pytest.raises(DataError, match="30 examples and '.*l.csv' 2 rows"):
        read(tmp_path / "x.npy", labels=str(tmp_path / "l.csv"), target="y")
    with pytest.raises(DataError, match=r"examples of shape \[2, 3, 4\] and '.*' examples of shape \[3, 4\]"):
        np.savez(tmp_path / "a.npz", x=X, y=Y)
        np.savez(tmp_path / "b.npz", x=X[:, 0], y=Y)
        read(tmp_path / "a.npz", test_data=str(tmp_path / "b.npz"))


def test_examples_with_missing_values_are_left_out_when_told(tmp_path):
    spoil(tmp_path / "d.npz", "nan")
    table, _ = read(tmp_path / "d.npz", blanks="drop")
    assert len(table) == 29 and np.array_equal(table.y[:, 0], np.delete(Y, 3))
