"""Teachers with one hidden layer, whose passes 1 and 2 are one walk on the CPU, against numpy in float64."""

from __future__ import annotations

import numpy as np
import pytest
from core_arrays import Training, core


def answer_and_slope(flat: np.ndarray, widths: list[int], x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Outputs [N, o] and their Jacobian [N, o, d] of a network d - h - o with tanh."""
    d, h, o = widths
    cuts = np.cumsum([h * d, h, o * h, o])
    w, b, v, c = np.split(flat.astype(np.float64), cuts[:-1])
    a = np.tanh(x.astype(np.float64) @ w.reshape(h, d).T + b)
    return a @ v.reshape(o, h).T + c, np.einsum("oh,nh,hd->nod", v.reshape(o, h), 1 - a * a, w.reshape(h, d))


# Hidden widths around the chunk of 48 units and the levels' rows in registers; 4 outputs are the most for this path.
WIDTHS = [(1, 1, 1), (13, 500, 1), (3, 47, 2), (5, 48, 3), (70, 49, 4), (2, 97, 5)]


@pytest.mark.parametrize("level", core.simd_levels_available())
@pytest.mark.parametrize("d,hidden,outputs", WIDTHS)
def test_losses_of_values_and_gradients_against_float64(d, hidden, outputs, level):
    """Without noise the points are the rows, so the losses are |S - T|^2 and |dS - dT|^2 at rows that are known."""
    student, teacher, rows = [d, 6, outputs], [d, hidden, outputs], 75  # 75: two tiles and one of 11 rows
    weights = {"pm": (1.0, 1.0)}
    if outputs == 1:  # with more, gradients are matched one cotangent after the other, and the ordinary passes serve
        weights["gm"] = (1.0, 1.0)
    run = Training(student, teacher, rows=rows, batch=rows, draws=1, gm_on=2, weights=weights, optimizer="rmsprop")
    run.sigma[:] = 0.0
    run.job.base = "none"
    before = run.params.copy()
    losses = run.run(1, level=level).losses[0]
    (s, ds), (t, dt) = answer_and_slope(before, student, run.x), answer_and_slope(run.teacher, teacher, run.x)
    assert losses[2] == pytest.approx(((s - t) ** 2).sum(1).mean(), rel=2e-5)
    if outputs == 1:
        assert losses[4] == pytest.approx(((ds - dt) ** 2).sum((1, 2)).mean(), rel=2e-5)


@pytest.mark.parametrize("level", core.simd_levels_available())
def test_a_search_follows_the_gradient_of_the_gap(level):
    """One normalised step of the search moves each row along the gradient of (S - T)^2, by the step's length."""
    d, length = 4, 0.05
    student, teacher = [d, 6, 1], [d, 60, 1]
    run = Training(
        student, teacher, rows=40, batch=40, weights={"abm": (1.0, 1.0)}, optimizer="rmsprop", ascent_steps=1,
        ascent_rule="normalised", ascent_size=length, ascent_sigma=0.0, ascent_from_anchor=1, ascent_ridge=0.0,
        ascent_decay=0.0,
    )  # fmt: skip
    run.job.base = "none"
    before = run.params.copy()
    found = run.run(1, level=level).losses[0, 3]
    (s, ds), (t, dt) = answer_and_slope(before, student, run.x), answer_and_slope(run.teacher, teacher, run.x)
    up = (s - t) * (ds - dt)[:, 0]
    moved = run.x.astype(np.float64) + length * up / np.linalg.norm(up, axis=1, keepdims=True)
    gap = answer_and_slope(before, student, moved)[0] - answer_and_slope(run.teacher, teacher, moved)[0]
    assert found == pytest.approx((gap**2).mean(), rel=2e-5)
    assert found > ((s - t) ** 2).mean()
