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
        ({"batch_size": "some"}, "batch_size"),
        ({"seed": -1}, "seed"),
        ([1], "list"),
    ],
)
def test_a_mistake_is_named(values, named):
    with pytest.raises(UserError, match=named) as error:
        RunConfig.from_dict(values)
    assert error.value.remedy


def test_yaml_round_trip(tmp_path):
    config = RunConfig.from_dict({"seed": 7, "data": {"source": "digits"}, "distill": {"terms": "pm,gm", "sigma": [0.1, 0.2]}})
    path = tmp_path / "run.yaml"
    path.write_text(config.to_yaml())
    assert RunConfig.from_yaml(path) == config


def test_a_missing_yaml_file_is_named(tmp_path):
    with pytest.raises(UserError, match="no file"):
        RunConfig.from_yaml(tmp_path / "absent.yaml")


def test_lists_may_be_written_with_commas():
    config = RunConfig().updated({"data.target": "a, b", "distill.sigma": "0.1,0.2", "bench.batches": "1,8", "distill.terms": "none"})
    assert config.data.target == ["a", "b"]
    assert config.distill.sigma == [0.1, 0.2]
    assert config.bench.batches == [1, 8]
    assert config.distill.terms == []


def test_an_update_touches_only_what_it_names():
    before = RunConfig()
    after = before.updated({"distill.steps": 10})
    assert after.distill.steps == 10
    assert after.updated({"distill.steps": before.distill.steps}) == before
