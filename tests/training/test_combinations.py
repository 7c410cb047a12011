"""What goes with what: every base with every sampler, with rows and without, one head and two, and all terms.

What makes sense trains; what does not is refused by the configuration, before anything is trained, with its reason.
"""

from __future__ import annotations

import itertools

import pytest
import torch

from regkd_edge.config import BASES, SAMPLERS, RunConfig, TeacherConfig
from regkd_edge.errors import UserError
from regkd_edge.fused import Optimizer
from regkd_edge.objectives import Schedule, StepRecipe
from regkd_edge.recipes import RECIPES
from regkd_edge.training import distill, optimizer_of, train_teacher
from regkd_edge.training.job import Training

from .test_train import make_dataset, short

LABELS = ("blend", "ail", "mix", "tbr", "tor")  # bases that read labels
TEACHER = ("mimic", "rkd", "hint")  # bases that ask the teacher alone

#: (base, sampler, no data, heads) -> the reason for which it is refused, or None
MATRIX = {}
for base, sampler, no_data, heads in itertools.product(BASES, (None, *SAMPLERS), (False, True), (1, 2)):
    MATRIX[base, sampler, no_data, heads] = (
        "reads labels, and synthetic inputs have none" if no_data and base in LABELS
        else "needs a base that learns labels in its first head" if heads == 2 and base in TEACHER
        else "learns how inputs are spread from rows" if sampler in ("latent", "neighbours") and no_data
        else None
    )  # fmt: skip


def fields(base, sampler, no_data, heads, **more):
    terms = ["pm", "gm"] if sampler == "direct" else ["pm", "abm", "gm"]
    return {
        "base": base,
        "sampler": sampler,
        "no_data": no_data,
        "heads": heads,
        "terms": terms,
        "evaluate_every": 20,
        **more,
    }


@pytest.fixture(scope="module")
def data():
    return make_dataset(n=120, o=2)


@pytest.fixture(scope="module")
def teacher(data):
    return train_teacher(data, TeacherConfig(teacher="mlp:12,8:tanh", epochs=5), 0).as_teacher()


def test_every_base_and_sampler_is_in_the_matrix():
    assert set(LABELS) | set(TEACHER) == set(BASES)
    assert (
        sum(reason is None for reason in MATRIX.values()) == 8 * 11 + 3 * 9 + 5 * 11
    )  # rows; no data but latent and neighbours; two heads


@pytest.mark.parametrize("case", [case for case, reason in MATRIX.items() if reason], ids=str)
def test_what_does_not_go_together_is_refused_with_the_reason(case):
    with pytest.raises(UserError, match=MATRIX[case]):
        RunConfig.from_dict({"distill": fields(*case)})


@pytest.mark.parametrize("case", [case for case, reason in MATRIX.items() if not reason], ids=str)
def test_what_goes_together_trains(data, teacher, short_latent, case):
    config = short(**fields(*case, steps=40, student="mlp:6:tanh"))
    trained = distill(data, teacher, config, 0)
    assert trained.module.widths == [3, 6, 2]  # one output set, whatever was trained along
    last = trained.history[-1]
    assert last["step"] == 40 and last["pm"] > 0 and last["gm"] > 0
    assert (last["abm"] > 0) == ("abm" in config.terms or config.drawn == "direct")
    assert all(torch.isfinite(p).all() for p in trained.module.parameters())
    in_torch = config.base == "rkd" or config.heads == 2
    assert (trained.choice.compute == "torch") == in_torch  # the fused core wherever it covers the objective
    assert trained.setup["sampler"] == config.drawn
    assert bool(short_latent) == (config.drawn == "latent")


@pytest.mark.parametrize("layers", [(0, 0), (0, 1), (-1, -1)])
def test_a_hint_may_be_any_hidden_layer(data, teacher, layers):
    trained = distill(data, teacher, short(base="hint", hint_layers=list(layers), terms=["gm"]), 0)
    assert trained.module.widths == [3, 8, 2]
    last = layers[1] != 0  # only between last hidden layers both widened networks are MLPs
    assert (trained.choice.compute == "torch") != last


def test_a_hidden_layer_that_is_not_there_is_refused(data, teacher):
    with pytest.raises(UserError, match="the teacher has 2 hidden layers, and layer 5 was requested"):
        distill(data, teacher, short(base="hint", hint_layers=[0, 5]), 0)


@pytest.mark.parametrize("head", ["label", "teacher", "mean"])
def test_the_head_that_is_asked_for_is_selected_and_kept(data, teacher, head):
    two = short(base="tor", heads=2, terms=["gm"], export_head=head)
    kept = distill(data, teacher, two, 0)
    others = [
        distill(data, teacher, two.model_copy(update={"export_head": other}), 0)
        for other in {"label", "teacher", "mean"} - {head}
    ]
    assert all((kept.module.layers[-1].weight != other.module.layers[-1].weight).any() for other in others)


def test_a_schedule_moves_every_weight(data, teacher):
    config = short(base="ail", w_base="1..0.5", w_pm=[0, 1], w_abm={"start": 1, "end": 0, "hold": 10}, w_gm="0.2..0")
    recipe = distill(data, teacher, config, 0).recipe
    ends = {
        name: (recipe[name]["start"], recipe[name]["end"], recipe[name]["hold"])
        for name in ("w_base", "w_pm", "w_abm", "w_gm")
    }
    assert ends == {"w_base": (1, 0.5, 1), "w_pm": (0, 1, 1), "w_abm": (1, 0, 10), "w_gm": (0.2, 0, 1)}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"sampler": "direct"}, "leave abm out of terms"),
        ({"export_head": "mean"}, "needs heads 2"),
        ({"no_data": True, "sampler": "gaussian", "describe": "inputs.yaml"}, "use sampler described"),
        ({"like": "rows.csv"}, "needs no_data or one of the samplers"),
        ({"no_data": True, "sampler": "generator", "evaluate_every": 25}, "must be a multiple of 10"),
        ({"sampler": "generator", "w_sampler": 0}, "omit the sampler"),
        ({"no_data": True, "sampler": "direct", "w_sampler": 0, "terms": "none"}, "use sampler described or gaussian"),
        ({"sampler": "latent", "batch": 1}, "cannot hold both rows and points"),
        ({"w_base": 0, "terms": "none"}, "every weight is 0"),
        ({"base": "tor", "heads": 2, "w_base": 0, "terms": "pm"}, "heads 2 needs w_base above 0"),
        ({"terms": "gm", "gm_on": "ascended"}, "names no point that the other terms produce"),
    ],
)
def test_other_contradictions_are_refused_with_the_remedy(given, says):
    with pytest.raises(UserError, match=says):
        RunConfig.from_dict({"distill": given})


def test_direct_starts_at_random_or_at_described_inputs(data, teacher, tmp_path):
    path = tmp_path / "inputs.yaml"
    path.write_text("inputs:\n" + "- {mean: 10, sd: 3}\n- {name: b, mean: 10, sd: 3}\n- {name: c, low: 5, high: 15}\n")
    plain = short(no_data=True, sampler="direct", terms=[])
    found = [distill(data, teacher, plain.model_copy(update={"describe": d}), 0).recipe for d in (None, str(path))]
    assert [(r["ascent_from_anchor"], r["ascent_sigma"]) for r in found] == [(False, 1.0), (True, 0.3)]
    assert all((r["ascent_weight_decay"], r["ascent_ridge"]) == (1e-5, 1e-5) for r in found)  # as the authors' code


def test_the_data_free_recipes_are_the_papers(data, teacher, monkeypatch):
    """METHODS section 2: weights, batches, search, generator and optimizer of the authors' code."""
    seen = []
    genuine = Training.run
    monkeypatch.setattr(Training, "run", lambda self, **k: seen.append(self) or genuine(self, **k))
    for name in ("zhou2023", "kang2021"):
        chosen = RunConfig.from_dict(
            {"distill": {"recipe": name, "steps": 20, "student": "mlp:6:tanh", "evaluate_every": 20}}
        ).distill
        distill(data, teacher, chosen, 0)
        assert optimizer_of(chosen) == Optimizer("rmsprop", 1e-3, 1e-5)
    (direct, recipe), (generated, plain) = ((one.source, one.recipe) for one in seen)
    unused = {"sigma": recipe.sigma, "teacher_step": recipe.teacher_step}
    assert recipe == StepRecipe.direct2023("decreasing", **unused) and (direct.x, direct.batch) == (None, 50)
    assert plain.w_base == Schedule(1.0) and not plain.w_abm.active
    gaussian, generator = generated.feed.parts
    assert (gaussian.rows, gaussian.weight, generator.rows, generator.weight) == (
        50,
        Schedule(0, 1, 10),
        50,
        Schedule(1, 0, 10),
    )
    inside = generator.sampler
    assert (inside.batch, inside.latent, inside.network.widths) == (50, 50, [50, 500, 3]) and generated.feed.steps == 10
    # x_p ~ N(0, I) in the teacher's space: 3 features of 10,000 points
    drawn = gaussian.sampler.draw(10_000, 0)
    assert drawn.mean(0).abs().max() < 0.05 and (drawn.T.cov() - torch.eye(3)).abs().max() < 0.06


@pytest.mark.usefixtures("short_latent")
@pytest.mark.parametrize("name", RECIPES)
def test_every_named_recipe_trains(data, teacher, name):
    chosen = RunConfig.from_dict(
        {"distill": {"recipe": name, "steps": 40, "student": "mlp:6:tanh", "evaluate_every": 20}}
    ).distill
    trained = distill(data, teacher, chosen, 0)
    assert trained.steps == 40 and trained.module.widths == [3, 6, 2]
