"""The long runs of tools/fuzz: counts add up over runs, and an input that crashes or hangs costs itself alone."""

from __future__ import annotations

import argparse
import faulthandler
import itertools
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from regkd_edge.errors import UserError

sys.path.insert(0, str(Path(__file__).parents[2] / "tools" / "lib"))

import fuzz_readers
from fuzz.readers import Reader
from fuzz_ledger import INPUTS, KILLS, Ledger

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the children are forked")


def given(**changes):
    return argparse.Namespace(**{"count": 100, "seed": 0, "seconds": 5.0, "megabytes": 500, "minutes": 1.0} | changes)


def reader(read):
    return Reader("made up", "file.bin", lambda path: path.write_bytes(bytes(200)) and None, read)


def run(made, ledger, **changes):
    while not fuzz_readers.stretch(made, ledger, given(**changes)):
        pass
    return ledger.rows()["made up"]


def test_counts_add_up_over_runs(tmp_path):
    def read(path):
        if sum(path.read_bytes()) % 2:
            raise UserError("odd.", "Give an even one.")

    ledger = Ledger(tmp_path / "ledger.md", INPUTS)
    first = run(reader(read), ledger, count=40)
    assert first["inputs"] == first["read"] + first["refused"] == first["clean"] == 40 and first["failed"] == 0
    again = run(reader(read), Ledger(tmp_path / "ledger.md", INPUTS), count=100)
    assert again["inputs"] == 100 and again["read"] > first["read"] and again["refused"] > first["refused"]
    assert "1 rows: 100 inputs, 0 failed." in (tmp_path / "ledger.md").read_text()


def test_what_was_counted_before_a_signal_is_written(tmp_path, monkeypatch):
    calls, seen = itertools.count(), tmp_path / "seen"

    def read(path):
        if next(calls) == 20:
            seen.touch()

    monkeypatch.setattr(fuzz_readers._stopping, "is_set", seen.exists)  # as INT and TERM set it
    ledger = Ledger(tmp_path / "ledger.md", INPUTS)
    assert not fuzz_readers.stretch(reader(read), ledger, given(count=10**9))
    assert ledger.rows()["made up"]["read"] >= 20 and ledger.rows()["made up"]["failed"] == 0


@pytest.mark.parametrize("how", ["exception", "crash", "memory"])
def test_what_fails_is_counted_and_the_rest_goes_on(how, tmp_path, capfd):
    def read(path):
        if len(path.read_bytes()) < 150:  # some of the spoiled inputs are cut
            if how == "exception":
                raise KeyError("a\nb")
            if how == "crash":
                faulthandler.disable()  # pytest's would print the stack of every one
                os.kill(os.getpid(), signal.SIGSEGV)
            bytearray(os.urandom(1) * (60 << 20))

    ledger = Ledger(tmp_path / "ledger.md", INPUTS)
    row = run(reader(read), ledger, count=60, megabytes=30)
    assert row["inputs"] == 60 and 0 < row["failed"] < 60 and row["clean"] < 60
    if how == "memory":
        assert row["memory MB"] >= 55
    assert "made up, seed " in capfd.readouterr().err


@pytest.mark.parametrize("busy", [False, True])
def test_one_that_hangs_is_ended(busy, tmp_path, monkeypatch):
    def read(path):
        while len(path.read_bytes()) < 20:
            time.sleep(0 if busy else 1)

    monkeypatch.setattr(fuzz_readers, "_HANG_BUSY" if busy else "_HANG", 1.0)
    row = run(reader(read), Ledger(tmp_path / "ledger.md", INPUTS), count=12)
    assert row["inputs"] == 12 and row["failed"] >= 1


def test_a_reader_without_its_library_has_no_row(tmp_path):
    def make(path):
        raise ImportError("no such library")

    ledger = Ledger(tmp_path / "ledger.md", INPUTS)
    assert fuzz_readers.stretch(Reader("made up", "f", make, print), ledger, given()) and ledger.rows() == {}


def test_rows_of_two_ledgers_do_not_lose_each_other(tmp_path):
    path = tmp_path / "kills.md"
    with Ledger(path, KILLS).row("distill") as row:
        row["kills"] += 1200
    with Ledger(path, KILLS).row("build") as row:
        row["kills"] += 1
    assert {name: row["kills"] for name, row in Ledger(path, KILLS).rows().items()} == {"build": 1, "distill": 1200}
