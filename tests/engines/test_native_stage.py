"""The native back end in a run: built and measured like every other, and what it does not take is listed, not hidden."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnxruntime")
pytest.importorskip("regkd_edge._runtime", reason="the extension is not built")

from regkd_edge.config import RunConfig
from regkd_edge.errors import GraphError
from regkd_edge.run import STAGES, RunFolder
from regkd_edge.stages import perform

SMALL = {
    "teacher": {"teacher": "mlp:6:relu", "epochs": 2},
    "distill": {"student": "mlp:16:silu", "steps": 20, "evaluate_every": 10, "baseline": False},
    "build": {"backend": ["native"]},
    "bench": {"samples": 20, "warmup": 2, "batches": [1, 5]},
}


def start(folder, **changes):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 3))
    np.savetxt(folder / "table.csv", np.column_stack([x, x.sum(1)]), delimiter=",", header="a,b,c,u", comments="")
    config = RunConfig.from_dict({**SMALL, "data": {"source": str(folder / "table.csv"), "target": ["u"]}, **changes})
    return RunFolder.create(folder / "run", config), config


def test_build_and_bench_have_a_row_for_it(tmp_path):
    run, config = start(tmp_path)
    done = {stage: perform(run, config, stage, lambda *figures: None) for stage in STAGES}
    assert [engine["engine"] for engine in done["build"].summary["engines"]] == ["native.fp32", "native.int8"]
    [left_out] = done["build"].summary["left_out"]
    assert left_out.startswith("native.fp16: ") and "Cast" in left_out
    for name in ("fp32", "int8"):
        record = json.loads(run.file("bench", f"native.{name}.json").read_text())
        assert record["backend"] == "native" and record["executed"] == {name: 1.0}
    rows = {row["name"] for row in json.loads(run.file("report.json").read_text())["rows"]}
    assert {"native.fp32", "native.int8"} <= rows


def test_a_run_without_any_engine_is_refused(tmp_path, monkeypatch):
    from regkd_edge.engines.native import NativeEngine

    run, config = start(tmp_path, quantize={"precision": ["int8"]})
    monkeypatch.setattr(NativeEngine, "refuses", lambda self, path: "no reason.")
    with pytest.raises(GraphError, match="no engine could be built: native.fp32: no reason"):
        for stage in STAGES:
            perform(run, config, stage, lambda *figures: None)
