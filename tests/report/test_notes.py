"""Notes of a report: each says its figures, and only what was measured."""

from __future__ import annotations

from regkd_edge.report.notes import (
    busy,
    deployed,
    hardly_better,
    loop_overhead,
    other_settings,
    trained_by,
    training_said,
)


def timing(batch, p50, **more):
    return {"batch": batch, "p50_ns": p50, **more}


def test_a_setting_that_gains_is_named_with_both_figures():
    record = {
        "latency": [timing(1, 20_000.0)],
        "settings": {"2 threads": [timing(1, 30_000.0)], "CUDA graph": [timing(1, 12_000.0)]},
    }
    assert other_settings("e", record) == [
        'e: at batch 1 the setting "CUDA graph" is faster: median 12.0 µs, 20.0 µs as measured.'
    ]


def test_a_setting_within_the_noise_is_no_gain():
    record = {"latency": [timing(1, 20_000.0)], "settings": {"2 threads": [timing(1, 19_500.0)]}}
    assert other_settings("e", record) == [
        "e: no other setting is faster at batch 1 (tried: 2 threads; median 19.5 µs at best, 20.0 µs as measured)."
    ]


def test_the_time_of_the_gpu_is_told_apart_with_and_without_other_settings():
    record = {"latency": [timing(64, 20_000.0, gpu={"p50_ns": 7_000.0})]}
    [note] = other_settings("e", record)
    assert "of the 20.0 µs at batch 64 the GPU's own clock counts 7.00 µs for copies and kernels" in note


def test_too_few_samples_make_no_note():
    assert other_settings("e", {"latency": [timing(1, None)], "settings": {"2 threads": [timing(1, 10.0)]}}) == []
    assert other_settings("e", {"latency": [timing(1, 10.0)], "settings": {"2 threads": [timing(1, None)]}}) == []


def test_what_the_loop_itself_takes_is_told():
    benches = {
        "a": {"latency": [{"overhead_ns": 41.0}, {"overhead_ns": 55.4}]},
        "b": {"latency": [{"overhead_ns": 60.0}]},
    }
    assert loop_overhead(benches) == "each latency includes 41 to 60 ns of the timing loop"
    assert loop_overhead({}) is None


def test_what_a_device_found_is_told_and_nothing_where_there_was_none():
    one = {"name": "a", "passed": True, "difference": 0.5, "allowed": 1.0}
    bad = {"name": "b", "passed": False, "difference": None, "allowed": 1.0}
    record = {"verified": [one, bad], "notes": ["b does not answer."], "left_out": ["c: absent"]}
    assert deployed(record) == [
        "b does not answer.",
        "a: its outputs match its graph's (RMS difference 0.500, 1.00 allowed).",
        "Not built: c: absent",
    ]
    assert deployed(None) == []


def test_a_busy_machine_is_told():
    assert "load 1.9 on 2 cores" in busy({"load": [1.9, 0, 0], "cores": 2})
    assert busy({"load": [0.2, 0, 0], "cores": 2}) is None and busy({}) is None


def test_points_around_the_rows_are_named_as_perturbation_matching():
    recipe = {"base": "mimic", "w_base": {"start": 1.0, "end": 1.0}}
    setup = {"sampler": "neighbours", "noise": "principal", "sigma": [0.3], "base": "mimic"}
    assert trained_by({"extra": {"recipe": recipe, "setup": setup}}) == "mimic + PM (principal noise 0.3)"
    setup["noise"] = "mixed"
    assert trained_by({"extra": {"recipe": recipe, "setup": setup}}) == "mimic + PM (mixed noise)"


def test_what_was_said_of_the_training_is_not_lost_and_warnings_come_first():
    race = {"explanation": "PM won"}
    stages = {
        "teacher": {"summary": {"notes": ["It has no gradients."]}},
        "distill": {
            "summary": {
                "baseline": {"notes": []},
                "student": {
                    "notes": ["WARNING: the teacher is worse than a linear model", "PM won", "b"],
                    "race": race,
                },
                "external": {"x": "y"},
            }
        },
    }
    warnings, remarks = training_said(stages)
    assert warnings == ["student: the teacher is worse than a linear model."]
    assert remarks == ["teacher: It has no gradients.", "student: b."], "the section on the training tells the race"
    for odd in ({}, {"distill": None}, {"distill": {"summary": [1]}}, {"distill": {"summary": {"student": 3}}},
                {"distill": {"summary": {"student": {"notes": "x", "race": 1}}}}):  # fmt: skip
        assert training_said(odd) == ([], [])


def test_an_engine_that_is_of_no_use_is_not_recommended_without_a_word():
    target = lambda name, r2: {"name": name, "r2": r2}
    rows = [{"name": "student", "targets": [target("a [W]", 0.99), target("b", -0.006), target("constant", None)]}]
    said = ["student is hardly better than answering with the mean of the held-out rows: b (R² -0.01)."]
    assert hardly_better(rows, None) == said
    rows.append({"name": "native.fp32", "targets": [target("a [W]", 0.3), target("b", 0.06)]})
    assert hardly_better(rows, "native.fp32") == [] and hardly_better([], None) == []
