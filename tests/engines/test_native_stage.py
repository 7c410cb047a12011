"""The native back end in a run: built and measured like every other, and what it does not take is listed, not
hidden.
"""

from __future__ import annotations

import json
import shutil
import subprocess

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnxruntime")
pytest.importorskip("regkd_edge._runtime", reason="the extension is not built")

from regkd_edge.config import RunConfig
from regkd_edge.errors import GraphError, UserError
from regkd_edge.graph.unoptimized import reference_outputs
from regkd_edge.run import STAGES, RunFolder
from regkd_edge.stages import perform

SMALL = {
    "teacher": {"teacher": "mlp:6:relu", "epochs": 2},
    "distill": {
        "accept_teacher": True,
        "recipe": "kang2024",
        "student": "mlp:16:silu",
        "steps": 20,
        "evaluate_every": 10,
        "baseline": False,
    },
    "build": {"backend": ["native"]},
    "bench": {"samples": 20, "warmup": 2, "batches": [1, 5]},
}


def start(folder, **changes):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 3))
    np.savetxt(folder / "table.csv", np.column_stack([x, x.sum(1)]), delimiter=",", header="a,b,c,u", comments="")
    config = RunConfig.from_dict({**SMALL, "data": {"data": str(folder / "table.csv"), "target": ["u"]}, **changes})
    return RunFolder.create(folder / "run", config), config


def test_build_and_bench_have_a_row_for_it(tmp_path):
    run, config = start(tmp_path)
    done = {stage: perform(run, config, stage, lambda *figures: None) for stage in STAGES}
    assert [engine["engine"] for engine in done["build"].summary["engines"]] == ["native.fp32", "native.int8"]
    [left_out] = done["build"].summary["left_out"]
    assert (
        left_out.startswith("native.fp16: ")
        and "the native back end runs fp32 and int8 graphs, and 'student.fp16.onnx' is fp16" in left_out
    )
    for name in ("fp32", "int8"):
        record = json.loads(run.file("bench", f"native.{name}.json").read_text())
        assert record["backend"] == "native" and record["executed"] == {name: 1.0}
    rows = {row["name"] for row in json.loads(run.file("report.json").read_text())["rows"]}
    assert {"native.fp32", "native.int8"} <= rows


def test_build_writes_c_headers_that_a_c99_compiler_runs(tmp_path):
    """``build --backend native --c-header pump``: the header alone, compiled by gcc as C99,
    answers as the graph does."""
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc")
    run, config = start(tmp_path, build={"backend": ["native"], "c_header": "pump"})
    for stage in STAGES[: STAGES.index("build") + 1]:
        done = perform(run, config, stage, lambda *figures: None)
    assert done.summary["headers"] == [
        f"native.{name}: C header engines/native.{name}/pump.h" for name in ("fp32", "int8")
    ]
    x = np.random.default_rng(1).normal(size=(50, 3)).astype(np.float32)
    program = '#define PUMP_IMPLEMENTATION\n#include "pump.h"\n#include <stdio.h>\n' + (
        "int main(void) { float x[PUMP_INPUTS], y[PUMP_OUTPUTS]; "
        'while (scanf("%f %f %f", x, x + 1, x + 2) == 3) { if (pump_infer(x, y)) return 1; '
        'printf("%.9g\\n", (double)y[0]); } return 0; }\n'
    )
    (tmp_path / "main.c").write_text(program)
    for name in ("fp32", "int8"):
        folder = run.file("engines", f"native.{name}")
        subprocess.run(
            [
                "gcc",
                "-std=c99",
                "-pedantic",
                "-Wall",
                "-Wextra",
                "-Werror",
                "-O2",
                "-I",
                folder,
                tmp_path / "main.c",
                "-o",
                tmp_path / name,
                "-lm",
            ],
            check=True,
        )
        said = subprocess.run(
            [tmp_path / name],
            input="\n".join(" ".join(map(repr, map(float, row))) for row in x),
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        want = reference_outputs(run.file("onnx", f"student.{name}.onnx"), x)[:, 0]
        # int8: one step of 254 where a value lies at a rounding tie; fp32: float32 error
        allowed = np.ptp(want) / 254 if name == "int8" else 2e-6 * np.abs(want).max()
        assert np.abs(np.array(said.split(), float) - want).max() <= allowed
    perform(run, config.updated({"build.c_header": "none"}), "build", lambda *figures: None)
    assert not list(run.file("engines").glob("*/*.h"))  # one that is no longer asked for does not stay and go stale


def test_a_header_needs_the_native_back_end_and_a_c_name(tmp_path):
    run, config = start(tmp_path)
    for stage in STAGES[: STAGES.index("build")]:
        perform(run, config, stage, lambda *figures: None)
    with pytest.raises(UserError, match="made from a native engine, and backend is onnxruntime"):
        perform(
            run,
            config.updated({"build.backend": ["onnxruntime"], "build.c_header": "pump"}),
            "build",
            lambda *figures: None,
        )
    with pytest.raises(UserError, match="'my pump' is not a C identifier"):
        perform(run, config.updated({"build.c_header": "my pump"}), "build", lambda *figures: None)


def test_a_run_without_any_engine_is_refused(tmp_path, monkeypatch):
    from regkd_edge.engines.native import NativeBackend

    run, config = start(tmp_path, quantize={"precision": ["int8"]})
    monkeypatch.setattr(NativeBackend, "refuses", lambda self, path: "no reason.")
    with pytest.raises(GraphError, match="no engine could be built: native.fp32: no reason"):
        for stage in STAGES:
            perform(run, config, stage, lambda *figures: None)
