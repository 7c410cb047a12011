"""Children that live on say of each spoiled file what a process of its own says."""

from __future__ import annotations

import os
import sys

import pytest

from regkd_edge.errors import UserError

from .readers import READERS, attack, sound_files
from .warm import _run_limited, warm_children

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the children are forked")


def said(reader, folder, seeds, sound):
    found = []
    for seed in seeds:
        place = folder / "work"
        place.mkdir(exist_ok=True)
        kept: list[str] = []

        def read(path, kept=kept):
            try:
                return reader.read(path)
            except UserError as error:
                kept.append(str(error))
                raise

        attack(type(reader)(reader.name, reader.file, reader.make, read), place, seed, sound)
        found.append(kept)
    return found


@pytest.mark.parametrize(("name", "count"), [("mat", 6), ("workbook", 15), ("XGBoost", 12), ("LightGBM", 12)])
def test_the_answers_are_those_of_a_process_per_file(name, count, tmp_path):
    pytest.importorskip("torch")
    reader = next(reader for reader in READERS if reader.name == name)
    pytest.importorskip(reader.needs)
    sound = sound_files(reader, tmp_path / "sound")
    alone = said(reader, tmp_path, range(count), sound)
    with warm_children():
        assert said(reader, tmp_path, range(count), sound) == alone
    assert 0 < sum(not kept for kept in alone) < count  # some are read, some are refused


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the limits are told from /proc")
def test_limits_hold_for_each_file_anew():
    code = "import sys, time\nlimit(int(sys.argv[1]), int(sys.argv[2]))\nexec(sys.argv[3])\nprint('done')"
    spend = "until = time.process_time() + 0.7\nwhile time.process_time() < until: pass"  # two of them are over 1 s
    with warm_children():
        for work, answer in (
            (spend, b"done\n"), (spend, b"done\n"), ("bytearray(1 << 30)", None), ("bytearray(1 << 20)", b"done\n"),
            ("import os; os.kill(os.getpid(), 11)", None), ("raise SystemExit(3)", None), ("pass", b"done\n"),
            ("while True: pass", None), ("pass", b"done\n"),
        ):  # fmt: skip
            assert _run_limited(code, [work], 1 << 28, 0) == answer, work
