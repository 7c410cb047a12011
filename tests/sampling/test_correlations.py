"""Correlations in a description: the drawn values have them, and what cannot be is refused."""

from __future__ import annotations

import numpy as np
import pytest

from regkd_edge.errors import DataError
from regkd_edge.sampling import InputDescription

SHEET = """
inputs:
  - {name: t, mean: 20, sd: 5}
  - {name: load, mean: 2, sd: 1.5, low: 0}
  - {name: on, mean: 0.3, sd: 0.458, low: 0, high: 1, integer: true}
  - {name: gear, low: 1, high: 6, integer: true}
  - {name: gain, constant: 4.0}
"""


def described(tmp_path, correlations: str) -> InputDescription:
    path = tmp_path / "inputs.yaml"
    path.write_text(SHEET + correlations)
    return InputDescription.from_yaml(path)


def test_drawn_values_have_the_given_correlations_whatever_their_distribution(tmp_path):
    about = described(tmp_path, "correlations: [[t, load, 0.8], [t, on, 0.6], [load, gear, -0.5]]\n")
    x = about.inputs(np.random.default_rng(0).normal(size=(60_000, 5)))
    found = np.corrcoef(x[:, :4].T)
    # the standard error of 60,000 rows is 0.004, that of a heavy-tailed column some times as large
    for i, j, r in ((0, 1, 0.8), (0, 2, 0.6), (1, 3, -0.5)):
        assert abs(found[i, j] - r) < 0.03
    assert abs(about.correlation[0, 2]) > 0.7, "two ends of a switch need scores that correlate more"
    # moments and ranges stay
    assert abs(x[:, 1].mean() - 2) < 0.05 and x[:, 1].min() >= 0 and set(x[:, 2]) == {0.0, 1.0}
    assert set(x[:, 3]) == {1.0, 2.0, 3.0, 4.0, 5.0, 6.0} and (x[:, 4] == 4).all()


def test_a_pair_that_is_not_given_goes_with_those_that_are(tmp_path):
    about = described(tmp_path, "correlations: [[t, load, 0.75], [load, gear, 0.75]]\n")
    x = about.inputs(np.random.default_rng(0).normal(size=(20_000, 5)))
    found = np.corrcoef(x[:, :4].T)
    assert found[0, 1] > 0.7 and found[1, 3] > 0.7 and found[0, 3] > 0.4 and abs(found[0, 2]) < 0.05
    assert described(tmp_path, "").correlation is None


@pytest.mark.parametrize(
    ("correlations", "says"),
    [
        ("correlations: {t: 0.5}", "expected a list"),
        ("correlations: [[t, load]]", r"is not \[input, input, number\]"),
        ("correlations: [[t, speed, 0.5]]", "names 'speed'"),
        ("correlations: [[t, gain, 0.5]]", "'gain' is constant"),
        ("correlations: [[t, load, 1.5]]", "is 1.5, expected -1 to 1"),
        ("correlations: [[t, load, 0.5], [load, t, 0.5]]", "and 't' twice"),
        ("correlations: [[t, t, 0.5]]", "with itself"),
        ("correlations: [[t, on, 0.99]]", "cannot have the correlation 0.99"),
        ("correlations: [[t, load, 0.75], [load, gear, 0.75], [t, gear, -0.75]]", "contradict each other"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path, correlations, says):
    with pytest.raises(DataError, match=says) as error:
        described(tmp_path, correlations)
    assert error.value.remedy and "inputs.yaml" in str(error.value)
