"""A report with everything that can go wrong in a drawing: long names, equal engines, extreme figures, all sections."""

from __future__ import annotations

import dataclasses

import numpy as np

from regkd_edge.config import RunConfig
from regkd_edge.report import collect
from regkd_edge.report.evidence import DeviceNeeds
from regkd_edge.report.recommend import recommend
from regkd_edge.report.rows import rows_of

TARGETS = ["life [cycles]", "capacity_after_the_second_formation_step_at_low_temperature [mAh]"]


def crowded_report(run):
    """A collected report, turned into one of two targets and eight engines, some of them alike."""
    report = collect(run)
    rng = np.random.default_rng(0)
    y = np.concatenate([report.truth, 1e-7 * report.truth[::-1]], axis=1)
    scale = y.std(axis=0)
    errors = {"teacher": 0.05, "baseline": 0.2, "student": 0.1}
    engines = {f"{b}.{p}": 0.1 + 0.02 * (p == "int8") for b in ("native", "onnxruntime",
        "tensorrt-rtx_with_a_long_name") for p in ("fp32", "int8", "int8+fp32")}  # fmt: skip
    predictions = {
        name: y + share * scale * rng.standard_normal(y.shape) for name, share in {**errors, **engines}.items()
    }
    template = next(iter(report.facts["benches"].values()))
    benches, latencies = {}, {}
    for i, name in enumerate(engines):
        times = [{**t, "p50_ns": 900.0 + 10 * (i // 2) + 3e6 * (i == 8), "p99_ns": 1200.0} for t in template["latency"]]
        machine = {**template["machine"], "load": [7.5, 7.0, 6.0], "cores": 2}
        benches[name] = {**template, "name": name, "latency": times, "machine": machine}
        nanoseconds = 900 + 10 * (i // 2) + rng.exponential(100, 1200) + 3e6 * (i == 8)
        latencies[name] = {t["batch"]: nanoseconds.astype(np.int64) for t in times}
    models = {
        n: {"what": "mlp:16,16:relu, mimic + PM + ABM + GM", "parameters": 1234, "size_bytes": 9999} for n in errors
    }
    allowed = dict(zip(TARGETS, 0.11 * scale))
    failed = {"native.int8": "it does not answer as its graph: an RMS difference of 1.23e+05 in target 0 on 100 rows"}
    rows = rows_of(models, benches, predictions, y, TARGETS, report.batches, allowed, failed)
    history = [
        {
            "step": s,
            "total": 3 / s,
            "base": 1 / s,
            "pm": 1 / s,
            "abm": 0.5 / s,
            "gm": 0.5 / s,
            "validation_rmse": 9 / s,
            "target_rmse": [1e7 / s, 1e-7 / s],
        }
        for s in range(100, 5000, 100)
    ]
    race = {
        "measure": "distance to the teacher on held-out rows, standard deviations of the target",
        "winner": "all terms at half the noise, then none at all",
        "explanation": "all terms at half noise won; the base alone is 31 % farther from the teacher on held-out rows",
        "rungs": [100, 400],
        "targets": TARGETS,
        "candidates": [
            {"title": f"candidate {i} with a long title that says all of its fields, one after the other, at length",
             "distance_to_teacher": [0.5, 0.1 * i][: 1 + i % 2],
             "target_distance_to_teacher": [[5e6, 5e-8], [1e6 * i, 1e-8 * i]][: 1 + i % 2]}
            for i in range(6)
        ],
    }  # fmt: skip
    layers = [{"name": f"layer{i}/gemm_with_a_rather_long_name", "precision": "int8",
        "change": 2.0 / (i + 1), "targets": [1e6 / (i + 1), 1e-8 / (i + 1)]} for i in range(5)]  # fmt: skip
    evidence = dataclasses.replace(
        report.evidence,
        histories=dict.fromkeys(errors, history),
        race=race,
        layers={"int8": {"all": 2.5, "layers": layers, "targets": TARGETS, "all_targets": [1.2e6, 1.3e-8]}},
        costs={name: DeviceNeeds(123456, 4321, 987) for name in engines},
    )
    features = ["temperature_of_the_outer_shell_of_the_second_module [degC]", *report.feature_names[1:]]
    inputs = report.inputs * [1e6, *[1.0] * (report.inputs.shape[1] - 1)]
    config = RunConfig().model_dump(mode="json")
    data = {**report.facts["data"], "targets": TARGETS}
    return dataclasses.replace(
        report, name="a_run_folder_with_a_very_long_name_that_somebody_chose_for_a_reason", rows=rows, truth=y,
        target_names=TARGETS, predictions=predictions, latencies=latencies, evidence=evidence, inputs=inputs,
        feature_names=features, allowed=allowed, failed=failed, recommended=recommend(rows, report.batches),
        facts={**report.facts, "benches": benches, "config": config, "data": data},
        notes=["x" * 300, *report.notes],
    )  # fmt: skip
