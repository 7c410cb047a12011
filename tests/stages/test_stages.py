"""The chain of stages: what a change makes stale, and that nothing stale is built on or left lying about."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from regkd_edge.config import RunConfig
from regkd_edge.errors import NotAvailable, RunFolderError
from regkd_edge.run import STAGES, RunFolder
from regkd_edge.stages import get, perform, stale_reason

SMALL = {
    "teacher": {"teacher": "mlp:6:relu", "epochs": 2},
    "distill": {"recipe": "kang2024", "student": "mlp:16:relu", "steps": 20, "evaluate_every": 10},
    "bench": {"samples": 20, "warmup": 2, "batches": [1]},
}


def quiet(*figures):
    """A progress callback that shows nothing."""


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "table.csv"
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 3))
    y = np.column_stack([x.sum(1), x[:, 0] * x[:, 1]])
    np.savetxt(path, np.column_stack([x, y]), delimiter=",", header="a,b,c,u,v", comments="")
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory, table):
    """A finished run with two targets, which the tests copy."""
    config = RunConfig.from_dict({**SMALL, "data": {"data": str(table), "target": ["u", "v"]}})
    run = RunFolder.create(tmp_path_factory.mktemp("finished") / "run", config)
    for stage in STAGES:
        assert perform(run, config, stage, quiet).ran
    return run, config


@pytest.fixture
def whole(tmp_path, finished):
    """A finished run of one's own: a run folder means the same wherever it lies."""
    run, config = finished
    return RunFolder.open(shutil.copytree(run.path, tmp_path / "run")), config


def test_a_finished_run_has_nothing_to_do(whole):
    run, config = whole
    assert all(not perform(run, config, stage, quiet).ran for stage in STAGES)


@pytest.mark.parametrize(
    ("field", "value", "first"),
    [
        ("seed", 1, "data"),
        ("data.test", 0.3, "data"),
        ("teacher.lr", 0.01, "teacher"),
        ("distill.w_gm", 0.3, "distill"),
        ("export_batch", 1, "export"),
        ("quantize.precision", ["fp8"], "quantize"),
        ("quantize.method", "entropy", "quantize"),
        ("build.backend", ["onnxruntime", "native"], "build"),
        ("bench.samples", 30, "bench"),
    ],
)
def test_a_changed_field_makes_its_stage_and_all_after_it_stale(whole, field, value, first):
    run, config = whole
    changed = config.updated({field: value})
    index = STAGES.index(first)
    assert [stale_reason(run, changed, stage) is None for stage in STAGES[:index]] == [True] * index
    assert all(stale_reason(run, changed, stage) for stage in STAGES[index:])


def test_a_base_without_weight_has_no_baseline_and_says_so(tmp_path, table):
    config = RunConfig.from_dict({**SMALL, "data": {"data": str(table), "target": ["u", "v"]}})
    config = config.updated({"distill.w_base": 0, "distill.terms": ["pm"]})
    run = RunFolder.create(tmp_path / "run", config)
    for stage in ("data", "teacher", "distill"):
        done = perform(run, config, stage, quiet)
    assert run.file("student").is_dir() and not run.file("baseline").exists()
    assert any("no baseline was trained: with w_base 0" in note for note in done.summary["student"]["notes"])


def test_a_finished_training_leaves_no_checkpoint_folder(whole):
    run, _ = whole
    assert not run.file("checkpoint").exists()


def test_the_remedy_for_a_stale_chain_is_its_first_stage(whole):
    run, config = whole
    with pytest.raises(
        RunFolderError, match=r"'teacher'.*stale.*then: distill, quantize, build, bench.*regkd-edge train-teacher"
    ):
        perform(run, config.updated({"teacher.lr": 0.01}), "report", quiet)


def test_a_stale_stage_is_not_built_on(whole):
    run, config = whole
    changed = config.updated({"distill.w_gm": 0.3})
    with pytest.raises(RunFolderError, match="regkd-edge distill"):
        perform(run, changed, "quantize", quiet)


def test_a_new_student_takes_the_figures_of_the_old_one_away(whole):
    run, config = whole
    assert run.file("report.html").exists()
    perform(run, config.updated({"distill.w_gm": 0.3, "distill.baseline": False}), "distill", quiet)
    for name in ("baseline", "onnx", "engines", "bench", "report.html", "report.json"):
        assert not run.file(name).exists(), name
    assert run.file("student", "model.safetensors").exists()
    assert [stage for stage in STAGES if run.record(stage)] == ["data", "teacher", "distill"]


def test_the_same_result_again_leaves_what_follows_in_place(whole):
    run, config = whole
    assert perform(run, config, "distill", quiet, force=True).ran
    assert all(stale_reason(run, config, stage) is None for stage in STAGES)


def test_a_graph_that_is_the_same_but_tells_more_makes_the_page_stale_alone(whole):
    """The page says "not ranked by layer: quantize --rank-layers does it": it has to be written again then."""
    run, config = whole
    config = config.updated({"quantize.rank_layers": True})
    perform(run, config, "quantize", quiet)
    assert stale_reason(run, config, "report") == "stale: its inputs or options changed"
    assert all(stale_reason(run, config, stage) is None for stage in ("build", "bench"))
    assert perform(run, config, "report", quiet).ran
    page = run.file("report.html").read_text(encoding="utf-8")
    assert "Not ranked by layer" not in page and "rounding all layers moves the answers" in page


def test_an_engine_of_another_machine_is_not_run_but_its_figures_may_be_reported(whole, monkeypatch):
    run, config = whole
    monkeypatch.setattr("regkd_edge.run.pipeline.machine_name", lambda: "Linux aarch64 another board")
    assert not perform(run, config, "report", quiet).ran
    with pytest.raises(RunFolderError, match="another machine"):
        perform(run, config, "bench", quiet)
    assert perform(run, config, "build", quiet).ran


def test_the_source_may_be_gone_once_its_rows_are_in_the_run(whole):
    run, config = whole
    moved = config.updated({"data.data": config.data.data})
    from pathlib import Path

    hidden = Path(config.data.data).with_suffix(".away")
    Path(config.data.data).rename(hidden)
    try:
        assert stale_reason(run, moved, "data") is None
    finally:
        hidden.rename(config.data.data)


def test_status_reads_every_file_once(whole, monkeypatch, capsys):
    from regkd_edge.cli.app import app
    from regkd_edge.run import pipeline

    run, config = whole
    read, hashed = [], pipeline.file_hash
    monkeypatch.setattr(pipeline, "file_hash", lambda path: (read.append(str(path)), hashed(path))[1])
    assert not app(["status", str(run.path)], standalone_mode=False)
    assert read.count(config.data.data) == 1 and len(read) == len(set(read))
    assert capsys.readouterr().out.count(" done ") == len(STAGES)
    from pathlib import Path

    table = Path(config.data.data)
    before = table.read_text()
    table.write_text(before + "1,2,3,4,5\n")  # a change is noticed by the next call
    try:
        assert not app(["status", str(run.path)], standalone_mode=False)
        assert "stale: 'data' is" in capsys.readouterr().out
    finally:
        table.write_text(before)


def test_a_fixed_batch_is_benched_at_that_batch(whole):
    run, config = whole
    fixed = config.updated({"export_batch": 4})
    for stage in STAGES:
        perform(run, fixed, stage, quiet)
    import json

    record = json.loads(run.file("bench", "onnxruntime.fp32.json").read_text())
    assert [entry["batch"] for entry in record["latency"]] == [4]


def test_where_no_engine_can_run_the_remedy_names_this_run(whole, monkeypatch):
    from types import SimpleNamespace

    import regkd_edge.engines

    run, config = whole
    elsewhere = SimpleNamespace(cannot_run=lambda: "no driver here")
    monkeypatch.setattr(regkd_edge.engines, "get_backend", lambda name: elsewhere)
    with pytest.raises(NotAvailable, match="no driver here") as error:
        perform(run, config, "bench", quiet, force=True)
    assert f"regkd-edge build {run.path} --backend onnxruntime" in error.value.remedy


def test_every_stage_knows_itself():
    assert [get(name).name for name in STAGES] == list(STAGES)
