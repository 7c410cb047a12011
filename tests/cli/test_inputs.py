"""Arrays, signals and images through the commands: what was read is trained on, answered and refused."""

from __future__ import annotations

import csv

import numpy as np
import pytest

pytest.importorskip("torch")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def signals(folder):
    """Three recordings of two channels, whose target is the mean of the first over the last 8 samples."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(3):
        a, b = rng.normal(size=(2, 200))
        y = np.convolve(a, np.ones(8) / 8)[:200]
        rows = "".join(f"{p!r},{q!r},{r!r}\n" for p, q, r in zip(a.tolist(), b.tolist(), y.tolist()))
        (folder / f"r{i}.csv").write_text("a,b,y\n" + rows)


def test_signals_from_the_folder_to_an_engine_and_its_answers(cli, here):
    signals(here / "signals")
    common = ("--window", "8", "--hop", "4", "--target", "y")
    done = cli("train-teacher", "run", "--data", "signals", *common, "--teacher", "mlp:16:tanh", "--epochs", "30")
    assert done.code == 0, done.err
    done = cli("distill", "run", "--student", "mlp:8:tanh", "--recipe", "none", "--steps", "200", "--no-baseline")
    assert done.code == 0, done.err
    assert cli("build", "run").code == 0
    done = cli("predict", "run", "signals", "--out", "answers.csv")
    assert done.code == 0, done.err
    rows = list(csv.DictReader(open(here / "answers.csv", encoding="utf-8")))
    assert rows[1].keys() == {"recording", "first_sample", "y"} and rows[1]["first_sample"] == "4"
    assert len(rows) == 3 * 49 and rows[49]["recording"] == "r1.csv"
    done = cli("status", "run")
    (here / "signals" / "r1.csv").write_text((here / "signals" / "r2.csv").read_text())
    changed = cli("status", "run")
    assert "stale" not in done.out and "stale" in changed.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--data", "signals", "--window", "500", "--target", "y"), "shorter than a window of 500 samples"),
        (("--data", "signals", "--target", "y"), "no window says what one example is"),
        (("--data", "signals", "--window", "8", "--labels", "none.csv"), "no file"),
        (("--data", "signals", "--window", "x", "--target", "y"), "expected a number of samples"),
        (("--data", "cube.npy"), "no target named"),
    ],
)
def test_a_refusal_is_one_line_and_leaves_nothing(cli, here, arguments, message):
    signals(here / "signals")
    np.save(here / "cube.npy", np.zeros((4, 3, 2)))
    before = sorted(p.name for p in here.iterdir())
    done = cli("train-teacher", "run", *arguments)
    assert done.code == 2 and message in done.err and len(done.err.strip().splitlines()) == 1
    assert sorted(p.name for p in here.iterdir()) == before


def test_inspect_says_what_a_folder_holds(cli, here):
    signals(here / "signals")
    done = cli("inspect", "signals", "--json")
    assert done.code == 0 and "a, b, y" in done.out
