"""Plots of errors: predicted versus true, error by range of the target, residuals over an input."""

from __future__ import annotations

import html
from collections.abc import Mapping

import numpy as np

from ..measure.accuracy import unit_of
from .axes import PlotArea, number

__all__ = [
    "MOST_POINTS",
    "error_by_range",
    "influence",
    "predicted_against_true",
    "range_edges",
    "residuals_over",
]

MOST_POINTS = 700  # per scatter plot: more only makes the page larger and the plot darker


def predicted_against_true(
    truth: np.ndarray,  # [n]
    series: Mapping[str, tuple[str, np.ndarray]],  # name -> (CSS class, [n])
    label: str,
) -> str:
    """Draw a scatter with the diagonal, later series on top; at most :data:`MOST_POINTS` rows, the same per series."""
    pick = np.arange(len(truth))
    if len(truth) > MOST_POINTS:
        pick = np.sort(np.random.default_rng(0).choice(len(truth), MOST_POINTS, replace=False))
    values = np.concatenate([truth[pick], *(p[pick] for _, p in series.values())])
    low, high = _padded(values.min(), values.max())
    frame = PlotArea((low, high), (low, high), height=360)
    parts = frame.axes(f"true {label}", f"predicted {label}")
    parts.append(
        f'<line x1="{frame.px(low):.1f}" y1="{frame.py(low):.1f}" x2="{frame.px(high):.1f}" '
        f'y2="{frame.py(high):.1f}" class="diagonal"/>'
    )
    for css, predicted in series.values():
        dots = "".join(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6"/>'
            for x, y in zip(frame.px(truth[pick]), frame.py(predicted[pick]))
        )
        parts.append(f'<g class="dots {css}">{dots}</g>')
    return frame.svg(f"predicted versus true {label}", parts)


def range_edges(
    truth: np.ndarray,  # [n]
    most: int = 10,
) -> np.ndarray:  # [bins + 1]
    """Return the edges of up to ``most`` ranges with about equal row counts; few distinct values get one range each."""
    distinct = np.unique(truth)
    if len(distinct) <= most:
        middle = (distinct[1:] + distinct[:-1]) / 2
        half = np.diff(distinct).min() / 2 if len(distinct) > 1 else 0.5
        return np.concatenate([[distinct[0] - half], middle, [distinct[-1] + half]])
    return np.unique(np.quantile(truth, np.linspace(0, 1, most + 1)))


def error_by_range(
    truth: np.ndarray,  # [n]
    series: Mapping[str, tuple[str, np.ndarray]],  # name -> (CSS class, [n])
    label: str,
) -> str:
    """Draw the RMSE inside each range of the true value, as steps."""
    edges = range_edges(truth)
    bins = np.clip(np.searchsorted(edges, truth, side="right") - 1, 0, len(edges) - 2)
    rows = np.bincount(bins, minlength=len(edges) - 1)
    heights = {}
    for name, (_, predicted) in series.items():
        squares = np.bincount(bins, weights=(predicted - truth) ** 2, minlength=len(edges) - 1)
        heights[name] = np.sqrt(squares / np.maximum(rows, 1))
    top = max(float(h.max()) for h in heights.values())
    frame = PlotArea((float(edges[0]), float(edges[-1])), (0.0, top * 1.06 or 1.0), height=360)
    parts = frame.axes(f"true {label}", f"RMSE ({unit_of(label) or label})")
    for name, (css, _) in series.items():
        x, y = frame.px(edges), frame.py(heights[name])
        path = f"M{x[0]:.1f} {y[0]:.1f}" + "".join(
            f"H{x[i + 1]:.1f}" + (f"V{y[i + 1]:.1f}" if i + 1 < len(y) else "") for i in range(len(y))
        )
        tips = "".join(
            f'<rect x="{x[i]:.1f}" y="{y[i] - 5:.1f}" width="{max(x[i + 1] - x[i], 1):.1f}" height="10" '
            f'class="tip"><title>{_tip(name, edges[i], edges[i + 1], rows[i], heights[name][i])}</title></rect>'
            for i in range(len(y))
        )
        parts.append(f'<path d="{path}" class="line {css}"/>{tips}')
    return frame.svg(f"RMSE by range of {label}", parts)


def _tip(name: str, low: float, high: float, rows: int, value: float) -> str:
    return html.escape(
        f"{name}: {number(float(low))} to {number(float(high))}, {rows} rows, RMSE {number(float(value))}"
    )


def influence(
    inputs: np.ndarray,  # [n, d]
    truth: np.ndarray,  # [n]
) -> np.ndarray:  # [d]
    """Return the share of the target's variance that the ranges of each single input explain (correlation ratio)."""
    variance = truth.var()
    shares = np.zeros(inputs.shape[1])
    for j, column in enumerate(inputs.T):
        edges = range_edges(column)
        bins = np.clip(np.searchsorted(edges, column, side="right") - 1, 0, len(edges) - 2)
        rows = np.bincount(bins, minlength=len(edges) - 1)
        means = np.bincount(bins, weights=truth, minlength=len(edges) - 1) / np.maximum(rows, 1)
        between = float((rows * (means - truth.mean()) ** 2).sum() / len(truth))
        shares[j] = between / variance if variance > 0 else 0.0
    return shares


def residuals_over(
    values: np.ndarray,  # [n] of an input
    residuals: Mapping[str, tuple[str, np.ndarray]],  # name -> (CSS class, predicted - true [n]); the last has the band
    label: str,
    target: str,
) -> str:
    """Draw the mean residual inside each range of an input;
    the last series with the band that holds 80 % of its rows."""
    edges = range_edges(values)
    bins = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    filled = [i for i in range(len(edges) - 1) if (bins == i).any()]
    *_, (last_css, last) = residuals.values()
    band = {i: np.quantile(last[bins == i], [0.1, 0.9]) for i in filled}
    means = {name: {i: float(r[bins == i].mean()) for i in filled} for name, (_, r) in residuals.items()}
    heights = [0.0, *(v for ends in band.values() for v in ends), *(v for m in means.values() for v in m.values())]
    frame = PlotArea((float(edges[0]), float(edges[-1])), _padded(min(heights), max(heights)), height=300, left=66)
    parts = frame.axes(label, f"predicted − true ({unit_of(target) or target})")
    zero = float(frame.py(0.0))
    for i in filled:
        x0, x1 = float(frame.px(edges[i])), float(frame.px(edges[i + 1]))
        y0, y1 = float(frame.py(band[i][1])), float(frame.py(band[i][0]))
        parts.append(
            f'<rect x="{x0:.1f}" y="{y0:.1f}" width="{max(x1 - x0, 1):.1f}" height="{max(y1 - y0, 1):.1f}" '
            f'class="band {last_css}"/>'
        )
    parts.append(
        f'<line x1="{frame.left}" x2="{frame.width - frame.right}" y1="{zero:.1f}" y2="{zero:.1f}" class="diagonal"/>'
    )
    for name, (css, _) in residuals.items():
        path = "".join(
            f"M{float(frame.px(edges[i])):.1f} "
            f"{float(frame.py(means[name][i])):.1f}H{float(frame.px(edges[i + 1])):.1f}"
            for i in filled
        )
        parts.append(f'<path d="{path}" class="line {css}"/>')
    return frame.svg(f"residuals of {target} over {label}", parts)


def _padded(low: float, high: float) -> tuple[float, float]:
    pad = (high - low) * 0.04 or 1.0
    return float(low - pad), float(high + pad)
