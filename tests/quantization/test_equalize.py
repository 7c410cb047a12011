"""Equalization: the same function, with every input on all of its codes, and ends chosen by the error of the output."""

from __future__ import annotations

import numpy as np
import pytest
from graphs import rows, write_mlp

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from regkd_edge.graph.chain import read_chain
from regkd_edge.graph.formats import FORMATS
from regkd_edge.quantization.equalize import EVEN_WEIGHTS, clip_inputs, equalize
from regkd_edge.quantization.plan import nearest_plan
from regkd_edge.quantization.sensitivity import exact_plan

INT8 = ["int8"] * 3


@pytest.fixture
def chain(tmp_path):
    return read_chain(write_mlp(tmp_path / "s.onnx", widths=(5, 16, 12, 2), y_mean=[50.0, 0.0], y_scale=[8.0, 0.1]))


@pytest.mark.parametrize("form", ["int8", "fp8"])
def test_an_equalized_layer_is_the_same_function_and_its_inputs_fill_the_codes(chain, form):
    x, largest = rows(n=80), FORMATS[form].largest
    a = chain.scaled(x)
    low, high = a.min(axis=0) - [0, 1, 0, 0, 0], a.max(axis=0) + [3, 0, 0, 0, 0]
    plan = equalize(nearest_plan(chain, [form] * 3, [4.0] * 3), 0, low, high)
    np.testing.assert_allclose(exact_plan(plan)(x), chain(x), rtol=1e-4, atol=1e-4)
    layer = plan.layers[0]
    codes = (np.stack([low, high]) - layer.shift) * layer.rate / layer.data_scale
    np.testing.assert_allclose(codes, np.outer([-largest, largest], np.ones(5)), rtol=1e-5)
    np.testing.assert_allclose(layer.weight_scale, np.abs(layer.weight).max(axis=1) / largest, rtol=1e-6)
    assert layer.codes is None


def test_a_constant_input_keeps_its_unit_and_a_range_about_zero_needs_no_shift(chain):
    plan = nearest_plan(chain, INT8, [4.0] * 3)
    wide = np.array([2.0, 1.0, 0.0, 5e-7, 5e-6])
    layer = equalize(plan, 0, -wide, wide).layers[0]
    assert layer.shift is None
    np.testing.assert_allclose(layer.rate, [0.5, 1.0, 1.0, 1.0, 2e5], rtol=1e-5)
    one = equalize(plan, 0, -wide, wide + np.array([0, 0, 3.0, 0, 0])).layers[0]
    np.testing.assert_allclose(one.shift, [0, 0, 1.5, 0, 0])


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize("power", [EVEN_WEIGHTS, (0.5, 0.5), (0.75, 0.25)])
def test_every_power_is_the_same_function_and_shares_the_codes_as_it_says(chain, power, index):
    x = rows(n=80)
    a = chain.activations(x)[0][index].astype(np.float64)
    low, high = a.min(axis=0), a.max(axis=0)
    plan = equalize(nearest_plan(chain, INT8, [4.0] * 3), index, low, high, power)
    np.testing.assert_allclose(exact_plan(plan)(x), chain(x), rtol=1e-4, atol=1e-4)
    layer, weight = plan.layers[index], chain.layers[index].weight
    assert np.abs((np.stack([low, high]) - layer.shift) * layer.rate).max() == pytest.approx(127 * layer.data_scale)
    size = ((high - low) / 2) ** power[0] / np.abs(weight).max(axis=0) ** power[1]
    ratio = layer.weight / (weight * size)
    np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-4)
    if power == EVEN_WEIGHTS:
        columns = np.abs(layer.weight).max(axis=0)
        np.testing.assert_allclose(columns, columns[0], rtol=1e-4)


def test_inputs_of_few_values_fill_their_codes_with_every_power(chain):
    low, high = -np.array([1.0, 2.0, 0.5, 3.0, 1.0]), np.array([1.0, 4.0, 0.5, 3.0, 2.0])
    few = np.array([False, True, False, False, True])
    layer = equalize(nearest_plan(chain, INT8, [4.0] * 3), 0, low, high, EVEN_WEIGHTS, few).layers[0]
    codes = (np.stack([low, high]) - layer.shift) * layer.rate / layer.data_scale
    np.testing.assert_allclose(codes[:, few], [[-127] * 2, [127] * 2], rtol=1e-5)
    assert np.abs(codes[:, ~few]).max() == pytest.approx(127) and np.abs(codes[:, ~few]).min() < 120


def ends_of(plan):
    layer = plan.layers[0]
    middle = np.zeros(5) if layer.shift is None else layer.shift.astype(np.float64)
    return middle - 1.0 / layer.rate, middle + 1.0 / layer.rate


TAILS = (0.0, 0.0005, 0.002, 0.005, 0.01, 0.02)  # of the values, on one side


def test_each_end_of_a_range_is_chosen_among_shares_of_clipped_values(chain):
    x = np.random.default_rng(0).standard_normal((1001, 5))
    ordered = np.sort(x, axis=0)
    # 1,000 gaps: a share t is the value at 1000 t, the next lower one below and the next higher one above
    low = np.array([ordered[int(np.floor(1000 * t))] for t in TAILS])
    high = np.array([ordered[int(np.ceil(1000 * (1 - t) - 1e-9))] for t in TAILS])
    pick = [0, 1, 3, 4, 5]
    want = low[pick, range(5)], high[pick[::-1], range(5)]
    distance = lambda plan: sum(float(np.abs(got - end).sum()) for got, end in zip(ends_of(plan), want))
    plan = nearest_plan(chain, INT8, [4.0] * 3)
    found = clip_inputs(plan, x, distance, lambda lo, hi: (lo, hi))
    for got, end in zip(ends_of(found), want):
        np.testing.assert_allclose(got, end, atol=1e-5)
    assert [layer.form.name for layer in found.layers] == INT8
    asked = []
    clip_inputs(plan, x, lambda p: float(len(asked.append(p) or asked)), lambda lo, hi: (lo, hi))
    assert all([layer.form.name for layer in p.layers] == ["int8", "fp32", "fp32"] for p in asked)  # alone
    # No gain: one sweep over 5 features and 2 sides, over the distinct ends that are not in use.
    others = sum(len(set(ends[:, j])) - 1 for ends in (low, high) for j in range(5))
    assert len(asked) == 1 + others


def test_a_second_sweep_follows_a_first_one_that_gained_more_than_2_percent(chain):
    x = np.random.default_rng(0).standard_normal((1001, 5))
    plan, counts = nearest_plan(chain, INT8, [4.0] * 3), []
    for gain in (0.01, 0.03, 0.5):
        asked = []

        def error(p, gain=gain, asked=asked):
            asked.append(p)
            return 1.0 if len(asked) == 1 else 1.0 - gain if len(asked) == 2 else 5.0

        clip_inputs(plan, x, error, lambda lo, hi: (lo, hi))
        counts.append(len(asked))
    assert counts[0] < 1.2 * counts[0] < counts[1] and counts[1] == counts[2]
    assert counts[1] == pytest.approx(2 * counts[0], abs=2)  # and there is no third
