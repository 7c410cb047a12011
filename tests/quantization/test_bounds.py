"""Bounds on the RMSE: the estimate by its formula, and the search on plans whose errors are known beforehand."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from regkd_edge.errors import UserError
from regkd_edge.graph.formats import FORMATS
from regkd_edge.quantization.mixed import Bound, cautious_rise, search_mixed
from regkd_edge.quantization.posttraining import CorrectedPlan


class Known:
    """A plan: FP32 errs by e, the quantized one by e + d, [n, o] each, of labels that are 0 and spread by 1."""

    def __init__(self, e, d):
        self.e, self.d = e, d

    def chain(self, x):
        return self.e + self.labels(x)

    def __call__(self, x):
        return self.e + self.d + self.labels(x)

    @staticmethod
    def labels(x):
        return np.resize([1.0, -1.0], len(x))[:, None] * np.ones(x.shape)


def known(n, seed=0):
    rng = np.random.default_rng(seed)
    e, d = rng.normal(size=(n, 2)) * [0.5, 0.2], rng.normal(size=(n, 2)) * [0.02, 0.06]
    x = np.zeros((n, 2))
    return Known(e, d), x, Known.labels(x)


@pytest.mark.parametrize("n", [50, 5000])
def test_the_rise_and_its_upper_estimate_are_the_formula_of_the_target_that_rises_most(n):
    plan, x, y = known(n)
    rises, uppers, cautious = [], [], []
    for e, d in zip(plan.e.T, plan.d.T):
        root = np.sqrt(np.mean(e**2))
        rise = np.sqrt(np.mean((e + d) ** 2)) / root - 1
        size = np.sqrt(np.mean(d**2)) / root
        luck = np.std(e**2) / np.sqrt(n) / np.mean(e**2)
        rises.append(rise)
        uppers.append(rise + 2.33 * size / np.sqrt(max(1 - luck, 0.1)) / np.sqrt(n))
        cautious.append(rise + 1.5 * size / np.sqrt(n))
    assert Bound(0.01, x, y).judge(plan) == pytest.approx((max(rises), max(uppers)), rel=1e-4)
    assert cautious_rise(plan, x, y) == pytest.approx(max(cautious), rel=1e-4)
    assert cautious_rise(plan, x, y, margin=0.0) == pytest.approx(max(rises), rel=1e-4)


def test_one_row_that_errs_alone_leaves_a_tenth_of_the_squared_error_at_least():
    """Of 9 rows one errs: the relative standard error of its square is sqrt(8) / 3, so that 1 - luck is 0.057."""
    e, d = np.zeros((9, 1)), np.full((9, 1), 0.03)
    e[0] = 3.0
    plan = Known(e, d)
    x = np.zeros((9, 1))
    rise, upper = Bound(0.01, x, Known.labels(x)).judge(plan)
    assert upper - rise == pytest.approx(2.33 * 0.03 / np.sqrt(0.1) / 3, rel=1e-2)


def test_an_exact_student_is_judged_without_a_division_by_0():
    plan = Known(np.zeros((9, 1)), np.full((9, 1), 0.01))
    x = np.zeros((9, 1))
    assert Bound(0.01, x, Known.labels(x)).judge(plan)[0] > 1e6


@pytest.mark.parametrize("increase", [0.0, -0.1, float("nan")])
def test_a_bound_allows_something(increase):
    with pytest.raises(UserError, match="expected more than 0"):
        Bound(increase, None, None)
    assert Bound(0.5, None, None).high == "fp16" and Bound(1e-6, None, None, "fp32").margin == 2.33
    with pytest.raises(UserError, match="unknown precision 'int4'.*layers that are kept"):
        Bound(0.01, None, None, "int4")


# -- the search -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Layer:
    form: Any
    codes: None = None


@dataclass(frozen=True)
class Plan:
    """A plan whose error is a sum over its layers: of what each costs in int8, and a tenth of it in two parts."""

    costs: tuple[float, ...]
    macs: tuple[int, ...]
    layers: tuple[Layer, ...]
    worse: float = 1.0  # how much worse a plan with switched layers looks than one that is made for them

    @property
    def chain(self):
        names = [SimpleNamespace(name=f"layer{i}") for i in range(len(self.macs))]
        return SimpleNamespace(multiply_adds=list(self.macs), layers=names)

    @property
    def rise(self):
        share = {"int8": 1.0, "int8-split": 0.1, "fp16": 0.0, "fp8": 1.0}
        return sum(cost * share[layer.form.name] for cost, layer in zip(self.costs, self.layers))


@dataclass
class Search:
    costs: tuple[float, ...]
    macs: tuple[int, ...]
    increase: float = 0.01
    worse: float = 1.0
    judged: list = field(default_factory=list)
    made: list = field(default_factory=list)

    high = "fp16"
    rows = range(77)

    def judge(self, plan):
        self.judged.append(plan)
        return plan.rise, plan.rise * plan.worse

    def make(self, names):
        self.made.append(tuple(names))
        return CorrectedPlan(self.plan(names))

    def plan(self, names):
        return Plan(self.costs, self.macs, tuple(Layer(FORMATS[name]) for name in names))

    def run(self, form="int8", finer=None):
        names = [form] * len(self.costs)
        full = CorrectedPlan(replace(self.plan(names), worse=self.worse))
        parted = None if finer is None else lambda: self.make(finer)
        outcome, notes = search_mixed(full, self.make, names, self, finer=parted)
        return [layer.form.name for layer in outcome.plan.layers], notes


def test_a_plan_within_the_bound_is_taken_as_it_is():
    search = Search((0.004, 0.006), (10, 10))
    forms, notes = search.run()
    assert forms == ["int8"] * 2 and not search.made
    assert notes == ["all layers int8: RMSE +1.00% on 77 rows, at most +1.00% with sampling noise"]


SOME = ("int8", "int8-split")


def test_two_parts_are_tried_before_any_layer_is_kept_and_first_where_they_are_needed():
    search = Search((0.001, 0.06), (10, 10))
    forms, notes = search.run(finer=SOME)
    assert forms == list(SOME) and search.made == [SOME]
    assert notes[1:] == ["layers that need it in two INT8 parts: RMSE +0.70%, at most +0.70%"]
    search = Search((0.03, 0.06), (10, 10))
    forms, notes = search.run(finer=SOME)
    assert forms == ["int8-split"] * 2 and search.made == [SOME, ("int8-split",) * 2]
    assert notes[2] == "all layers in two INT8 parts: RMSE +0.90%, at most +0.90%"
    for again in (Search((0.03, 0.06), (10, 10)).run(), Search((0.03, 0.06), (10, 10)).run("fp8")):
        assert again[0] == ["fp16", "fp16"] and not any("two INT8 parts" in note for note in again[1])


def test_an_allowance_that_one_part_keeps_has_no_second_product():
    search = Search((0.001, 0.06), (10, 10), increase=0.07)
    assert search.run(finer=SOME)[0] == ["int8"] * 2 and not search.made


def test_what_is_allowed_exactly_is_allowed():
    whole = Search((0.25, 0.5), (10, 10), increase=0.75)
    assert whole.run()[0] == ["int8"] * 2 and not whole.made
    split = Search((0.03, 0.06), (10, 10))
    split.increase = split.plan(["int8-split"] * 2).rise
    assert split.run(finer=SOME)[0] == ["int8-split"] * 2 and len(split.made) == 2
    one = Search((0.25, 0.5), (10, 10), increase=0.25)
    assert one.run()[0] == ["int8", "fp16"] and len(one.made) == 2


def test_as_few_layers_as_can_be_are_kept_and_of_those_the_cheapest():
    search = Search((0.02, 0.2, 0.02), (5, 50, 7))
    forms, notes = search.run()
    assert search.made == [  # by the number of layers, then by their products
        ("fp16", "int8", "int8"), ("int8", "int8", "fp16"), ("int8", "fp16", "int8"),
        ("fp16", "int8", "fp16"), ("fp16", "fp16", "int8"), ("int8", "fp16", "fp16"), ("fp16",) * 3,
    ]  # fmt: skip
    assert forms == ["fp16"] * 3 and notes[-1] == "kept in fp16: layer0, layer1, layer2; RMSE +0.00%, at most +0.00%"
    one = Search((0.001, 0.2, 0.002), (5, 50, 7))
    assert one.run()[0] == ["int8", "fp16", "int8"] and len(one.made) == 3


def test_beyond_three_layers_a_choice_is_made_only_if_switching_comes_within_twice_the_bound():
    search = Search((0.5, 0.004, 0.004, 0.004), (1, 2, 3, 4))
    forms, _ = search.run()
    # Without the first layer 0.012 are left, which is near enough to be made; 0.5 with it is not.
    assert search.made[0] == ("fp16", "int8", "int8", "int8")
    assert search.made[-1] == tuple(forms) == ("fp16", "fp16", "int8", "int8") and len(search.made) == 2
    blind = Search(
        (0.5, 0.004, 0.004, 0.004), (1, 2, 3, 4), worse=1000.0
    )  # no estimate comes near: all layers are kept
    assert blind.run()[0] == ["fp16"] * 4 and len(blind.made) == 1


def test_beyond_six_layers_the_greedy_search_adds_the_layer_that_helps_most():
    costs = (0.001, 0.3, 0.002, 0.2, 0.001, 0.1, 0.001)
    search = Search(costs, (1,) * 7)
    forms, _ = search.run()
    assert forms == ["int8", "fp16", "int8", "fp16", "int8", "fp16", "int8"] and search.made == [tuple(forms)]
    six = Search(costs[1:], (9, 1, 9, 1, 9, 1))
    assert six.run()[0] == ["fp16", "int8", "fp16", "int8", "fp16", "int8"]
    assert len(six.made) == 1


def test_a_bound_that_nothing_meets_gives_the_best_and_says_so():
    class Stubborn(Search):
        def judge(self, plan):
            return plan.rise + 0.05, plan.rise + 0.05

    search = Stubborn((0.02, 0.01), (5, 5))
    forms, notes = search.run()
    assert forms == ["fp16", "fp16"]
    assert notes[-1] == "no choice of layers meets the bound of +1.00%: the best one reaches +5.00%"

    class Odd(Search):  # two parts are the best of all that miss the bound
        def judge(self, plan):
            rise = 0.02 if all(layer.form.name == "int8-split" for layer in plan.layers) else 0.05
            return rise, rise

    forms, notes = Odd((0.02, 0.01), (5, 5)).run(finer=SOME)
    assert forms == ["int8-split"] * 2 and notes[-1].endswith("the best one reaches +2.00%")
