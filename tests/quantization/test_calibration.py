"""Calibration points, allowed changes and ranges, each against its definition in plain arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
from graphs import rows, write_mlp

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from regkd_edge.graph.chain import read_chain
from regkd_edge.quantization.calibration import Calibration, allowed_change, combined_rows
from regkd_edge.quantization.plan import nearest_plan
from regkd_edge.quantization.ranges import on_codes, range_of
from regkd_edge.quantization.weighted_posttraining import _Points


@pytest.fixture
def chain(tmp_path):
    """Two targets in very different units; inputs with deviations 2, 0.5 and 1."""
    return read_chain(
        write_mlp(
            tmp_path / "s.onnx",
            widths=(3, 12, 2),
            mean=[5.0, -1.0, 0.0],
            scale=[2.0, 0.5, 1.0],
            y_mean=[900.0, 3.0],
            y_scale=[200.0, 0.02],
        )
    )


def inputs(n, seed=1):
    return rows(n=n, d=3, seed=seed, mean=[5.0, -1.0, 0.0], scale=[2.0, 0.5, 1.0])


# -- new combinations of the rows -----------------------------------------------------------------------------------


def test_every_other_new_point_is_a_small_step_from_a_row_along_the_difference_of_two():
    """Ten clusters at 0, 1000, ..., 9000: a + 0.1 (b - c) / sqrt(2) lies at 1000 i + 70.71 j."""
    rng = np.random.default_rng(0)
    x = (1000.0 * rng.integers(0, 10, 400) + rng.uniform(-0.01, 0.01, 400)).astype(np.float32)[:, None]
    new = combined_rows(x, 3000, np.zeros(1))
    assert new.shape == (3000, 1) and new.dtype == np.float32
    grid = np.add.outer(1000.0 * np.arange(10), 100.0 / np.sqrt(2.0) * np.arange(-9, 10)).ravel()
    away = np.abs(new[::2] - grid[None]).min(axis=1)
    inside = (new[::2, 0] > x.min()) & (new[::2, 0] < x.max())  # the rest is clipped to an end
    assert away[inside].max() < 0.05 and inside.mean() > 0.8
    assert np.abs(new[1::2] - grid[None]).min(axis=1).mean() > 3  # the other half is anywhere between


def test_the_other_half_has_the_mean_and_the_covariance_of_the_rows():
    rng = np.random.default_rng(1)
    x = (
        rng.normal(size=(20_000, 3)) @ [[2.0, 1.0, 0.0], [0.0, 0.5, 0.3], [0.0, 0.0, 4.0]] + [9.0, -3.0, 100.0]
    ).astype(np.float32)
    new = combined_rows(x, 40_000, np.zeros(3))[1::2]
    deviation = x.std(axis=0)
    assert (np.abs(new.mean(axis=0) - x.mean(axis=0)) < 0.03 * deviation).all()  # 1 / sqrt(20,000) = 0.007
    np.testing.assert_allclose(np.cov(new.T) / np.outer(deviation, deviation), np.corrcoef(x.T), atol=0.04)
    other = np.random.default_rng(2).normal(size=(20_000, 3)).astype(np.float32)
    assert not np.array_equal(combined_rows(other, 4, np.zeros(3)), combined_rows(x, 4, np.zeros(3)))


def test_every_feature_takes_a_step_of_its_own_that_is_a_thousandth_of_the_small_one(chain):
    """Two features that are always equal in deviations: what is off their line is the own step, 1e-4 deviations."""
    line = np.random.default_rng(0).standard_normal(500)
    x = np.column_stack([5 + 2.0 * line, -1 + 0.5 * line, line]).astype(np.float64)
    new = combined_rows(x, 20_000, np.array([2.0, 0.5, 1.0]))[::2].astype(np.float64)
    within = (new > x.min(axis=0)).all(axis=1) & (new < x.max(axis=0)).all(axis=1)
    off = ((new[:, 0] - 5) / 2.0 - (new[:, 1] + 1) / 0.5)[within]
    assert off.std() == pytest.approx(1e-4 * np.sqrt(2), rel=0.05)
    points = Calibration.split(chain, x.astype(np.float32), points=20_000)  # the deviations are those of the scaler
    scaled = chain.scaled(points.fit[334:])  # 333 of the 500 rows come first; new points alternate
    apart = np.abs(scaled[:, 0] - scaled[:, 1])
    assert np.sqrt(np.mean(apart[apart < 1e-2] ** 2)) == pytest.approx(1e-4, rel=0.1)  # one half has none


@pytest.mark.parametrize("distinct,snapped", [(20, True), (21, False)])
def test_a_feature_with_at_most_half_as_many_values_as_rows_keeps_to_them(distinct, snapped):
    values = np.random.default_rng(0).uniform(0, 50, distinct).astype(np.float32)
    x = np.column_stack([np.resize(values, 40), np.arange(40.0)]).astype(np.float32)
    assert set(combined_rows(x, 600, np.ones(2))[:, 0].tolist()) <= set(values.tolist()) or not snapped
    assert snapped or len(np.unique(combined_rows(x, 600, np.ones(2))[:, 0])) > 300


# -- split ----------------------------------------------------------------------------------------------------------


def test_every_third_row_is_held_and_new_points_are_shared_out_alike(chain):
    x = inputs(30)
    points = Calibration.split(chain, x, points=60)
    np.testing.assert_array_equal(points.given, x)
    np.testing.assert_array_equal(points.held[:10], x[2::3])
    np.testing.assert_array_equal(points.fit[:20], np.delete(x, np.s_[2::3], axis=0))
    assert (len(points.fit), len(points.held), len(points.rows)) == (40, 20, 60)
    new = combined_rows(x, 30, np.array([2.0, 0.5, 1.0]))
    np.testing.assert_allclose(np.concatenate([points.held[10:], points.fit[20:]]), new, rtol=1e-6)
    np.testing.assert_array_equal(points.fit_y, chain(points.fit))
    np.testing.assert_array_equal(points.held_y, chain(points.held))
    np.testing.assert_allclose(points.fit_x, (points.fit - [5, -1, 0]) / [2, 0.5, 1], atol=1e-5)
    pair = Calibration.split(chain, x[:2], points=0)
    np.testing.assert_array_equal(pair.fit, x[:2])
    np.testing.assert_array_equal(pair.held, x[:2])


def test_without_a_tolerance_a_quarter_of_a_percent_of_each_outputs_deviation_is_allowed(chain):
    x = inputs(90)
    deviation = chain(x).astype(np.float64).std(axis=0)
    for points in (Calibration.split(chain, x), _Points.of(chain, x, None)):
        np.testing.assert_allclose(points.tolerance, 0.0025 * deviation, rtol=1e-5)
    for kind in (lambda given: Calibration.split(chain, x, tolerance=given), lambda given: _Points.of(chain, x, given)):
        np.testing.assert_allclose(kind(np.array([7.0, 0.0])).tolerance, [7.0, 1e-6 * deviation[1]], rtol=1e-5)


def test_an_output_that_never_moves_has_a_tolerance_above_zero(tmp_path):
    chain = read_chain(write_mlp(tmp_path / "s.onnx", widths=(3, 4, 1), weight_scale=0.0))
    for points in (Calibration.split(chain, inputs(9)), _Points.of(chain, inputs(9), None)):
        assert 0 < points.tolerance[0] < 1e-12


def test_seven_hundredths_of_the_students_own_error_are_allowed(chain):
    """Labels off by +3 and -4 in turn, and exact ones: root mean squares 3.5355 and 0. A wild row is left out."""
    x = inputs(40)
    off = np.column_stack([np.resize([3.0, -4.0], 40), np.zeros(40)])
    allowed = lambda n: allowed_change(chain, x[:n], chain(x[:n]) + off[:n])
    np.testing.assert_allclose(allowed(8), [0.07 * np.sqrt(12.5), 0.0], rtol=1e-4)
    off[17, 0] = 4000.0
    np.testing.assert_allclose(allowed(40), [0.07 * np.sqrt((20 * 9 + 19 * 16) / 39), 0.0], rtol=1e-4)


class Off:
    """A plan whose outputs are off by 6 and 0.02 on even rows, and by 0 on the others."""

    def __init__(self, chain):
        self.chain = chain

    def __call__(self, x):
        return self.chain(x) + np.outer(np.arange(len(x)) % 2 == 0, [6.0, 0.02])


def test_errors_count_in_tolerances_as_a_mean_and_by_the_worst_output(chain):
    points = Calibration.split(chain, inputs(30), points=0, tolerance=np.array([2.0, 0.01]))
    assert (len(points.fit), len(points.held)) == (20, 10)
    for held in (True, False):  # (9 + 4) / 2 on half of the rows
        assert points.error(Off(chain), held=held) == pytest.approx(13 / 4, rel=1e-3)
    odd = Calibration.split(chain, inputs(15), points=0, tolerance=np.array([2.0, 0.01]))  # 5 held rows: 3 of them off
    assert odd.error(Off(chain), held=True) == pytest.approx(13 / 2 * 3 / 5, rel=1e-3)
    assert odd.error(Off(chain), held=False) == pytest.approx(13 / 4, rel=1e-3)
    assert points.judge(points.fit_y + np.array([2.0, 0.0]), points.fit_y) == pytest.approx(0.5, rel=1e-3)
    assert points.worst(Off(chain)) == pytest.approx(np.sqrt(9 / 2), rel=1e-3)  # of 9 and 4, on half of the rows


def test_layers_are_compared_with_fp32_on_the_points_to_fit(chain):
    points = Calibration.split(chain, inputs(30), points=0, tolerance=np.array([2.0, 0.01]))
    for got, want in zip(points.outputs, chain.activations(points.fit)[1]):
        np.testing.assert_array_equal(got, want)
    last = points.slopes[-1]  # z -> 200 z and 0.02 z, in tolerances of 2 and 0.01
    np.testing.assert_allclose(last, np.broadcast_to([100.0, 2.0], last.shape), rtol=1e-5)


def test_a_large_table_is_searched_on_512_of_its_rows_two_thirds_of_them_to_fit(chain):
    many, x = _Points.of(chain, inputs(2000), None), inputs(512)
    assert len(many.fit) + len(many.held) == 512 and len(many.held) == 170
    whole = {row.tobytes() for row in inputs(2000)}
    drawn = [row.tobytes() for row in np.concatenate([many.fit, many.held])]
    assert set(drawn) <= whole and len(set(drawn)) == 512
    exact = _Points.of(chain, x, None)
    np.testing.assert_array_equal(exact.held, x[2::3])
    np.testing.assert_array_equal(exact.fit, np.delete(x, np.s_[2::3], axis=0))
    np.testing.assert_allclose(exact.held_y, chain(x[2::3]), rtol=1e-6)
    assert len(_Points.of(chain, x[:2], None).fit) == len(_Points.of(chain, x[:2], None).held) == 2
    assert len(_Points.of(chain, x[:3], None).fit) == 2


# -- ranges ---------------------------------------------------------------------------------------------------------


def squares(values, start, step):
    """Mean squared distance of values from the grid ``start + k step``."""
    return sum((v - start - round((v - start) / step) * step) ** 2 for v in values) / len(values)


@pytest.mark.parametrize("count", [3, 5, 8, 14])
def test_a_range_goes_on_codes_only_where_that_takes_three_quarters_of_the_error_away(count):
    """Of all grids of 127 to 254 steps between the ends, by plain loops; grids that are as good are equal."""
    rng, kept = np.random.default_rng(count), 0
    for _ in range(40):
        values = np.sort(rng.uniform(-3, 9, count))
        ends = float(values[0]), float(values[-1])
        errors = {n: squares(values, ends[0], (ends[1] - ends[0]) / n) for n in range(127, 255)}
        least = min(errors.values())
        low, high = on_codes(values, *ends)
        assert ((low, high) == ends) == (least > 0.25 * errors[254] or least == errors[254])
        if (low, high) != ends:
            assert squares(values, ends[0], (high - low) / 254) == pytest.approx(least, rel=1e-6, abs=1e-24)
            assert low <= ends[0] + 1e-9 and high >= ends[1] - 1e-9
            off = (low - ends[0]) / ((high - low) / 254)
            assert off == pytest.approx(round(off), abs=1e-6)  # the ends stay on codes
        kept += (low, high) == ends
    assert (kept < 40 or count == 14) and (kept or count == 3)  # both answers are met


@pytest.mark.parametrize("steps", [128, 151, 253, 254])
def test_a_grid_of_127_to_254_steps_is_found_with_all_of_its_values_on_codes(steps):
    values = 4.0 + 0.3 * np.array([0, 1, 7, 60, 101, steps])
    low, high = on_codes(values, values[0], values[-1])
    codes = (values - (low + high) / 2) / ((high - low) / 254)
    np.testing.assert_allclose(codes, np.rint(codes), atol=1e-6)
    assert np.abs(codes).max() <= 127 + 1e-6 and (high - low) / 254 == pytest.approx(0.3)


def test_values_outside_of_the_range_do_not_count_and_a_range_of_nothing_stays():
    grid = np.array([0.0, 1.0, 2.0, 50.0, 150.0])
    outside = np.concatenate([grid, [-0.37, 150.41, 999.0]])
    assert on_codes(outside, 0.0, 150.0) == on_codes(grid, 0.0, 150.0) != (0.0, 150.0)
    assert on_codes(grid, 3.0, 3.0) == (3.0, 3.0) and on_codes(grid, 4.0, 3.0) == (4.0, 3.0)
    many = np.arange(0, 256) / 255  # one value more than there are codes
    assert on_codes(many, 0.0, 1.0) == (0.0, 1.0)
    low, high = on_codes(np.arange(255.0), 0.0, 254.0)
    assert (low, high) == (0.0, 254.0)


def test_ranges_are_of_the_size_of_values_of_any_shape():
    values = np.array([[[-7.0, 2.0], [3.0, 0.5]]])
    assert range_of(values, "minmax") == range_of(values, "output") == 7
    assert range_of(values, "percentile", 60) == 3  # the value above the 60th of 0.5, 2, 3, 7
    assert range_of(np.zeros((0,)), "minmax") == 0 and range_of(np.zeros(3), "entropy") == 0
    tail = np.arange(1, 20_001.0)
    assert range_of(tail, "percentile") == 19_999  # 99.99 % of 19,999 gaps, from above: two of 20,000 may be clipped


def test_plans_round_to_nearest_in_steps_of_the_range_over_127(chain):
    plan = nearest_plan(chain, ["int8", "int8"], [2.54, 0.0])
    assert plan.layers[0].data_scale == pytest.approx(0.02) and plan.layers[1].data_scale > 0
    a = np.array([[0.029, -0.031, 9.0]], np.float32)
    np.testing.assert_allclose(plan.layers[0].data(a), [[0.02, -0.04, 2.54]], rtol=1e-5)
    weight = plan.layers[0].weight
    steps = np.abs(weight).max(axis=1, keepdims=True) / 127
    np.testing.assert_allclose(plan.layers[0].stored, np.round(weight / steps) * steps, rtol=1e-4, atol=1e-7)
    assert plan.share == {"int8": 1.0}
    mixed = nearest_plan(chain, ["int8", "fp16"], [1.0, 1.0])  # 36 and 24 products
    assert mixed.share == {"int8": pytest.approx(0.6), "fp16": pytest.approx(0.4)}
    alone = mixed.only(0)
    assert [layer.form.name for layer in alone.layers] == ["int8", "fp32"]
