"""The timing loop counts what it says it counts. No test here asserts a time."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from regkd_edge.errors import UserError
from regkd_edge.measure import latency, machine_state, percentiles


class Recorder:
    def __init__(self):
        self.requests = []

    def __call__(self, x):
        self.requests.append(x)
        return x


def test_every_request_is_counted_and_none_is_dropped():
    infer = Recorder()
    record, raw = latency(infer, np.zeros((10, 3), np.float32), batch=4, samples=37, warmup=5)
    assert len(infer.requests) == 5 + 37
    assert raw.shape == (37,) and raw.dtype == np.int64 and (raw >= 0).all()
    assert {x.shape for x in infer.requests} == {(4, 3)}
    assert all(x.flags.c_contiguous and x.dtype == np.float32 for x in infer.requests)
    assert (record["batch"], record["samples"], record["warmup"]) == (4, 37, 5)


def test_requests_walk_through_the_rows():
    infer = Recorder()
    x = np.arange(6, dtype=np.float32)[:, None]
    latency(infer, x, batch=2, samples=6, warmup=0)
    assert np.concatenate(infer.requests)[:, 0].tolist() == [0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5]


def test_a_batch_larger_than_the_rows_wraps_around():
    infer = Recorder()
    latency(infer, np.arange(3, dtype=np.float32)[:, None], batch=5, samples=1, warmup=0)
    assert infer.requests[0][:, 0].tolist() == [0, 1, 2, 0, 1]


def test_percentiles_are_given_only_with_ten_samples_beyond_them():
    assert percentiles(np.arange(1000))["p99_ns"] == pytest.approx(989.01)
    assert percentiles(np.arange(999))["p99_ns"] is None
    few = percentiles(np.arange(99))
    assert few["p50_ns"] == 49 and few["p90_ns"] is None and few["p95_ns"] is None
    assert percentiles(np.arange(5))["p50_ns"] is None and percentiles(np.arange(5))["max_ns"] == 4


def test_outliers_stay_in():
    raw = np.full(100, 1000)
    raw[7] = 10**9
    assert percentiles(raw)["max_ns"] == 10**9 and percentiles(raw)["mean_ns"] > 10**7


def test_collector_of_garbage_is_left_as_it_was_even_after_an_error():
    assert gc.isenabled()

    def fails(x):
        raise RuntimeError("engine")

    with pytest.raises(RuntimeError):
        latency(fails, np.zeros((1, 1), np.float32), samples=1, warmup=0)
    assert gc.isenabled()


def test_own_overhead_is_measured_and_stated():
    record, _ = latency(Recorder(), np.zeros((4, 1), np.float32), samples=20, warmup=0)
    assert record["overhead_ns"] >= 0


@pytest.mark.parametrize("bad", [{"batch": 0}, {"samples": 0}, {"warmup": -1}])
def test_senseless_numbers_are_refused(bad):
    with pytest.raises(UserError, match=next(iter(bad))):
        latency(Recorder(), np.zeros((1, 1), np.float32), **bad)


def test_machine_state_is_plain_data():
    import json

    state = machine_state()
    assert state["cpu"] and state["cores"] >= 1 and state["versions"]["numpy"]
    json.dumps(state, allow_nan=False)


def test_machine_state_survives_sick_tools(tmp_path, monkeypatch):
    for name, body in {
        "nvidia-smi": "exit 9",
        "nvpmodel": "echo 'NV Power Mode: MAXN'",
        "jetson_clocks": "echo clocks",
    }.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    state = machine_state()
    assert state["nvpmodel"] == "NV Power Mode: MAXN" and state["jetson_clocks"] == "clocks"
    assert "nvidia_smi" not in state


def test_a_rate_counts_rows_and_not_requests():
    record, raw = latency(Recorder(), np.zeros((10, 3), np.float32), batch=8, samples=25, warmup=0)
    assert record["rows_per_second"] == pytest.approx(8 * 25 / (raw.sum() * 1e-9)) and record["rounds"] == 1


def test_the_state_of_the_machine_is_read_where_linux_keeps_it(tmp_path, monkeypatch):
    from pathlib import Path

    from regkd_edge.measure import machine

    for name, text in {
        "sys/class/thermal/thermal_zone0/type": "x86_pkg_temp\n", "sys/class/thermal/thermal_zone0/temp": "48500\n",
        "sys/class/thermal/thermal_zone1/type": "dead", "sys/class/thermal/thermal_zone1/temp": "n/a",
        "sys/class/thermal/thermal_zone2/temp": "20000", "sys/class/thermal/thermal_zone3/type": "outside",
        "sys/class/thermal/thermal_zone3/temp": "-5250", "sys/class/thermal/thermal_zone4/type": "silent",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave",
        "sys/devices/system/cpu/cpu1/cpufreq/scaling_governor": "performance",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "2400000",
        "sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq": "800000",
    }.items():  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(machine, "Path", lambda path: Path(str(path).replace("/sys/", f"{tmp_path}/sys/", 1)
                                                           if str(path).startswith("/sys/") else path))  # fmt: skip
    assert machine._temperatures() == {"x86_pkg_temp (thermal_zone0)": 48.5, "outside (thermal_zone3)": -5.25}
    assert machine._governors() == "performance, powersave" and machine._frequencies() == [800, 2400]
