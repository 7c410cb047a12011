"""Other sources of tables: bundled sets, NPZ, Parquet."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from regkd_edge.config import DataConfig
from regkd_edge.data import load_table
from regkd_edge.data.prepare import prepare
from regkd_edge.errors import DataError, NotAvailable


def test_bundled_sets_know_their_target_and_come_in_raw_units():
    pytest.importorskip("sklearn")
    digits, diabetes = load_table("digits"), load_table("diabetes", ["progression"])
    assert (len(digits), digits.d, digits.target_names) == (1797, 64, ["digit"])
    assert set(np.unique(digits.y)) == set(range(10)) and digits.x.max() == 16
    assert (len(diabetes), diabetes.d) == (442, 10) and diabetes.x[:, 0].max() > 60  # ages in years
    with pytest.raises(DataError, match="no column 'value'"):
        load_table("digits", ["value"])


def test_bundled_sets_need_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(NotAvailable, match="scikit-learn"):
        load_table("digits")


def test_npz_with_x_and_y(tmp_path):
    path = tmp_path / "t.npz"
    x, y = np.arange(12).reshape(4, 3), np.arange(8).reshape(4, 2)
    np.savez(path, x=x, y=y, target_names=np.array(["u", "v"]))
    table = load_table(path)
    assert table.feature_names == ["x0", "x1", "x2"] and table.target_names == ["u", "v"] and (table.y == y).all()
    one = load_table(path, ["v"])
    assert one.feature_names == ["x0", "x1", "x2"], "a stored target that is not wanted must not become an input"
    assert one.warnings == ["stored target 'u' is not used"]


def test_npz_of_columns(tmp_path):
    path = tmp_path / "t.npz"
    np.savez(path, a=[1, 2, 3], b=[4.0, 5.0, 7.0])
    table = load_table(path, ["b"])
    assert table.feature_names == ["a"] and table.y.ravel().tolist() == [4, 5, 7]
    with pytest.raises(DataError, match="no target named"):
        load_table(path)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.ones((3, 2)), "y": np.ones(4)}, "x has 3 rows and y 4"),
        ({"x": np.ones(3), "y": np.ones(3)}, r"array 'x' has shape \(3,\)"),
        ({"x": np.ones((3, 2)), "y": np.arange(3), "feature_names": ["a"]}, "1 feature_names for 2 columns"),
        ({"x": np.ones((3, 2)), "y": np.arange(3), "feature_names": ["a", "a"]}, "'a' appears more than once"),
        ({"a": np.arange(3), "b": np.arange(4)}, r"holds a \(3,\), b \(4,\)"),
        ({"a": np.arange(3), "y0": np.array(["p", "q", "r"])}, "column 'y0' holds 3 words, such as 'p' in row 1"),
        (
            {"x": np.array([[1.0], [np.nan], [2.0]]), "y": np.arange(3)},
            r"column 'x0' holds 1 blank or nan cell of 3 \(first in row 2\)",
        ),
        ({"x": np.array([[1j], [2], [3]]), "y": np.arange(3)}, "complex"),
        ({"x": np.array([[{}], [{}], [{}]], dtype=object), "y": np.arange(3)}, "not a readable NPZ file"),  # a pickle
    ],
)
def test_bad_npz_is_refused(tmp_path, arrays, message):
    path = tmp_path / "t.npz"
    np.savez(path, **arrays)
    with pytest.raises(DataError, match=message):
        load_table(path, ["y0"])


def test_a_cut_off_npz_is_refused(tmp_path):
    path = tmp_path / "t.npz"
    np.savez(path, x=np.ones((3, 2)), y=np.arange(3))
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match="not a readable NPZ file"):
        load_table(path)


def test_parquet(tmp_path):
    pa = pytest.importorskip("pyarrow", reason="pyarrow (extra 'data') is not installed")
    import pyarrow.parquet as pq

    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"a": [1, 2, 3], "flag": [True, False, True], "b": [1.5, 2.5, 4.5]}), path)
    table = load_table(path, ["b"])
    assert table.x.tolist() == [[1, 1], [2, 0], [3, 1]] and table.y.ravel().tolist() == [1.5, 2.5, 4.5]
    pq.write_table(pa.table({"a": ["p", "q"], "b": [1.0, 2.0]}), path)
    with pytest.raises(DataError, match="column 'a' holds 2 words, such as 'p' in row 1.*--categorical a"):
        load_table(path, ["b"])
    pq.write_table(pa.table({"a": pa.array([1, None], pa.int32()), "b": [1.0, 2.0]}), path)
    with pytest.raises(DataError, match="column 'a' holds 1 blank or nan cell of 2 .first in row 2"):
        load_table(path, ["b"])
    path.write_bytes(b"PAR1 and nothing more")
    with pytest.raises(DataError, match="not a readable Parquet"):
        load_table(path, ["b"])


def test_numbers_that_parquet_stores_as_texts_are_read_as_those_of_a_text_table(tmp_path):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path, comma = tmp_path / "t.parquet", ["1,5", "3,25", "1,5"]
    columns = {"a": ["1.5", " 3.25", "7"], "b": comma, "c": ["1,500", "2,000", "300"], "y": [1.0, 2.0, 4.0]}
    pq.write_table(pa.table({"a": columns["a"], "y": columns["y"]}), path)
    assert load_table(path, ["y"]).x.tolist() == [[1.5], [3.25], [7]]
    pq.write_table(pa.table({"b": pa.array(comma).dictionary_encode(), "y": columns["y"]}), path)
    with pytest.raises(DataError, match="'b' holds numbers with a decimal comma.*Add: --decimal comma"):
        load_table(path, ["y"])
    assert load_table(path, ["y"], decimal="comma").x.tolist() == [[1.5], [3.25], [1.5]]
    pq.write_table(pa.table({"c": columns["c"], "y": columns["y"]}), path)
    with pytest.raises(DataError, match="thousands separator.*Add: --thousands comma"):
        load_table(path, ["y"])
    assert load_table(path, ["y"], thousands="comma").x.tolist() == [[1500], [2000], [300]]
    pq.write_table(pa.table({"a": ["1.5", "NA", "7", "2"], "y": [1.0, 2.0, 4.0, 3.0]}), path)
    with pytest.raises(DataError, match="'NA' in 1 cell .first in row 2.*--missing NA --blanks drop") as error:
        load_table(path, ["y"])
    assert "decimal" not in str(error.value)
    assert load_table(path, ["y"], missing=["NA"], blanks="drop").x.tolist() == [[1.5], [7], [2]]


def test_lists_and_bytes_of_a_parquet_file_are_named_as_such(tmp_path):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"s": [[1.0, 2.0], [3.0, 4.0]], "r": [b"x", b"x"], "a": [1, 2], "y": [1.0, 2.0]}), path)
    with pytest.raises(DataError, match="'s' holds values of type list<.*'r' holds values of type binary") as error:
        load_table(path, ["y"])
    assert error.value.remedy == "Add: --drop s,r"
    with pytest.raises(DataError, match="The target 's' must be numbers: make a column of each"):
        load_table(path, ["s"], drop=["r"])


def test_the_index_of_a_data_frame_is_no_input(tmp_path):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"a": [1, 2, 3, 9], "y": [1.0, 2.0, 4.0, 3.0], "__index_level_0__": [7, 3, 40, 2]}), path)
    read = load_table(path, ["y"])
    assert read.feature_names == ["a"] and any("index of a data frame" in note for note in read.warnings)
    units, _ = prepare(DataConfig(data=str(path), target="y", group="__index_level_0__", validation=0.3, test=0.3), 0)
    assert units.aside["__index_level_0__"] == ["7", "3", "40", "2"]


@pytest.mark.parametrize("rows", [30, 10, -20])
def test_a_parquet_file_that_announces_other_rows_than_it_holds_is_refused(rows, tmp_path):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path, begin = tmp_path / "t.parquet", 0
    pq.write_table(pa.table({"a": np.arange(20.0), "y": np.arange(20.0)}), path)
    sound = path.read_bytes()
    while True:  # the byte of the footer that says 20 rows, as a whole number in zigzag
        begin = sound.index(40, begin + 1)
        path.write_bytes(sound[:begin] + bytes([2 * rows if rows > 0 else -2 * rows - 1]) + sound[begin + 1 :])
        try:
            if pq.read_metadata(path).num_rows == rows:
                break
        except (OSError, pa.ArrowException):
            pass
    with pytest.raises(DataError, match=f"announces {rows} rows, and"):  # not 10 rows of what lay in the memory
        load_table(path, ["y"])


def test_long_words_of_a_parquet_file_are_one_text_each_and_may_not_inflate(tmp_path):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "t.parquet"
    words = ["x" * 1000, "z"] * 50
    pq.write_table(pa.table({"a": words, "b": ["p", None, "q", "p"] * 25, "y": range(100)}), path)
    read = load_table(path, ["y"], categorical=["a"], drop=["b"])
    assert read.feature_names == [f"a={words[0]}", "a=z"] and read.x[:3].tolist() == [[1, 0], [0, 1], [1, 0]]
    with pytest.raises(DataError, match="column 'b' holds 25 blank or nan cells of 100"):
        load_table(path, ["y"], categorical=["a", "b"])
    pq.write_table(pa.table({"a": ["x" * 100_000_000, "b"], "y": [1, 2]}), path, compression="zstd")
    with pytest.raises(DataError, match="bytes of pages, more than 100 times its size"):
        load_table(path, ["y"])


def test_parquet_needs_pyarrow(tmp_path, monkeypatch):
    (tmp_path / "t.parquet").write_bytes(b"x")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(NotAvailable, match=r"regkd-edge\[data\]"):
        load_table(tmp_path / "t.parquet", ["b"])
