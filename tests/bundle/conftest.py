"""A small finished run with two targets, and a bundle of it."""

from __future__ import annotations

import numpy as np
import pytest

from regkd_edge.config import RunConfig
from regkd_edge.run import RunFolder


def quiet(*figures):
    """A progress callback that shows nothing."""


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    pytest.importorskip("torch")
    from regkd_edge.stages import perform

    folder = tmp_path_factory.mktemp("bundled")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 3))
    y = np.column_stack([x.sum(1), 40 * x[:, 0] * x[:, 1]])
    np.savetxt(folder / "table.csv", np.column_stack([x, y]), delimiter=",", header="a,b,c,u,v", comments="")
    config = RunConfig.from_dict(
        {
            "data": {"data": str(folder / "table.csv"), "target": ["u", "v"]},
            "teacher": {"teacher": "mlp:6:relu", "epochs": 2},
            "distill": {
                "recipe": "kang2024",
                "student": "mlp:16:relu",
                "steps": 20,
                "evaluate_every": 10,
                "compute": "torch",
            },
            "quantize": {"precision": ["fp16", "int8"]},
            "build": {"profile": [1, 1, 4]},
            "bench": {"samples": 40, "warmup": 2, "batches": [1, 4]},
        }
    )
    run = RunFolder.create(folder / "demo", config)
    for stage in ("data", "teacher", "distill", "export", "quantize"):
        perform(run, config, stage, quiet)
    return run


@pytest.fixture(scope="session")
def bundle(run, tmp_path_factory):
    from regkd_edge.bundle import make_bundle

    path, _ = make_bundle(run, "jetson-orin", tmp_path_factory.mktemp("made") / "demo.jetson-orin.tar.gz")
    return path
