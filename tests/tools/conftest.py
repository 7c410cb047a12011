"""The reproduction scripts called in this process: another one would spend seconds importing torch."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPTS = Path(__file__).parents[2] / "tools" / "reproduce"


@pytest.fixture
def call(monkeypatch, capsys):
    """``call(script, *arguments)`` runs ``tools/reproduce/<script>.py`` and gives what it printed."""

    def run(script: str, *arguments) -> str:
        monkeypatch.setattr(sys, "argv", [str(SCRIPTS / f"{script}.py"), *map(str, arguments)])
        monkeypatch.setattr(sys, "path", [str(SCRIPTS), *sys.path])
        runpy.run_path(str(SCRIPTS / f"{script}.py"), run_name="__main__")
        return capsys.readouterr().out

    return run


@pytest.fixture
def csv_set(tmp_path) -> Path:
    """150 rows of a smooth target of three inputs; the last column is the target."""
    x = np.random.default_rng(0).standard_normal((150, 3))
    y = np.sin(x[:, :1]) + 0.5 * x[:, 1:2]
    path = tmp_path / "waves.csv"
    np.savetxt(path, np.hstack([x, y]), delimiter=",", header="a,b,c,target", comments="")
    return path
