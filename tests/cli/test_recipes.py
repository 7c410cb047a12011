"""Recipes, samplers and heads as a user types them: from the first command to the report."""

from __future__ import annotations

import json

import numpy as np
import pytest

from regkd_edge.run import RunFolder

FACTORY = """
import numpy as np
from sklearn.tree import DecisionTreeRegressor

def tree():
    x = np.random.default_rng(0).uniform(0, 4, (400, 2))
    return DecisionTreeRegressor(max_depth=6, random_state=0).fit(x, np.sin(x[:, 0]) * x[:, 1])
"""
SHORT = ("--student", "mlp:6:tanh", "--steps", 40, "--evaluate-every", 20)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(150, 3))
    path = tmp_path_factory.mktemp("data") / "table.csv"
    np.savetxt(
        path, np.c_[x, np.sin(x[:, 0]) + x[:, 1] * x[:, 2]], delimiter=",", header='a,b,c,"y, total"', comments=""
    )
    return path


@pytest.fixture
def trained(cli, tmp_path, table):
    run = tmp_path / "teacher"
    made = cli(
        "train-teacher", run, "--data", table, "--target", '"y, total"', "--teacher", "mlp:8:tanh", "--epochs", 2
    )
    assert made.code == 0, made.err
    return run


def rest(cli, run):
    """The commands after distill; the report's JSON."""
    for command in (
        ("quantize", run, "--precision", "int8"),
        ("build", run),
        ("bench", run, "--samples", 10, "--warmup", 0, "--batches", 1, "--no-sweep"),
    ):
        done = cli(*command)
        assert done.code == 0, done.err
    return cli("report", run, "--json").json()


def test_a_name_with_a_comma_is_a_target(cli, trained, tmp_path, table):
    assert RunFolder.open(trained).config().data.target == ["y, total"]
    split = cli("train-teacher", tmp_path / "other", "--data", table, "--target", "y, total", "--epochs", 1)
    assert split.code == 2 and """--target '"y, total"'""" in split.err


def test_two_heads_become_one_graph(cli, trained):
    done = cli(
        "distill", trained, "--recipe", "imaoka2020", "--terms", "pm,gm", "--export-head", "mean", *SHORT, "--json"
    )
    assert done.code == 0, done.err
    report = rest(cli, trained)
    rows = {row["name"]: row for row in report["table"]}
    assert rows["student"]["what"] == "mlp:6:tanh, tor, two heads (mean kept) + PM + GM"
    assert rows["baseline"]["what"] == "mlp:6:tanh, tor, two heads (mean kept)"
    import onnx

    graph = onnx.load(trained / "onnx" / "student.int8.onnx").graph
    assert [[d.dim_value for d in o.type.tensor_type.shape.dim][-1] for o in graph.output] == [1]
    bundled = cli("bundle", trained, "--target", "desktop", "--output", trained.parent / "b.tar.gz")
    assert bundled.code == 0, bundled.err


def test_a_run_needs_no_table(cli, trained, tmp_path):
    run = tmp_path / "free"
    done = cli("distill", run, "--from-run", trained, "--recipe", "kang2021", *SHORT, "--json")
    assert done.code == 0, done.err
    assert any("every RMSE is a distance from the teacher" in note for note in done.json()["notes"])
    report = rest(cli, run)
    rows = {row["name"]: row for row in report["table"]}
    assert rows["teacher"]["rmse"] < 1e-5  # the targets are its own answers, in float32
    assert rows["student"]["what"] == "mlp:6:tanh, mimic, no data: generator inputs"
    assert json.loads((run / "student" / "model.json").read_text())["extra"]["compute"] == "cpu"
    assert cli("distill", run, "--json").json()["ran"] == []


def test_a_changed_description_makes_the_student_stale(cli, trained, tmp_path):
    described = tmp_path / "inputs.yaml"
    described.write_text("inputs:\n" + "".join(f"- {{name: {n}, mean: 0, sd: 1}}\n" for n in "abc"))
    first = cli("distill", trained, "--no-data", "--describe", described, "--terms", "none", *SHORT, "--json")
    assert "distill" in first.json()["ran"]
    assert "distill" not in cli("distill", trained, "--json").json()["ran"]
    described.write_text(described.read_text().replace("sd: 1", "sd: 2", 1))
    assert "distill" in cli("distill", trained, "--json").json()["ran"]


def test_a_tree_teaches_what_it_can(cli, tmp_path, monkeypatch):
    (tmp_path / "tree_factory.py").write_text(FACTORY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "inputs.yaml").write_text("inputs:\n- {name: u, low: 0, high: 4}\n- {name: v, low: 0, high: 4}\n")
    start = (
        "distill",
        tmp_path / "run",
        "--factory",
        "tree_factory:tree",
        "--no-data",
        "--describe",
        "inputs.yaml",
        *SHORT,
    )
    assert cli(*start).code == 0, "recipe auto takes what goes without a gradient"
    refused = cli(*start, "--terms", "gm")
    assert refused.code == 2 and "the term gm needs the teacher's gradient" in refused.err and "omit gm" in refused.err
    assert "generator needs the teacher's gradient" in cli(*start, "--terms", "none", "--sampler", "generator").err
    done = cli(*start, "--terms", "pm,abm", "--json")
    assert done.code == 0, done.err
    assert any("abm picks the worst of random points" in note for note in done.json()["notes"])


def test_yaml_does_it_all_or_refuses_before_it_begins(cli, tmp_path, table):
    config = tmp_path / "free.yaml"
    config.write_text(
        f"data: {{source: {table}, target: ['y, total']}}\nteacher: {{teacher: 'mlp:8:tanh', epochs: 2}}\n"
        "distill: {recipe: data-free, student: 'mlp:6:tanh', steps: 40, evaluate_every: 20, w_gm: 0.3..0.1}\n"
        "quantize: {precision: [int8]}\nbench: {samples: 10, warmup: 0, batches: [1], sweep: false}\n"
    )
    done = cli("run", config, tmp_path / "run", "--json")
    assert done.code == 0, done.err
    assert RunFolder.open(tmp_path / "run").record("report") is not None
    config.write_text(config.read_text().replace("[int8]", "[int8], calibrate: real"))
    refused = cli("run", config, tmp_path / "other")
    assert refused.code == 2 and "quantize.calibrate 'real' reads them" in refused.err
    assert not (tmp_path / "other").exists()


def test_none_takes_back_what_a_former_command_chose(cli, trained):
    assert cli("distill", trained, "--sampler", "gaussian", "--terms", "none", *SHORT).code == 0
    assert cli("distill", trained, "--sampler", "none", *SHORT).code == 0
    assert RunFolder.open(trained).config().distill.sampler is None
    assert cli("distill", trained, "--recipe", "zhou2023", *SHORT).code == 0
    assert cli("distill", trained, "--recipe", "none", *SHORT).code == 0
    assert not RunFolder.open(trained).config().distill.no_data
    assert cli("distill", trained, "--no-data", *SHORT).code == 0
    assert cli("distill", trained, "--with-data", *SHORT).code == 0
    assert not RunFolder.open(trained).config().distill.no_data
