"""The distribution of the latency: one strip per engine on a common axis, its figures in words above it."""

from __future__ import annotations

import html
from collections.abc import Mapping

import numpy as np

from ..io.text import significant
from .axes import PlotArea, axis_ticks, number, text, text_width

__all__ = ["axis_ends", "axis_of", "latency_strip", "strip_caption"]

_HEIGHT, _FLOOR = 52, 46
_ENOUGH_FOR_P99 = 1000


def axis_ends(raw: Mapping[str, np.ndarray]) -> tuple[float, float]:
    """Return the common axis in microseconds: from the fastest request to a little beyond the largest p99."""
    low = min(float(ns.min()) for ns in raw.values()) / 1000
    high = max(float(np.quantile(ns, 0.99)) for ns in raw.values()) / 1000
    return low / 1.05, max(high * 1.1, low * 1.3) * 1.05


def strip_caption(
    name: str,
    ns: np.ndarray,  # [samples] nanoseconds
    ends: tuple[float, float],
) -> str:
    """Return the figures of a strip in words, as text beside the drawing: it can wrap, and labels cannot overlap."""
    us = ns / 1000
    said = [f"p50 {_micro(us, 0.5)}"]
    if len(ns) >= _ENOUGH_FOR_P99:
        said.append(f"p99 {_micro(us, 0.99)}")
    said.append(f"{len(ns):,} requests")
    beyond = int((us > ends[1]).sum())
    if beyond:
        said.append(f"{beyond:,} beyond the axis, the longest {significant(float(us.max()), 3)} µs")
    return f"{name}: {', '.join(said)}"


def latency_strip(
    name: str,
    ns: np.ndarray,  # [samples] nanoseconds
    ends: tuple[float, float],
    chosen: bool = False,
) -> str:
    """Draw the share of the requests over the time, with marks at p50 and p99 (if there are enough requests)."""
    low, high = ends
    frame = _frame(ends, _HEIGHT)
    us = ns / 1000
    edges = np.geomspace(low, high, 121)
    counts = np.histogram(us, edges)[0].astype(float)
    smooth = np.convolve(counts, [0.25, 0.5, 0.25], mode="same")  # smooths the comb of a clock with steps of tens of ns
    x = frame.px(np.sqrt(edges[1:] * edges[:-1]))
    y = _FLOOR - smooth / max(smooth.max(), 1) * (_FLOOR - 6)
    area = f"M{x[0]:.1f} {_FLOOR}" + "".join(f"L{a:.1f} {b:.1f}" for a, b in zip(x, y)) + f"L{x[-1]:.1f} {_FLOOR}Z"
    parts = [
        f'<path d="{area}" class="area {"s1" if chosen else "s3"}"/>',
        f'<line x1="{frame.left}" x2="{frame.width - frame.right}" y1="{_FLOOR}" y2="{_FLOOR}" class="axis"/>',
    ]
    for label, q in (("p50", 0.5), *((("p99", 0.99),) if len(ns) >= _ENOUGH_FOR_P99 else ())):
        at = float(np.quantile(us, q))
        if low <= at <= high:
            px = float(frame.px(at))
            tip = html.escape(f"{label} {_micro(us, q)}")
            parts.append(
                f'<line x1="{px:.1f}" x2="{px:.1f}" y1="2" y2="{_FLOOR}" class="mark"><title>{tip}</title></line>'
            )
    return frame.svg(f"latency of {strip_caption(name, ns, ends)}", parts)


def axis_of(ends: tuple[float, float]) -> str:
    """Draw the axis that the strips above it share."""
    frame = _frame(ends, 22)
    parts, taken = [], -1e9
    for value in axis_ticks(*ends):
        x, half = float(frame.px(value)), text_width(number(value)) / 2
        if x - half > taken and x + half < frame.width:
            parts += [
                f'<line x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="5" class="axis"/>',
                text(x, 17, number(value)),
            ]
            taken = x + half + 6
    return frame.svg("microseconds per request, logarithmic", parts)


def _frame(ends: tuple[float, float], height: int) -> PlotArea:
    return PlotArea(ends, (0, 1), width=440, height=height, left=10, right=10, top=0, bottom=0, log_x=True)


def _micro(us: np.ndarray, q: float) -> str:
    return f"{significant(float(np.quantile(us, q)), 3)} µs"
