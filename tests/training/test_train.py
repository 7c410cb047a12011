"""Training a teacher, a student and its baseline: same rows, same rule of selection, every base, several outputs."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from regkd_edge.config import BASES, DistillConfig, TeacherConfig
from regkd_edge.data import Dataset, Table, load_predictions, split
from regkd_edge.errors import RecipeError, UserError
from regkd_edge.models import Teacher, build, load_model, predict
from regkd_edge.objectives import jacobian_products
from regkd_edge.training import baseline, distill, recipe_of, train_teacher
from regkd_edge.training.setting import Setting


def make_dataset(n=300, d=3, o=2, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(10, 3, (n, d))
    z = (x - 10) / 3
    y = np.column_stack([100 + 20 * np.sin(z[:, 0]) + 5 * z[:, 1] * z[:, 2], -1 + 0.1 * np.tanh(z.sum(1))])[:, :o]
    table = Table(x, y, [f"a{i}" for i in range(d)], [f"t{i}" for i in range(o)], "memory")
    return Dataset(table, split(n, 0.2, 0.2, 0))


@pytest.fixture(scope="module")
def data():
    return make_dataset()


@pytest.fixture(scope="module")
def trained(data):
    return train_teacher(data, TeacherConfig(teacher="mlp:32,32:tanh", epochs=60, batch=32, lr=5e-3), 0)


def short(**fields):
    """A quick training by all three terms; what is given wins."""
    return DistillConfig(
        **{"recipe": "kang2024", "student": "mlp:8:tanh", "steps": 60, "batch": 16, "evaluate_every": 20, **fields}
    )


def standardized_rmse(trained, data, part):
    x, y = data.rows(part)
    return math.sqrt((((predict(trained.module, trained.scalers, x) - y) / trained.scalers.y.scale) ** 2).mean())


def same_weights(a, b):
    return all(torch.equal(p, q) for p, q in zip(a.module.state_dict().values(), b.module.state_dict().values()))


def test_a_teacher_learns_and_its_best_look_is_kept(data, trained):
    assert standardized_rmse(trained, data, "test") < 0.3  # 1 is the mean's; the best of a few seeds is about 0.1
    looks = [entry["validation_rmse"] for entry in trained.history]
    assert (
        trained.best_validation == min(looks) and trained.history[looks.index(min(looks))]["step"] == trained.best_step
    )
    # the weights are those of that look; float64 sums over other blocks of rows
    assert standardized_rmse(trained, data, "validation") == pytest.approx(trained.best_validation, rel=1e-5)
    assert [e["step"] for e in trained.history[:2]] == [
        12,
        24,
    ]  # 180 rows in batches of 32: 6 steps an epoch, a look after at least 10


def test_patience_stops_early(data):
    trained = train_teacher(data, TeacherConfig(teacher="mlp:4:relu", epochs=400, batch=32, lr=0.3, patience=4), 0)
    assert trained.steps < 400 * 6 and trained.steps - trained.best_step == 4 * 6  # 4 epochs, 2 looks


def test_one_target_is_shown_in_its_unit():
    data = make_dataset(o=1)
    trained = train_teacher(data, TeacherConfig(teacher="mlp:8:tanh", epochs=10), 0)
    assert trained.best_validation == pytest.approx(
        standardized_rmse(trained, data, "validation") * trained.scalers.y.scale[0], rel=1e-5
    )
    assert trained.summary()["unit"] == "target"


def test_a_student_comes_near_its_teacher(data, trained):
    student = distill(
        data,
        trained.as_teacher(),
        short(student="mlp:16,16:tanh", steps=1500, batch=64, evaluate_every=100, lr=5e-3),
        0,
    )
    x, _ = data.rows("test")
    gap = (
        predict(student.module, student.scalers, x) - predict(trained.module, trained.scalers, x)
    ) / trained.scalers.y.scale
    assert np.sqrt((gap**2).mean()) < 0.1 and student.steps == 1500
    assert set(student.history[0]) == {"step", "total", "base", "pm", "abm", "gm", "validation_rmse", "target_rmse"}
    assert all(student.history[-1][term] > 0 for term in ("pm", "abm", "gm"))


def test_validation_is_told_per_target_in_its_unit_and_pooled_in_deviations():
    """Two targets in very different units: what is told during training is the error of the answers in each of them."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (200, 3))
    y = np.column_stack([900 + 200 * np.sin(2 * x[:, 0]), 0.01 * x[:, 1] * x[:, 2]])
    two = Dataset(Table(x, y, list("abc"), ["life [cycles]", "strain"], "made", []), split(200, 0.2, 0.2, 0))
    told = []
    config = TeacherConfig(teacher="mlp:16:tanh", epochs=8, batch=32, lr=5e-3)
    done = train_teacher(two, config, 0, progress=lambda step, total, losses, validation: told.append(validation))
    rows, labels = two.rows("validation")
    own = np.sqrt(((predict(done.module, done.scalers, rows) - labels) ** 2).mean(0))
    np.testing.assert_allclose(done.best_targets, own, rtol=1e-4)
    at = [entry["step"] for entry in done.history].index(done.best_step)
    assert told[at] == {key: done.history[at][key] for key in ("validation_rmse", "target_rmse")}
    pooled = np.sqrt(((own / done.scalers.y.scale) ** 2).mean())
    assert done.best_validation == pytest.approx(pooled, rel=1e-4)
    student = done.as_student(two)
    assert f"validation RMSE {own[0]:.4g} (life [cycles]), {own[1]:.4g} (strain), " in repr(student)
    assert f"{pooled:.4g} standard deviations (pooled)" in student._repr_html_()


def test_the_baseline_differs_by_its_terms_only(data, trained):
    teacher, config = trained.as_teacher(), short(fraction=0.5)
    alone = baseline(data, teacher, config, 3)
    assert same_weights(alone, distill(data, teacher, short(fraction=0.5, terms=["none"]), 3))
    full = distill(data, teacher, config, 3)
    assert not same_weights(alone, full)
    assert np.array_equal(alone.rows.train, full.rows.train) and np.array_equal(
        alone.rows.validation, full.rows.validation
    )
    assert [e["step"] for e in alone.history] == [e["step"] for e in full.history] == [20, 40, 60]
    assert alone.recipe["w_gm"] != full.recipe["w_gm"] and alone.recipe["base"] == full.recipe["base"] == "mimic"


@pytest.mark.parametrize("terms", ["none", "pm", "abm", "gm", "pm,abm,gm"])
@pytest.mark.parametrize("base", BASES)
def test_every_base_goes_with_every_term_for_several_outputs(data, trained, base, terms):
    student = distill(data, trained.as_teacher(), short(base=base, terms=terms), 0)
    assert student.history[-1]["total"] < student.history[0]["total"] and student.module.widths == [3, 8, 2]


def test_a_share_of_the_rows_and_whose_scalers(data, trained):
    student = distill(data, trained.as_teacher(), short(fraction=0.25), 0)
    assert student.rows.counts() == {"train": 45, "validation": 15, "test": 60}
    assert student.scalers is trained.scalers
    foreign = Teacher(build("mlp:4:relu", 3, 2, 0), None, "raw", "factory f")
    student = distill(data, foreign, short(fraction=0.25), 0)
    assert np.allclose(student.scalers.x.mean, data.x[student.rows.train].mean(0))


def test_rows_that_are_not_seen_do_not_matter(trained):
    one, two = make_dataset(), make_dataset()
    seen = distill(one, trained.as_teacher(), short(fraction=0.25), 0)
    unseen = np.setdiff1d(np.arange(len(two.x)), np.concatenate([seen.rows.train, seen.rows.validation]))
    two.x[unseen] += 100
    two.y[unseen] -= 100
    assert same_weights(seen, distill(two, trained.as_teacher(), short(fraction=0.25), 0))


def test_sigma_is_one_number_or_one_a_feature(data, trained):
    assert recipe_of(short(sigma=[0.1, 0.2, 0.3]), 3).sigma == (0.1, 0.2, 0.3)
    with pytest.raises(RecipeError, match="sigma has 2 values for 3 inputs"):
        distill(data, trained.as_teacher(), short(sigma=[0.1, 0.2]), 0)


def test_the_weight_of_abm_falls_to_0():
    recipe = recipe_of(short(w_abm="2..0"), 3)
    assert recipe.w_abm.at(99, 100) == 0 and recipe.w_abm.start == 2 and recipe.w_pm.at(99, 100) == 1


def test_divergence_is_reported_with_its_step(data, trained):
    with pytest.raises(
        UserError,
        match=(
            r"diverged at step \d+: the loss is not finite, after .* \(learning rate 1e\+30\). Lower the learning "
            r"rate"
        ),
    ):
        distill(data, trained.as_teacher(), short(lr=1e30), 0)


def test_a_teacher_without_gradients_refuses_gradient_matching(data, trained):
    teacher = trained.as_teacher()
    teacher.module.differentiable = False
    try:
        with pytest.raises(RecipeError):
            distill(data, teacher, short(terms="gm"), 0)
        assert distill(data, teacher, short(terms="pm"), 0).choice.compute == "torch"
    finally:
        del teacher.module.differentiable


def test_what_is_saved_is_what_was_trained(data, trained, tmp_path):
    student = distill(data, trained.as_teacher("the plant's teacher"), short(), 0, checkpoint=tmp_path / "c")
    paths, summary = student.save(tmp_path / "student", data)
    assert sorted(p.name for p in paths) == ["history.json", "model.json", "model.safetensors", "predictions.npz"]
    assert not (tmp_path / "c").exists(), "the checkpoint has served"
    saved = load_model(tmp_path / "student")
    assert torch.equal(saved.module.layers[0].weight, student.module.layers[0].weight)
    assert (
        saved.extra["feature_names"] == ["a0", "a1", "a2"]
        and saved.extra["source"] == "distilled; its teacher: the plant's teacher"
    )
    assert np.array_equal(
        load_predictions(tmp_path / "student" / "predictions.npz", (300, 2)),
        predict(saved.module, saved.scalers, data.x),
    )
    assert summary["spec"] == "mlp:8:tanh" and summary["parameters"] == 3 * 8 + 8 + 8 * 2 + 2
    assert summary["train_rows"] == 180 and summary["compute"] == student.choice.compute


def test_a_weight_of_gm_in_units_of_the_teacher_means_the_same_on_every_table(data, trained):
    teacher = trained.as_teacher()
    config = short(recipe=None, terms=["gm"], w_gm=0.5, gm_scale="teacher", gm_on=["original"])
    setting = Setting.of(data, teacher, config, 0)
    x = torch.from_numpy(setting.train[0]).float()
    size = jacobian_products(setting.module, x, None, graph=False)[1].square().sum((1, 2)).mean().item()
    assert setting.training(config).recipe.w_gm.start * size == pytest.approx(0.5 * data.o, rel=1e-4)
