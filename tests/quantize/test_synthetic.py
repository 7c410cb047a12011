"""Calibration inputs without data: what is known of each feature, and nothing else, decides them."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from regkd_edge.data import Scalers
from regkd_edge.errors import DataError
from regkd_edge.quantize.synthetic import described_inputs, synthetic_rows
from regkd_edge.sampling import InputDescription


def student_folder(tmp_path, x, ranges=True):
    card = {"scalers": Scalers.fit(x, x[:, :1]).to_dict(), "extra": {}}
    if ranges:
        card["extra"]["inputs"] = {"low": x.min(0).tolist(), "high": x.max(0).tolist(), "integer": (x == np.round(x)).all(0).tolist()}
    (tmp_path / "model.json").write_text(json.dumps(card))
    return tmp_path


@pytest.fixture
def x():
    """Gaussian; exponential; a rare 0/1 column; constant."""
    rng = np.random.default_rng(0)
    n = 4000
    return np.column_stack([rng.normal(300, 20, n), rng.exponential(2.0, n), rng.random(n) < 0.03, np.full(n, 7.0)]).astype(float)


def test_rows_stay_in_range_and_keep_mean_and_spread(tmp_path, x):
    made = synthetic_rows(described_inputs(student_folder(tmp_path, x)), 4000)
    assert made.dtype == np.float32 and (made >= x.min(0) - 1e-3).all() and (made <= x.max(0) + 1e-3).all()
    assert set(np.unique(made[:, 2])) == {0.0, 1.0} and (made[:, 3] == 7.0).all()
    np.testing.assert_allclose(made[:, 0].mean(), 300, atol=2)  # 4000 draws of deviation 20: 0.3; the range cuts a little
    np.testing.assert_allclose(made[:, 0].std(), 20, rtol=0.1)
    assert made[:, 1].max() > 4 * x[:, 1].std()  # a long tail stays a long tail, a Gaussian within the range has none


def test_without_ranges_the_scaler_is_all_there_is(tmp_path, x):
    made = synthetic_rows(described_inputs(student_folder(tmp_path, x, ranges=False)), 4000)
    np.testing.assert_allclose(made.mean(0)[:3], x.mean(0)[:3], atol=0.1 * x.std(0)[:3].max())
    assert made[:, 1].min() < 0  # it cannot know better


def test_the_same_seed_gives_the_same_rows(tmp_path, x):
    description = described_inputs(student_folder(tmp_path, x))
    np.testing.assert_array_equal(synthetic_rows(description, 50, seed=3), synthetic_rows(description, 50, seed=3))
    assert not np.array_equal(synthetic_rows(description, 50, seed=3), synthetic_rows(description, 50, seed=4))


def test_a_description_by_hand_goes_first(tmp_path, x):
    (tmp_path / "inputs.yaml").write_text("inputs:\n" + "".join(f"  - {{name: f{j}, low: 0, high: 1}}\n" for j in range(4)))
    made = synthetic_rows(described_inputs(student_folder(tmp_path, x), tmp_path / "inputs.yaml"), 500)
    assert made.min() >= 0 and made.max() <= 1
    (tmp_path / "inputs.yaml").write_text("inputs: [{name: a, low: 0, high: 1}]")
    with pytest.raises(DataError, match="describes 1 inputs, the student takes 4"):
        described_inputs(tmp_path, tmp_path / "inputs.yaml")


def test_a_deviation_that_the_range_cannot_hold_is_taken_down():
    description = replace(InputDescription.standard(1), low=np.array([-1.0]), high=np.array([1.0]), sd=np.array([5.0]))
    made = synthetic_rows(description, 200)
    assert np.isfinite(made).all() and np.abs(made).max() <= 1
