"""Engines, measuring and reporting work where neither torch nor onnx is installed: that is what runs on the device."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from graphs import rows, write_mlp

ROOT = Path(__file__).parents[2]

PROGRAM = """
import json, sys

ABSENT = {"torch", "onnx", "onnxscript", "safetensors", "sklearn", "tensorrt"}

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
import numpy as np
from regkd_edge.config import RunConfig
from regkd_edge.data import Table, save_dataset, save_predictions, split
from regkd_edge.engines import available, get_backend
from regkd_edge.api import bench
from regkd_edge.report import collect, write_report
from regkd_edge.io.files import write_json
from regkd_edge.run import RunFolder

graph, folder = sys.argv[1:]
run = RunFolder.create(folder, RunConfig())
x = np.random.default_rng(0).standard_normal((60, 5))
y = x[:, :1]
parts = split(60, 0.2, 0.3, 0)
save_dataset(run, Table(x, y, list("abcde"), ["t"], "made", []), parts)
engine = run.file("engines", "onnxruntime.int8")
manifest = get_backend("onnxruntime").build(graph, engine)
test = parts.test
quick = dict(batches=[1], samples=40, warmup=1, sweep=False)
bench(engine, x[test], y[test], reference=y[test] + 1, **quick).save(run.file("bench"))
report = collect(run)
write_report(run, report)
print(json.dumps({"row": report.rows[0], "notes": report.notes, "tensorrt": available()["tensorrt"],
                  "precision": manifest.precision,
                  "loaded": sorted(ABSENT & {name.split(".")[0] for name in sys.modules})}))
"""


def test_build_bench_and_report_without_torch_and_onnx(tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")  # to make the graph; the program below goes without
    from regkd_edge.quantization import quantize_int8

    source = write_mlp(tmp_path / "fp32.onnx", widths=(5, 8, 1))
    quantize_int8(source, tmp_path / "int8.onnx", rows())
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", PROGRAM, tmp_path / "int8.onnx", tmp_path / "run"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["loaded"] == []
    assert found["row"]["name"] == "onnxruntime.int8" and found["row"]["p50_us_b1"] > 0 and found["row"]["rmse"] > 0
    assert found["precision"] == "unknown"  # not guessed
    assert any("is unknown: the onnx package is not installed" in note for note in found["notes"])
    assert "TensorRT is not installed" in found["tensorrt"]
