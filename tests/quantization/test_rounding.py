"""Learnt rounding against the textbook: ridge by an extended least squares, columns eliminated one after another."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnx")

from regkd_edge.graph.formats import FORMATS, round_to
from regkd_edge.quantization import rounding
from regkd_edge.quantization.rounding import learn_rounding
from regkd_edge.quantization.weighted_plan import weight_steps

INT8, FP8 = FORMATS["int8"], FORMATS["fp8"]


def world(seed, n=300, d=5, o=3):
    """Correlated data with a mean, weights, outputs of other weights, and how much a row counts for an output."""
    rng = np.random.default_rng(seed)
    data = rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + rng.normal(size=d)
    weight = rng.normal(size=(o, d))
    target = data @ (weight + 0.2 * rng.normal(size=(o, d))).T + rng.normal(size=o) + 0.05 * rng.normal(size=(n, o))
    return weight, data, target, rng.uniform(0.001, 1.0, (n, o)) ** 2


def quantized(w, scale, form):
    """Codes of values, within the range of the format."""
    if form is FP8:
        return np.clip(round_to(w / scale, form, 1.0), -448, 448)
    return np.clip(np.rint(w / scale), -127, 127)


def textbook(weight, data, target, importance, form, refit=True):
    """One unit at a time: optimal brain quantization with the inverse Hessian eliminated row by row."""
    found = []
    for w, y, g in zip(weight, target.T, importance.T):
        share = g / g.mean() + 0.05  # every row counts a twentieth of the mean at least
        share = share / share.sum()
        root = np.sqrt(share)[:, None]
        mean, level = share @ data, share @ y
        centred = (data - mean) * root
        hessian = centred.T @ centred
        ridge = 0.01 * np.mean(np.diag(hessian))
        if refit:
            rows = np.concatenate([centred, np.sqrt(ridge) * np.eye(len(w))])
            wanted = np.concatenate([(y - level) * root[:, 0], np.sqrt(ridge) * w])
            w = np.linalg.lstsq(rows, wanted, rcond=None)[0]
        factors = (1.0, 0.95, 0.9, 0.85, 0.8, 0.7) if form is INT8 else (1.0,)
        scales = [np.float32(np.abs(w).max() / form.largest * factor) for factor in factors]
        cost = [np.sum(np.diag(hessian) * (quantized(w, s, form) * s - w) ** 2) for s in scales]
        scale = scales[int(np.argmin(cost))]
        inverse = np.linalg.inv(hessian + ridge * np.eye(len(w)))
        w, codes = w.copy(), np.zeros(len(w))
        for k in found_order(importance, data):
            codes[k] = quantized(w[k], scale, form)
            error = (w[k] - codes[k] * scale) / inverse[k, k]
            w -= error * inverse[k]
            inverse -= np.outer(inverse[:, k], inverse[k]) / inverse[k, k]
        found.append((codes, scale, level - mean @ (codes * scale)))
    return found


def found_order(importance, data):
    """Columns by their mean variance over the units, the largest first."""
    variances = []
    for g in importance.T:
        share = g / g.mean() + 0.05
        share = share / share.sum()
        variances.append(share @ (data - share @ data) ** 2)
    return np.argsort(-np.mean(variances, axis=0))


@pytest.mark.parametrize("refit", [True, False])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_codes_scales_and_biases_are_those_of_the_textbook(seed, refit):
    weight, data, target, importance = world(seed)
    codes, scale, bias = learn_rounding(weight, INT8, data, target, importance, refit=refit)
    for got, step, shift, (want, wide, level) in zip(
        codes, scale, bias, textbook(weight, data, target, importance, INT8, refit)
    ):
        assert step == pytest.approx(wide, rel=1e-5)
        np.testing.assert_array_equal(got, want)
        assert shift == pytest.approx(level, rel=1e-4, abs=1e-4)
    assert (codes.dtype, scale.dtype, bias.dtype) == (np.float32,) * 3


def test_fp8_codes_are_its_numbers_up_to_448():
    weight, data, target, importance = world(4)
    codes, scale, _ = learn_rounding(weight, FP8, data, target, importance)
    for got, step, (want, wide, _) in zip(codes, scale, textbook(weight, data, target, importance, FP8)):
        assert step == pytest.approx(wide, rel=1e-5) and 400 < np.abs(got).max() <= 448
        np.testing.assert_allclose(got, want, rtol=1e-5)
        np.testing.assert_allclose(got, round_to(got, FP8, 1.0), rtol=1e-6)  # float32 of numbers with 4 bits


@pytest.mark.parametrize("refit", [True, False])
def test_a_large_layer_shares_one_hessian_which_is_its_own_where_rows_count_alike(monkeypatch, refit):
    weight, data, target, importance = world(8)
    alike = np.repeat(importance[:, :1], 3, axis=1)
    own = learn_rounding(weight, INT8, data, target, alike, refit=refit)
    monkeypatch.setattr(rounding, "_BUDGET", 0)
    for got, want in zip(learn_rounding(weight, INT8, data, target, alike, refit=refit), own):
        np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-6)


def test_a_saturated_unit_is_fitted_as_if_all_rows_counted_alike():
    weight, data, target, _ = world(5)
    none = learn_rounding(weight, INT8, data, target, np.zeros_like(target))
    even = learn_rounding(weight, INT8, data, target, np.ones_like(target))
    for got, want in zip(none, even):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_inputs_that_are_always_0_leave_finite_weights():
    weight, _, _, _ = world(6)
    codes, scale, bias = learn_rounding(weight, INT8, np.zeros((9, 5)), np.full((9, 3), 2.5), np.ones((9, 3)))
    assert np.isfinite(codes).all() and (scale > 0).all()
    np.testing.assert_allclose(bias, 2.5, rtol=1e-6)
    np.testing.assert_allclose(codes * scale[:, None], weight, atol=np.abs(weight).max() / 120)
    zero = learn_rounding(np.zeros((3, 5)), INT8, np.zeros((9, 5)), np.zeros((9, 3)), np.ones((9, 3)))
    assert (zero[1] > 0).all() and not zero[0].any()


@pytest.mark.parametrize("axis", [0, 1])
def test_steps_of_weights_are_the_best_of_six_shares_of_the_largest(axis):
    rng = np.random.default_rng(7)
    weight = rng.standard_t(4, (8, 8)).astype(np.float32)
    apart = weight if axis == 0 else weight.T
    best = []
    for row in apart.astype(np.float64):
        tried = [share * np.abs(row).max() / 127 for share in (1.0, 0.96, 0.92, 0.88, 0.84, 0.8)]
        best.append(min(tried, key=lambda step: np.sum((np.clip(np.rint(row / step), -127, 127) * step - row) ** 2)))
    np.testing.assert_allclose(weight_steps(weight, axis, 127.0), best, rtol=1e-5)
    assert (weight_steps(np.zeros((2, 3), np.float32), 0, 127.0) > 0).all()
