"""A command that is killed loses nothing, and the same command completes to the same result.

A few kills of each command here; ``tools/fuzz kills`` runs as many as are wanted.
"""

from __future__ import annotations

import os

import pytest

pytest.importorskip("torch")
pytest.importorskip("onnxruntime")

if os.name != "posix":
    pytest.skip("signals are those of POSIX", allow_module_level=True)

from kills import COMMANDS, Bench  # noqa: E402

KILLS = 2


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    bench = Bench(tmp_path_factory.mktemp("kills"))
    yield bench
    bench.server.close()


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_a_kill_loses_nothing(bench, command):
    for seed in range(KILLS):
        bench.kill(command, seed)
