"""Every example runs as it stands, on the data that it names."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"

pytest.importorskip("torch")
pytest.importorskip("sklearn")


def run(code: list[str], folder: Path, *arguments: str) -> str:
    """Standard output of a Python process in an empty folder."""
    paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        [sys.executable, *code, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def scores(text: str) -> dict[str, float]:
    """The R2 of each model that a script prints."""
    line = next(line for line in text.splitlines() if line.startswith("R2"))
    return {name.split()[-1]: float(value) for name, value in re.findall(r"([A-Za-z0-9 ]+) (-?\d\.\d+)", line)}


def test_from_csv(tmp_path):
    out = run([str(EXAMPLES / "from_csv.py")], tmp_path)
    found = scores(out)
    assert found["student"] > 0.35 and "native.int8" in out and "onnxruntime.int8" in out


def test_from_a_csv_of_ones_own(tmp_path):
    rows = [f"{i % 13},{i % 7},{2 * (i % 13) - (i % 7) + 0.01 * (i % 5)}" for i in range(200)]
    (tmp_path / "mine.csv").write_text("\n".join(["a,b,price", *rows]))
    assert scores(run([str(EXAMPLES / "from_csv.py"), "mine.csv"], tmp_path))["student"] > 0.9


def test_from_module(tmp_path):
    out = run([str(EXAMPLES / "from_module.py")], tmp_path, "out")
    found = scores(out)
    assert found["teacher"] > 0.7 and found["student"] > 0.3
    assert "static" in (tmp_path / "out" / "student.h").read_text()


def test_without_data(tmp_path):
    found = scores(run([str(EXAMPLES / "without_data.py")], tmp_path))
    assert abs(found["student"] - found["teacher"]) < 0.1 and abs(found["engine"] - found["student"]) < 0.05


def test_from_sklearn(tmp_path):
    found = scores(run([str(EXAMPLES / "from_sklearn.py")], tmp_path))
    assert min(found.values()) > 0.15


@pytest.mark.slow
def test_boosted_forest(tmp_path):
    """With all rows the student is nearer to the labels than its forest and than the same network on the labels."""
    out = run([str(EXAMPLES / "boosted_forest.py")], tmp_path)
    few, whole = (scores(line) for line in out.splitlines() if line.startswith("R2"))
    assert few["student"] > few["labels"] + 0.1  # measured 0.78 and 0.50
    assert whole["student"] > max(whole["labels"], whole["forest"])  # 0.91, 0.89 and 0.87
    for found in (few, whole):
        assert abs(found["engine"] - found["student"]) < 0.01
    forest, engine = (int(size.replace(",", "")) for size in re.findall(r"([0-9,]+) bytes", out))
    assert engine < forest / 20


@pytest.mark.slow
def test_images(tmp_path):
    out = run([str(EXAMPLES / "images.py")], tmp_path)
    found, blind = (scores(line) for line in out.splitlines() if line.startswith("R2"))
    assert found["teacher"] > 0.85 and found["student"] > 0.6  # by 140 images of 1,400
    assert abs(found["engine"] - found["student"]) < 0.01 and blind["image"] > 0.2
    assert "inputs 1x8x8" in out and (tmp_path / "digits.onnx").exists()


@pytest.mark.slow
def test_signals(tmp_path):
    out = run([str(EXAMPLES / "signals.py")], tmp_path)
    convolution, recurrence = (scores(line) for line in out.splitlines() if line.startswith("R2"))
    assert convolution["teacher"] > 0.5 and convolution["student"] > 0.35 and recurrence["student"] > 0.2
    for found in (convolution, recurrence):
        assert abs(found["engine"] - found["student"]) < 0.02


# Executes the code cells of notebooks in order, as Jupyter does: the value of the last expression of a cell is shown.
# Each notebook has a folder and names of its own; one process for all saves the imports.
EXECUTE = """
import ast, json, os, sys
for path in sys.argv[1:]:
    name = os.path.basename(path).removesuffix(".ipynb")
    os.makedirs(name)
    os.chdir(name)
    names = {"__name__": "__main__"}
    print("#####", name)
    cells = json.load(open(path, encoding="utf-8"))["cells"]
    for number, cell in enumerate(c for c in cells if c["cell_type"] == "code"):
        tree = ast.parse("".join(cell["source"]))
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, f"{name}, cell {number}", "exec"), names)
        if last is not None:
            shown = compile(ast.Expression(last.value), f"{name}, cell {number}", "eval")
            print(f"[{number}]", repr(eval(shown, names)))
    os.chdir("..")
"""


@pytest.fixture(scope="module")
def notebooks(tmp_path_factory):
    """The folder where all notebooks ran, and what each printed."""
    folder = tmp_path_factory.mktemp("notebooks")
    out = run(["-c", EXECUTE], folder, *map(str, sorted(EXAMPLES.glob("*.ipynb"))))
    return folder, {part.split("\n", 1)[0].strip(): part for part in out.split("#####")[1:]}


@pytest.mark.slow
def test_the_cells_of_the_notebook_run_in_order(notebooks):
    folder, printed = notebooks
    out, folder = printed["quickstart"], folder / "quickstart"
    assert "native.int8" in out and "Teacher(" in out and out.count("Student(") >= 2
    assert "fused core (as mlp:32:relu)" in out  # the module with batch normalization is an MLP in disguise
    assert (folder / "student.onnx").exists() and (folder / "engines" / "native.int8" / "manifest.json").exists()


NOTEBOOKS = {  # name: the least R2 of each model on rows that it has not seen
    "table": {"teacher": 0.93, "student": 0.9},
    "module": {"teacher": 0.65, "student": 0.55, "engine": 0.55},
    "scikit_learn": {"forest": 0.15, "student": 0.2, "engine": 0.2},
    "without_data": {"teacher": 0.4, "student": 0.4, "engine": 0.4},
    "signals": {"teacher": 0.9, "student": 0.7, "engine": 0.7},
    "images": {"teacher": 0.8, "student": 0.6, "engine": 0.6},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_per_task(name, notebooks):
    out = notebooks[1][name]
    found = scores(out)
    assert found.keys() == NOTEBOOKS[name].keys()
    assert all(found[model] > least for model, least in NOTEBOOKS[name].items()), found
    said = {
        "table": "capacity [mAh]", "module": "int student_infer(", "scikit_learn": "array([",
        "without_data": "name: bmi",
        "signals": "frequency [Hz]", "images": "Graph(digits.onnx: fp32",
    }  # fmt: skip
    assert said[name] in out


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_a_script_says_how_it_is_started(path):
    assert f"python examples/{path.name}" in ast.get_docstring(ast.parse(path.read_text()))


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_holds_no_outputs_and_is_tested(path):
    cells = json.loads(path.read_text())["cells"]
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)
    assert cells[0]["cell_type"] == "markdown" and path.stem in {"quickstart", *NOTEBOOKS}
