"""How weights and lists may be written."""

from __future__ import annotations

import pytest

from regkd_edge.config import RunConfig
from regkd_edge.config.fields import as_list, weight_parts
from regkd_edge.errors import UserError


def weight(value):
    return RunConfig.from_dict({"distill": {"w_gm": value}}).distill.w_gm


@pytest.mark.parametrize(
    ("written", "parts"),
    [
        (0.3, (0.3, 0.3, 1)),
        ("0.3", (0.3, 0.3, 1)),
        ("1..0", (1, 0, 1)),
        ("1..0/10", (1, 0, 10)),
        ([1, 0], (1, 0, 1)),
        ([0, 1, 10], (0, 1, 10)),
        ({"start": 1, "end": 0.5, "hold": 2}, (1, 0.5, 2)),
        ({"start": 2}, (2, 2, 1)),
        ("2..2", (2, 2, 1)),
        ("1e-05..0.001", (1e-5, 1e-3, 1)),
    ],
)
def test_a_weight_is_a_number_or_a_line(written, parts):
    assert weight_parts(weight(written)) == parts
    stored = RunConfig.from_dict({"distill": {"w_gm": written}})
    assert RunConfig.from_dict(stored.model_dump(mode="json")) == stored


@pytest.mark.parametrize(
    "written",
    [
        "1:0",
        "1..",
        "..",
        "1..0/",
        "1..0/0",
        "-1",
        "nan",
        float("inf"),
        True,
        [1, 0, 1, 1],
        {"end": 1},
        {"start": 1, "stop": 0},
        None,
    ],
)
def test_what_is_no_weight_is_refused(written):
    with pytest.raises(UserError, match="w_gm"):
        weight(written)


@pytest.mark.parametrize(
    "field",
    [
        "distill.lr",
        "distill.sigma",
        "distill.weight_decay",
        "distill.ascent_size",
        "teacher.lr",
        "teacher.weight_decay",
    ],
)
@pytest.mark.parametrize("value", ["inf", "nan", float("inf"), float("nan")])
def test_a_number_is_finite(field, value):
    with pytest.raises(UserError, match=field.split(".")[1].replace("_", "-")):
        RunConfig().updated({field: value})


@pytest.mark.parametrize("field", ["distill.batch", "teacher.batch"])
def test_a_batch_has_a_bound(field):
    with pytest.raises(UserError, match="65536"):
        RunConfig().updated({field: 10**12})


def test_a_name_with_a_comma_stands_in_double_quotes():
    assert as_list('"a, b",c') == ["a, b", "c"]
    assert as_list("a, b") == ["a", "b"]
    assert as_list(["a, b"]) == ["a, b"]
