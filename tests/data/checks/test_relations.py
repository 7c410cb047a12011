"""Inputs that give the target away, and copies."""

from __future__ import annotations

import numpy as np
import pytest

from regkd_edge.data.checks.relations import copied_inputs, given_away, later_targets

N = 300
A, B, C, D = np.random.default_rng(0).uniform(1, 100, (4, N)).round(1)
NOISE = np.random.default_rng(1).normal(0, 1, N)
X = np.column_stack([A, B, C, D])


@pytest.mark.parametrize(
    ("y", "said"),
    [
        (A + B, "inputs 'a', 'b' add up to target 'y' in every row"),
        (np.rint(A) + np.rint(B), "inputs 'a', 'b' add up to target 'y'"),
        (A - C, "inputs 'a', 'c' add up to target 'y'"),
        (A, "input 'a' equals target 'y'"),
        ((A * 1.8 + 32).round(1), "input 'a' is a multiple of target 'y'"),
        (2 * A + 3 * B - C, "a weighted sum of the inputs 'a', 'b', 'c' gives target 'y'"),
        (np.log(A + B).round(4), "inputs 'a', 'b' add up to the exp of target 'y'"),
        (np.sqrt(A), "input 'a' is a multiple of the square of target 'y'"),
    ],
)
def test_a_target_that_the_inputs_make_up_is_named(y, said):
    x = np.rint(X) if (np.asarray(y) % 1 == 0).all() else X
    (note,) = given_away(x, np.asarray(y)[:, None], list("abcd"), ["y"])
    assert said in note and "--drop a" in note


@pytest.mark.parametrize(
    "y",
    [A + B + NOISE, A * B + NOISE, 3 * A + 2 * NOISE, np.rint(A / 30), np.sin(A), NOISE, A + 0.01 * B**2, A**2 + B],
    ids=["noise", "noisy product", "some noise", "few levels", "sine", "nothing", "nearly linear", "nearly a square"],
)
def test_a_target_that_must_be_learnt_is_not(y):
    assert given_away(X, y[:, None], list("abcd"), ["y"]) == []


@pytest.mark.parametrize(
    ("copy", "said"),
    [
        ((A * 1.8 + 32).round(0), "is a multiple of target 'y'"),
        ((A / 1000).round(3), "is a multiple of target 'y'"),
        (2 * A + 0.3 * NOISE, "gives target 'y' to within 0.005 of its spread by a straight line"),
        (np.tanh(A / 50), "puts the rows in the order of target 'y'"),
        (-np.argsort(np.argsort(A)) * 3.0, "puts the rows in the order of target 'y'"),
        (np.floor(A / 4), "puts the rows in the order of target 'y'"),
    ],
    ids=["rounded", "kilo, rounded", "measured twice", "a curve", "the rank", "classes of it"],
)
def test_a_copy_of_the_target_in_another_unit_is_named(copy, said):
    (note,) = given_away(np.column_stack([B, copy, C]), A[:, None], ["b", "copy", "c"], ["y"])
    assert note.startswith("input 'copy' ") and said in note and note.endswith("add: --drop copy")


@pytest.mark.parametrize(
    ("y", "names"), [((A * B).round(1), "a,b"), ((A / C).round(4), "a,c"), ((A * B / C**2).round(5), "a,b,c")]
)
def test_a_product_of_inputs_is_named(y, names):
    (note,) = given_away(X, y[:, None], list("abcd"), ["y"])
    assert "multiply and divide to target 'y' in every row" in note and note.endswith(f"--drop {names}")


def test_the_target_of_a_row_below_is_named():
    walk = np.cumsum(np.random.default_rng(4).normal(size=len(X))).round(3)
    for below, row in ((1, "the next row"), (2, "the row 2 below")):
        x = np.column_stack([A, np.roll(walk, -below), np.roll(walk, 1)])  # the target before is known
        (note,) = later_targets(x, walk[:, None], ["a", "lag", "before"], ["y"])
        assert f"input 'lag' is target 'y' of {row} in" in note and note.endswith("--drop lag")
    steps = np.repeat(walk[: len(X) // 4], 4)  # a target that stays
    assert later_targets(np.roll(steps, -1)[:, None], steps[:, None], ["a"], ["y"]) == []


def test_nothing_is_told_from_too_few_rows():
    assert given_away(X[:15], (A + B)[:15, None], list("abcd"), ["y"]) == []


def test_copies_are_named_once():
    assert copied_inputs(np.column_stack([A, B, A, A]), list("pqrs")) == [
        "input 'p' is repeated as 'r', 's': one of them is enough, add: --drop r,s"
    ]
    assert copied_inputs(X, list("abcd")) == []


@pytest.mark.parametrize("seed", range(5))
def test_noise_below_the_worst_rounding_is_noise(seed):
    """Thirty rows whose noise is five times what the rounding of three inputs comes to."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(0, 10, (30, 3)).round(1)
    truth = x @ [1, 2, 3]
    assert given_away(x, (truth + rng.normal(0, 0.5, 30)).round(1)[:, None], list("abc"), ["y"]) == []
    unrounded = truth + (rng.uniform(-0.05, 0.05, (30, 3)) @ [1, 2, 3])
    (note,) = given_away(x, unrounded.round(1)[:, None], list("abc"), ["y"])
    assert "to the last digit" in note


def test_a_sum_in_a_large_unit_is_named():
    x = np.array([[float(f"{value:.0f}e-9") for value in row] for row in 10 * X])
    (note,) = given_away(x, x[:, :1] + x[:, 1:2], list("abcd"), ["y"])
    assert "inputs 'a', 'b' add up to target 'y'" in note
    rounded = np.array([[float(f"{value:.2e}")] for value in x[:, 0] + 3 * x[:, 1]])
    (note,) = given_away(x, rounded, list("abcd"), ["y"])
    assert "a weighted sum of the inputs 'a', 'b' gives target 'y'" in note


@pytest.mark.parametrize("shape", ["normal", "skewed", "even"])
@pytest.mark.parametrize("levels", [2, 4])
def test_an_input_that_is_the_target_cut_into_classes_is_named(shape, levels):
    rng = np.random.default_rng(levels)
    y = {"normal": rng.normal(size=400), "skewed": np.exp(rng.normal(size=400)), "even": rng.uniform(0, 300, 400)}[
        shape
    ]
    label = np.digitize(y, np.quantile(y, np.arange(1, levels) / levels)).astype(float)
    x = np.column_stack([rng.normal(size=400), label])
    (note,) = given_away(x, y[:, None], ["load", "state"], ["life"])
    assert f"input 'state' looks like target 'life' cut into {levels} classes" in note and "--drop state" in note


@pytest.mark.parametrize("shift", [3.0, 7.0, 8.0, 30.0])
def test_a_switch_that_the_target_follows_is_left_in_peace(shift):
    for seed in range(10):
        rng = np.random.default_rng(seed)
        state = rng.integers(0, 2, 400) * 1.0
        y = state * shift + rng.normal(size=400)
        assert not given_away(np.column_stack([rng.normal(size=400), state]), y[:, None], ["load", "state"], ["life"])
