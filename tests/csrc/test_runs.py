"""Runs of whole steps: the same bits for every number of threads, levels that agree, refusals with their reason."""

from __future__ import annotations

import multiprocessing
import threading

import numpy as np
import pytest
from core_arrays import WEIGHTS, Training, address, core, everything


@pytest.mark.parametrize("optimizer", ["rmsprop", "adam", "adamw"])
def test_the_number_of_threads_does_not_change_a_bit(optimizer):
    alone = everything(optimizer=optimizer).run(6, threads=1).result
    for threads in (2, 3, 5, 0):
        assert everything(optimizer=optimizer).run(6, threads=threads).result == alone


def test_many_short_calls_are_one_long_call():
    whole = everything().run(7)
    parts, losses = everything(), []
    for first, steps in ((0, 3), (3, 1), (4, 3)):
        parts.job.first_step = first
        losses.append(parts.run(steps).losses)
    assert parts.params.tobytes() == whole.params.tobytes()
    np.testing.assert_array_equal(np.concatenate(losses), whole.losses)


def test_jobs_together_are_each_job_alone():
    alone = [everything(seed=s, rate=r).run(5) for s, r in ((1, 1e-3), (2, 3e-3), (3, 1e-2))]
    together = [everything(seed=s, rate=r) for s, r in ((1, 1e-3), (2, 3e-3), (3, 1e-2))]
    core.run([t.job for t in together], 5)
    for a, b in zip(alone, together):
        assert a.params.tobytes() == b.params.tobytes()


@pytest.mark.parametrize("activation", core.ACTIVATIONS)
def test_simd_levels_agree(activation):
    """x86-64-v2 has no fused multiply-add: roundings differ, and RMSprop's ascent turns the sign of a tiny gradient
    into a step, so levels are compared without ascent."""
    gradients = []
    for level in core.simd_levels_available():
        job = everything(activation=activation, optimizer="none", ascent_steps=0)
        gradient = np.empty_like(job.params)
        job.job.grad = address(gradient)
        job.run(1, level=level)
        gradients.append(gradient)
    for other in gradients[1:]:
        # relative to the largest entry: sums of 100 points in float32
        np.testing.assert_allclose(other, gradients[0], atol=2e-6 * np.abs(gradients[0]).max())


def test_training_on_labels_alone_learns_a_function():
    run = Training([2, 32, 1], None, rows=400, batch=50, rate=1e-2, total_steps=3000, rate_schedule="cosine")
    run.y[:] = np.sin(2 * run.x[:, :1]) * run.x[:, 1:]
    before = run.run(1).losses[0, 1]
    run.job.first_step = 1
    after = run.run(2999).losses[-200:, 1].mean()
    assert before > 0.1 and after < 5e-3


def test_the_loss_of_a_run_falls_when_a_student_follows_its_teacher():
    run = Training(
        [4, 16, 1],
        [4, 64, 1],
        rows=200,
        batch=40,
        draws=1,
        rate=1e-2,
        total_steps=1500,
        weights=dict(pm=(1.0, 1.0), gm=(0.1, 0.1)),
    )
    losses = run.run(1500).losses
    assert losses[-100:, 0].mean() < 0.02 * losses[:5, 0].mean()
    np.testing.assert_allclose(losses[:, 0], losses[:, 1] + losses[:, 2] + np.float32(0.1) * losses[:, 4], rtol=1e-12)


def test_the_gradient_is_the_slope_of_the_loss():
    """Along a random direction, by central differences: float32 losses bound the accuracy to about 1e-3."""
    weights = dict(base=(1.0, 1.0), pm=(1.0, 1.0), gm=(0.5, 0.5))
    # without ascended points: they move with the student, and the gradient holds them still
    job = everything(optimizer="none", gm_on=3, weights={**WEIGHTS, **weights, "abm": (0.0, 0.0)})
    gradient = np.empty_like(job.params)
    job.job.grad = address(gradient)
    job.run(1)
    direction = np.random.default_rng(1).normal(size=gradient.size)
    direction /= np.linalg.norm(direction)
    start, h, values = job.params.copy(), 1e-2, []
    for sign in (1, -1):
        job.params[:] = start + sign * h * direction
        values.append(job.run(1).losses[0, 0])
    assert (values[0] - values[1]) / (2 * h) == pytest.approx(gradient @ direction, rel=5e-3)


def test_predictions_and_jacobian():
    run = Training([6, 20, 9, 2], None, rows=70)
    y, jacobian = np.empty((70, 2), np.float32), np.empty((70, 2, 6), np.float32)
    widths = [6, 20, 9, 2]
    core.predict(widths, "tanh", address(run.params), address(run.x), 70, address(y), address(jacobian))
    a, at, slopes = run.x.astype(np.float64), 0, []
    for i, (n_in, n_out) in enumerate(zip(widths, widths[1:])):
        w = run.params[at : at + n_in * n_out].reshape(n_out, n_in).astype(np.float64)
        z = a @ w.T + run.params[at + n_in * n_out : at + n_in * n_out + n_out]
        a = np.tanh(z) if i < 2 else z
        slopes.append((w, 1 - a * a if i < 2 else np.ones_like(a)))
        at += n_out * (n_in + 1)
    j = np.broadcast_to(np.eye(6), (70, 6, 6))
    for w, s1 in slopes:
        j = s1[:, :, None] * (w @ j)
    np.testing.assert_allclose(y, a, atol=2e-6)
    np.testing.assert_allclose(jacobian, j, atol=5e-6)


@pytest.mark.parametrize(
    "fields, words",
    [
        (dict(base="tbr"), "tbr needs the teacher's error"),
        (dict(base="tor"), "outlier flag"),
        (dict(y=0, base_a=1.0), "labelled rows"),
        (dict(draws=0), "at least 1 draw"),
        (dict(sigma=0), "sigma"),
        (dict(batch=0), "batch"),
        (dict(weights=dict.fromkeys(core.TERMS, (0.0, 0.0))), "no term"),
        (dict(gm_on=0, weights=dict(base=(0.0, 0.0), pm=(0.0, 0.0), abm=(0.0, 0.0))), "no active term makes"),
        (dict(cotangents=40000), "cotangents"),
    ],
)
def test_what_the_core_does_not_do_is_refused_with_the_reason(fields, words):
    given = dict(fields)
    weights = {**WEIGHTS, **given.pop("weights", {})}
    job = everything(weights=weights, **given)
    assert words in core.refuses(job.job)
    with pytest.raises(ValueError, match="fused core cannot run"):
        job.run(1)


def test_a_width_beyond_the_limit_is_refused():
    assert core.refuses(Training([3, core.MAX_WIDTH, 1], None).job) is None
    assert "1025" in core.refuses(Training([3, core.MAX_WIDTH + 1, 1], None).job)


def test_a_schedule_does_not_run_past_its_end():
    job = everything(rate_schedule="linear", total_steps=3)
    with pytest.raises(ValueError, match="ends at step 3"):
        job.run(4)


def test_an_unknown_simd_level_is_an_error_that_names_the_known_ones():
    with pytest.raises(RuntimeError, match="available"):
        everything().run(1, level="v9")


def test_two_python_threads_may_run_at_once():
    """The second caller finds the pool taken and works on its own thread."""
    expected = everything().run(40).result
    runs = [everything() for _ in range(4)]
    threads = [threading.Thread(target=r.run, args=(40,), kwargs={"threads": 2}) for r in runs]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert all(r.result == expected for r in runs)


def _in_child(queue):
    queue.put(everything().run(5, threads=2).result)


def test_a_forked_child_makes_threads_of_its_own():
    expected = everything().run(5, threads=2).result  # the parent's pool exists now
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_in_child, args=(queue,))
    child.start()
    assert queue.get(timeout=60) == expected
    child.join(timeout=60)
    assert child.exitcode == 0
