"""The Python half of the CUDA back end with no GPU: what reaches ``_core.cuda``, with the CPU core standing in for the
device."""

from __future__ import annotations

import copy
import ctypes
import gc
import weakref
from types import SimpleNamespace

import pytest
import torch

from regkd_edge.errors import NotAvailable
from regkd_edge.fused import (
    Member,
    Optimizer,
    advance,
    choose,
    cuda,
    native,
    native_operators,
    native_steps,
    prepared,
    workspace,
)
from regkd_edge.fused.passes import Net
from regkd_edge.fused.workspace import Workspace
from regkd_edge.models.mlp import MLP
from regkd_edge.objectives import RowQuantities, StepRecipe, row_quantities

pytestmark = pytest.mark.skipif(native.unavailable("cpu") is not None, reason=f"{native.unavailable('cpu')}")


class Device:
    """Stands where ``_core.cuda`` does: checks the addresses it gets and lets the CPU core do the work."""

    def __init__(self, core):
        self.core, self.launches = core, []

    def plan(self, jobs, device):
        assert device == 0
        return SimpleNamespace(jobs=jobs, workspace_bytes=512)

    def train(self, plan, jobs, workspace, steps, offset, device, stream):
        assert (device, stream) == (0, 1234)
        self.launches.append((offset, steps))
        image = b"".join(job.to_bytes() for job in plan.jobs)
        assert ctypes.string_at(jobs, len(image)) == image
        assert ctypes.string_at(workspace, 512) == bytes(512)
        moved = [job.copy() for job in plan.jobs]
        for job in moved:
            job.first_step += offset
            job.losses += offset * 5 * 8
        self.core.run(moved, steps)

    def train_one(self, plan, job, workspace, steps, device, stream, step_address=0):
        self.launches.append((job.first_step, steps))
        assert (device, stream) == (0, 1234) and ctypes.string_at(workspace, 512) == bytes(512)
        if step_address:  # on a device the kernel reads it
            job.first_step += ctypes.c_int64.from_address(step_address).value
        self.core.run([job], steps)

    def loss_workspace_bytes(self, n, outputs):
        return 64

    def matching_loss(self, constants, student, y, t, n, outputs, gradient, value, workspace, device, stream):
        assert (device, stream) == (0, 1234) and ctypes.string_at(workspace, 64) == bytes(64)
        result = self.core.matching_loss(constants, student, y, t, n, outputs, gradient)
        ctypes.c_double.from_address(value).value = result


@pytest.fixture
def world():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(40, 3, generator=g)
    return MLP([3, 8, 1], "tanh", generator=g), MLP([3, 12, 1], "tanh", generator=g), x, x[:, :1].sin()


def core_with(device):
    core = native.load()[0]
    return SimpleNamespace(cuda=device, Job=core.Job, run=core.run, cost=core.cost, refuses=core.refuses)


STREAM = SimpleNamespace(cuda_stream=1234, synchronize=lambda: None)


@pytest.mark.skipif(
    not hasattr(native.load()[0] and native.load()[0].Job, "to_bytes"), reason="the core was built without CUDA"
)
@pytest.mark.parametrize("members, launch", [(3, 2000), (3, 4), (1, 2000), (1, 2)])
def test_a_run_reaches_the_device_whole_in_launches_of_bounded_length(world, members, launch, monkeypatch):
    student, teacher, x, y = world
    core = native.load()[0]
    monkeypatch.setattr(cuda, "_FIRST_STEPS", launch)
    monkeypatch.setattr(cuda, "_LAUNCH_SECONDS", 0.0)  # a later launch is one step
    make = lambda: [
        Member(copy.deepcopy(student), teacher, x, y, StepRecipe.kang2024(), Optimizer(), 9, 8, seed=i)
        for i in range(members)
    ]
    ours, expected = make(), make()
    losses = advance(expected, 9, "cpu")
    for member in ours:
        member.prepare(9)
    prepared = [native_steps._prepare(member, 9) for member in ours]
    device = Device(core)
    cuda.train(core_with(device), [work for work, _ in prepared], 9, STREAM)
    first = min(launch, 9)
    assert device.launches == [(0, first), *((step, 1) for step in range(first, 9))]
    for member, (work, table), reference, progress in zip(ours, prepared, expected, losses):
        native_steps._bring_back(member, work, 9)
        assert torch.equal(table.float(), progress.losses)
        assert all(torch.equal(a, b) for a, b in zip(member.student.parameters(), reference.student.parameters()))


@pytest.mark.parametrize("counter", [None, torch.tensor([4])])
def test_a_single_job_travels_with_the_launch(world, counter, monkeypatch):
    """No array is made from the host's memory between the job and the launch: what a captured graph may hold."""
    student, teacher, x, y = world
    core, recipe = native.load()[0], StepRecipe.kang2024()
    nets = (Net.of(student), Net.of(teacher), x, y, row_quantities(teacher(x).detach(), y))
    expected = native_operators.distill_step(*nets, recipe, 1, 2, 9, counter)
    work = Workspace(core, recipe, *nets[:2], x.device)
    gradient, losses = torch.empty_like(work.parameters), torch.empty(5, dtype=torch.float64)
    job = work.job
    work.base(nets[4])
    work.data(x, y)
    job.batch, job.shuffle, job.seed, job.first_step, job.total_steps = 40, 0, 1, 2, 9
    job.optimizer, job.grad, job.losses = "none", gradient.data_ptr(), losses.data_ptr()
    for name in ("tensor", "as_tensor", "from_numpy", "frombuffer"):
        monkeypatch.setattr(torch, name, None)
    cuda.train_one(core_with(Device(core)), work, 1, 1234, counter)
    assert torch.equal(losses.float(), expected[0]) and torch.equal(gradient, expected[1])


def test_a_prepared_step_plans_once_and_takes_nothing_from_the_host(world, monkeypatch):
    student, teacher, x, y = world
    core, recipe = native.load()[0], StepRecipe.kang2024("blend")
    nets = (Net.of(student), Net.of(teacher), x, y, RowQuantities(None))
    expected = [native_operators.distill_step(*nets, recipe, 1, step, 9) for step in (2, 7)]
    ours, theirs = prepared.tensors_of(student), prepared.tensors_of(teacher)
    plan = prepared.prepare(student, teacher, recipe, ours, theirs)
    device = Device(core)
    plan.core = core_with(device)
    asked = []
    monkeypatch.setattr(device, "plan", lambda *a, plan=device.plan: asked.append(a) or plan(*a))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: STREAM)
    call = (ours, theirs, x, y, None, 1)
    found = [plan._run_on_device(*call, 2, 9, None)]
    for name in ("tensor", "as_tensor", "from_numpy", "frombuffer"):
        monkeypatch.setattr(torch, name, None)
    found.append(plan._run_on_device(*call, 3, 9, torch.full((1,), 4)))  # step 3 + 4
    assert len(asked) == 1 and device.launches == [(2, 1), (3, 1)]
    for (loss, terms, gradient), (expected_terms, expected_gradient) in zip(found, expected):
        assert torch.equal(terms, expected_terms) and torch.equal(gradient, expected_gradient)
        assert torch.equal(loss, terms[0])
    assert plan._run_on_device(ours, theirs, x.double(), y, None, 1, 2, 9, None) is None


@pytest.mark.parametrize("seconds_per_step", [1e-6, 1e-3, 0.4])
def test_launches_settle_at_a_fraction_of_a_second(seconds_per_step, monkeypatch):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(cuda.time, "perf_counter", lambda: clock.now)
    cut, n, waited = [], 3_000_000 if seconds_per_step < 1e-4 else 2000, []
    for first, steps in cuda.pieces(n, 5e6, lambda: waited.append(clock.now)):
        assert first == sum(cut)
        cut.append(steps)
        clock.now += steps * seconds_per_step
    assert sum(cut) == n and len(waited) == len(cut) - 1
    assert max(cut[1:]) * seconds_per_step <= max(0.15, seconds_per_step) * 1.01
    assert all(b <= 4 * a for a, b in zip(cut, cut[1:]))
    assert cut[-2] * seconds_per_step >= min(0.1, 0.15)


def test_constants_of_a_captured_graph_outlive_every_cache(world, monkeypatch):
    """The template is evicted, the workspace is gone; what a graph points at is still there."""
    student, teacher, _, _ = world
    core = native.load()[0]

    def constant(sigma, capturing):
        monkeypatch.setattr(workspace, "_capturing", lambda device: capturing)
        recipe = StepRecipe(w_pm=1.0, sigma=sigma)
        work = Workspace(core, recipe, Net.of(student), Net.of(teacher), torch.device("cpu"))
        found = [weakref.ref(t) for t in work._kept if t.numel() == 3 and t[0] == sigma[0]]
        assert found and work.job.sigma == found[0]().data_ptr()
        return found[0]

    plain, captured = constant((0.25, 0.1, 0.1), False), constant((0.5, 0.1, 0.1), True)
    workspace._template.cache_clear()
    gc.collect()
    assert plain() is None and captured() is not None


def test_a_device_without_a_number_is_the_current_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
    found = [cuda.index_of(torch.device(*d)) for d in (("cuda",), ("cuda", 1), ("cpu",))]
    assert found == [3, 1, 3]


def test_matching_loss_reaches_the_device(world):
    student, teacher, x, y = world
    core = native.load()[0]
    s, rows, recipe = student(x).detach(), row_quantities(teacher(x).detach(), y), StepRecipe("ail")
    expected, slope = native_operators.matching_loss(s, y, rows, recipe)
    work = Workspace(core, recipe, Net([s.new_zeros(1, 1)], [s.new_zeros(1)], "identity"), None, s.device)
    work.base(rows)
    gradient = torch.empty_like(s)
    value = cuda.matching_loss(core_with(Device(core)), work, s, work.address(y), work.address(rows.t), gradient, 1234)
    assert value == expected and torch.equal(gradient, slope)


def test_what_the_device_refuses_is_a_reason():
    def plan(jobs, device):
        raise ValueError("the CUDA back end cannot run this step: the student does not fit")

    assert "does not fit" in cuda.refuses(
        SimpleNamespace(cuda=SimpleNamespace(plan=plan)), None, torch.device("cuda", 0)
    )


def test_without_a_gpu_the_reason_names_it(world):
    student, teacher, x, y = world
    why = native.unavailable("cuda")
    if why is None:
        pytest.skip("a CUDA device is there")
    assert why
    with pytest.raises(NotAvailable):
        choose(student, teacher, StepRecipe(), batch=4, x=x, y=y, compute="cuda")
