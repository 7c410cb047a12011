"""A description of a teacher's inputs: read strictly, drawn from faithfully."""

from __future__ import annotations

import numpy as np
import pytest

from regkd_edge.data import Scaler
from regkd_edge.errors import DataError
from regkd_edge.sampling import DescribedInputs, InputDescription

ENTRIES = [
    {"name": "temperature", "mean": 21.5, "sd": 8.0, "low": 0.0, "high": 40.0},
    {"name": "gear", "low": 1, "high": 6, "integer": True},
    {"name": "gain", "constant": 4.0},
    {"name": "pressure", "low": -1.0, "high": 3.0},
]


def test_a_yaml_file_holds_an_entry_a_feature(tmp_path):
    path = tmp_path / "inputs.yaml"
    path.write_text("inputs:\n  - {name: t, mean: 20, sd: 5}\n  - {name: g, low: 1, high: 6, integer: true}\n")
    described = InputDescription.from_yaml(path)
    assert described.names == ["t", "g"]
    assert described.uniform.tolist() == [False, True]
    assert described.mean.tolist() == [20.0, 3.5]


def test_drawn_inputs_can_occur_and_have_the_described_moments():
    described = InputDescription.from_entries(ENTRIES)
    sampler = DescribedInputs(described, seed=3)
    x = sampler.scaler.restore(sampler.draw(20000, 0).double().numpy())
    # float32 in standardised space: a millionth of the scale
    assert (x[:, 0] > -1e-4).all() and (x[:, 0] < 40 + 1e-4).all()
    assert np.allclose(np.unique(np.round(x[:, 1], 4)), [1, 2, 3, 4, 5, 6])
    assert np.allclose(x[:, 2], 4.0)
    # standard errors of 20000 draws: 8/sqrt(20000) = 0.06 and 1.15/sqrt(20000) = 0.008, four of them
    assert abs(x[:, 0].mean() - 21.5) < 0.3
    assert abs(x[:, 3].mean() - 1.0) < 0.04
    assert abs(x[:, 3].std() - 4 / np.sqrt(12)) < 0.04


def test_a_few_rows_give_their_correlation_range_and_whole_numbers():
    rng = np.random.default_rng(0)
    a = rng.normal(size=500)
    rows = np.stack([a, a + 0.1 * rng.normal(size=500), rng.integers(0, 3, 500), np.full(500, 7.0)], 1)
    described = InputDescription.from_rows(rows)
    drawn = described.inputs(rng.normal(size=(5000, 4)))
    assert np.corrcoef(drawn[:, 0], drawn[:, 1])[0, 1] > 0.9
    assert set(np.unique(drawn[:, 2])) <= {0.0, 1.0, 2.0}
    assert (drawn[:, 3] == 7.0).all()
    assert drawn[:, 0].max() <= a.max() + 0.1 * (a.max() - a.min()) + 1e-12


def test_a_constant_column_is_constant_although_its_deviation_rounds_to_something_else():
    rows = np.stack([np.arange(10.0), np.full(10, 0.1), np.full(10, 0.3)], 1)
    assert (rows[:, 1:].std(0) > 0).any(), "the rounding that this is about"
    described = InputDescription.from_rows(rows)
    assert described.sd[1:].tolist() == [0, 0] and described.mean[1:].tolist() == [0.1, 0.3]
    assert described.scaler().scale[1:].tolist() == [1, 1]
    assert (described.inputs(np.random.default_rng(0).normal(size=(50, 3)))[:, 1:] == [0.1, 0.3]).all()


def test_fewer_rows_than_features_still_give_a_usable_correlation():
    rows = np.random.default_rng(1).normal(size=(5, 12))
    assert np.isfinite(InputDescription.from_rows(rows).inputs(np.random.default_rng(2).normal(size=(100, 12)))).all()


def test_draws_are_a_function_of_seed_and_step():
    described = InputDescription.standard(3)
    one, same, other = (
        DescribedInputs(described, seed=1),
        DescribedInputs(described, seed=1),
        DescribedInputs(described, seed=2),
    )
    assert (one.draw(8, 5) == same.draw(8, 5)).all()
    assert (one.draw(8, 5) != one.draw(8, 6)).any()
    assert (one.draw(8, 5) != other.draw(8, 5)).any()


def test_a_stored_scaler_is_a_description():
    scaler = Scaler(np.array([1.0, -2.0]), np.array([3.0, 0.5]))
    described = InputDescription.from_scaler(scaler, ["a", "b"])
    x = DescribedInputs(described, scaler).draw(20000, 0)
    assert abs(x.mean().item()) < 0.03 and abs(x.std().item() - 1) < 0.03  # four standard errors of 40000 numbers: 0.02


def test_a_scaler_gives_switches_and_constants_away():
    rng = np.random.default_rng(0)
    rows = np.stack(
        [
            rng.random(5000) < 0.1,  # a switch
            np.full(5000, 84.0),
            rng.normal(0.3, 0.4, 5000),
            rng.integers(0, 3, 5000),
            1 + (rng.random(5000) < 0.7),  # two codes
            np.zeros(5000),  # cannot be told from a column that was passed on as it is
        ],
        axis=1,
    ).astype(float)
    spread = np.where(rows.std(0) > 0, rows.std(0), 1.0)
    for kind in (np.float64, np.float32):
        scaler = Scaler(rows.mean(0).astype(kind), spread.astype(kind))
        known = InputDescription.from_scaler(scaler).recognised()
        x = known.inputs(rng.standard_normal((20000, 6)))
        assert set(np.unique(x[:, 0])) == {0.0, 1.0} and abs(x[:, 0].mean() - rows[:, 0].mean()) < 0.01
        assert (x[:, 1] == 84.0).all()
        assert set(np.unique(x[:, 4])) == {1.0, 2.0} and abs(x[:, 4].mean() - rows[:, 4].mean()) < 0.02
        others = [2, 3, 5]
        assert np.isinf(known.low[others]).all() and (known.sd[others] > 0).all() and not known.integer[others].any()


def test_standardized_and_unscaled_columns_are_no_constants():
    rows = np.random.default_rng(0).normal(1.0, 3.0, (500, 6))
    rows = (rows - rows.mean(0)) / rows.std(0)
    twice = Scaler(rows.mean(0) + 0.5, rows.std(0))
    for scaler in (twice, Scaler(np.full(3, 2.0), np.ones(3)), Scaler(np.array([0.0, 2.0]), np.array([1.0, 3.0]))):
        known = InputDescription.from_scaler(scaler).recognised()
        assert (known.sd > 0).all() and np.isinf(known.low).all()


def test_points_moved_elsewhere_come_back_to_inputs_that_can_occur():
    described = InputDescription.from_entries(ENTRIES)
    sampler = DescribedInputs(described)
    moved = sampler.restrict(sampler.draw(50, 0) + 10.0)
    raw = sampler.scaler.restore(moved.double().numpy())
    assert (
        np.allclose(raw[:, 0], 40.0, atol=1e-4)
        and np.allclose(raw[:, 1], 6.0, atol=1e-5)
        and np.allclose(raw[:, 2], 4.0)
    )


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"name": "a", "mean": 1.0}, "neither mean and sd"),
        ({"name": "a", "mean": 1.0, "sd": 0.0}, "neither mean and sd"),
        ({"name": "a", "low": 3, "high": 1}, "not below"),
        ({"name": "a", "low": 3}, "one end"),
        ({"name": "a", "std": 3}, "unknown field 'std'"),
        ({"name": "a", "constant": 1, "sd": 2}, "constant but also has a spread"),
        ({"name": "a", "mean": "x", "sd": 1}, "expected a finite number"),
        ({"name": "a", "low": 0, "high": 1, "integer": "yes"}, "true or false"),
        ({"name": "a", "low": 0.2, "high": 0.8, "integer": True}, "no whole number lies between low 0.2 and high 0.8"),
        ("a", "expected fields"),
    ],
)
def test_a_wrong_entry_is_named(entry, says):
    with pytest.raises(DataError, match=says):
        InputDescription.from_entries([{"name": "z", "mean": 0, "sd": 1}, entry])


def test_an_input_described_twice_is_an_error():
    with pytest.raises(DataError, match="'a' twice"):
        InputDescription.from_entries([{"name": "a", "constant": 1}, {"name": "a", "constant": 2}])


def test_a_description_of_other_inputs_than_the_teachers_is_an_error():
    with pytest.raises(DataError, match="has 2 inputs and the teacher takes 3"):
        DescribedInputs(InputDescription.standard(2), Scaler(np.zeros(3), np.ones(3)))
