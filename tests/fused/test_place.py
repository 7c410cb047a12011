"""Where a training lies: on the GPU by itself only where the core runs there, refused with the cause where none is."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch

from regkd_edge.errors import NotAvailable, RecipeError
from regkd_edge.fused import gain, native, place
from regkd_edge.fused.place import no_gpu
from regkd_edge.models.mlp import MLP
from regkd_edge.objectives import StepRecipe

pytestmark = pytest.mark.skipif(native.unavailable("cpu") is not None, reason=f"{native.unavailable('cpu')}")


def where(**change):
    """Of a step that a GPU is expected to gain by, unless ``change`` says otherwise."""
    nets = {"student": MLP([3, 128, 1]), "teacher": MLP([3, 256, 256, 1])}
    call = {**nets, "recipe": StepRecipe(w_pm=1.0), "batch": 2000, "x": torch.zeros(2000, 3), **change}
    device, why = place(call.pop("student"), call.pop("teacher"), call.pop("recipe"), **call)
    return device.type, why


@pytest.fixture
def gpu(monkeypatch, tmp_path):
    """A machine where PyTorch and the core both see one GPU, which refuses what ``refusal`` says."""
    core, device = native.load()[0], SimpleNamespace(refusal=None)

    def plan(jobs, index):
        if device.refusal:
            raise ValueError(device.refusal)

    names = ("Job", "MAX_LAYERS", "MAX_WIDTH", "refuses", "cost")
    about = {"name": "NVIDIA Test 9000", "multiprocessors": 132}
    calls = SimpleNamespace(device_count=lambda: (1, ""), plan=plan, device=lambda index: about)
    there = SimpleNamespace(has_cuda=True, cuda=calls)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    there.__dict__.update({name: getattr(core, name) for name in names})
    monkeypatch.setattr(native, "load", lambda: (there, None))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    return SimpleNamespace(core=there, device=device)


def test_a_gpu_is_taken_where_the_core_runs_on_it(gpu):
    assert where() == ("cuda", "a GPU is present and the fused core runs on it")
    labels = {"teacher": None, "recipe": StepRecipe("labels"), "y": torch.zeros(2000, 1)}  # a teacher's training
    assert where(**labels, student=MLP([3, 256, 256, 1]))[0] == "cuda"
    assert where(device="cuda", compute="torch")[0] == "cuda"


def test_what_the_core_does_not_run_there_stays_on_the_cpu_with_the_reason(gpu):
    assert where(teacher=torch.nn.Linear(3, 1)) == (
        "cpu",
        "no GPU: the teacher is a Linear, and the fused core supports MLPs",
    )
    assert "round by round" in where(fed=True)[1]
    gpu.device.refusal = "the device gives a block too little shared memory"
    assert where() == ("cpu", "no GPU: the device gives a block too little shared memory")
    gpu.core.has_cuda = False
    assert "built without CUDA" in where()[1]
    assert where(device="cuda")[0] == "cuda"  # PyTorch's own steps are there


SMALL = {"student": MLP([8, 32, 32, 1]), "teacher": MLP([8, 64, 64, 1]), "batch": 128, "x": torch.zeros(128, 8)}


def test_without_a_measurement_a_small_step_stays_on_the_cpu_and_says_why(gpu):
    device, why = where(**SMALL)
    assert device == "cpu" and "estimate for NVIDIA Test 9000" in why and "tools/gpu_check" in why
    assert where(**SMALL, device="cuda")[0] == "cuda"  # asked for


@pytest.mark.parametrize("cuda_us, expected", [(10.0, "cuda"), (90.0, "cpu")])
def test_a_table_of_this_device_decides(gpu, cuda_us, expected):
    path = gain.table_path("NVIDIA Test 9000")
    path.parent.mkdir(parents=True)
    rows = [{"flops": 1e6, "cpu_us": 30.0, "cuda_us": cuda_us}, {"flops": 1e9, "cpu_us": 3e4, "cuda_us": cuda_us * 1e3}]
    path.write_text(json.dumps({"rows": rows}))
    device, why = where(**SMALL)
    assert device == expected
    assert expected == "cuda" or "measured on NVIDIA Test 9000" in why
    path.write_text("{}")  # damaged: as if there were none
    assert "estimate" in where(**SMALL)[1]


def test_gains_are_interpolated_between_the_sizes_of_the_table():
    rows = [{"flops": 1e6, "cpu_us": 20.0, "cuda_us": 40.0}, {"flops": 1e8, "cpu_us": 800.0, "cuda_us": 100.0}]
    found = [gain.measured_gain(rows, flops) for flops in (1e3, 1e6, 1e7, 1e8, 1e12)]
    assert found == pytest.approx([0.5, 0.5, 2.0, 8.0, 8.0])


@pytest.mark.parametrize("asked", [{"device": "cpu"}, {"compute": "cpu"}, {"compute": "torch"}])
def test_the_cpu_when_asked_for(gpu, asked):
    device, why = where(**asked)
    assert device == "cpu" and "was requested" in why


def test_without_a_gpu_the_cause_is_told(monkeypatch):
    if torch.cuda.is_available():
        pytest.skip("a GPU is present")
    why = no_gpu()
    assert torch.__version__ in why or "driver" in why
    assert where() == ("cpu", f"no GPU: {why}")
    for asked in ("device", "compute"):
        with pytest.raises(NotAvailable) as refused:
            where(**{asked: "cuda"})
        assert str(refused.value).startswith(f"--{asked} cuda was requested and cannot be used: {why}")


def test_a_driver_that_is_missing_is_named(monkeypatch):
    """A PyTorch with CUDA on a machine without a driver: the core knows the cause."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    counted = SimpleNamespace(device_count=lambda: (0, "no NVIDIA driver is installed on this machine"))
    absent = SimpleNamespace(has_cuda=True, cuda=counted)
    monkeypatch.setattr(native, "load", lambda: (absent, None))
    with pytest.raises(NotAvailable, match="no NVIDIA driver is installed"):
        where(device="cuda")


def test_what_contradicts_itself_is_refused():
    with pytest.raises(RecipeError, match="--device cuda and --compute cpu exclude"):
        where(device="cuda", compute="cpu")
    with pytest.raises(RecipeError, match="device 'tpu' is unknown"):
        where(device="tpu")


def test_the_reason_is_logged_once(caplog):
    from regkd_edge.fused.place import _announce

    _announce.cache_clear()
    with caplog.at_level("INFO", logger="regkd_edge.fused"):
        where()
        where()
    assert len(caplog.records) == 1 and "training runs on" in caplog.records[0].getMessage()


def test_very_large_steps_on_a_gpu_are_left_to_pytorch():
    nets, recipe = (MLP([64, 64, 64, 1], "tanh"), MLP([64, 256, 256, 256, 1], "tanh")), StepRecipe(w_gm=0.1)
    many = 65536
    assert native.slower(*nets, recipe, 64, torch.zeros(2, 64), None, "cuda") is None
    assert native.slower(*nets, recipe, 8192, torch.zeros(2, 64), None, "cuda") is None  # 354 us, torch 462
    assert native.slower(*nets, recipe, many, torch.zeros(2, 64), None, "cuda")
    assert native.slower(*nets, recipe, many, torch.zeros(2, 64), None, "cpu") is None
