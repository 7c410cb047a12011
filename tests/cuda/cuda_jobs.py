"""Training jobs on numpy arrays, small and odd-shaped, for the CPU core and for the emulated CUDA kernel alike."""

from __future__ import annotations

import numpy as np


class Case:
    """A job and the arrays that its pointers point at. ``Case(**changes)`` starts from a step with every term."""

    def __init__(
        self,
        core,
        *,
        student=(5, 9, 7, 2),
        teacher=(5, 12, 6, 2),
        student_activation="tanh",
        teacher_activation="silu",
        rows=70,
        batch=41,
        seed=3,
        weights=None,
        optimizer="adam",
        steps=1,
        total=10,
        first_step=2,
        data=True,
        stored=True,
        low=None,
        high=None,
        row_arrays=(),
        **fields,
    ):
        rng = np.random.default_rng(seed)
        d, o = student[0], student[-1]
        self.steps, self.widths = steps, student
        self.arrays = {
            "params": self.network(rng, student),
            "state1": np.zeros(self.count(student), np.float32),
            "state2": np.zeros(self.count(student), np.float32),
            "grad": np.full(self.count(student), np.nan, np.float32),
            "losses": np.full((steps, 5), np.nan),
            "sigma": rng.uniform(0.05, 0.2, d).astype(np.float32),
        }
        if data:
            self.arrays["x"] = rng.standard_normal((rows, d)).astype(np.float32)
            self.arrays["y"] = rng.standard_normal((rows, o)).astype(np.float32)
            if stored:
                self.arrays["t"] = rng.standard_normal((rows, o)).astype(np.float32)
        for name in row_arrays:
            self.arrays[name] = (rng.random(rows) < 0.3 if name == "row_outlier" else rng.random(rows)).astype(
                np.float32
            )
        for name, bound in (("low", low), ("high", high)):
            if bound is not None:
                self.arrays[name] = np.full(d, bound, np.float32)
        job = self.job = core.Job()
        job.set_student(list(student), student_activation)
        self.teacher = (list(teacher), teacher_activation) if teacher else None
        if teacher:
            self.arrays["teacher"] = self.network(rng, teacher)
            job.set_teacher(*self.teacher, self.arrays["teacher"].ctypes.data)
        for term, (start, end) in (weights or {"base": (1, 1), "pm": (1, 1), "abm": (1, 0), "gm": (0.1, 0.1)}).items():
            job.set_weight(term, start, end, 1)
        settings = dict(
            draws=2,
            ascent_steps=2,
            ascent_sigma=0.1,
            ascent_decay=1e-5,
            ascent_ridge=1e-5,
            base_a=0.3,
            base_b=0.7,
            rate=1e-2,
        )
        settings.update(
            rows=rows, batch=batch, seed=seed, total_steps=total, first_step=first_step, optimizer=optimizer, **fields
        )
        for name, value in settings.items():
            setattr(job, name, value)
        for name, array in self.arrays.items():
            if name != "teacher":
                setattr(job, name, array.ctypes.data)

    @staticmethod
    def count(widths) -> int:
        return sum(b * (a + 1) for a, b in zip(widths, widths[1:]))

    @staticmethod
    def network(rng, widths) -> np.ndarray:  # flat: W_1, b_1, W_2, ...
        parts = []
        for n_in, n_out in zip(widths, widths[1:]):
            parts += [rng.uniform(-1, 1, n_out * n_in) / np.sqrt(n_in), rng.uniform(-1, 1, n_out) / np.sqrt(n_in)]
        return np.concatenate(parts).astype(np.float32)

    def results(self) -> dict[str, np.ndarray]:
        return {name: self.arrays[name].copy() for name in ("params", "state1", "state2", "grad", "losses")}


def assert_close(found: dict[str, np.ndarray], expected: dict[str, np.ndarray], tolerance: float) -> None:
    """Each array to ``tolerance`` of its largest entry: float32 sums of a few thousand terms in another order.
    Parameters have one exception.

    Adam and RMSprop move a parameter by its gradient over the gradient's size: where that is near 0, the last bits of a
    sum decide. One parameter in a thousand may be off by a thousandth of the largest.
    """
    for name, value in expected.items():
        scale = np.abs(value[np.isfinite(value)]).max(initial=1e-30)
        got, want = found[name] / scale, value / scale
        if name == "params" and got.shape == want.shape:
            moved = np.abs(got - want) > tolerance
            if moved.mean() <= 1e-3:
                np.testing.assert_allclose(got, want, rtol=0, atol=max(tolerance, 1e-3), err_msg=name)
                continue
        np.testing.assert_allclose(got, want, rtol=0, atol=tolerance, err_msg=name)
