"""What the real packages read back of a run that was logged to local files."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pytest

from regkd_edge.errors import NotAvailable
from regkd_edge.io.files import write_json
from regkd_edge.report import collect, write_report
from regkd_edge.trackers import log_run, require_trackers
from regkd_edge.trackers.content import content_of
from regkd_edge.trackers.tensorboard_log import _scatter

spec = importlib.util.spec_from_file_location("runs_of_reports", Path(__file__).parents[1] / "report" / "conftest.py")
runs = importlib.util.module_from_spec(spec)
spec.loader.exec_module(runs)

HISTORY = [
    {"step": s, "total": 1.0 / s, "pm": 0.5 / s, "validation_rmse": 2.0 / s, "target_rmse": [4.0 / s]}
    for s in (10, 20, 30)
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    run = runs.make_run(tmp_path_factory.mktemp("trackers") / "pump")
    write_json(run.file("student", "history.json"), HISTORY)
    report = collect(run)
    write_report(run, report)
    return run, report


def test_the_content_is_that_of_the_report(finished):
    run, report = finished
    content = content_of(run, report)
    assert content.curves["student/pm"] == [(10, 0.05), (20, 0.025), (30, 0.5 / 30)]
    (row,) = (row for row in report.rows if row["name"] == "onnxruntime.int8")
    assert content.curves["student/validation_target_rmse/power"] == [(10, 0.4), (20, 0.2), (30, 4.0 / 30)]
    names = {*content.curves, *content.figures}
    inside = {name for name in names for other in names if name.startswith(f"{other}/")}
    assert not inside, "MLflow keeps a metric in a file: its name cannot be a folder of others"
    assert content.figures["onnxruntime.int8/rmse/power"] == row["targets"][0]["rmse"]
    assert content.figures["onnxruntime.int8/p50_us_b1"] == row["p50_us_b1"]
    assert content.parameters["distill.student"] == "mlp:32,32:relu" and "data.data" not in content.parameters
    assert {"report.html", "student.int8.onnx"} <= {path.name for path in content.files}
    assert content.plots["onnxruntime.int8/power"].startswith("<svg")


def test_a_scatter_has_its_dots_where_the_answers_are():
    picture = _scatter(np.array([0.0, 1.0]), np.array([1.0, 1.0]))
    assert picture.shape == (160, 160) and (np.argwhere(picture == 0) == [[0, 0], [0, 159]]).all()


def test_tensorboard_reads_curves_figures_histograms_images_and_texts(finished):
    pytest.importorskip("torch")
    module = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run, report = finished
    for _ in range(2):  # the events of an earlier report are replaced
        (where,) = log_run(run, report, ["tensorboard"])
    read = module.EventAccumulator(str(run.file("tensorboard")))
    read.Reload()
    tags = read.Tags()
    assert [(e.step, round(e.value, 6)) for e in read.Scalars("student/total")] == [
        (10, 0.1),
        (20, 0.05),
        (30, 0.033333),
    ]
    rmse = next(row for row in report.rows if row["name"] == "onnxruntime.fp32")["targets"][0]["rmse"]
    assert read.Scalars("engines/onnxruntime.fp32/rmse/power")[0].value == pytest.approx(rmse, rel=1e-6)
    assert "latency in microseconds/onnxruntime.int8/batch 16" in tags["histograms"]
    assert "predicted against true/onnxruntime.int8/power" in tags["images"]
    assert "configuration/text_summary" in tags["tensors"] and where.endswith("tensorboard")


def test_mlflow_reads_parameters_metrics_and_artefacts(finished, monkeypatch):
    tracking = pytest.importorskip("mlflow.tracking")
    run, report = finished
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (where,) = log_run(run, report, ["mlflow"])
    client = tracking.MlflowClient(run.file("mlflow").resolve().as_uri())
    experiment = client.get_experiment_by_name("regkd-edge")
    (made,) = client.search_runs([experiment.experiment_id])
    assert made.info.run_id in where and made.info.status == "FINISHED" and made.info.run_name == report.name
    assert made.data.params["distill.student"] == "mlp:32,32:relu"
    curve = client.get_metric_history(made.info.run_id, "student/validation_rmse")
    assert sorted((m.step, round(m.value, 6)) for m in curve) == [(10, 0.2), (20, 0.1), (30, 0.066667)]
    rmse = next(row for row in report.rows if row["name"] == "onnxruntime.fp32")["targets"][0]["rmse"]
    assert made.data.metrics["onnxruntime.fp32/rmse/power"] == pytest.approx(rmse)
    names = {item.path for item in client.list_artifacts(made.info.run_id)}
    assert {"report.html", "report.json", "onnx", "predicted against true"} <= names


def test_mlflow_that_is_away_is_a_line_and_no_traceback(finished, monkeypatch, tmp_path):
    pytest.importorskip("mlflow.tracking")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "file" / "store").as_uri())
    with pytest.raises(NotAvailable, match="MLflow at .* refused the run"):
        log_run(*finished, ["mlflow"])


def test_a_tracker_that_is_not_installed_is_named_with_the_remedy(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        NotAvailable, match=r"'mlflow', which is not installed. Run: pip install 'regkd-edge\[trackers\]'"
    ):
        require_trackers(["mlflow"])


def test_the_report_stage_logs_where_the_run_asks_for_it(finished, tmp_path, monkeypatch):
    from regkd_edge import trackers
    from regkd_edge.config import RunConfig
    from regkd_edge.run import RunFolder
    from regkd_edge.stages import get

    run = RunFolder(shutil.copytree(finished[0].path, tmp_path / "pump"))
    asked = []
    monkeypatch.setattr(trackers, "require_trackers", asked.append)
    monkeypatch.setattr(trackers, "log_run", lambda run, report, names: [f"to {name}" for name in names])
    config = RunConfig.from_dict({"log": "tensorboard,mlflow"})
    stage = get("report")
    assert stage.inputs(run, config)["log"] == ["tensorboard", "mlflow"] and asked == []
    assert stage.work(run, config, None)[1]["logged"] == ["to tensorboard", "to mlflow"]
    assert asked == [["tensorboard", "mlflow"]]
    assert RunConfig.from_dict({"log": "none"}).log == []
