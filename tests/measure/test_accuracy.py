"""Accuracy figures are what their formulas say, and the comparison's interval covers what it should."""

from __future__ import annotations

import numpy as np
import pytest

from regkd_edge.errors import DataError
from regkd_edge.measure import accuracy, compare
from regkd_edge.measure.accuracy import unit_of


def test_figures_of_a_small_case_by_hand():
    found = accuracy([1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 6.0], ["power"])
    assert found["n"] == 4 and found["unit"] == "power"
    assert found["rmse"] == 1.0 and found["mae"] == 0.5 and found["max_error"] == 2.0
    assert found["r2"] == pytest.approx(1 - 1 / 1.25)  # MSE 1, variance 1.25


def test_several_targets_are_each_in_their_unit_and_pooled_second():
    truth = np.array([[0.0, 0.0], [2.0, 2000.0]])  # standard deviations 1 and 1000
    found = accuracy(truth, truth + [[0.5, 0.0], [0.5, 100.0]], ["life [cycles]", "large"])
    assert [(t["name"], t["unit"]) for t in found["targets"]] == [("life [cycles]", "cycles"), ("large", None)]
    assert [t["rmse"] for t in found["targets"]] == [0.5, pytest.approx(100 / np.sqrt(2))]
    assert list(found).index("targets") < list(found).index("rmse")
    assert found["unit"] == "standard deviations"
    assert found["rmse"] == pytest.approx(np.sqrt((0.25 + 0.25 + 0.01) / 4)) and found["max_error"] == 0.5
    # the unit in which a target is written changes nothing in the pooled figure
    scaled = accuracy(truth * [1, 1e-3], (truth + [[0.5, 0.0], [0.5, 100.0]]) * [1, 1e-3])
    assert scaled["rmse"] == pytest.approx(found["rmse"])


@pytest.mark.parametrize("value", [0.1, 1e-6, 123.456, -3e9 + 0.1])
def test_a_constant_target_has_no_r2_and_is_not_pooled(value):
    """The mean of such a column is rounded: its deviation from it, about 1e-17, is no unit and no variance."""
    truth = np.column_stack([np.full(47, value), np.linspace(0, 1, 47)])
    found = accuracy(truth, truth + [50 * abs(value), 0.01], ["power [W]", "strain"])
    assert found["targets"][0]["r2"] is None and 0.99 < found["targets"][1]["r2"] < 1
    assert found["targets"][0]["rmse"] == pytest.approx(50 * abs(value))
    assert found["rmse"] == pytest.approx(0.01 / truth[:, 1].std()) == found["max_error"]
    alone = accuracy(truth[:, :1], truth[:, :1] + value, ["power [W]"])
    assert alone["r2"] is None and alone["rmse"] == pytest.approx(abs(value))
    both = compare(truth, truth + [value, 0.02], truth + [2 * value, 0.01], target_names=["power [W]", "strain"])
    assert both["relative"] == pytest.approx(1.0)


def test_no_mean_of_r2_hides_a_useless_target():
    rng = np.random.default_rng(0)
    y = rng.standard_normal((50, 2))
    found = accuracy(y, np.stack([y[:, 0], np.zeros(50)], axis=1))
    assert found["r2"] is None
    assert found["targets"][0]["r2"] == 1.0 and found["targets"][1]["r2"] < 0.01


@pytest.mark.parametrize(
    ("name", "unit"),
    [("capacity [mAh]", "mAh"), ("T (degC)", "degC"), ("load [m/s^2] ", "m/s^2"), ("power", None), ("[mAh]", None),
     ("f(x) of [a] b", None), ("(a) [b]", "b"),
     ("flux [kWh per square metre per kelvin]", "kWh per square metre per kelvin"),
     ("T (measured in the shade)", None), ("odd [mAh)", None)],
)  # fmt: skip
def test_a_unit_is_what_stands_in_brackets_at_the_end(name, unit):
    assert unit_of(name) == unit


def test_r2_of_a_constant_target_is_not_a_number_but_none():
    assert accuracy([3.0, 3.0], [3.0, 4.0])["r2"] is None


def test_r2_equals_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    y = rng.standard_normal((50, 3)) * [1, 10, 100]
    p = y + rng.standard_normal((50, 3)) * [0.3, 1, 50]
    assert [t["r2"] for t in accuracy(y, p)["targets"]] == pytest.approx(
        metrics.r2_score(y, p, multioutput="raw_values")
    )


@pytest.mark.parametrize(
    ("truth", "prediction", "names", "message"),
    [
        ([1.0, 2.0], [1.0], None, r"shape \[2, 1\], predictions \[1, 1\]"),
        ([], [], None, "n >= 1"),
        ([1.0, 2.0], [1.0, np.nan], None, "predictions hold nan in row 1"),
        ([np.inf, 2.0], [1.0, 2.0], None, "true values hold inf in row 0"),
        ([1.0], [1.0], ["a", "b"], "2 target names for 1 targets"),
    ],
)
def test_bad_arrays_are_named(truth, prediction, names, message):
    with pytest.raises(DataError, match=message):
        accuracy(truth, prediction, names)


def test_comparison_of_the_same_predictions_is_exactly_nothing():
    rng = np.random.default_rng(1)
    y, p = rng.standard_normal((2, 100))
    found = compare(y, p, p)
    assert found["relative"] == found["low"] == found["high"] == 0.0


def test_comparison_of_each_target_is_that_of_the_target_alone():
    rng = np.random.default_rng(6)
    y, p, r = rng.standard_normal((3, 60, 2)) * [1, 100]
    found = compare(y, p, r, target_names=["a", "b"])
    for j, target in enumerate(found["targets"]):
        alone = compare(y[:, j], p[:, j], r[:, j])
        assert target["name"] == "ab"[j]
        for key in ("rmse", "rmse_reference", "relative", "low", "high"):
            assert target[key] == pytest.approx(alone[key])


def test_comparison_is_relative_to_the_reference():
    rng = np.random.default_rng(2)
    y, e = rng.standard_normal(200), rng.standard_normal(200)
    found = compare(y, y + 1.1 * e, y + e)  # each error 10 % larger: paired, so no spread at all
    for key in ("relative", "low", "high"):
        assert found[key] == pytest.approx(0.1)


def test_interval_covers_the_truth_about_as_often_as_it_says():
    """200 experiments; both models have the same error in truth, so 0 is covered in 95 % of them, binomially."""
    rng = np.random.default_rng(3)
    covered = 0
    for i in range(200):
        y = rng.standard_normal(150)
        found = compare(y, y + rng.standard_normal(150), y + rng.standard_normal(150), resamples=300, seed=i)
        covered += found["low"] <= 0 <= found["high"]
    # standard deviation of the count is 3.1; the bootstrap is a little narrow on 150 rows, so 5 of them below 190
    assert 175 <= covered <= 200


def test_interval_is_repeatable_and_free_of_the_unit():
    rng = np.random.default_rng(4)
    y, p, r = rng.standard_normal((3, 80))
    assert compare(y, p, r) == compare(y, p, r)
    scaled = compare(1000 * y, 1000 * p, 1000 * r)
    assert scaled["low"] == pytest.approx(compare(y, p, r)["low"])


def test_exact_reference_has_no_relative_difference():
    found = compare([1.0, 2.0], [1.0, 2.5], [1.0, 2.0])
    assert found["relative"] is None and found["rmse_reference"] == 0.0
