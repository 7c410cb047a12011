"""Stage quantize: which rows calibrate, what is refused before anything is written, and quantization-aware
distillation.
"""

from __future__ import annotations

import shutil

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnxruntime")

from regkd_edge.config import RunConfig
from regkd_edge.data import load_dataset
from regkd_edge.errors import UserError
from regkd_edge.run import RunFolder
from regkd_edge.stages import perform


class Enough(Exception):
    pass


@pytest.fixture
def calibration_rows(monkeypatch):
    """The rows that the stage lets a graph be calibrated on."""
    from regkd_edge import quantization
    from regkd_edge.stages import get

    def rows_of(run, config):
        asked = []

        def quantize_graph(source, target, precision, rows, *rest, **options):
            asked.append(rows)
            raise Enough

        monkeypatch.setattr(quantization, "quantize_graph", quantize_graph)
        with pytest.raises(Enough):
            list(get("quantize").parts.work(run, config, QUIET, ["int8"]))
        return asked[0]

    return rows_of


QUIET = lambda *figures: None


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of a very small student on a bundled set, up to the exported graph."""
    config = RunConfig.from_dict(
        {
            "data": {"data": "diabetes"},
            "teacher": {"teacher": "mlp:16:tanh", "epochs": 5},
            "distill": {
                "accept_teacher": True,
                "recipe": "kang2024",
                "student": "mlp:8,8:silu",
                "steps": 60,
                "baseline": False,
                "fraction": 0.5,
            },
        }
    )
    run = RunFolder.create(tmp_path_factory.mktemp("runs") / "run", config)
    for stage in ("data", "teacher", "distill", "export"):
        perform(run, config, stage, QUIET)
    return run, config


def quantize(finished, **options):
    run, config = finished
    return perform(
        run, config.updated({f"quantize.{key}": value for key, value in options.items()}), "quantize", QUIET
    ).summary["graphs"]


def test_real_rows_are_those_that_the_student_saw(finished, calibration_rows):
    run, config = finished
    rows = calibration_rows(run, config.updated({"quantize.rows": 40}))
    train = load_dataset(run).rows("train")[0].astype(np.float32)
    assert rows.shape == (40, 10) and all((row == train).all(axis=1).any() for row in rows)
    assert len(calibration_rows(run, config)) == round(0.5 * len(train))


def test_synthetic_rows_stay_in_the_ranges_stored_with_the_student(finished, calibration_rows):
    run, config = finished
    train = load_dataset(run).rows("train")[0].astype(np.float32)
    rows = calibration_rows(run, config.updated({"quantize.calibrate": "synthetic", "quantize.rows": 300}))
    assert rows.shape == (300, 10) and (rows >= train.min(0) - 1e-4).all() and (rows <= train.max(0) + 1e-4).all()
    assert not any((row == train).all(axis=1).any() for row in rows)
    assert len(calibration_rows(run, config.updated({"quantize.calibrate": "both", "quantize.rows": 30}))) == 60


def test_several_precisions_and_a_report(finished):
    graphs = quantize(finished, precision="int8,bf16", rank_layers=True)
    assert [graph["share"] for graph in graphs] == [{"int8": 1.0}, {"bf16": 1.0}]
    assert {"input", "weights", "activations"} == set(graphs[0]["sensitivity"]["parts"]) and len(
        graphs[0]["sensitivity"]["layers"]
    ) == 3


def test_a_precision_that_the_target_lacks_is_refused_before_anything_is_written(finished):
    run, _ = finished
    before = {p.name: p.stat().st_mtime_ns for p in run.file("onnx").iterdir()}
    with pytest.raises(UserError, match="'orin' has no fp8"):
        quantize(finished, precision="int8,fp8", target="orin")
    assert {p.name: p.stat().st_mtime_ns for p in run.file("onnx").iterdir()} == before


def test_auto_says_what_it_judged(finished):
    (graph,) = quantize(finished, precision="auto", calibrate="synthetic")
    assert any("RMSE" in note for note in graph["notes"])


def test_a_graph_without_int8_is_stored_under_the_name_of_what_it_is(finished, tmp_path):
    """A bound that no INT8 layer meets: the file, the record and the engines say fp16, never int8."""
    config = finished[1].updated({"quantize.corrections": "none", "quantize.max_increase": 1e-7})
    alone, both = (RunFolder.open(shutil.copytree(finished[0].path, tmp_path / name)) for name in ("alone", "both"))
    (graph,) = quantize((alone, config), precision="int8")
    assert graph["precision"] == "fp16" and graph["target"] == "onnx/student.fp16.onnx"
    assert any("no layer is int8: this is the fp16 graph" in note for note in graph["notes"])
    assert not alone.file("onnx", "student.int8.onnx").exists()
    done = perform(both, config.updated({"quantize.precision": "fp16,int8"}), "quantize", QUIET)
    assert [graph["precision"] for graph in done.summary["graphs"]] == ["fp16"]
    assert done.summary["left_out"] == ["int8: no layer is int8: this is the fp16 graph"]


def test_several_targets_are_several_figures(tmp_path):
    """Watts and strains: each in its own unit, by name."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 3))
    y = np.column_stack([1e6 * x.sum(1), 1e-6 * x[:, 0]])
    np.savetxt(tmp_path / "t.csv", np.column_stack([x, y]), delimiter=",", header="a,b,c,watts,strain", comments="")
    config = RunConfig.from_dict(
        {
            "data": {"data": str(tmp_path / "t.csv"), "target": ["watts", "strain"]},
            "teacher": {"teacher": "mlp:8:tanh", "epochs": 3},
            "distill": {"accept_teacher": True, "student": "mlp:8:relu", "steps": 60, "baseline": False},
        }
    )
    run = RunFolder.create(tmp_path / "run", config)
    for stage in ("data", "teacher", "distill", "export"):
        perform(run, config, stage, QUIET)
    (graph,) = quantize((run, config), precision="int8")
    targets = {target["name"]: target for target in graph["check"]["targets"]}
    assert list(targets) == ["watts", "strain"] and graph["check"]["unit"] == "standard deviations"
    assert targets["watts"]["rmse"] > 1 and 0 < targets["strain"]["rmse"] < 1e-6
    from regkd_edge.cli.tables import graphs

    shown = graphs([graph])
    assert [target["rmse"] for target in shown["rows"][0]["targets"]] == [targets[n]["rmse"] for n in targets]
    lines, hidden = shown["table"].lines(45)  # errors are the last to be left out
    assert lines[-2][0].split()[:2] == ["int8", "watts"] and lines[-1][0].split()[0] == "strain"
    assert f"{targets['strain']['rmse']:.3g}" in lines[-1][0] and "graph" in hidden


def test_training_through_the_quantizers(finished):
    (graph,) = quantize(finished, precision="int8", qat=True, qat_steps=20, rank_layers=True)
    assert len(graph["sensitivity"]["layers"]) == 3
    assert graph["share"] == {"int8": 1.0} and graph["qat"]["steps"] == 20
    if graph["qat"]["kept"]:  # never where it is worse
        assert graph["qat"]["rise_after"] < graph["qat"]["rise_before"]
    else:
        assert any("training through the quantizers" in note for note in graph["notes"])
    with pytest.raises(UserError, match="qat trains all layers in int8.*--no-qat, or --max-increase none"):
        quantize(finished, precision="int8", qat=True, max_increase="1%")
    with pytest.raises(
        UserError, match="--no-qat, or --precision int8 --max-increase none"
    ):  # auto brings a bound of its own
        quantize(finished, precision="auto", qat=True)


def test_a_base_that_mixes_row_by_row_is_trained_through_the_quantizers(finished):
    run, config = finished
    mixed = config.updated({"distill.base": "mix", "distill.steps": 20})
    other = RunFolder.create(run.path.parent / "mix", mixed)
    for stage in ("data", "teacher", "distill", "export"):
        perform(other, mixed, stage, QUIET)
    (graph,) = quantize((other, mixed), precision="int8", qat=True, qat_steps=5)
    assert graph["qat"]["steps"] == 5


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"precision": "fp16", "qat": True}, "and precision is fp16.*or add --no-qat"),
        (
            {"precision": "int8", "qat": True, "quantizer": "onnxruntime"},
            "quantizer is 'onnxruntime'.*--no-qat, or --quantizer own",
        ),
        ({"precision": "bf16", "max_increase": "1%"}, "searches int8 and fp8 graphs.*or add --max-increase none"),
        (
            {"precision": "int8", "quantizer": "onnxruntime", "rank_layers": True},
            r"--quantizer onnxruntime has no ranking of layers.*--quantizer own",
        ),
        (
            {"precision": "int8", "quantizer": "modelopt", "corrections": "bias"},
            r"--quantizer modelopt has no corrections \(bias\)",
        ),
    ],
)
def test_a_flag_that_would_change_nothing_is_refused(finished, flags, message):
    with pytest.raises(UserError, match=message):
        quantize(finished, **flags)
