"""Jobs of the compiled core out of numpy arrays, for the tests of this folder. The core needs no torch, so neither do
they.
"""

from __future__ import annotations

import numpy as np
import pytest

core = pytest.importorskip("regkd_edge._core", reason="the compiled core is not installed: pip install -e .")


def address(array: np.ndarray) -> int:
    assert array.flags.c_contiguous
    return array.ctypes.data


def random_params(widths: list[int], rng: np.random.Generator) -> np.ndarray:
    """Flat parameters [P] of an MLP: W_1, b_1, W_2, b_2, ..."""
    parts = []
    for n_in, n_out in zip(widths, widths[1:]):
        parts += [rng.normal(size=n_out * n_in) / np.sqrt(n_in), rng.normal(size=n_out) * 0.3]
    return np.concatenate(parts).astype(np.float32)


class Training:
    """A job with the arrays that it points at; ``result`` holds what a run left behind."""

    def __init__(
        self,
        student: list[int],
        teacher: list[int] | None,
        *,
        rows: int = 100,
        activation: str = "tanh",
        seed: int = 0,
        **fields,
    ):
        rng = np.random.default_rng(seed)
        d, o = student[0], student[-1]
        self.params = random_params(student, rng)
        self.teacher = random_params(teacher, rng) if teacher else None
        self.state = np.zeros((2, self.params.size), np.float32)
        self.x = rng.normal(size=(rows, d)).astype(np.float32)
        self.y = rng.normal(size=(rows, o)).astype(np.float32)
        self.sigma = np.full(d, 0.1, np.float32)
        self.losses = np.zeros((0, 5))
        job = core.Job()
        job.set_student(student, activation)
        if teacher:
            job.set_teacher(teacher, activation, address(self.teacher))
        job.x, job.y, job.rows, job.sigma = address(self.x), address(self.y), rows, address(self.sigma)
        job.params, job.state1, job.state2 = address(self.params), address(self.state[0]), address(self.state[1])
        job.base, job.base_a, job.base_b = "squares", (0.0 if teacher else 1.0), (1.0 if teacher else 0.0)
        job.optimizer, job.total_steps, job.seed = "adam", 1000, 7
        weights = fields.pop("weights", {})
        for term, value in weights.items():
            job.set_weight(term, *value)
        for name, value in fields.items():
            setattr(job, name, value)
        self.job = job

    def run(self, steps: int, **options) -> Training:
        self.losses = np.zeros((steps, 5))
        self.job.losses = address(self.losses)
        core.run([self.job], steps, **options)
        return self

    @property
    def result(self) -> bytes:
        return self.params.tobytes() + self.state.tobytes() + self.losses.tobytes()


WEIGHTS = dict(base=(1.0, 1.0), pm=(1.0, 0.5, 2), abm=(1.0, 0.0), gm=(0.1, 0.1))


def everything(**fields) -> Training:
    """A job with every term: 45 anchors (no multiple of 32), 3 outputs, 2 draws, 2 ascent steps."""
    given = dict(batch=45, draws=2, ascent_steps=2, ascent_sigma=0.1, weights=WEIGHTS)
    return Training([5, 19, 11, 3], [5, 33, 3], **{**given, **fields})
