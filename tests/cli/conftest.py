"""The command line, called in this process with its real entry point."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest


@dataclass
class Outcome:
    """Exit code and what was printed."""

    code: int
    out: str
    err: str

    def json(self):
        return json.loads(self.out)


@pytest.fixture
def cli(monkeypatch, capfd):
    """``cli("distill", folder, "--steps", 10)`` -> Outcome."""

    def call(*arguments) -> Outcome:
        from regkd_edge.cli import main

        monkeypatch.setattr("sys.argv", ["regkd-edge", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as stop:
            main()
        out, err = capfd.readouterr()
        code = stop.value.code
        return Outcome(0 if code is None else int(code), out, err)

    return call
