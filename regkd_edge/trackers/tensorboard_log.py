"""A run as TensorBoard events in the run folder's ``tensorboard/``."""

from __future__ import annotations

import shutil

import numpy as np

from ..run import RunFolder
from .content import Content

__all__ = ["write"]

_SIDE = 160  # pixels of a scatter


def write(run: RunFolder, content: Content) -> str:
    """Write scalars, histograms, images and texts; events of an earlier report are replaced."""
    from torch.utils.tensorboard import SummaryWriter

    folder = run.file("tensorboard")
    shutil.rmtree(folder, ignore_errors=True)
    with SummaryWriter(str(folder)) as writer:
        for tag, points in content.curves.items():
            for step, value in points:
                writer.add_scalar(tag, value, step)
        for tag, value in content.figures.items():
            writer.add_scalar(f"engines/{tag}", value, 0)
        for tag, microseconds in content.latencies.items():
            writer.add_histogram(f"latency in microseconds/{tag}", microseconds, 0)
        for tag, (truth, answers) in content.scatters.items():
            writer.add_image(f"predicted against true/{tag}", _scatter(truth, answers), 0, dataformats="HW")
        writer.add_text("configuration", _table(content.parameters), 0)
        writer.add_text("files", "\n".join(f"- {path}" for path in content.files), 0)
    return f"tensorboard --logdir {folder}"


def _scatter(
    truth: np.ndarray,  # [n]
    answers: np.ndarray,  # [n]
) -> np.ndarray:  # [h, w] float32 in 0..1
    """A picture of answers (upwards) against the truth, dark dots on white, with the diagonal in grey."""
    both = np.concatenate([truth, answers])
    low, span = both.min(), max(float(np.ptp(both)), 1e-12)
    place = lambda values: np.clip((values - low) / span * (_SIDE - 1), 0, _SIDE - 1).astype(int)
    picture = np.ones((_SIDE, _SIDE), np.float32)
    diagonal = np.arange(_SIDE)
    picture[_SIDE - 1 - diagonal, diagonal] = 0.7
    picture[_SIDE - 1 - place(answers), place(truth)] = 0.0
    return picture


def _table(values: dict[str, object]) -> str:
    return "\n".join(["| field | value |", "|---|---|", *(f"| {key} | {value} |" for key, value in values.items())])
