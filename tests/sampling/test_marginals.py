"""Values with a described mean, spread and range: moments matched, ranges kept, far ends normal, extremes two
values.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regkd_edge.errors import DataError
from regkd_edge.sampling import DescribedInputs, InputDescription

# 100001 scores at the middles of equal shares: sums over them are integrals, free of the noise of drawing.
SHARES = (np.arange(100_001) + 0.5) / 100_001


@pytest.fixture(scope="module")
def scores():
    norm = pytest.importorskip("scipy.stats").norm
    return norm.ppf(SHARES)


def values(scores, **entry):
    described = InputDescription.from_entries([{"name": "a", **entry}])
    return described.inputs(scores[:, None])[:, 0]


@settings(max_examples=40, deadline=None)
@given(
    low=st.floats(-1e3, 1e3), width=st.floats(1e-3, 1e4), place=st.floats(0.005, 0.995), share=st.floats(0.02, 0.9)
)  # fmt: skip
def test_mean_and_spread_are_matched_inside_any_range(scores, low, width, place, share):
    mean = low + place * width
    sd = share * np.sqrt(place * (1 - place)) * width  # a share of the most that the range allows
    x = values(scores, mean=mean, sd=sd, low=low, high=low + width)
    assert x.min() >= low and x.max() <= low + width
    # The fit sums over 401 scores and these are 100001: the far tails differ by a few thousandths of the spread.
    assert abs(x.mean() - mean) < 0.01 * sd
    assert abs(x.std() - sd) < 0.02 * sd


def test_a_skewed_counter_crowds_near_its_lower_end(scores):
    x = values(scores, mean=19.56, sd=53.35, low=0, high=1845)
    assert abs(x.mean() - 19.56) < 0.01 * 53.35 and abs(x.std() - 53.35) < 0.02 * 53.35
    assert 1 < np.median(x) < 10  # a normal distribution has its median at the mean, and a third of its values below 0
    assert (np.diff(x) >= 0).all()  # monotone in the score: correlated scores give correlated values


@pytest.mark.parametrize(
    ("mean", "sd", "high"), [(0.526, 3.268, 69), (12.25, 19.79, 134), (3.0, 1.0, 6), (2.2, 0.6, 4)]
)
def test_whole_numbers_have_the_moments_after_rounding(scores, mean, sd, high):
    x = values(scores, mean=mean, sd=sd, low=0, high=high, integer=True)
    assert (x == np.round(x)).all() and x.min() >= 0 and x.max() <= high
    assert abs(x.mean() - mean) < 0.02 * sd and abs(x.std() - sd) < 0.02 * sd


def test_a_switch_has_two_values_in_the_described_shares(scores):
    for entry in ({"integer": True}, {}):
        x = values(scores, mean=0.05, sd=np.sqrt(0.05 * 0.95), low=0, high=1, **entry)
        assert abs((x > 0.5).mean() - 0.05) < 0.002  # the fit's scores lie 0.04 apart, of density 0.1 there
        assert ((x < 0.01) | (x > 0.99)).mean() > 0.98


def test_far_ends_leave_a_normal_distribution(scores):
    x = values(scores, mean=5.0, sd=2.0, low=-1e6, high=1e6)
    assert np.abs(x - (5.0 + 2.0 * scores)).max() < 1e-3  # the range is a million spreads wide


def test_one_end_gives_a_log_normal_on_its_side(scores):
    above = values(scores, mean=3.0, sd=2.0, low=1.0)
    below = values(scores, mean=-3.0, sd=2.0, high=-1.0)
    assert above.min() > 1.0 and below.max() < -1.0
    assert abs(above.mean() - 3.0) < 0.01 and abs(above.std() - 2.0) < 0.02  # tails beyond the last of 100001 scores
    assert np.allclose(below[::-1], -above, atol=1e-9)


def test_a_range_alone_is_even_and_whole_numbers_get_equal_shares(scores):
    x = values(scores, low=1, high=6, integer=True)
    counts = [(x == k).mean() for k in range(1, 7)]
    assert np.allclose(counts, 1 / 6, atol=1e-4)
    assert abs(x.std() - np.sqrt(35 / 12)) < 1e-3


def test_rows_whose_columns_hold_two_values_are_described_without_complaint():
    rows = np.random.default_rng(0).integers(0, 2, (40, 3)).astype(float)
    x = InputDescription.from_rows(rows).inputs(np.random.default_rng(1).normal(size=(500, 3)))
    assert set(np.unique(x)) <= {0.0, 1.0} and np.abs(x.mean(0) - rows.mean(0)).max() < 0.1  # 4 standard errors of 500


def test_moments_that_came_from_elsewhere_than_the_range_are_brought_to_the_nearest_possible():
    one = np.ones(1)
    described = InputDescription(["a"], 12.0 * one, 9.0 * one, 0.0 * one, 10.0 * one, one < 0, one < 0)
    x = described.inputs(np.random.default_rng(0).normal(size=(200, 1)))
    assert np.isfinite(x).all() and (x >= 0).all() and (x <= 10).all()


def test_draws_with_a_range_are_a_function_of_seed_and_step():
    entries = [
        {"name": "a", "mean": 1.0, "sd": 2.0, "low": 0, "high": 40},
        {"name": "b", "mean": 3, "sd": 2, "low": 0, "high": 9, "integer": True},
    ]
    make = lambda seed: DescribedInputs(InputDescription.from_entries(entries), seed=seed)
    assert (make(1).draw(64, 5) == make(1).draw(64, 5)).all()
    assert (make(1).draw(64, 5) != make(1).draw(64, 6)).any() and (make(1).draw(64, 5) != make(2).draw(64, 5)).any()


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"mean": 12, "sd": 1, "low": 0, "high": 10}, "mean 12 is not inside"),
        ({"mean": 0, "sd": 1, "low": 0}, "mean 0 is not inside"),
        ({"mean": 5, "sd": 6, "low": 0, "high": 10}, "sd 6 exceeds 5"),
    ],
)
def test_moments_that_no_values_can_have_are_named(entry, says):
    with pytest.raises(DataError, match=says):
        InputDescription.from_entries([{"name": "a", **entry}])
