"""The error budget: --allow TARGET=RMSE is validated at once, resolved by the
targets' names, and changes no measurement.
"""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from regkd_edge.config import RunConfig
from regkd_edge.config.budget import allowances
from regkd_edge.errors import UserError
from regkd_edge.stages import get


def given(value):
    return RunConfig().updated({"bench.allow": value}).bench.allow


def test_what_is_given_is_kept_as_text():
    assert given("power = 2.5, a=b=1e-3") == ["power=2.5", "a=b=1e-3"]  # a name may hold the sign
    assert given('"life, long [cycles]=40"') == ["life, long [cycles]=40"]
    assert given(55) == ["55"]
    assert given("none") == [] and RunConfig().bench.allow == []


@pytest.mark.parametrize("value", ["power", "power=", "power=-1", "power=0", "power=nan", "power=inf", "power=2;3"])
def test_what_is_not_an_rmse_is_refused_with_an_example(value):
    with pytest.raises(UserError, match=r"--allow.*TARGET=RMSE"):
        given(value)


def test_names_are_resolved():
    assert allowances(["a=1", "b=2", "a=3"], ["a", "b"]) == {"a": 3.0, "b": 2.0}
    assert allowances(["7"], ["only"]) == {"only": 7.0}
    units = ["leak [mol/s]", "head (m)", "head [ft]"]
    assert allowances(["leak=1", "head (m)=2"], units) == {"leak [mol/s]": 1.0, "head (m)": 2.0}
    with pytest.raises(UserError, match="names 'head', and the targets are"):
        allowances(["head=1"], units)


def test_an_unknown_target_is_refused_with_those_there_are():
    with pytest.raises(UserError, match="names 'c', and the targets are: a, b"):
        allowances(["c=1"], ["a", "b"])
    with pytest.raises(UserError, match="names no target, and there are 2: a, b"):
        allowances(["1"], ["a", "b"])


def test_a_budget_makes_the_report_stale_and_no_measurement():
    plain, judged = RunConfig(), RunConfig().updated({"bench.allow": "1"})
    run = SimpleNamespace(
        known_outputs=lambda stage: {"engines/e": "hash"}, outputs_hash=lambda stage: stage, record=lambda stage: None
    )
    assert get("bench").parts.inputs(run, plain, "e") == get("bench").parts.inputs(run, judged, "e") is not None
    assert get("report").inputs(run, plain) != get("report").inputs(run, judged)
