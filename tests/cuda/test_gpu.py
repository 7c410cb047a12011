"""On a CUDA device: the kernels against the CPU core and torch, the same bits every time, CUDA graphs, whole trainings.

Run by ``tools/gpu_check``. Each test skips with the reason where there is no device.
"""

from __future__ import annotations

import copy

import numpy as np
import pytest
from cuda_jobs import Case, assert_close

torch = pytest.importorskip("torch")
core = pytest.importorskip("regkd_edge._core")


def _why_not() -> str:
    if not core.has_cuda:
        return "the extension was built without CUDA (no nvcc at build time)"
    count, why = core.cuda.device_count()
    if count == 0:
        return f"no CUDA device: {why}"
    return "" if torch.cuda.is_available() else "this PyTorch sees no CUDA device"


pytestmark = [pytest.mark.gpu, pytest.mark.skipif(bool(_why_not()), reason=_why_not())]

# float32 sums in another order than the CPU's, after a few optimizer steps: see tests/cuda/test_train_emulated.py.
CLOSE = 2e-5


class OnDevice:
    """A Case whose arrays lie on the device."""

    def __init__(self, **settings):
        case = self.case = Case(core, **settings)
        self.steps, self.job = case.steps, case.job
        self.tensors = {name: torch.from_numpy(array).cuda() for name, array in case.arrays.items()}
        for name, tensor in self.tensors.items():
            if name == "teacher":
                self.job.set_teacher(*case.teacher, tensor.data_ptr())
            else:
                setattr(self.job, name, tensor.data_ptr())

    def results(self) -> dict[str, np.ndarray]:
        return {name: self.tensors[name].cpu().numpy() for name in self.case.results()}


class Launch:
    """Plan, job table and workspace for some cases; ``run`` is one launch on the current stream."""

    def __init__(self, cases):
        self.cases, jobs = cases, [case.job for case in cases]
        self.plan = core.cuda.plan(jobs, 0)
        image = b"".join(job.to_bytes() for job in jobs)
        self.table = torch.frombuffer(bytearray(image), dtype=torch.uint8).cuda()
        self.workspace = torch.zeros(self.plan.workspace_bytes, dtype=torch.uint8, device="cuda")
        torch.cuda.synchronize()

    def run(self, steps=None, offset=0, counter=None):
        stream = torch.cuda.current_stream().cuda_stream
        address = 0 if counter is None else counter.data_ptr()
        steps = self.cases[0].steps if steps is None else steps
        core.cuda.train(self.plan, self.table.data_ptr(), self.workspace.data_ptr(), steps, offset, 0, stream, address)


def train(*cases) -> Launch:
    launch = Launch(cases)
    launch.run()
    torch.cuda.synchronize()
    return launch


def assert_equal(found, expected):
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


def check(tolerance=CLOSE, **settings):
    device, host = OnDevice(**settings), Case(core, **settings)
    launch = train(device)
    core.run([host.job], host.steps)
    assert_close(device.results(), host.results(), tolerance)
    return launch


SMALL = dict(student=(8, 32, 32, 1), teacher=(8, 64, 64, 1), batch=128, rows=500)
WIDE = dict(student=(13, 50, 1), teacher=(13, 500, 1), batch=200, rows=700)

# Products in slices (csrc/cuda/sliced.h): tiles of 32 samples, layers of 65 units and more.
MANY = dict(batch=530, rows=700, draws=1, gm_on=3, weights={"base": (1, 1), "pm": (1, 1), "gm": (0.1, 0.1)})
SLICED = {
    "all in shared memory": dict(student=(4, 68, 1), teacher=(4, 68, 20, 1)),
    "staged weights": dict(student=(16, 64, 64, 1), teacher=(16, 128, 128, 1)),
    "rows at odd addresses": dict(student=(5, 67, 33, 2), teacher=(5, 131, 115, 2), cotangents=1),
}


def test_perturb_has_the_bits_of_the_cpu():
    from regkd_edge.fused.points import perturb_twin

    x, sigma, seed, step = torch.randn(300, 13), torch.rand(13) + 0.01, 0x1234_5678_9ABC_DEF0, 17
    out = torch.empty(300, 3, 13, device="cuda")
    there, sigma_there = x.cuda(), sigma.cuda()
    core.cuda.perturb(
        there.data_ptr(),
        sigma_there.data_ptr(),
        300,
        13,
        3,
        seed,
        step,
        out.data_ptr(),
        0,
        torch.cuda.current_stream().cuda_stream,
    )
    np.testing.assert_array_equal(out.cpu().numpy(), perturb_twin(x, sigma, 3, seed, step).numpy())


@pytest.mark.parametrize("base", ["squares", "huber", "tbr", "tor"])
@pytest.mark.parametrize("n, outputs", [(1, 1), (5000, 3), (70, 200)])
def test_matching_loss_is_the_cpus(base, n, outputs):
    rng = np.random.default_rng(n)
    arrays = {name: rng.standard_normal((n, outputs)).astype(np.float32) for name in "syt"}
    rows = {name: rng.random(n).astype(np.float32) for name in ("row_weight", "row_a", "row_b", "row_error")}
    rows["row_outlier"] = (rng.random(n) < 0.3).astype(np.float32)

    def constants(pointers):
        job = core.Job()
        job.base, job.margin, job.delta = base, 0.1, 0.7
        for name in rows:
            setattr(job, name, pointers[name])
        return job

    host_gradient = np.empty((n, outputs), np.float32)
    host = {name: array.ctypes.data for name, array in {**arrays, **rows}.items()}
    expected = core.matching_loss(
        constants(host), host["s"], host["y"], host["t"], n, outputs, host_gradient.ctypes.data
    )
    tensors = {name: torch.from_numpy(array).cuda() for name, array in {**arrays, **rows}.items()}
    there = {name: tensor.data_ptr() for name, tensor in tensors.items()}
    gradient, value = torch.empty(n, outputs, device="cuda"), torch.empty(1, dtype=torch.float64, device="cuda")
    workspace = torch.zeros(core.cuda.loss_workspace_bytes(n, outputs), dtype=torch.uint8, device="cuda")
    values = []
    for _ in range(2):
        core.cuda.matching_loss(
            constants(there),
            there["s"],
            there["y"],
            there["t"],
            n,
            outputs,
            gradient.data_ptr(),
            value.data_ptr(),
            workspace.data_ptr(),
            0,
            torch.cuda.current_stream().cuda_stream,
        )
        values.append(value.item())
    assert values[0] == values[1]
    assert values[0] == pytest.approx(expected, rel=1e-5)  # up to 200 squares a row, summed in float32
    np.testing.assert_allclose(gradient.cpu().numpy(), host_gradient, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("settings", [{}, SMALL, WIDE], ids=["odd", "small", "wide"])
def test_steps_are_the_cpus(settings):
    check(steps=4, **settings)


@pytest.mark.parametrize("activation", core.ACTIVATIONS)
def test_every_activation(activation):
    check(student_activation=activation, teacher_activation=activation, batch=20)


@pytest.mark.parametrize("outputs, cotangents", [(1, 0), (4, 0), (6, 2), (3, 1)])
def test_outputs_and_cotangents(outputs, cotangents):
    check(student=(5, 9, 7, outputs), teacher=(5, 12, outputs), cotangents=cotangents)


@pytest.mark.parametrize("base", ["squares", "huber", "tbr", "tor"])
@pytest.mark.parametrize("optimizer", ["rmsprop", "adam", "adamw", "none"])
def test_bases_and_optimizers(base, optimizer):
    check(
        base=base,
        optimizer=optimizer,
        row_arrays=("row_weight", "row_a", "row_b", "row_error", "row_outlier"),
        weight_decay=1e-3,
    )


@pytest.mark.parametrize("rule", core.ASCENT_RULES)
def test_ascent_rules(rule):
    check(ascent_rule=rule, low=-1.0, high=1.0, weights={"abm": (1, 0)}, steps=2)


def test_the_direct_step_without_data():
    check(
        student=(12, 50, 1),
        teacher=(12, 500, 1),
        data=False,
        batch=50,
        steps=3,
        base_a=0.0,
        base_b=1.0,
        ascent_from_anchor=0,
        ascent_sigma=1.0,
        optimizer="rmsprop",
        weight_decay=1e-5,
        weights={"base": (0, 1), "abm": (1, 0)},
    )


def test_training_on_labels_alone():
    check(teacher=None, stored=False, base_a=1.0, base_b=0.0, weights={"base": (1, 1)}, steps=3)


def test_a_teacher_beyond_shared_memory_is_streamed():
    launch = check(student=(16, 64, 64, 1), teacher=(16, 512, 512, 1), batch=64, rows=200)
    assert not launch.plan.teacher_in_shared


def test_the_widest_and_the_deepest():
    check(student=(5, 1024, 1), teacher=(5, 1024, 1024, 1), batch=33, tolerance=1e-4)  # sums of 1024 terms
    check(student=(3, 4, 5, 6, 7, 6, 5, 4, 1), teacher=(3, 5, 4, 5, 4, 5, 4, 5, 1))


@pytest.mark.parametrize("settings", [SMALL, WIDE], ids=["small", "wide"])
def test_the_same_launch_gives_the_same_bits(settings):
    first, second = (
        OnDevice(steps=50, total=50, first_step=0, **settings),
        OnDevice(steps=50, total=50, first_step=0, **settings),
    )
    launch = train(first)
    train(second)
    assert launch.plan.blocks > 1
    assert_equal(second.results(), first.results())


def test_many_launches_continue_one_run_bit_for_bit():
    once, often = OnDevice(steps=9, **SMALL), OnDevice(steps=9, **SMALL)
    train(once)
    launch = Launch([often])
    for offset, steps in ((0, 1), (1, 5), (6, 3)):
        launch.run(steps, offset)
    assert_equal(often.results(), once.results())


def test_a_cuda_graph_replays_the_training():
    """Two steps a replay; the graph itself moves the step counter on."""
    direct, replayed = OnDevice(steps=8, **SMALL), OnDevice(steps=8, **SMALL)
    train(direct)
    launch, counter = Launch([replayed]), torch.zeros(1, dtype=torch.int64, device="cuda")
    before = {name: tensor.clone() for name, tensor in replayed.tensors.items()}
    graph, side = torch.cuda.CUDAGraph(), torch.cuda.Stream()
    with torch.cuda.stream(side):  # the first launch loads the kernel's code, which a capture may not do
        launch.run(2, counter=counter)
    side.synchronize()
    for name, tensor in before.items():
        replayed.tensors[name].copy_(tensor)
    with torch.cuda.graph(graph):
        launch.run(2, counter=counter)
        counter += 2
    counter.zero_()
    for _ in range(4):
        graph.replay()
    torch.cuda.synchronize()
    assert_equal(replayed.results(), direct.results())


@pytest.mark.parametrize("networks", SLICED)
def test_wide_networks_with_many_rows(networks):
    settings = {**MANY, **SLICED[networks], "steps": 3}
    launch = check(**settings)
    assert launch.plan.buffers_in_shared or core.cuda.device()["shared_bytes"] < 227 * 1024
    first, again = OnDevice(**settings), OnDevice(**settings)
    train(first)
    train(again)
    assert_equal(again.results(), first.results())


def test_members_of_an_ensemble_do_as_they_do_alone():
    settings = [
        dict(seed=1),
        dict(seed=2, student=(5, 6, 2), batch=20, teacher=(5, 8, 2)),
        dict(seed=3, optimizer="rmsprop", draws=0, weights={"base": (1, 1), "abm": (1, 0)}),
        dict(seed=4, teacher=(5, 200, 200, 2)),  # not small: it goes another way than its company
        {**MANY, **SLICED["staged weights"]},
    ]
    together = [OnDevice(steps=3, **s) for s in settings]
    train(*together)
    for case, alone in zip(together, [OnDevice(steps=3, **s) for s in settings]):
        train(alone)
        assert_close(case.results(), alone.results(), 0.0)  # threads and blocks may differ, bits do not


def test_a_hundred_students_advance_together():
    together = [OnDevice(steps=3, **{**SMALL, "seed": i}) for i in range(100)]
    train(*together)
    for i in (0, 57, 99):
        host = Case(core, steps=3, **{**SMALL, "seed": i})
        core.run([host.job], 3)
        assert_close(together[i].results(), host.results(), CLOSE)


def test_a_device_that_is_not_there_is_named():
    with pytest.raises(RuntimeError, match=r"CUDA device 999 was requested and there are \d+"):
        core.cuda.device(999)


def _problem(device):
    from regkd_edge.models.mlp import MLP

    generator = torch.Generator().manual_seed(0)
    teacher = MLP([6, 32, 1], "tanh", generator=generator).requires_grad_(False)
    student = MLP([6, 16, 1], "tanh", generator=generator)
    x = torch.randn(90, 6, generator=generator)
    y = x[:, :1].sin() + 0.1 * torch.randn(90, 1, generator=generator)
    return (thing.to(device) for thing in (student, teacher, x, y))


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop"])
def test_a_whole_training_follows_the_torch_path(optimizer):
    """200 steps with every term on the device and by autograd: the same loss curve and the same student.

    Both run in float32 from the same noise; their last-bit differences grow with the steps, so the curve is held to
    1e-3 of its largest value and the student's outputs to 1e-3 of theirs.
    """
    from regkd_edge.fused import Optimizer, distill_steps
    from regkd_edge.objectives import StepRecipe

    recipe, total = StepRecipe.kang2024("blend"), 200
    curves, outputs = [], []
    for compute in ("cuda", "torch"):
        student, teacher, x, y = _problem("cuda")
        progress = distill_steps(
            student,
            teacher,
            x,
            y,
            recipe,
            Optimizer(optimizer, lr=3e-3),
            n=total,
            total=total,
            batch=32,
            seed=1,
            compute=compute,
        )
        assert progress.choice.compute == compute
        curves.append(progress.losses.cpu().double().numpy())
        outputs.append(student(x).detach().cpu().numpy())
    np.testing.assert_allclose(curves[0], curves[1], atol=1e-3 * np.abs(curves[1]).max(), rtol=0)
    np.testing.assert_allclose(outputs[0], outputs[1], atol=1e-3 * np.abs(outputs[1]).max(), rtol=0)


def test_a_cuda_graph_holds_the_operator():
    """Captured once, a replay is the next step: its noise, its loss and its gradient, counted on the device."""
    from regkd_edge.fused import distill_step
    from regkd_edge.objectives import StepRecipe

    student, teacher, x, y = _problem("cuda")
    parameters, counter = list(student.parameters()), torch.zeros(1, dtype=torch.int64, device="cuda")

    def step(**place):
        loss, terms = distill_step(student, teacher, x, y, StepRecipe.kang2024("blend"), seed=1, total=50, **place)
        return [terms, *torch.autograd.grad(loss, parameters)]

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # the first call loads the kernel and puts the recipe's constants on the device
        step(counter=counter)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        replayed = step(counter=counter)
        counter += 1
    counter.zero_()
    for t in range(4):
        graph.replay()
        for found, expected in zip(replayed, step(step=t)):
            assert torch.equal(found, expected)


def test_resuming_on_the_device_is_bit_equal():
    from regkd_edge.fused import Optimizer, TrainState, distill_steps
    from regkd_edge.objectives import StepRecipe

    recipe, optimizer = StepRecipe.kang2024(), Optimizer("adam", lr=1e-3)
    settings = dict(total=60, batch=32, seed=1, compute="cuda")
    student, teacher, x, y = _problem("cuda")
    resumed = copy.deepcopy(student)
    distill_steps(student, teacher, x, y, recipe, optimizer, n=60, **settings)
    half = distill_steps(resumed, teacher, x, y, recipe, optimizer, n=25, **settings)
    state = TrainState.load(half.state.state_dict())
    distill_steps(resumed, teacher, x, y, recipe, optimizer, state, n=35, **settings)
    for a, b in zip(student.parameters(), resumed.parameters()):
        assert torch.equal(a, b)
