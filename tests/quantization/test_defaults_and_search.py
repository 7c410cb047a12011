"""Defaults are one and the same wherever they stand, and the search of ranges in other graphs asks what it should."""

from __future__ import annotations

import inspect

import pytest

pytest.importorskip("onnx")

from regkd_edge.config import CORRECTIONS, QuantizeConfig
from regkd_edge.graph.formats import FORMATS
from regkd_edge.quantization import int8, layers, posttraining, ranges, weighted_posttraining
from regkd_edge.quantization.posttraining import CorrectedPlan


def defaults(function):
    return {name: p.default for name, p in inspect.signature(function).parameters.items() if p.default is not p.empty}


def quantizers():
    found = [int8.quantize_int8, layers.quantize_layers, posttraining.plan_layers, weighted_posttraining.plan_weighted]
    try:
        from regkd_edge.quantization.qat import quantize_with_qat
    except ImportError:  # the light half
        return found
    return [*found, quantize_with_qat]


@pytest.mark.parametrize("function", quantizers(), ids=lambda function: function.__name__)
def test_a_function_and_the_command_have_the_same_defaults(function):
    config, here = QuantizeConfig(), defaults(function)
    assert here["method"] == config.method == "output"
    assert here["percentile"] == config.percentile == defaults(ranges.range_of)["percentile"] == 99.99
    assert tuple(here.get("corrections", CORRECTIONS)) == tuple(config.corrections) == CORRECTIONS
    assert here.get("tolerance") is None and here.get("bound") is None and here.get("rank_layers", False) is False
    for name, field in (("steps", "qat_steps"), ("lr", "qat_lr"), ("batch", "qat_batch")):
        if name in here and hasattr(config, field):
            assert here[name] == getattr(config, field)


class Layer:
    def __init__(self, scale, form="int8"):
        self.data_scale, self.form = scale, FORMATS[form]


class Plan:
    """Two layers with a scale each, and which of them is quantized alone, with its data or its weights."""

    def __init__(self, layers, alone=None):
        self.layers, self.alone = layers, alone

    def with_layer(self, index, *, data_scale):
        own = [Layer(one.data_scale, one.form.name) for one in self.layers]
        own[index].data_scale = data_scale
        return Plan(own)

    def only(self, index, *, data=True, weights=True):
        return Plan(self.layers, (index, data, weights))


class Points:
    def __init__(self, rule):
        self.rule, self.asked = rule, []

    def worst(self, plan, *, held):
        index, data, weights = plan.alone
        assert data and not weights, "the rounding of the weights must not decide"
        self.asked.append((index, plan.layers[index].data_scale, held))
        return self.rule(index, plan.layers[index].data_scale, held)


def test_a_layers_range_is_tried_at_shares_of_what_was_met_on_the_points_to_fit_and_judged_on_the_others():
    points = Points(lambda index, scale, held: abs(scale - (0.7, 4.0)[index]))
    outcome = CorrectedPlan(Plan([Layer(1.0), Layer(4.0)]))
    weighted_posttraining._search_ranges(outcome, points)
    fitted = [(index, round(scale, 5)) for index, scale, held in points.asked if not held]
    shares = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)
    assert fitted == [(0, s) for s in shares] + [(1, round(4 * s, 5)) for s in shares]
    assert [round(one.data_scale, 5) for one in outcome.plan.layers] == [0.7, 4.0]
    ((name, before, after, kept),) = outcome.tried  # of the second layer nothing is better than what was met
    assert (name, kept) == ("ranges", True) and before == pytest.approx(0.3) and after == pytest.approx(0.0, abs=1e-6)
    assert [(index, round(scale, 5)) for index, scale, held in points.asked if held] == [(0, 1.0), (0, 0.7)]


def test_a_range_that_held_points_do_not_gain_by_stays():
    points = Points(lambda index, scale, held: 1.0 if held else scale)
    outcome = CorrectedPlan(
        Plan([Layer(1.0), Layer(2.0, "int8-split"), Layer(2.0, "fp16"), Layer(2.0, "int8-weights")])
    )
    weighted_posttraining._search_ranges(outcome, points)
    assert [one.data_scale for one in outcome.plan.layers] == [1.0, 2.0, 2.0, 2.0]
    assert [entry[3] for entry in outcome.tried] == [
        False
    ]  # of the first layer; the others have no single part of data
    assert {index for index, *_ in points.asked} == {0}
