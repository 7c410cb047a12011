"""The compiled core against its twins: same noise, same rows, same gradients, same students."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from regkd_edge.errors import NotAvailable
from regkd_edge.fused import (
    Member,
    Optimizer,
    TrainState,
    advance,
    choose,
    distill_steps,
    fit_steps,
    native,
    native_operators,
    native_steps,
)
from regkd_edge.fused.ops import matching_loss_twin
from regkd_edge.fused.passes import Net, forward
from regkd_edge.fused.permutation import epoch_rows
from regkd_edge.fused.points import perturb_twin
from regkd_edge.fused.twin import distill_step_twin
from regkd_edge.models.mlp import ACTIVATIONS, MLP
from regkd_edge.objectives import RowQuantities, Schedule, StepRecipe, row_quantities

pytestmark = pytest.mark.skipif(native.unavailable("cpu") is not None, reason=f"{native.unavailable('cpu')}")

KINKED = ("relu", "leaky_relu")
WHERE = {"seed": 2**40 + 5, "step": 3, "total": 10}


def mlp(shape, act, seed):
    return MLP(shape, act, generator=torch.Generator().manual_seed(seed))


def double(rows: RowQuantities) -> RowQuantities:
    up = lambda v: v.double() if v is not None and v.is_floating_point() else v
    return RowQuantities(**{k: up(v) for k, v in rows.__dict__.items()})


def both(student, teacher, x, y, rows, recipe):
    """Terms and flat gradient: of the core in float32, of the twin in float64 on the same noise."""
    terms, gradient = native_operators.distill_step(
        Net.of(student), Net.of(teacher), x, y, rows, recipe, *WHERE.values()
    )
    y64 = y.double() if y is not None else None
    nets = [Net.of(net, torch.float64) for net in (student, teacher)]
    expected_terms, dw, db = distill_step_twin(*nets, x.double(), y64, double(rows), recipe, **WHERE)
    expected = torch.cat([g.flatten() for pair in zip(dw, db) for g in pair])
    return terms.double(), gradient.double(), expected_terms, expected


def error(found, expected):
    return float((found - expected).norm() / expected.norm().clamp(min=1e-30))


@pytest.mark.parametrize("shape,draws", [((5, 3), 2), ((100, 13), 1), ((4, 2, 3, 3), 3), ((1, 1), 1), ((7, 1000), 1)])
def test_perturb_has_the_bits_of_the_twin(shape, draws):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    sigma = torch.rand(x[0].numel(), generator=torch.Generator().manual_seed(1))
    for s in (torch.tensor([0.3]), sigma):
        assert torch.equal(
            native_operators.perturb(x, s, draws, 2**40 + 5, 7),
            perturb_twin(x, s if len(s) > 1 else float(s), draws, 2**40 + 5, 7),
        )


@pytest.mark.parametrize("n", [1, 2, 3, 17, 1000])
def test_rows_have_the_order_of_the_twin(n):
    out = torch.zeros(n, dtype=torch.int32)
    native.load()[0].permute(2**50 + 1, 2**33 + 4, n, out.data_ptr())
    assert torch.equal(out.long(), epoch_rows(2**50 + 1, 2**33 + 4, n))


def test_the_lists_of_names_are_the_same_in_all_layers():
    core = native.load()[0]
    assert list(core.ACTIVATIONS) == list(ACTIVATIONS)
    assert list(core.TERMS) == ["base", "pm", "abm", "gm"]


@settings(max_examples=80, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(
    hidden_s=st.lists(st.integers(1, 40), max_size=4),
    hidden_t=st.lists(st.integers(1, 40), max_size=4),
    d=st.integers(1, 20),
    o=st.integers(1, 6),
    batch=st.integers(1, 70),
    act_s=st.sampled_from([a for a in ACTIVATIONS if a not in KINKED]),
    act_t=st.sampled_from([a for a in ACTIVATIONS if a not in KINKED]),
    base=st.sampled_from(["none", "labels", "mimic", "blend", "ail", "huber", "tbr", "tor"]),
    draws=st.integers(1, 3),
    cotangents=st.integers(0, 2),
    gm_on=st.sets(st.sampled_from(["original", "perturbed", "ascended"]), min_size=1),
    weights=st.tuples(st.booleans(), st.booleans(), st.booleans()).filter(any),
    box=st.booleans(),
    anchored=st.booleans(),
)
def test_dw_and_db_are_the_float64_twins(
    hidden_s, hidden_t, d, o, batch, act_s, act_t, base, draws, cotangents, gm_on, weights, box, anchored
):
    student, teacher = mlp([d, *hidden_s, o], act_s, 1), mlp([d, *hidden_t, o], act_t, 2)
    g = torch.Generator().manual_seed(batch)
    x, y = (torch.randn(batch, k, generator=g) for k in (d, o))
    bounds = {"low": (-1.0,) * d, "high": (1.0,) * d} if box else {}
    made = {"original", *(["perturbed"] if weights[0] else []), *(["ascended"] if weights[1] else [])}
    gm_on = gm_on & made or {"original"}  # points that no active term makes are refused
    pm, abm, gm = (Schedule(w, 0.5 * w, 2) if on else 0.0 for w, on in zip((1.0, 1.0, 0.3), weights))
    # The rule that divides by the root of a running square amplifies roundings where a gradient is near 0: its own
    # test.
    recipe = StepRecipe(
        base, w_pm=pm, w_abm=abm, w_gm=gm, draws=draws, cotangents=cotangents, gm_on=tuple(gm_on),
        ascent_from_anchor=anchored, ascent_rule="normalised",
        ascent_steps=2, ascent_ridge=1e-2, ascent_weight_decay=1e-2,
        sigma=(0.1,) * d, **bounds,
    )  # fmt: skip
    rows = row_quantities(teacher(x).detach(), y, k=0.3)
    # The root of tor has an unbounded slope at S = T: no row is an outlier there, or the test would measure float32
    # itself.
    far = (student(x) - rows.t).norm(dim=1) > 0.1
    rows = dataclasses.replace(rows, outlier=rows.outlier & far)
    terms, gradient, expected_terms, expected = both(student, teacher, x, y, rows, recipe)
    # float32 against float64 on the same noise. Gradients near 0 are sums of large terms that cancel: against 1e-3 of
    # their size.
    assert (gradient - expected).norm() <= 1e-5 * max(float(expected.norm()), 1e-3)
    torch.testing.assert_close(terms, expected_terms, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("rule", ["rmsprop", "sign", "normalised"])
@pytest.mark.parametrize("act", [a for a in ACTIVATIONS if a not in KINKED])
def test_the_search_finds_the_twins_points(act, rule):
    student, teacher = mlp([6, 12, 8, 1], act, 1), mlp([6, 20, 1], "tanh", 2)
    x = torch.randn(64, 6, generator=torch.Generator().manual_seed(0))
    recipe = StepRecipe(w_base=0.0, w_abm=1.0, ascent_rule=rule, ascent_steps=3)
    terms, gradient, expected_terms, expected = both(student, teacher, x, None, RowQuantities(None), recipe)
    # RMSprop's first step is g / (0.1 |g| + 1e-8): where |g| is near 1e-7 it amplifies a rounding by up to 1e3. A sign
    # is 0.1 off in one coordinate of one point if its gradient's sign is lost.
    assert error(gradient, expected) < (1e-4 if rule == "rmsprop" else 1e-5)
    assert terms[3] == pytest.approx(float(expected_terms[3]), rel=1e-4)


@pytest.mark.parametrize("act", KINKED)
def test_kinks_are_counted_not_tolerated(act):
    """A mask flips only where float32 and float64 part at a kink: each flip is counted, all other points agree to
    1e-5."""
    student, teacher = mlp([8, 64, 64, 1], act, 1), mlp([8, 64, 64, 1], "relu", 2)
    x = torch.randn(512, 8, generator=torch.Generator().manual_seed(0))
    recipe = StepRecipe(w_gm=0.3, gm_on=("original",))
    masks = []
    for dtype in (torch.float32, torch.float64):
        traces = [forward(Net.of(net, dtype), x.to(dtype)) for net in (student, teacher)]
        masks.append(torch.cat([s > 0.5 for t in traces for s in t.slopes if s is not None], 1))
    flipped = (masks[0] != masks[1]).any(1)
    assert flipped.sum() <= 5  # about 1e5 pre-activations, each within 1e-7 of its kink with probability 1e-7..1e-6
    clean = x[~flipped]
    _, gradient, _, expected = both(student, teacher, clean, None, RowQuantities(None), recipe)
    assert error(gradient, expected) < 1e-5


@pytest.mark.parametrize(
    ("base", "constants"),
    [(base, {}) for base in ("labels", "mimic", "blend", "ail", "mix", "huber", "tbr", "tor")]
    + [("tor", {"outlier_loss": loss}) for loss in ("squared", "drop")],
)
def test_matching_loss_is_the_twins(base, constants):
    g = torch.Generator().manual_seed(0)
    s, t, y = (torch.randn(77, 3, generator=g) for _ in range(3))
    rows = dataclasses.replace(
        row_quantities(t, y, k=0.5), mix=torch.rand(77, generator=g), weight=torch.rand(77, generator=g)
    )
    recipe = StepRecipe(base, **constants)
    value, slope = native_operators.matching_loss(s, y, rows, recipe)
    expected_value, expected_slope = matching_loss_twin(s.double(), y.double(), double(rows), recipe)
    assert float(value) == pytest.approx(float(expected_value), rel=1e-6)
    torch.testing.assert_close(slope.double(), expected_slope, rtol=1e-5, atol=1e-7)


def world(act="tanh", o=1):
    g = torch.Generator().manual_seed(0)
    x = torch.randn(150, 6, generator=g)
    y = torch.sin(2 * x[:, :o]) + 0.3 * x[:, 1 : 1 + o]
    return MLP([6, 12, 10, o], act, generator=g), MLP([6, 40, o], "tanh", generator=g), x, y


@pytest.mark.parametrize("kind", ["adam", "adamw", "rmsprop"])
@pytest.mark.parametrize("base,o", [("mimic", 1), ("ail", 2), ("tbr", 1), ("tor", 1)])
def test_the_loss_curve_of_a_whole_training_is_the_autograd_paths(kind, base, o):
    student, teacher, x, y = world(o=o)
    again = copy.deepcopy(student)
    recipe = StepRecipe.kang2024(base, ascent_rule="normalised", draws=2)
    optimizer = Optimizer(kind, lr=3e-3, weight_decay=1e-3, schedule="cosine")
    call = {"n": 150, "total": 150, "batch": 32, "seed": 7}
    fused = distill_steps(student, teacher, x, y, recipe, optimizer, compute="cpu", **call)
    torch_path = distill_steps(again, teacher, x, y, recipe, optimizer, compute="torch", **call)
    # Same noise, same order: only roundings differ, and training of smooth networks does not amplify them much in 150
    # steps.
    torch.testing.assert_close(fused.losses, torch_path.losses, rtol=1e-4, atol=1e-6)
    for p, q in zip(student.parameters(), again.parameters()):
        torch.testing.assert_close(p, q, rtol=1e-3, atol=1e-5)
    assert fused.losses[-10:, 0].mean() < 0.85 * fused.losses[:10, 0].mean()  # it is a training, not a standstill


def test_a_teacher_is_trained_alike_on_labels():
    _, teacher, x, y = world()
    again = copy.deepcopy(teacher)
    for loss in ("squared", "huber"):
        call = {"n": 100, "total": 100, "batch": 16, "seed": 1, "loss": loss}
        fused = fit_steps(teacher, x, y, Optimizer("rmsprop", weight_decay=1e-5), compute="cpu", **call)
        torch_path = fit_steps(again, x, y, Optimizer("rmsprop", weight_decay=1e-5), compute="torch", **call)
        torch.testing.assert_close(fused.losses, torch_path.losses, rtol=1e-4, atol=1e-6)


def test_data_free_training_is_alike():
    student, teacher, _, _ = world()
    again = copy.deepcopy(student)
    call = {"n": 100, "total": 100, "batch": 20, "seed": 1}
    optimizer = Optimizer("rmsprop", weight_decay=1e-5)
    fused = distill_steps(student, teacher, None, None, StepRecipe.direct2023(), optimizer, compute="cpu", **call)
    torch_path = distill_steps(again, teacher, None, None, StepRecipe.direct2023(), optimizer, compute="torch", **call)
    # The rmsprop search amplifies roundings (above), here over 100 steps.
    torch.testing.assert_close(fused.losses, torch_path.losses, rtol=3e-3, atol=1e-5)


def test_rows_in_order_and_batches_beyond_the_data_are_alike():
    student, teacher, x, y = world()
    for shuffle, batch in ((False, 32), (True, 200)):
        runs = []
        for compute in ("cpu", "torch"):
            s = copy.deepcopy(student)
            runs.append(
                distill_steps(
                    s,
                    teacher,
                    x,
                    y,
                    StepRecipe("ail"),
                    Optimizer(),
                    n=6,
                    total=6,
                    batch=batch,
                    shuffle=shuffle,
                    compute=compute,
                )
            )
        torch.testing.assert_close(runs[0].losses, runs[1].losses, rtol=1e-5, atol=1e-7)


def same(a, b):
    return all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters()))


def test_a_run_cut_in_pieces_is_the_same_run_bit_for_bit():
    student, teacher, x, y = world()
    whole, cut = copy.deepcopy(student), copy.deepcopy(student)
    recipe, optimizer = StepRecipe.kang2024("ail", draws=2), Optimizer("adamw", schedule="linear")
    common = {"total": 60, "batch": 16, "seed": 4, "compute": "cpu"}
    expected = distill_steps(whole, teacher, x, y, recipe, optimizer, n=60, **common).losses
    found, state = [], TrainState()
    for n in (1, 22, 37):
        found.append(distill_steps(cut, teacher, x, y, recipe, optimizer, state, n=n, **common).losses)
        state = TrainState.load(state.state_dict())
    assert same(whole, cut) and torch.equal(expected, torch.cat(found))


def test_an_interrupted_call_changes_nothing_and_is_heard(monkeypatch):
    from types import SimpleNamespace

    student, teacher, x, y = world()
    before, state, calls = copy.deepcopy(student), TrainState(), []
    core = native.load()[0]

    def run(jobs, steps, at_most):
        calls.append(steps)
        if len(calls) == 3:
            raise KeyboardInterrupt
        core.run(jobs, steps, at_most=at_most)

    fake = SimpleNamespace(**{name: getattr(core, name) for name in ("Job", "MAX_LAYERS", "refuses", "cost")}, run=run)
    monkeypatch.setattr(native, "load", lambda: (fake, None))
    monkeypatch.setattr(native_steps, "_FLOP_A_CALL", 1e6)
    call = (student, teacher, x, y, StepRecipe(), Optimizer(), state)
    with pytest.raises(KeyboardInterrupt):
        distill_steps(*call, n=100, total=100, batch=32, compute="cpu")
    assert len(calls) == 3 and same(student, before) and state.step == 0
    monkeypatch.setattr(native, "load", lambda: (core, None))
    whole = copy.deepcopy(student)
    distill_steps(*call, n=100, total=100, batch=32, compute="cpu")  # still in small pieces
    monkeypatch.setattr(native_steps, "_FLOP_A_CALL", 1e12)
    distill_steps(whole, teacher, x, y, StepRecipe(), Optimizer(), n=100, total=100, batch=32, compute="cpu")
    assert same(student, whole)


def test_a_run_can_change_the_back_end_on_the_way():
    student, teacher, x, y = world()
    state = TrainState()
    for compute in ("torch", "cpu", "torch"):
        done = distill_steps(
            student, teacher, x, y, StepRecipe(), Optimizer(), state, n=20, total=60, batch=16, compute=compute
        )
    assert state.step == 60 and done.losses[-1, 0] < 0.5


def test_members_of_an_ensemble_get_the_bits_they_get_alone():
    _, teacher, x, y = world()

    def members():
        g = torch.Generator().manual_seed(1)
        for i in range(7):
            student = MLP([6, 5 + 4 * i, 1], list(ACTIVATIONS)[i], generator=g)
            recipe = StepRecipe.kang2024() if i % 2 else StepRecipe("tbr", w_pm=0.5)
            optimizer = Optimizer(("adam", "rmsprop", "adamw")[i % 3], lr=1e-3 * (i + 1))
            yield Member(student, teacher, x[: 100 + i], y[: 100 + i], recipe, optimizer, 20, 16 + i, seed=i)

    together, alone = list(members()), list(members())
    results = advance(together, 20, "cpu")
    for i, member in enumerate(alone):
        assert torch.equal(advance([member], 20, "cpu")[0].losses, results[i].losses)
        assert same(member.student, together[i].student)


def test_the_number_of_threads_changes_no_bit():
    student, teacher, _, _ = world()
    x = torch.randn(3000, 6, generator=torch.Generator().manual_seed(2))
    runs = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        s = copy.deepcopy(student)
        distill_steps(s, teacher, x, None, StepRecipe.kang2024(), Optimizer(), n=5, total=5, batch=1500, compute="cpu")
        runs.append(s)
    assert same(*runs)


class TestChoice:
    def why(self, **change):
        student, teacher, x, y = world()
        call = {"student": student, "teacher": teacher, "recipe": StepRecipe(), "batch": 16, "x": x, "y": y, **change}
        return choose(call.pop("student"), call.pop("teacher"), call.pop("recipe"), **call)

    def test_mlps_are_fused_by_themselves(self):
        assert self.why().compute == "cpu"
        assert self.why(recipe=StepRecipe("labels"), teacher=None).compute == "cpu"
        assert self.why(x=None, y=None).compute == "cpu"
        assert self.why(compute="torch").compute == "torch"

    def test_an_mlp_in_disguise_and_stored_answers_of_any_teacher_are_fused(self):
        assert self.why(student=torch.nn.Sequential(torch.nn.Linear(6, 1))).compute == "cpu"
        assert self.why(teacher=lambda x: x[:, :1]).compute == "cpu"  # mimic needs its answers to the rows, no more

    @pytest.mark.parametrize(
        "change,reason",
        [
            (
                {"student": torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.Softmax(1), torch.nn.Linear(4, 1))},
                "Sequential",
            ),
            ({"teacher": lambda x: x[:, :1], "recipe": StepRecipe(w_pm=1.0)}, "function"),
            ({"student": world()[0].double()}, "float64"),
            ({"x": torch.zeros(3, 2, 3)}, "flat"),
            ({"x": torch.zeros(3, 6, dtype=torch.float64)}, "float64"),
            ({"recipe": StepRecipe(w_abm=1.0, ascent_rule="random")}, "random points"),
            ({"recipe": StepRecipe(w_gm=1.0, teacher_gradient="central")}, "central"),
            ({"student": mlp([6, 1500, 1], "tanh", 0)}, "1024"),
            ({"student": mlp([6, *[3] * 9, 1], "tanh", 0)}, "layers"),
        ],
    )
    def test_what_the_core_does_not_cover_runs_in_torch_with_the_reason(self, change, reason):
        choice = self.why(**change)
        assert choice.compute == "torch" and reason in choice.reason
        with pytest.raises(NotAvailable, match="--compute cpu cannot run this step: "):
            self.why(**change, compute="cpu")

    def test_large_products_run_in_torch_unless_the_core_is_asked_for(self):
        large = {"student": mlp([512, 1024, 1024, 1], "tanh", 0), "teacher": mlp([512, 1024, 1024, 1], "tanh", 0)}
        data = {"x": torch.zeros(2, 512), "y": None, "batch": 256}
        choice = self.why(**large, **data)
        assert choice.compute == "torch" and "FLOP" in choice.reason
        assert self.why(**large, **data, compute="cpu").compute == "cpu"
        assert self.why(**large, **{**data, "batch": 16}).compute == "cpu"
        large["student"] = mlp([512, 8, 1], "tanh", 0)  # a large teacher is no obstacle
        assert self.why(**large, **data).compute == "cpu"

    def test_frozen_parameters_and_hooks_run_in_torch(self):
        frozen, hooked = world()[0], world()[0]
        frozen.layers[0].weight.requires_grad_(False)
        hooked.register_forward_hook(lambda *_: None)
        assert "frozen" in self.why(student=frozen).reason
        assert "hook" in self.why(student=hooked).reason

    def test_the_choice_is_logged_once(self, caplog):
        from regkd_edge.fused.choose import _announce

        _announce.cache_clear()
        with caplog.at_level("INFO", logger="regkd_edge.fused"):
            self.why()
            self.why()
        assert len(caplog.records) == 1 and "cpu" in caplog.records[0].getMessage()

    def test_a_missing_extension_is_named(self, monkeypatch):
        monkeypatch.setattr(native, "load", lambda: (None, "the compiled extension regkd_edge._core is missing"))
        assert "_core" in self.why().reason
        with pytest.raises(NotAvailable, match="_core"):
            self.why(compute="cpu")

    def test_cuda_on_cpu_tensors_is_refused(self):
        with pytest.raises(NotAvailable, match="cuda"):
            self.why(compute="cuda")
