"""The day the Jetson is there, rehearsed: the one command with its JetPack's real TensorRT bindings, over a stub
GPU.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

HERE, ROOT = Path(__file__).parent, Path(__file__).parents[2]


@pytest.mark.parametrize("version", ["10.3", "10.16", "11.4"])  # JetPack 6.2, 7.2, 7.2.2
def test_deploy_builds_verifies_times_and_reports_tensorrt_engines(
    bundle, tensorrt_bindings, libcuda, tmp_path, version
):
    variables = tensorrt_bindings(version)
    environment = {
        **os.environ,
        **variables,
        "PYTHONPATH": os.pathsep.join([variables["PYTHONPATH"], str(ROOT)]),
        "COLUMNS": "200",
    }
    command = [sys.executable, HERE / "jetson_rehearsal.py", libcuda, "deploy", bundle, "out", "--json"]
    done = subprocess.run(
        [str(part) for part in command], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr[-3000:]
    rows = {row["name"]: row for row in json.loads(done.stdout)["table"]}
    engines = ["tensorrt.fp32", "tensorrt.fp16", "tensorrt.int8"]
    assert set(engines) <= set(rows) and rows["tensorrt.int8"]["p50_us_b1"] > 0
    deployed = json.loads((tmp_path / "out" / "deploy.json").read_text())
    assert [one["name"] for one in deployed["verified"] if one["passed"]] == [*engines, "native.fp32", "native.int8"]
    manifest = json.loads((tmp_path / "out" / "engines" / "tensorrt.int8" / "manifest.json").read_text())
    assert manifest["precision"] == "int8"  # known from the bundle: nothing here can read the graph
    assert manifest["versions"]["tensorrt"].startswith(version) and manifest["machine"]["compute_capability"] == "8.7"
    assert (manifest["options"]["min_batch"], manifest["options"]["max_batch"]) == (1, 4)
    figures = json.loads((tmp_path / "out" / "bench" / "tensorrt.fp16.json").read_text())
    assert [timing["batch"] for timing in figures["latency"]] == [1, 4]
    assert all(
        timing["gpu"]["p50_ns"] == 2e6 for timing in [*figures["latency"], *figures["settings"]["CUDA graph"]]
    )  # the stub's clock
    assert set(np.load(tmp_path / "out" / "bench" / "tensorrt.fp16.npz")) >= {
        "latency_ns_batch_1",
        "gpu_ns_batch_1",
        "latency_ns_batch_1_cuda_graph",
    }
    page = (tmp_path / "out" / "report.html").read_text()
    assert "CUDA graph" in page and "own clock counts" in page and "is unknown: the inspector gave names only" in page
