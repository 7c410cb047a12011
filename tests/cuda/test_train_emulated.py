"""The training kernel, run as CPU threads and as PTX, takes the steps of the CPU
core and has the gradient of torch in float64.
"""

from __future__ import annotations

import ctypes
import itertools

import numpy as np
import pytest
from cuda_emulation import Emulation, ptx_cache  # noqa: F401
from cuda_jobs import Case, assert_close

core = pytest.importorskip("regkd_edge._core")

SHARED = 99 * 1024  # sm_86, sm_89, sm_120
LESS = 97  # kilobytes of shared memory: too few for the small path
# float32 sums in another order: last places of sums of up to 41 * 3 points, after up to 4 optimizer steps.
CLOSE = 2e-5


class Emulator:
    """``small``: what lies small enough goes the small path, as on a device; else the device has too little for it."""

    def __init__(self, emulation, small=True):
        self.emulation, self.lib, self.small = emulation, emulation.lib, small
        lib = self.lib
        whole, word, bytes_ = ctypes.c_int64, ctypes.c_int32, ctypes.c_char_p
        lib.job_bytes.restype = whole
        lib.plan.argtypes = [bytes_, word, whole, ctypes.c_int, whole, ctypes.POINTER(word), ctypes.POINTER(whole)]
        lib.train.argtypes = [bytes_, word, whole, ctypes.c_int, whole, ctypes.c_void_p, word, whole, ctypes.c_void_p]
        lib.one_step.argtypes = [bytes_, whole, ctypes.c_int, whole, ctypes.c_void_p, ctypes.c_void_p]

    def run(self, cases, *, shared=None, threads=64, blocks=2, calls=None, step_on_device=None, cluster=1):
        """Advances the cases; returns the plan: blocks, and what lies in shared memory."""
        members = len(cases)
        shared = shared or self.shared
        self.lib.set_cluster(cluster)
        table = np.frombuffer(b"".join(case.job.to_bytes() for case in cases), np.uint8).copy()
        jobs = table.ctypes.data_as(ctypes.c_char_p)
        plan, size = (ctypes.c_int32 * 11)(), ctypes.c_int64()
        self.lib.plan(jobs, members, shared, threads, blocks * members, plan, ctypes.byref(size))
        workspace = aligned(size.value)
        counter = None if step_on_device is None else np.array([step_on_device], np.int64)
        address = None if counter is None else counter.ctypes.data
        place = (jobs, members, shared, threads, blocks * members, workspace.ctypes.data)
        with self.memory(cases, table=table, workspace=workspace, counter=counter):
            for steps, offset in calls or [(cases[0].steps, 0)]:
                assert self.lib.train(*place, steps, offset, address) == 0
        keys = ("members", "blocks", "threads", "student", "teacher", "buffers", "shared_bytes", "tiles", "small")
        keys = (*keys, "clustered", "sliced")
        return dict(zip(keys, plan))

    @property
    def shared(self) -> int:
        return SHARED if self.small else LESS * 1024

    def memory(self, cases, **more):
        arrays = {f"{name}_{i}": array for i, case in enumerate(cases) for name, array in case.arrays.items()}
        return self.emulation.memory(**arrays, **more)


def aligned(size: int) -> np.ndarray:
    """Zeroed bytes at an address that is a multiple of 128."""
    memory = np.zeros(size + 128, np.uint8)
    begin = -memory.ctypes.data % 128
    return memory[begin : begin + size]


@pytest.fixture(scope="module")
def emulations(ptx_cache):  # noqa: F811
    found = {}

    def of(way):
        if way not in found:
            found[way] = Emulation(way, "train_driver.cpp", "train.cu small.cu", ptx_cache)
        return found[way]

    return of


@pytest.fixture(scope="module", params=["threads-small", "ptx-small", "ptx-large"])
def emulator(request, emulations):
    way, path = request.param.split("-")
    found = Emulator(emulations(way), path == "small")
    assert found.lib.job_bytes() == len(core.Job().to_bytes())
    return found


def check(emulator, options=None, tolerance=CLOSE, **settings):
    device, host = Case(core, **settings), Case(core, **settings)
    plan = emulator.run([device], **(options or {}))
    core.run([host.job], host.steps)
    assert_close(device.results(), host.results(), tolerance)
    return plan


def test_one_block(emulator):
    assert check(emulator, {"blocks": 1}, steps=2)["blocks"] == 1


def test_blocks_meet_between_steps(emulator):
    assert check(emulator, {"blocks": 3}, steps=3)["blocks"] == 3


def test_no_more_blocks_than_tiles(emulator):
    plan = check(
        emulator,
        {"blocks": 9, "threads": 32 if emulator.small else 64},
        batch=16,
        draws=1,
        weights={"base": (1, 1), "pm": (1, 1)},
    )
    # 16 rows are two tiles of 8 or four of 4, of rows and of perturbed points
    assert plan["blocks"] == plan["tiles"] == (8 if emulator.small else 4)


@pytest.mark.parametrize("kilobytes", [LESS, 12])
def test_many_rows_make_tiles_of_32(emulator, kilobytes):
    """With 200 rows of each kind; few rows make tiles of 8, as everywhere else here."""
    settings = {"blocks": 3, "threads": 128, "shared": kilobytes * 1024}
    plan = check(emulator, settings, batch=200, rows=250, student=(5, 9, 40, 2), teacher=(5, 12, 36, 2))
    assert plan["tiles"] == 4 * 7 and (plan["buffers"] > 0) == (kilobytes == LESS)


def test_members_with_tiles_of_other_sizes_go_together(emulator):
    settings = [dict(seed=1, batch=200, rows=210, draws=1), dict(seed=2)]
    together, alone = ([Case(core, steps=2, **s) for s in settings] for _ in range(2))
    emulator.run(together)
    for case, single in zip(together, alone):
        emulator.run([single], threads=128, blocks=3)  # nor do threads and blocks change a bit
        for name, value in single.results().items():
            np.testing.assert_array_equal(case.results()[name], value, err_msg=name)


def test_warps_share_a_long_sum(emulator):
    """One output over 60 hidden units: the row groups of a warp share its terms."""
    check(emulator, {"threads": 128}, student=(3, 60, 1), teacher=(3, 70, 1))


@pytest.mark.parametrize(
    "kilobytes, student, teacher, buffers", [(LESS, True, True, True), (50, True, False, True), (12, True, True, False)]
)
def test_what_does_not_fit_in_shared_memory_stays_outside(emulator, kilobytes, student, teacher, buffers):
    network = (5, 40, 40, 2) if not teacher else (5, 12, 6, 2)
    plan = check(emulator, {"shared": kilobytes * 1024}, teacher=network, steps=2)
    assert (plan["student"] > 0, plan["teacher"] > 0, plan["buffers"] > 0) == (student, teacher, buffers)
    assert plan["shared_bytes"] <= kilobytes * 1024


@pytest.mark.parametrize("activation", core.ACTIVATIONS)
def test_every_activation(emulator, activation):
    # ReLU's kink: a last-bit difference in z can flip a unit; with these numbers no unit lies that close to 0.
    check(emulator, student_activation=activation, teacher_activation=activation, batch=20)


@pytest.mark.parametrize("outputs, cotangents", [(1, 0), (4, 0), (6, 2), (3, 1)])
def test_outputs_and_cotangents(emulator, outputs, cotangents):
    check(emulator, student=(5, 9, 7, outputs), teacher=(5, 12, outputs), cotangents=cotangents)


BASES = {
    "squares with weights": dict(base="squares", row_arrays=("row_weight", "row_a", "row_b")),
    "huber": dict(base="huber", delta=0.5),
    "tbr": dict(base="tbr", row_arrays=("row_error",), margin=0.1),
    "tbr that imitates": dict(base="tbr", row_arrays=("row_error",), imitate=1),
    "tor": dict(base="tor", row_arrays=("row_outlier",)),
    "tor that drops": dict(base="tor", row_arrays=("row_outlier",), drop_outliers=1),
    "none": dict(base="none", weights={"pm": (1, 1)}),
}


@pytest.mark.parametrize("base", BASES)
def test_every_base(emulator, base):
    check(emulator, **{"weights": {"base": (1, 1)}, **BASES[base]})


@pytest.mark.parametrize("rule, optimizer", [*itertools.product(core.ASCENT_RULES, ["rmsprop", "adamw"])])
def test_ascent_rules_and_optimizers(emulator, rule, optimizer):
    check(
        emulator,
        ascent_rule=rule,
        optimizer=optimizer,
        weight_decay=1e-3,
        rate_schedule="cosine",
        low=-1.0,
        high=1.0,
        weights={"abm": (1, 0)},
        steps=2,
    )


def test_gradient_alone(emulator):
    check(emulator, optimizer="none")


def test_training_on_labels_alone(emulator):
    check(emulator, teacher=None, stored=False, base_a=1.0, base_b=0.0, weights={"base": (1, 1)}, steps=3)


def test_the_direct_step_without_data(emulator):
    """METHODS section 2: Gaussian inputs, and two RMSprop ascent steps from N(0, I)."""
    check(
        emulator,
        student=(12, 20, 1),
        teacher=(12, 30, 1),
        data=False,
        batch=50,
        steps=2,
        base_a=0.0,
        base_b=1.0,
        ascent_from_anchor=0,
        ascent_sigma=1.0,
        optimizer="rmsprop",
        weight_decay=1e-5,
        weights={"base": (0, 1), "abm": (1, 0)},
    )


def test_eight_layers(emulator):
    check(emulator, student=(3, 4, 5, 6, 7, 6, 5, 4, 1), teacher=(3, 5, 4, 5, 4, 5, 4, 5, 1))


def test_two_calls_continue_one_run_bit_for_bit(emulator):
    once, twice = Case(core, steps=4), Case(core, steps=4)
    emulator.run([once], calls=[(4, 0)])
    emulator.run([twice], calls=[(1, 0), (3, 1)])
    for name, value in once.results().items():
        np.testing.assert_array_equal(twice.results()[name], value, err_msg=name)


def test_a_step_counter_in_device_memory_is_added(emulator):
    given, counted = Case(core, steps=3), Case(core, steps=3)
    emulator.run([given], calls=[(1, 2)])
    emulator.run([counted], calls=[(1, 0)], step_on_device=2)
    for name, value in given.results().items():
        np.testing.assert_array_equal(counted.results()[name], value, err_msg=name)


def test_a_job_that_travels_with_the_launch(emulator):
    """No table in device memory; its losses go to the first row, whatever the step that the device counts."""
    given, alone = Case(core, steps=1, first_step=5), Case(core, steps=1)
    emulator.run([given])
    plan, size = (ctypes.c_int32 * 11)(), ctypes.c_int64()
    image, counter = alone.job.to_bytes(), np.array([3], np.int64)  # the case begins at step 2
    emulator.lib.plan(image, 1, emulator.shared, 64, 2, plan, ctypes.byref(size))
    workspace = aligned(size.value)
    with emulator.memory([alone], workspace=workspace, counter=counter):
        assert emulator.lib.one_step(image, emulator.shared, 64, 2, workspace.ctypes.data, counter.ctypes.data) == 0
    for name, value in given.results().items():
        np.testing.assert_array_equal(alone.results()[name], value, err_msg=name)


def test_members_of_an_ensemble_do_as_they_do_alone(emulator):
    settings = [
        dict(seed=1),
        dict(seed=2, student=(5, 6, 2), batch=20, teacher=(5, 8, 2)),
        dict(seed=3, optimizer="rmsprop", draws=0, weights={"base": (1, 1), "abm": (1, 0)}),
    ]
    together = [Case(core, steps=2, **s) for s in settings]
    emulator.run(together)
    for case, alone in zip(together, [Case(core, steps=2, **s) for s in settings]):
        emulator.run([alone])
        for name, value in alone.results().items():
            np.testing.assert_array_equal(case.results()[name], value, err_msg=name)


def test_the_same_call_gives_the_same_bits(emulator):
    first, second = Case(core, steps=2), Case(core, steps=2)
    emulator.run([first], blocks=3)
    emulator.run([second], blocks=3)
    for name, value in first.results().items():
        np.testing.assert_array_equal(second.results()[name], value, err_msg=name)


@pytest.mark.parametrize(
    "student_activation, teacher_activation", [("tanh", "silu"), ("gelu", "softplus"), ("elu", "gelu_tanh")]
)
def test_losses_and_gradient_are_the_float64_twins(emulator, student_activation, teacher_activation):
    """The kernel in float32 against torch in float64, on the same noise: 1e-5 of the largest entry."""
    torch = pytest.importorskip("torch")
    from regkd_edge.fused.passes import Net
    from regkd_edge.fused.twin import distill_step_twin
    from regkd_edge.objectives import RowQuantities, Schedule, StepRecipe

    rows, step, total, seed = 41, 2, 10, 3
    case = Case(
        core,
        optimizer="none",
        rows=rows,
        batch=rows,
        shuffle=0,
        first_step=step,
        total=total,
        seed=seed,
        student_activation=student_activation,
        teacher_activation=teacher_activation,
    )
    emulator.run([case])

    def net(flat, widths, activation):
        weights, biases, flat = [], [], torch.from_numpy(flat).double()
        for n_in, n_out in zip(widths, widths[1:]):
            weights.append(flat[: n_in * n_out].reshape(n_out, n_in))
            biases.append(flat[n_in * n_out : (n_in + 1) * n_out])
            flat = flat[(n_in + 1) * n_out :]
        return Net(weights, biases, activation)

    recipe = StepRecipe(
        base="blend",
        alpha=0.3,
        w_pm=1.0,
        w_abm=Schedule(1.0, 0.0),
        w_gm=0.1,
        draws=2,
        ascent_steps=2,
        ascent_size=0.1,
        ascent_sigma=0.1,
        ascent_weight_decay=1e-5,
        ascent_ridge=1e-5,
        sigma=tuple(case.arrays["sigma"].tolist()),
    )
    x, y, t = (torch.from_numpy(case.arrays[name]).double() for name in "xyt")
    # Without a shuffle, row b of step s is (s B + b) mod N, so with B = N it is row b.
    terms, dw, db = distill_step_twin(
        net(case.arrays["params"], case.widths, student_activation),
        net(case.arrays["teacher"], case.teacher[0], teacher_activation),
        x,
        y,
        RowQuantities(t),
        recipe,
        seed=seed,
        step=step,
        total=total,
    )
    gradient = torch.cat([torch.cat([w.flatten(), b]) for w, b in zip(dw, db)]).numpy()
    assert_close(
        {"losses": case.arrays["losses"][0], "grad": case.arrays["grad"]},
        {"losses": terms.numpy(), "grad": gradient},
        1e-5,
    )
