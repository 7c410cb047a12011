"""The Python half of the CUDA back end with no GPU: what reaches ``_core.cuda``, with the CPU core standing in for the
device."""

from __future__ import annotations

import copy
import ctypes
from types import SimpleNamespace

import pytest
import torch

from regkd_edge.errors import NotAvailable
from regkd_edge.fused import Member, Optimizer, advance, choose, cuda, native
from regkd_edge.fused.passes import Net
from regkd_edge.fused.workspace import Workspace
from regkd_edge.models.mlp import MLP
from regkd_edge.objectives import StepRecipe, row_quantities

pytestmark = pytest.mark.skipif(native.unavailable("cpu") is not None, reason=f"{native.unavailable('cpu')}")


class Device:
    """Stands where ``_core.cuda`` does: checks the addresses it gets and lets the CPU core do the work."""

    def __init__(self, core):
        self.core = core

    def plan(self, jobs, device):
        assert device == 0
        return SimpleNamespace(jobs=jobs, workspace_bytes=512)

    def train(self, plan, jobs, workspace, steps, offset, device, stream):
        assert (offset, device, stream) == (0, 0, 1234)
        image = b"".join(job.to_bytes() for job in plan.jobs)
        assert ctypes.string_at(jobs, len(image)) == image
        assert ctypes.string_at(workspace, 512) == bytes(512)
        self.core.run(plan.jobs, steps)

    def train_one(self, plan, job, workspace, steps, device, stream, step_address):
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
    core = native._load()[0]
    return SimpleNamespace(cuda=device, Job=core.Job, run=core.run)


@pytest.mark.skipif(
    not hasattr(native._load()[0] and native._load()[0].Job, "to_bytes"), reason="the core was built without CUDA"
)
def test_an_ensemble_reaches_the_device_whole(world):
    student, teacher, x, y = world
    core = native._load()[0]
    make = lambda: [  # noqa: E731
        Member(copy.deepcopy(student), teacher, x, y, StepRecipe.kang2024(), Optimizer(), 9, 8, seed=i)
        for i in range(3)
    ]
    ours, expected = make(), make()
    losses = advance(expected, 9, "cpu")
    for member in ours:
        member.prepare(9)
    prepared = [native._prepare(member, 9) for member in ours]
    cuda.train(core_with(Device(core)), [work for work, _ in prepared], 9, 1234)
    for member, (work, table), reference, progress in zip(ours, prepared, expected, losses):
        native._bring_back(member, work, 9)
        assert torch.equal(table.float(), progress.losses)
        assert all(torch.equal(a, b) for a, b in zip(member.student.parameters(), reference.student.parameters()))


@pytest.mark.parametrize("counter", [None, torch.tensor([4])])
def test_a_single_job_travels_with_the_launch(world, counter, monkeypatch):
    """No array is made from the host's memory between the job and the launch: what a captured graph may hold."""
    student, teacher, x, y = world
    core, recipe = native._load()[0], StepRecipe.kang2024()
    nets = (Net.of(student), Net.of(teacher), x, y, row_quantities(teacher(x).detach(), y))
    expected = native.distill_step(*nets, recipe, 1, 2, 9, counter)
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


def test_matching_loss_reaches_the_device(world):
    student, teacher, x, y = world
    core = native._load()[0]
    s, rows, recipe = student(x).detach(), row_quantities(teacher(x).detach(), y), StepRecipe("ail")
    expected, slope = native.matching_loss(s, y, rows, recipe)
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
        choose(student, teacher, StepRecipe(), batch=4, x=x, y=y, backend="cuda")
