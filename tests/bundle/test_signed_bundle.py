"""An engine is compared with its graph target by target, each in its own unit."""

from __future__ import annotations

import numpy as np

from regkd_edge.bundle.verify import accuracies, compared
from regkd_edge.measure import accuracy

NAMES = ["life [cycles]", "capacity [mAh]"]


def test_the_target_that_exceeds_its_allowance_is_named():
    expected = np.zeros((4, 2))
    answers = expected + [[10.0, 0.5]]
    found = compared("e", answers, expected, [20.0, 0.1], NAMES)
    assert not found["passed"] and found["target"] == "capacity [mAh]"
    assert (found["difference"], found["allowed"], found["largest"]) == (0.5, 0.1, 0.5)
    assert [(t["name"], t["difference"], t["allowed"]) for t in found["targets"]] == [
        ("life [cycles]", 10.0, 20.0),
        ("capacity [mAh]", 0.5, 0.1),
    ]


def test_an_answer_that_is_not_finite_is_named_by_its_target():
    answers = np.zeros((3, 2))
    answers[1, 0] = np.nan
    found = compared("e", answers, np.zeros((3, 2)), [1.0, 1.0], NAMES)
    assert not found["passed"] and found["difference"] is None and found["target"] == "life [cycles]"
    assert [t["difference"] for t in found["targets"]] == [None, 0.0]


def test_the_error_here_stands_beside_the_expected_one_of_each_target():
    truth = np.array([[0.0, 0.0], [2.0, 20.0]])
    met, wanted = accuracy(truth, truth + [1.0, 0.0], NAMES), accuracy(truth, truth + [0.0, 3.0], NAMES)
    found = compared("e", truth, truth, [1.0, 1.0], NAMES)
    both = accuracies(met, wanted, found["targets"])
    assert [(t["rmse"], t["expected_rmse"]) for t in both["targets"]] == [(1.0, 0.0), (0.0, 3.0)]
    assert both["unit"] == "standard deviations" and both["rmse"] == met["rmse"]
