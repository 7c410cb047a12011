"""The mutation run: which mistakes are planted, and that it tells a caught one from a survivor."""

from __future__ import annotations

import ast
import importlib.util
import json
import sys
from pathlib import Path

import pytest

LIB = Path(__file__).parents[2] / "tools" / "lib"


@pytest.fixture
def mutants(monkeypatch):
    monkeypatch.syspath_prepend(str(LIB))
    import mutants

    return mutants


SOURCE = '''"""A docstring with 1 + 1."""

from __future__ import annotations

__all__ = ["f"]


def f(x: int = 3, µ=0.95) -> bool:
    """Return 2."""
    if x <= 10 and not g(x):
        raise ValueError(f"x is {x + 1}, expected 5")
    x += 1
    g(x, flag=True)
    return -x * 2 if x in (7,) else None
'''


def test_every_kind_of_mistake_is_planted_once_and_words_are_left_alone(mutants):
    found = [(m.line, m.kind, SOURCE[m.start : m.end], m.new) for m in mutants.mutants(SOURCE)]
    assert sorted(found) == sorted(
        [
            (8, "constant", "3", "4"), (8, "constant", "0.95", "0.9"),
            (10, "comparison", "<=", "<"), (10, "constant", "10", "5"), (10, "and, or", "and", "or"),
            (10, "sign", "not ", ""),
            (11, "statement removed", 'raise ValueError(f"x is {x + 1}, expected 5")', "pass"),
            (12, "statement removed", "x += 1", "pass"), (12, "constant", "1", "2"),
            (13, "statement removed", "g(x, flag=True)", "pass"), (13, "constant", "True", "False"),
            (14, "None returned", "return -x * 2 if x in (7,) else None", "return None"), (14, "sign", "-", ""),
            (14, "arithmetic", "*", "/"), (14, "constant", "2", "3"), (14, "comparison", "in", "not in"),
            (14, "constant", "7", "8"), (14, "condition", "x in (7,)", "not (x in (7,))"),
        ]
    )  # fmt: skip
    for mutant in mutants.mutants(SOURCE):
        assert ast.dump(ast.parse(mutant.apply(SOURCE))) != ast.dump(ast.parse(SOURCE))


def test_the_arguments_of_a_logarithm_are_numbers_and_those_of_a_logger_words(mutants):
    source = (
        "y = np.log(x + 1.0)\n_log.info('%d rows', n + 1)\nwarnings.warn('seen %d' % (n + 1))\nz = np.finfo(f(3)).max\n"
    )
    found = [(m.line, source[m.start : m.end], m.new) for m in mutants.mutants(source)]
    assert found == [(1, "+", "-"), (1, "1.0", "1.5"), (4, "3", "4")]


def test_a_change_is_shown_in_its_line(mutants):
    (mutant,) = [m for m in mutants.mutants(SOURCE) if m.kind == "arithmetic"]
    assert mutant.change(SOURCE) == "return -x [* -> /] 2 if x in (7,) else None"


@pytest.mark.slow
def test_a_caught_mistake_and_a_survivor(tmp_path, monkeypatch, capsys):
    """A project with a room of one function, of which the tests see one half."""
    pytest.importorskip("coverage")
    room = tmp_path / "project" / "regkd_edge" / "measure"
    room.mkdir(parents=True)
    for folder in ("tests/measure", "tools", "csrc", "docs", "examples"):
        (tmp_path / "project" / folder).mkdir(parents=True)
    for package in (room, room.parent):
        (package / "__init__.py").write_text("")
    (room / "half.py").write_text("def seen(a, b):\n    return a + b\n\n\ndef unseen(a, b):\n    return a - b\n")
    (tmp_path / "project" / "tests" / "measure" / "test_half.py").write_text(
        "from regkd_edge.measure.half import seen\n\n\ndef test_seen():\n    assert seen(2, 3) == 5\n"
    )
    monkeypatch.syspath_prepend(str(LIB))
    location = importlib.util.spec_from_file_location("mutate_tool", LIB / "mutate.py")
    tool = importlib.util.module_from_spec(location)
    location.loader.exec_module(tool)
    monkeypatch.setattr(tool, "ROOT", tmp_path / "project")
    monkeypatch.setattr(tool, "ROOMS", {"measure": (["measure/*.py"], "tests/measure")})
    out = tmp_path / "found.jsonl"
    monkeypatch.setattr(sys, "argv", ["mutate", "--n", "10", "--rooms", "measure", "--out", str(out)])
    before = {name: module for name, module in sys.modules.items() if name.split(".")[0] == "regkd_edge"}
    for name in before:  # the forked process imports the project of the test
        monkeypatch.delitem(sys.modules, name)
    assert tool.main() == 1  # below 85 %
    found = {(f["line"], f["kind"]): f["caught"] for f in map(json.loads, out.read_text().splitlines())}
    assert found == {
        (2, "arithmetic"): True, (2, "None returned"): True, (6, "arithmetic"): False, (6, "None returned"): False
    }  # fmt: skip
    printed = capsys.readouterr().out
    assert "2 of 4 caught, 50.0%" in printed and printed.count("SURVIVED") == 4  # as they are found, and at the end
    assert (room / "half.py").read_text().count("return") == 2  # the project itself is as it was
    (tmp_path / "project" / "tests" / "measure" / "test_more.py").write_text(
        "from regkd_edge.measure.half import unseen\n\n\ndef test_unseen():\n    assert unseen(5, 3) == 2\n"
    )
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--again"])
    assert tool.main() == 0 and "4 of 4 caught, 100.0%" in capsys.readouterr().out
