"""The configuration: every mistake is found and named; YAML and flags are one thing."""

from __future__ import annotations

import pytest

from regkd_edge.config import RunConfig
from regkd_edge.errors import UserError


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"distil": {}}, "distil"),
        ({"distill": {"base": "mimick"}}, "mimick"),
        ({"distill": {"terms": ["pm", "xm"]}}, "xm"),
        ({"distill": {"sigma": 0}}, "sigma"),
        ({"distill": {"sigma": "wide"}}, "wide"),
        ({"distill": {"fraction": 1.5}}, "fraction"),
        ({"data": {"validation": 0.6, "test": 0.5}}, "leave no rows"),
        ({"teacher": {"from_run": "a", "factory": "b:c"}}, "exclude each other"),
        ({"teacher": {"weights": "a.safetensors"}}, "weights needs factory"),
        ({"quantize": {"precision": ["int3"]}}, "int3"),
        ({"build": {"backend": []}}, "backend"),
        ({"export_batch": "some"}, "export_batch"),
        ({"seed": -1}, "seed"),
        ([1], "list"),
    ],
)
def test_a_mistake_is_named(values, named):
    with pytest.raises(UserError, match=named) as error:
        RunConfig.from_dict(values)
    assert error.value.remedy


def test_yaml_round_trip(tmp_path):
    config = RunConfig.from_dict(
        {"seed": 7, "data": {"data": "digits"}, "distill": {"terms": "pm,gm", "sigma": [0.1, 0.2]}}
    )
    path = tmp_path / "run.yaml"
    path.write_text(config.to_yaml())
    assert RunConfig.from_yaml(path) == config


def test_a_missing_yaml_file_is_named(tmp_path):
    with pytest.raises(UserError, match="no file"):
        RunConfig.from_yaml(tmp_path / "absent.yaml")


def test_lists_may_be_written_with_commas():
    config = RunConfig().updated(
        {"data.target": "a, b", "distill.sigma": "0.1,0.2", "bench.batches": "1,8", "distill.terms": "none"}
    )
    assert config.data.target == ["a", "b"]
    assert config.distill.sigma == [0.1, 0.2]
    assert config.bench.batches == [1, 8]
    assert config.distill.terms == []


def test_an_update_touches_only_what_it_names():
    before = RunConfig()
    after = before.updated({"distill.steps": 10})
    assert after.distill.steps == 10
    assert after.updated({"distill.steps": before.distill.steps}) == before


def test_a_recipe_names_fields_and_a_field_beside_it_wins():
    from regkd_edge.recipes import RECIPES

    for name, fields in RECIPES.items():
        made = RunConfig.from_dict({"distill": {"recipe": name}}).distill
        assert {k: getattr(made, k) for k in fields} == fields
    beside = RunConfig.from_dict({"distill": {"recipe": "data-free", "steps": 7}}).distill
    assert (beside.steps, beside.no_data) == (7, True)
    flags = RunConfig().updated({"distill.lr": "0.5", "distill.recipe": "data-free"}).distill
    assert (flags.lr, flags.sampler) == (0.5, "mixed")
    stored = RunConfig.from_dict(
        RunConfig().updated({"distill.recipe": "chen2017", "distill.nu": 2.0}).model_dump(mode="json")
    )
    assert (stored.distill.base, stored.distill.nu) == ("tbr", 2.0)


def test_another_recipe_leaves_nothing_of_the_one_before():
    free = RunConfig().updated({"distill.recipe": "data-free", "distill.batch": 32})
    other = free.updated({"distill.recipe": "imaoka2020"}).distill
    assert (other.no_data, other.sampler, other.steps, other.lr) == (False, None, "auto", 5e-3)
    assert (other.heads, other.batch) == (2, 32)  # what was given by hand stays
    assert RunConfig().updated({"distill.recipe": "imaoka2020"}).updated({"distill.recipe": "mimic"}).distill.heads == 1


def test_a_whole_run_is_refused_before_it_begins_when_its_sections_contradict():
    RunConfig.from_dict(
        {"distill": {"recipe": "data-free"}}
    ).require_whole()  # calibration follows: no row is asked for
    with pytest.raises(UserError, match="quantize.calibrate 'both' reads them"):
        RunConfig.from_dict({"distill": {"recipe": "data-free"}, "quantize": {"calibrate": "both"}}).require_whole()
    hint = {"teacher": {"teacher": "mlp:8,8:relu"}, "distill": {"recipe": "romero2015", "hint_layers": [0, 2]}}
    with pytest.raises(
        UserError, match="the teacher mlp:8,8:relu has 2 hidden layers, and hint_layers asks for layer 2"
    ):
        RunConfig.from_dict(hint).require_whole()
    ranked = {"distill": {"student": "gru:6"}, "quantize": {"rank_layers": True}}
    with pytest.raises(UserError, match="ranks dense layers, and distill.student is a gru"):
        RunConfig.from_dict(ranked).require_whole()
    RunConfig.from_dict({**ranked, "distill": {"student": "mlp:6:relu"}}).require_whole()


def test_an_unknown_recipe_is_named():
    with pytest.raises(UserError, match="distill.recipe"):
        RunConfig.from_dict({"distill": {"recipe": "kang"}})


def test_an_increase_is_a_share_or_a_percentage_or_none():
    def increase(value):
        return RunConfig.from_dict({"quantize": {"max_increase": value}}).quantize.max_increase

    assert increase("1%") == pytest.approx(0.01) and increase("0.02") == increase(0.02) == 0.02
    assert increase("none") is None and increase(None) is None
    for bad in ("-1%", 0, "much"):
        with pytest.raises(UserError, match="quantize.max_increase"):
            increase(bad)


def test_an_unknown_correction_is_named():
    with pytest.raises(UserError, match="unknown correction 'magic'"):
        RunConfig.from_dict({"quantize": {"corrections": "bias,magic"}})
    assert RunConfig.from_dict({"quantize": {"corrections": "none"}}).quantize.corrections == []


def test_epochs_belong_to_a_teacher_that_is_trained_here():
    with pytest.raises(UserError, match="epochs 60 is for a teacher to be trained here"):
        RunConfig.from_dict({"teacher": {"factory": "package:make", "epochs": 60}})
    trained = RunConfig().updated({"teacher.epochs": 60})
    assert trained.updated({"teacher.factory": "package:make"}).teacher.epochs == 300, "another teacher, other fields"
