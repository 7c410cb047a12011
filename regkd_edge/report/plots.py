"""The three plots: predicted versus true, error by range of the target, latency distribution."""

from __future__ import annotations

import html
from collections.abc import Mapping

import numpy as np

from .axes import Frame, log_ticks, number, text

__all__ = ["MOST_POINTS", "error_by_range", "latency_distribution", "predicted_against_true", "range_edges"]

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
    frame = Frame((low, high), (low, high), height=400)
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
    frame = Frame((float(edges[0]), float(edges[-1])), (0.0, top * 1.06 or 1.0), height=400)
    parts = frame.axes(f"true {label}", f"RMSE ({label})")
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


def latency_distribution(
    raw: Mapping[str, np.ndarray],  # engine -> nanoseconds [samples]
    batch: int,
    chosen: str | None = None,
) -> str:
    """Draw one strip per engine: requests over a logarithmic time axis, p50 and p99 marked, ``chosen`` highlighted.

    The axis ends a little beyond the largest p99; each strip states how many requests lie beyond it.
    """
    low = min(float(ns.min()) for ns in raw.values()) / 1000
    high = max(float(np.quantile(ns, 0.99)) for ns in raw.values()) / 1000
    low, high = low / 1.05, max(high * 1.1, low * 1.3) * 1.05
    strip, top = 74, 8
    frame = Frame(
        (low, high),
        (0, 1),
        width=900,
        height=top + strip * len(raw) + 42,
        left=14,
        right=14,
        top=top,
        bottom=42,
        log_x=True,
    )
    base = frame.height - frame.bottom
    parts = []
    for value in log_ticks(low, high):
        x = float(frame.px(value))
        parts += [
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{base}" class="grid"/>',
            text(x, base + 17, number(value)),
        ]
    parts.append(
        text(
            (frame.left + frame.width - frame.right) / 2,
            frame.height - 6,
            f"microseconds per request of {batch} row{'s' if batch > 1 else ''} (logarithmic)",
            "label",
        )
    )
    edges = np.geomspace(low, high, 121)
    for i, (name, ns) in enumerate(raw.items()):
        us = ns / 1000
        floor = top + strip * (i + 1) - 4
        css = "s1" if name == chosen else "s3"
        counts = np.histogram(us, edges)[0].astype(float)
        smooth = np.convolve(
            counts, [0.25, 0.5, 0.25], mode="same"
        )  # smooths the comb of a clock with steps of tens of ns
        x = frame.px(np.sqrt(edges[1:] * edges[:-1]))
        y = floor - smooth / max(smooth.max(), 1) * (strip - 30)
        area = f"M{x[0]:.1f} {floor}" + "".join(f"L{a:.1f} {b:.1f}" for a, b in zip(x, y)) + f"L{x[-1]:.1f} {floor}Z"
        parts += [
            f'<path d="{area}" class="area {css}"/>',
            f'<line x1="{frame.left}" x2="{frame.width - frame.right}" y1="{floor}" y2="{floor}" class="axis"/>',
        ]
        beyond = int((us > high).sum())
        tail = f" · {beyond} beyond the axis, longest {number(float(us.max()))} µs" if beyond else ""
        parts.append(text(frame.left + 2, floor - strip + 20, f"{name} · n = {len(ns):,}{tail}", "strip", "start"))
        quantiles = [("p50", 0.5)] + ([("p99", 0.99)] if len(ns) >= 1000 else [])
        for label, q in quantiles:
            at = float(np.quantile(us, q))
            if low <= at <= high:
                px = float(frame.px(at))
                right = px > frame.width - 130
                parts += [
                    f'<line x1="{px:.1f}" x2="{px:.1f}" y1="{floor - strip + 28}" y2="{floor}" class="mark"/>',
                    text(
                        px + (-5 if right else 5),
                        floor - strip + 40,
                        f"{label} {number(float(f'{at:.3g}'))}",
                        "tick",
                        "end" if right else "start",
                    ),
                ]
    return frame.svg(f"distribution of the latency at batch {batch}", parts)


def _padded(low: float, high: float) -> tuple[float, float]:
    pad = (high - low) * 0.04 or 1.0
    return float(low - pad), float(high + pad)
