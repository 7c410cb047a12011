"""Tables larger than memory: rows, split, kinds, notes and refusals are those of the same file in memory."""

from __future__ import annotations

import tracemalloc
import weakref

import numpy as np
import pytest

from regkd_edge.config import DataConfig
from regkd_edge.data import load_dataset, prepare, reading, save_dataset, stored
from regkd_edge.data.stored import StoredRows
from regkd_edge.errors import DataError
from regkd_edge.run import RunFolder

RNG = np.random.default_rng(3)
N = 3000
FLOW, LEVEL, CODE = RNG.normal(size=N).round(3), RNG.integers(0, 5000, N), RNG.integers(1, 4, N)
WORD = np.array(["red", "green", "blue"])[RNG.integers(0, 3, N)]
UNIT = np.array([f"u{k}" for k in RNG.integers(0, 40, N)])
Y = (np.sin(FLOW) + LEVEL / 5000 + 0.1 * RNG.normal(size=N)).round(4)


def lines(names, *columns):
    return "\n".join([",".join(names), *(",".join(map(str, row)) for row in zip(*columns))]) + "\n"


PLAIN = lines(["flow", "level", "code", "y"], FLOW, LEVEL, CODE, Y)
MIXED = lines(["unit", "flow", "word", "level", "y"], UNIT, FLOW, WORD, LEVEL, Y)


@pytest.fixture
def small_memory(monkeypatch):
    monkeypatch.setattr(reading, "_STREAMED", 0)
    monkeypatch.setattr(reading.fast, "_SMALL", 0)
    monkeypatch.setattr(reading.delimited, "_CHUNK", 500)
    monkeypatch.setattr(reading.parquet, "_BATCH", 700)

    def both(path, **options):
        """The same file in memory, and with its rows in a file."""
        answers = []
        for limit in (1 << 30, 1000):
            monkeypatch.setattr(stored, "IN_MEMORY", limit)
            try:
                answers.append(prepare(DataConfig(data=str(path), target=["y"], **options), 1, path.parent))
            except DataError as error:
                answers.append(str(error))
        return answers

    return both


def same(memory, large):
    (one, parts), (two, others) = memory, large
    assert isinstance(two.x, StoredRows) and not isinstance(one.x, StoredRows)
    assert np.array_equal(two.x[:], one.x) and np.array_equal(two.y, one.y)
    assert two.feature_names == one.feature_names and two.aside == one.aside
    assert two.columns.to_dict() == one.columns.to_dict()
    assert [n for n in two.warnings if "stay in their file" not in n] == one.warnings
    for part in ("train", "validation", "test"):
        assert sorted(getattr(others, part)) == sorted(getattr(parts, part))


@pytest.mark.parametrize(
    "text, options",
    [
        (PLAIN, {}),
        (PLAIN, {"split": "time", "drop": ["code"]}),
        (PLAIN, {"categorical": ["code"], "whole": ["level"]}),
        (PLAIN.replace(",", ", "), {}),
        (MIXED, {"group": "unit", "categorical": ["word"]}),
        (MIXED.replace("red", "", 40), {"drop": ["unit"], "categorical": ["word"], "blanks": "drop"}),
        (PLAIN + ",,,\n" * 3 + "1,2,1,3\n", {}),
        (PLAIN + ",,,\n", {}),
        (PLAIN + ",,,\n" * 1200, {}),
        (PLAIN + "-200,1,1,1\n" * 5, {"missing": ["flow=-200"], "blanks": "drop"}),
        (PLAIN + "-99,1,1,1\n" * 5, {"missing": ["-99"], "blanks": "drop"}),
    ],
)
def test_a_csv_file_is_the_table_in_memory(small_memory, tmp_path, text, options):
    path = tmp_path / "t.csv"
    path.write_text(text)
    memory, large = small_memory(path, **options)
    if isinstance(memory, str):
        assert memory == large
    else:
        same(memory, large)
    assert [p.name for p in tmp_path.iterdir()] == ["t.csv"]  # the rows have no name in the folder


def test_a_parquet_file_is_the_table_in_memory(small_memory, tmp_path):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    columns = {"flow": FLOW.astype(np.float32), "unit": UNIT, "level": LEVEL, "word": WORD, "y": Y}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet", row_group_size=900)
    same(*small_memory(tmp_path / "t.parquet", group="unit", categorical=["word"]))


def cells(text, *changed):
    """The text with some cells replaced: ``(row, column, cell)``."""
    rows = [line.split(",") for line in text.splitlines()]
    for row, column, cell in changed:
        rows[row][column] = cell
    return "\n".join(map(",".join, rows)) + "\n"


@pytest.mark.parametrize(
    "text, options",
    [
        (cells(PLAIN, (900, 0, "NA"), (1900, 0, "NA"), (2500, 1, "abc")), {}),
        (cells(PLAIN, (2999, 0, "")), {}),
        (cells(PLAIN, (40, 0, "inf"), (2000, 3, "")), {"blanks": "drop"}),
        (cells(PLAIN, *((k, 1, "") for k in range(1, N + 1))), {"blanks": "drop"}),
        (cells(PLAIN, *((k, k % 2, "") for k in range(1, N + 1))), {"blanks": "drop"}),
        (cells(PLAIN, (10, 2, "1e35"), (2000, 2, "2e35")), {}),
        (MIXED, {}),
        (MIXED, {"drop": ["unti"]}),
        (MIXED, {"group": "unti"}),
        (lines(["flow", "y"], FLOW, np.ones(N)), {}),
        (cells(PLAIN, (2000, 1, "1,2")), {}),
        (PLAIN, {"missing": ["flwo=-9"]}),
    ],
)
def test_the_refusals_are_those_of_memory(small_memory, tmp_path, text, options):
    path = tmp_path / "t.csv"
    path.write_text(text)
    memory, large = small_memory(path, **options)
    assert isinstance(memory, str) and large == memory
    assert [p.name for p in tmp_path.iterdir()] == ["t.csv"]


def test_test_rows_of_another_file_are_joined(small_memory, tmp_path):
    (tmp_path / "t.csv").write_text(MIXED)
    (tmp_path / "test.csv").write_text("\n".join(MIXED.splitlines()[:200]).replace(".", ".7"))
    test = {"test_data": str(tmp_path / "test.csv"), "drop": ["unit"]}
    same(*small_memory(tmp_path / "t.csv", **{**test, "drop": ["unit", "word"]}))
    (one, _), (two, parts) = small_memory(tmp_path / "t.csv", categorical=["word"], **test)
    assert np.array_equal(two.x[:], one.x) and min(parts.test) == N  # validation is drawn by the codes of the words


def test_what_the_fast_reader_wrote_is_gone_before_the_strict_one_writes(small_memory, tmp_path, monkeypatch):
    """The last line is for the strict reader: two copies of the table may not fit on the disk."""
    pytest.importorskip("pyarrow.csv", reason="pyarrow (extra 'data') is not installed")
    monkeypatch.setattr(reading.fast, "_BLOCK", 1 << 14)
    (tmp_path / "t.csv").write_text(PLAIN + "1,2,1,3,\n")
    empty, files, open_ones = StoredRows.empty, [], []

    def counting(*given):
        open_ones.append(sum(file() is not None for file in files))
        rows = empty(*given)
        files.append(weakref.ref(rows))
        return rows

    monkeypatch.setattr(StoredRows, "empty", counting)
    same(*small_memory(tmp_path / "t.csv"))
    assert open_ones == [0, 0]


def test_what_needs_memory_says_so(small_memory, tmp_path):
    (tmp_path / "t.csv").write_text(cells(PLAIN, (5, 0, "")))
    memory, large = small_memory(tmp_path / "t.csv", blanks="mean")
    assert not isinstance(memory, str) and "--blanks drop" in large


def test_a_full_disk_is_one_line(small_memory, tmp_path, monkeypatch):
    (tmp_path / "t.csv").write_text(PLAIN)
    full = open("/dev/full", "r+b", buffering=0)  # noqa: SIM115
    monkeypatch.setattr(stored.tempfile, "TemporaryFile", lambda **_: full)
    assert "name a run folder on a disk with more room" in small_memory(tmp_path / "t.csv")[1]


def test_the_run_knows_the_kinds_of_the_training_rows(small_memory, tmp_path, monkeypatch):
    (tmp_path / "t.csv").write_text(PLAIN)
    table, parts = small_memory(tmp_path / "t.csv")[1]
    run = RunFolder.prepare(tmp_path / "run")
    save_dataset(run, table, parts)
    columns = load_dataset(run).columns
    assert columns.kinds == ("continuous", "whole", "whole") and columns.values[2] == (1.0, 2.0, 3.0)
    train = table.x[:][parts.train]
    assert np.array_equal(columns.low, train.min(0)) and np.array_equal(columns.high, train.max(0))


def test_memory_stays_far_below_the_size_of_the_table(tmp_path, monkeypatch):
    pytest.importorskip("pyarrow.csv", reason="pyarrow (extra 'data') is not installed")
    monkeypatch.setattr(reading.fast, "_BLOCK", 1 << 18)
    with open(tmp_path / "t.csv", "w") as file:
        file.write(",".join(f"c{j}" for j in range(40)) + ",y\n")
        for _ in range(20):
            np.savetxt(file, RNG.normal(size=(3000, 41)), fmt="%.5g", delimiter=",")
    monkeypatch.setattr(stored, "IN_MEMORY", 1 << 20)
    monkeypatch.setattr(stored, "_BLOCK", 1 << 20)
    monkeypatch.setattr("regkd_edge.data.seen._BLOCK", 1 << 20)
    monkeypatch.setattr("regkd_edge.data.large._LOOKED", 1 << 17)
    tracemalloc.start()
    table, parts = prepare(DataConfig(data=str(tmp_path / "t.csv"), target=["y"], split="time"), 0, tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert isinstance(table.x, StoredRows) and len(table) == 60_000
    assert peak < 13 << 20  # 20 MB as float64


REPEATED = lines(["unit", "flow", "word", "level", "y"], *(np.tile(v[:1500], 2) for v in (UNIT, FLOW, WORD, LEVEL, Y)))
NOISY = lines(["flow", "level", "y"], *(np.repeat(v[:300], 4) + 1e-6 * RNG.normal(size=1200) for v in (FLOW, LEVEL, Y)))
LONG = lines(["flow", "level", "y"], *(np.tile(v, 3) + np.arange(3 * N) * 1e-3 for v in (FLOW, LEVEL, Y)))
COUNTED = lines(["id", "flow", "y"], RNG.permutation(2 * N), *(np.tile(v, 2) for v in (FLOW, Y)))


@pytest.mark.parametrize(
    "text, options",
    [
        (LONG, {}),
        (LONG, {"split": "time"}),
        (REPEATED, {"drop": ["unit"], "categorical": ["word"]}),
        (REPEATED, {"group": "unit", "categorical": ["word"]}),
        (NOISY, {}),
        (COUNTED, {}),
    ],
)  # fmt: skip
def test_the_split_does_not_depend_on_the_free_memory(small_memory, tmp_path, monkeypatch, text, options):
    """Up to IN_MEMORY; above it the rows stay in their file on every machine."""
    monkeypatch.setattr(stored, "_SMALL", 1000)
    monkeypatch.setattr(stored, "_HELD", 0)  # a large table would be held to 1,000 rows
    monkeypatch.setattr("regkd_edge.data.large._LOOKED", 1 << 13)
    (tmp_path / "t.csv").write_text(text)
    answers = []
    for free in (None, 0):
        monkeypatch.setattr(stored, "available_memory", lambda free=free: free)
        answers.append(prepare(DataConfig(data=str(tmp_path / "t.csv"), target=["y"], **options), 1, tmp_path))
    (one, parts), (two, others) = answers
    assert isinstance(two.x, StoredRows) and not isinstance(one.x, StoredRows)
    for part in ("train", "validation", "test"):
        assert np.array_equal(getattr(parts, part), getattr(others, part))
    said = [[note for note in table.warnings if "on one side" in note] for table in (one, two)]
    assert said[0] == said[1] and bool(said[0]) == (text is not LONG and "group" not in options)


def test_the_split_of_arrays_does_not_depend_on_the_free_memory(tmp_path, monkeypatch):
    x = RNG.normal(size=(N, 2, 3))
    np.savez(tmp_path / "t.npz", x=np.concatenate([x, x, x]), y=np.tile(Y, 3))
    monkeypatch.setattr(stored, "_SMALL", 1000)
    monkeypatch.setattr(stored, "_HELD", 0)
    answers = []
    for free in (None, 0):
        monkeypatch.setattr(stored, "available_memory", lambda free=free: free)
        answers.append(prepare(DataConfig(data=str(tmp_path / "t.npz")), 1, tmp_path))
    assert isinstance(answers[1][0].x, StoredRows) and not isinstance(answers[0][0].x, StoredRows)
    for part in ("train", "validation", "test"):
        assert np.array_equal(*(getattr(parts, part) for _, parts in answers))


def test_a_table_stays_in_its_file_where_little_memory_is_free(monkeypatch):
    monkeypatch.setattr(stored, "available_memory", lambda: 300 << 20)
    assert not stored.fits_in_memory(1_000_000, 13)  # 99 MiB, and four times that with its copies
    assert stored.fits_in_memory(1_000_000, 9) and stored.fits_in_memory(1000, 13)
    monkeypatch.setattr(stored, "available_memory", lambda: 0)
    assert stored.fits_in_memory(1000, 13)
    monkeypatch.setattr(stored, "available_memory", lambda: None)
    assert stored.fits_in_memory(1_000_000, 13)
