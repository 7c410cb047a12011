"""Teachers that exist already, by the command line: one flag takes any of them, a mistake is one line."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

TREE = """
import numpy as np
from sklearn.tree import DecisionTreeRegressor
def make():
    d = np.loadtxt("data.csv", delimiter=",", skiprows=1)
    return DecisionTreeRegressor(random_state=0).fit(d[:, :-1], d[:, -1])
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Rows whose first column is a code; the target depends on the code alone."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    code, other = rng.integers(0, 6, 300), rng.normal(20, 3, 300)
    y = np.array([5.0, -3, 8, 0, 2, -7])[code]
    np.savetxt("data.csv", np.c_[code, other, y], delimiter=",", header="code,other,y", comments="", fmt="%.10g")
    (tmp_path / "trees.py").write_text(TREE)
    return tmp_path


def test_a_tree_on_codes_is_exact_and_teaches(cli, folder):
    given = ("--data", "data.csv", "--target", "y", "--teacher-from", "trees.py:make")
    done = cli("train-teacher", "r", *given, "--json")
    assert done.code == 0, done.err
    assert done.json()["table"][0]["rmse"] == 0.0
    assert cli("distill", "r", "--student", "mlp:8:relu", "--terms", "pm", "--steps", "100").code == 0


def test_an_onnx_file_teaches_and_stays_in_the_run(cli, folder):
    net = nn.Sequential(nn.Linear(2, 6), nn.Tanh(), nn.Linear(6, 1)).eval()
    torch.onnx.export(net, (torch.zeros(1, 2),), "m.onnx", input_names=["x"], output_names=["y"], dynamo=False,
                      dynamic_axes={"x": {0: "n"}, "y": {0: "n"}})  # fmt: skip
    given = (
        "--data",
        "data.csv",
        "--target",
        "y",
        "--teacher-from",
        "m.onnx",
        "--student",
        "mlp:4:tanh",
        "--accept-teacher",
    )
    done = cli("distill", "r", *given, "--steps", "100")
    assert done.code == 0, done.err
    size = (folder / "r" / "teacher" / "source.onnx").stat().st_size
    shown = " ".join(done.out.split())
    assert f" {size} B " in shown, "the teacher's size is that of its file"
    assert "ONNX m.onnx: 2 inputs, 1 output" in shown and "fused core (as mlp:6:tanh)" in shown
    (folder / "m.onnx").unlink()
    assert cli("distill", "r", "--steps", "120").code == 0  # the run keeps a copy


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("m.pkl", "loading a pickle runs code of the file"),
        ("nothing.onnx", "no teacher"),
        ("trees.py:missing", "was not found"),
        ("no.such:factory", "cannot be imported"),
    ],
)
def test_mistakes_are_one_line(cli, folder, source, says):
    (folder / "m.pkl").write_bytes(b"cos\nsystem\n(S'touch PWNED'\ntR.")
    done = cli("train-teacher", "r", "--data", "data.csv", "--target", "y", "--teacher-from", source)
    assert done.code == 2 and says in " ".join(done.err.split()) and "Traceback" not in done.err
    assert not (folder / "PWNED").exists()


def test_two_sources_exclude_each_other(cli, folder):
    given = ("--data", "data.csv", "--target", "y", "--teacher-from", "a.onnx", "--factory", "b:c")
    done = cli("train-teacher", "r", *given)
    assert done.code == 2 and "exclude each other" in " ".join(done.err.split())


NUMPY_INSIDE = """
import torch
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Linear(2, 1)
    def forward(self, x):
        return self.f(torch.from_numpy(x.detach().numpy() * 2.0))
def make():
    return Net()
"""


@pytest.mark.parametrize("teacher", ["trees.py:make", "inside.py:make"])
def test_a_teacher_that_the_recipe_cannot_use_is_refused_before_the_run_has_it(cli, folder, teacher):
    """A tree says so itself; that no gradient passes through a module is known once it has answered rows."""
    (folder / "inside.py").write_text(NUMPY_INSIDE)
    own = ("--data", "data.csv", "--target", "y", "--teacher-from")
    done = cli("distill", "r", *own, teacher, "--recipe", "kang2024", "--steps", "20")
    assert done.code == 2 and "needs the teacher's gradient" in " ".join(done.err.split())
    assert not (folder / "r").exists()
    recipe = "distill: {recipe: kang2024, steps: 20, accept_teacher: true}"
    (folder / "r.yaml").write_text(
        f"data: {{data: data.csv, target: y}}\nteacher: {{teacher_from: {teacher}}}\n{recipe}\n"
    )
    done = cli("run", "r.yaml", "r")
    assert done.code == 2 and "needs the teacher's gradient" in " ".join(done.err.split())
    assert not (folder / "r").exists()


def test_a_refused_teacher_leaves_the_one_that_the_run_has(cli, folder):
    (folder / "plain.py").write_text("from torch import nn\ndef make():\n    return nn.Linear(2, 1)\n")
    own = ("--data", "data.csv", "--target", "y", "--student", "mlp:4:relu", "--steps", "20")
    assert cli("distill", "r", *own, "--teacher-from", "plain.py:make", "--recipe", "kang2024").code == 0
    before = (folder / "r" / "state.json").read_text()
    assert cli("distill", "r", "--teacher-from", "trees.py:make").code == 2
    assert (folder / "r" / "state.json").read_text() == before
    assert cli("distill", "r").code == 0


def test_a_module_of_several_arguments_is_named(cli, folder):
    (folder / "two.py").write_text(
        "import torch\nfrom torch import nn\nclass Net(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n"
        "        self.f = nn.Linear(2, 1)\n    def forward(self, code, other):\n"
        "        return self.f(torch.cat([code, other], 1))\ndef make():\n    return Net()\n"
    )
    done = cli("train-teacher", "r", "--data", "data.csv", "--target", "y", "--teacher-from", "two.py:make")
    said = " ".join(done.err.split())
    assert done.code == 2
    assert "takes 2 arguments (code, other): give a module around it that takes a row as one tensor" in said
