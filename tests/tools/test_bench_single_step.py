"""The table of ``tools/bench/single_step.py``: every column is timed, and ratios are to the core's step."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("regkd_edge._core")
sys.path.insert(0, str(Path(__file__).parents[2] / "tools" / "bench"))

import single_step  # noqa: E402
from step_providers import Case  # noqa: E402

TINY = Case("tiny", (3, 5, 1), (3, 4, 1), 6, "gradient", "tanh")


def test_every_column_is_timed():
    us = single_step.measure(TINY, "cpu", time.perf_counter, 1)
    assert list(us) == list(single_step.COLUMNS) and min(us.values()) > 0


def test_all_columns_with_a_loss_leave_a_gradient_behind(monkeypatch):
    students = []
    network = single_step.MLP
    monkeypatch.setattr(single_step, "MLP", lambda *a, **k: students.append(network(*a, **k)) or students[-1])
    runs = single_step.calls(TINY, "cpu")
    for name in ("and backward", "distill_backward", "eager", "empty autograd function"):
        runs[name](1)
        assert all(p.grad is not None for p in students[1].parameters()), name


def test_a_table_from_known_figures():
    us = dict(zip(single_step.COLUMNS, (40.0, 50.0, 90.0, 60.0, 900.0, 30.0)))
    head, _, line = single_step.page({}, [{"networks": "a -> b", "rows": 8, "us": us}]).strip().splitlines()[-3:]
    cells = dict(zip(head.split("|"), line.split("|")))
    assert cells[" distill_step / core step "] == " 1.25 " and cells[" distill_backward / core step "] == " 1.50 "
