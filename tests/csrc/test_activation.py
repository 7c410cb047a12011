"""Activations and their two derivatives against float64, at every SIMD level that this CPU runs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from core_arrays import address, core


def reference(name: str, z: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """s, s', s'' in float64."""
    one, zero = np.ones_like(z), np.zeros_like(z)
    if name == "identity":
        return z, one, zero
    if name in ("relu", "leaky_relu"):
        slope = np.where(z > 0, 1.0, 0.0 if name == "relu" else np.float64(np.float32(0.01)))
        return slope * z, slope, zero
    if name == "elu":
        e = np.exp(np.minimum(z, 0))
        return np.where(z > 0, z, np.expm1(np.minimum(z, 0))), np.where(z > 0, 1, e), np.where(z > 0, 0, e)
    if name == "tanh":
        s1 = 1 / np.cosh(z) ** 2
        return np.tanh(z), s1, -2 * np.tanh(z) * s1
    p = 1 / (1 + np.exp(-z))
    if name == "softplus":
        return np.logaddexp(0, z), p, p * (1 - p)
    if name == "silu":
        return z * p, p + z * p * (1 - p), p * (1 - p) * (2 + z * (1 - 2 * p))
    if name == "gelu":
        density = np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
        share = 0.5 * (1 + np.array([math.erf(v / math.sqrt(2)) for v in z]))
        return z * share, share + z * density, density * (2 - z * z)
    assert name == "gelu_tanh"
    k, c = math.sqrt(2 / math.pi), 0.044715
    h = np.tanh(k * (z + c * z**3))
    i1, i2 = k * (1 + 3 * c * z * z), 6 * k * c * z
    h1 = (1 - h * h) * i1
    return 0.5 * z * (1 + h), 0.5 * (1 + h) + 0.5 * z * h1, h1 + 0.5 * z * ((1 - h * h) * i2 - 2 * h * h1 * i1)


def evaluate(name: str, z: np.ndarray, level: str) -> list[np.ndarray]:
    out = [np.empty_like(z) for _ in range(3)]
    core.activate(name, address(z), z.size, *(address(v) for v in out), level)
    return out


Z = np.concatenate([np.linspace(-12, 12, 4001), np.linspace(-1e-3, 1e-3, 101), [0.0, -0.0, 60.0, -60.0]]).astype(
    np.float32
)


@pytest.mark.parametrize("level", core.simd_levels_available())
@pytest.mark.parametrize("name", core.ACTIVATIONS)
def test_values_and_derivatives_against_float64(name, level):
    got, want = evaluate(name, Z, level), reference(name, Z.astype(np.float64))
    ulp = 2.0**-23
    for order, (a, b) in enumerate(zip(got, want)):
        # A few roundings of numbers of the size of 1 or |z|; each derivative of a formula in s (s' = 1 - s^2, s'' = -2
        # s s') doubles what one rounding of s does; without fused multiply-add (v2) there is one more.
        allowed = (4, 6, 9)[order] * ulp * np.maximum(np.abs(b), (0.25, 1.0, 1.0)[order])
        worst = np.argmax(np.abs(a - b) / allowed)
        assert abs(a[worst] - b[worst]) <= allowed[worst], (
            f"s{chr(39) * order} at {Z[worst]}: {a[worst]} for {b[worst]}"
        )


@pytest.mark.parametrize("name", core.ACTIVATIONS)
def test_small_arguments_keep_their_relative_accuracy(name):
    """Near 0 an activation that vanishes there must not lose its digits: s(z) / z is right to 1e-6."""
    z = np.array([1e-6, -1e-6, 3e-5, -3e-5, 1e-3, -1e-3], np.float32)
    want = reference(name, z.astype(np.float64))[0]
    np.testing.assert_allclose(evaluate(name, z, "")[0], want, rtol=1e-6)


@pytest.mark.parametrize("name", core.ACTIVATIONS)
def test_the_second_derivative_is_the_slope_of_the_first(name):
    """Free of the formulas above: central differences of s' away from kinks."""
    z = np.linspace(-3, 3, 241).astype(np.float32) + np.float32(0.0101)
    h = np.float32(2.0**-8)
    plus, minus = evaluate(name, z + h, "")[1], evaluate(name, z - h, "")[1]
    away = np.abs(z) > 0.02
    slope = (plus - minus) / (2 * h)
    # 6 ulp of s' (see above) over 2h: 6 * 2^-23 * 2^7 = 9e-5, twice; the third derivative's h^2 / 6: below 2e-5
    np.testing.assert_allclose(slope[away], evaluate(name, z, "")[2][away], atol=2e-4)
