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
    shown = " ".join(done.out.split())
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
