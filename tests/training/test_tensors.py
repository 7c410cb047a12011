"""Students of images and signals: scalers and noise per channel, the terms, the race,
teachers in their shape, no data."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import regkd_edge as rk
from regkd_edge.config import DistillConfig
from regkd_edge.data import Columns, Places, Scaler
from regkd_edge.errors import DataError, ModelError, RecipeError
from regkd_edge.fused import Optimizer, distill_steps, perturb
from regkd_edge.fused.points import perturbed
from regkd_edge.models import build
from regkd_edge.objectives import StepRecipe
from regkd_edge.sampling.neighbours import Neighbours
from regkd_edge.training.objective import recipe_of

CONV = "conv1d:4x5/2,gap,6:tanh"
SHAPE = (2, 16)


def signals(n=90, seed=0):
    """Two channels of different units; the answer is the mean of the first one, bent."""
    rng = np.random.default_rng(seed)
    x = Places(SHAPE, 0).smooth(rng.normal(size=(n, 32)), 2.0).reshape(n, *SHAPE)
    x = x * np.array([[1.0], [100.0]]) + np.array([[0.0], [50.0]])
    return x, 10 * np.tanh(x[:, 0].mean(1, keepdims=True))


class Teacher(nn.Module):
    """Takes signals in their shape and raw units, and nothing else."""

    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.ones(1))

    def forward(self, x):  # [n, 2, 16] -> [n]
        assert x.shape[1:] == SHAPE
        return self.factor * 10 * torch.tanh(x[:, 0].mean(1))


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def distilled(spec=CONV, teacher=None, rows=None, **options):
    x, y = rows or signals()
    options = {"recipe": "mimic", "steps": 30, "evaluate_every": 15, **options}
    return rk.distill(teacher or Teacher().eval(), x, y, student=spec, **options)


@pytest.mark.parametrize("spec", [CONV, "gru:4:channels-first", "conv1d:4d3,flat:relu"])
def test_a_student_learns_from_a_teacher_that_takes_tensors(spec):
    x, y = signals(200)
    student = distilled(spec, rows=(x, y), steps=300, evaluate_every=100, lr=1e-2)
    assert student.input_shape == SHAPE and student.record["compute"] == "torch"
    assert student.score(*signals(100, 1)) > 0.3
    assert np.array_equal(student.predict(x), student.predict(x.reshape(len(x), -1)))


def test_a_channel_has_one_scaler():
    scaler = distilled().scalers.x
    assert np.unique(scaler.scale[:16]).size == np.unique(scaler.scale[16:]).size == 1
    assert 50 < scaler.scale[-1] / scaler.scale[0] < 200


def test_a_flat_table_is_read_in_a_declared_shape():
    x, y = signals()
    whole, flat = distilled(), rk.distill(
        Teacher().eval(), x.reshape(len(x), -1), y, student=CONV,
        recipe="mimic", steps=30, evaluate_every=15, input_shape=SHAPE
    )  # fmt: skip
    assert np.array_equal(whole.predict(x), flat.predict(x))
    with pytest.raises(DataError, match="input shape 2x15 holds 30"):
        rk.distill(Teacher().eval(), x.reshape(len(x), -1), y, student=CONV, input_shape=(2, 15))
    with pytest.raises(ModelError, match="reads rows of shape channels x length.*--input-shape"):
        rk.distill(lambda rows: rows[:, 0], x.reshape(len(x), -1), y, student=CONV)


@pytest.mark.parametrize(
    "options",
    [
        {"terms": ["pm", "abm", "gm"], "gm_on": ["original", "perturbed"]},
        {"terms": ["pm"], "sigma": [0.1, 0.3], "noise_length": 2.0},
        {"terms": ["abm"], "ascent_rule": "random", "noise_length": 1.0},
        {"base": "tor", "heads": 2, "terms": []},
        {"base": "ail", "terms": []},
        {"base": "mix", "terms": [], "sampler": "neighbours", "noise": "mixed"},
        {"terms": [], "sampler": "neighbours", "noise": "smooth"},
        {"terms": [], "sampler": "generator", "evaluate_every": 10},
        {"terms": [], "sampler": "direct"},
    ],
    ids=lambda o: "-".join(f"{v}" for v in o.values() if isinstance(v, str)) or "terms",
)
@pytest.mark.parametrize("spec", [CONV, "gru:3:channels-first"])
def test_the_papers_objectives_run_on_tensors(spec, options):
    student = distilled(spec, recipe=None, **{"base": "mimic", "steps": 20, "evaluate_every": 10, **options})
    assert np.isfinite(student.predict(signals(5)[0])).all() and student.o == 1


def test_the_race_runs_on_tensors_and_says_who_won():
    student = distilled(recipe="auto", steps=40)
    assert "won" in student.record["notes"][0]


def test_a_run_goes_on_with_the_same_bits(tmp_path):
    class Stop(Exception):
        pass

    def stop(step, *figures):
        if step >= 30:
            raise KeyboardInterrupt

    options = {"steps": 60, "terms": ["pm"], "recipe": None, "base": "mimic", "evaluate_every": 15}
    whole = distilled(**options)
    with pytest.raises(KeyboardInterrupt):
        distilled(**options, checkpoint=tmp_path, progress=stop)
    again = distilled(**options, checkpoint=tmp_path)
    x = signals(9)[0]
    assert np.array_equal(whole.predict(x), again.predict(x))


def test_without_rows_signals_are_drawn_smooth(tmp_path):
    sheet = tmp_path / "inputs.yaml"
    lines = [f"  - {{name: x{j}, mean: {0 if j < 16 else 50}, sd: {1 if j < 16 else 100}}}" for j in range(32)]
    sheet.write_text("inputs:\n" + "\n".join(lines) + "\n")
    student = rk.distill(
        Teacher().eval(), student=CONV, no_data=True, input_shape=SHAPE,
        describe=str(sheet), base="mimic", terms=[], steps=200, lr=1e-2
    )  # fmt: skip
    assert student.input_shape == SHAPE and student.score(*signals(100, 1)) > 0
    with pytest.raises(DataError, match="input shape 3x16 holds 48"):
        rk.distill(Teacher().eval(), student="conv1d:4x3:relu", no_data=True, input_shape=(3, 16), describe=str(sheet))


def test_points_of_a_tuned_latent_of_signals(monkeypatch):
    made = []
    from regkd_edge.sampling import latent_tensors, making
    from regkd_edge.sampling.latent import Latent

    class Seen(latent_tensors.ConvolutionalVAE):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            made.append(self.places)

    monkeypatch.setattr(latent_tensors, "ConvolutionalVAE", Seen)
    monkeypatch.setattr("regkd_edge.sampling.latent.STEPS_OF_TENSORS", 50)
    monkeypatch.setattr(making, "tune", lambda *a, **k: Latent((0.0,) * 8, (1.0,) * 8, 0.0))
    student = distilled(recipe="nguyen2021", steps=10)
    assert made == [Places(SHAPE, 0)] and np.isfinite(student.predict(signals(20, 1)[0])).all()


def test_what_tensors_do_not_have_is_refused_in_one_line():
    with pytest.raises(
        RecipeError, match="hints need the hidden layers of an MLP|hint needs the hidden layers of an MLP"
    ):
        distilled(recipe=None, base="hint", terms=[])
    with pytest.raises(RecipeError, match="noise_length 2 needs rows that are images or signals"):
        rk.distill(
            lambda x: x[:, 0],
            np.ones((20, 3)).cumsum(0),
            student="mlp:4:relu",
            base="mimic",
            terms=[],
            noise_length=2.0,
        )
    with pytest.raises(DataError, match="sigma has 3 values for 2 channels and 32 numbers"):
        distilled(recipe=None, base="mimic", terms=["pm"], sigma=[0.1, 0.2, 0.3])


# -- noise ---------------------------------------------------------------------------------------------------------


def test_smooth_noise_has_unit_variance_and_the_length_that_was_asked_for():
    places = Places((2, 12, 10), 0)
    white = np.random.default_rng(0).normal(size=(4000, places.d))
    smooth = places.smooth(white, 1.5)
    assert np.allclose(smooth.std(0), 1.0, atol=0.06)  # 4,000 draws: a standard error of 0.011, the largest of 240
    whole = smooth.reshape(-1, 2, 12, 10)
    near, far = (float((whole[:, 0, 5, 5] * whole[:, 0, 5, 5 - k]).mean()) for k in (1, 5))
    assert near == pytest.approx(np.exp(-1 / (4 * 1.5**2)), abs=0.05) and abs(far) < 0.12
    assert abs((whole[:, 0] * whole[:, 1]).mean()) < 0.02  # channels stay independent
    assert np.array_equal(places.smooth(white, 0), white)
    assert np.allclose(places.smooth(torch.from_numpy(white), 1.5).numpy(), smooth)


def test_perturbed_points_are_those_of_the_operator_smoothed_and_in_range():
    places = Places(SHAPE, 0)
    config = DistillConfig(recipe=None, terms=["pm"], sigma=[0.1, 0.5], noise_length=2.0)
    recipe = recipe_of(config, 32, places=places, box=([-1.0] * 32, [1.0] * 32))
    assert recipe.torch_only and recipe.sigma == (0.1,) * 16 + (0.5,) * 16
    x = torch.randn(200, 32) * 0.5
    points = perturbed(x, recipe, 3, 7, perturb)
    white = perturb(torch.zeros_like(x), 1.0, 1, 3, 7)[:, 0]
    want = (x + torch.tensor(recipe.sigma) * places.smooth(white, 2.0)).clamp(-1, 1)
    assert torch.allclose(points, want) and points.abs().max() <= 1
    moved = (points - x).abs()
    assert moved[:, 16:].mean() > 2 * moved[:, :16].mean()


def test_neighbours_of_images_keep_ranges_of_channels_and_whole_numbers():
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 9, (30, 2 * 6 * 6)).astype(float)
    rows[:, 40] = 3.0  # a pixel that never varied is not bound to one value
    rows[:, :36] *= 10
    places = Places((2, 6, 6), 0)
    made = Neighbours(rows, Columns.of_tensors(rows, [str(j) for j in range(72)]), places.scaler(rows), places)
    for noise in ("isotropic", "smooth", "principal", "crossover", "mixed"):
        x = made.points(200, noise, 0.5, 0)
        assert x.shape == (200, 72) and (x == np.rint(x)).all(), noise
        assert x.min() >= 0 and x[:, :36].max() <= 80 and x[:, 36:].max() <= 8
        assert noise in ("crossover", "principal") or len(np.unique(x[:, 40])) > 1
    part = made.points(30, "crossover", 0.25, 0).reshape(30, 2, 6, 6) != rows.reshape(30, 2, 6, 6)
    for one in part:  # what came from another row lies in one square of a quarter of the places
        at = np.argwhere(one.any(0))
        assert not len(at) or (np.ptp(at, axis=0) < 3).all()
    with pytest.raises(DataError, match="smooth' needs rows that are images"):
        Neighbours(rows, Columns.detect(rows, [str(j) for j in range(72)]), Scaler.fit(rows)).points(
            5, "smooth", 0.3, 0
        )


def test_a_teacher_that_wants_flat_rows_gets_them():
    x, y = signals()
    seen = []

    def flat(rows):
        seen.append(np.ndim(rows))
        if np.ndim(rows) != 2:
            raise ValueError("a table is expected")
        return rows[:, 0] + rows[:, 20]

    teacher = rk.load_teacher(flat)
    distilled(teacher=teacher)
    assert teacher.shape is None and seen[-1] == 2
    shaped = rk.load_teacher(Teacher().eval())
    assert shaped.predict(x).shape == (90, 1) and shaped.shape == SHAPE and "inputs 2x16" in repr(shaped)


def test_steps_of_any_network_use_the_operators(monkeypatch):
    """Values and losses of a convolution go through perturb and matching_loss."""
    from regkd_edge.fused import steps
    from regkd_edge.fused.reference import Operators

    calls = []
    note = lambda name, f: lambda *a: (calls.append(name), f(*a))[1]
    used = Operators(note("perturb", steps.perturb), note("matching_loss", steps.matching_loss))
    monkeypatch.setattr(steps, "_OPERATORS", used)
    net, x = build(CONV, 32, 1, 0, shape=SHAPE), torch.randn(40, 32)
    distill_steps(
        net,
        build("mlp:4:tanh", 32, 1, 1),
        x,
        None,
        StepRecipe(base="mimic", w_pm=1.0),
        Optimizer(),
        n=2,
        total=2,
        batch=8,
    )
    assert calls == ["perturb", "matching_loss"] * 2
