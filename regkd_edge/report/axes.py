"""SVG drawing: scales, ticks and a frame. Colours are CSS classes, so plots follow the page's colour scheme."""

from __future__ import annotations

import html
import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = [
    "PlotArea",
    "axis_ticks",
    "log_ticks",
    "nice_ticks",
    "number",
    "shortened",
    "text",
    "text_width",
    "tick_labels",
]


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return about ``count`` round numbers inside [low, high], spaced by 1, 2 or 5 times a power of ten."""
    if not high > low:
        return [low]
    raw = (high - low) / max(count, 1)
    power = 10 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    digits = 1 - math.floor(math.log10(step))  # after the decimal point: without the noise of binary numbers
    return [round(i * step, digits) + 0.0 for i in range(first, math.floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Return 1, 2, 5 times powers of ten inside [low, high]; only powers of ten over more than three decades."""
    wide = high / low > 1e3
    found = []
    for exponent in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1):
        found += [m * 10.0**exponent for m in ((1,) if wide else (1, 2, 5))]
    return [v for v in found if low * (1 - 1e-9) <= v <= high * (1 + 1e-9)]


def number(value: float, more: int = 0) -> str:
    """Return a figure in a plot: short, without binary rounding noise, with so many ``more`` digits."""
    if value == 0:
        return "0"
    if abs(value) >= 1e5 or abs(value) < 1e-3:
        mantissa, exponent = f"{value:.{2 + more}e}".split("e")
        return f"{float(mantissa):.{3 + more}g}e{int(exponent)}"
    return f"{value:,.{6 + more}g}" if abs(value) >= 1000 else f"{value:.{4 + more}g}"


def tick_labels(values: Sequence[float]) -> list[str]:
    """Return a label for each tick, with as many digits as tell them apart: 180.02, 180.04 on an axis far from 0."""
    for more in range(12):
        labels = [number(value, more) for value in values]
        if len(set(labels)) == len(labels):
            break
    return labels


def text_width(content: str, size: float = 11.5) -> float:
    """Return about how wide a text is, from above: 0.62 of the font size per character (wide characters: 1)."""
    return size * sum(1.0 if unicodedata.east_asian_width(c) in "WF" else 0.62 for c in content)


def shortened(content: str, room: float, size: float = 12.5) -> str:
    """Return the text, or its start and end with an ellipsis between, so that it fits into ``room`` pixels."""
    if text_width(content, size) <= room:
        return content
    keep = max(2, int(room / (0.62 * size)) - 1)
    while keep > 2 and text_width(content[: keep - keep // 3] + "…" + content[-(keep // 3) :], size) > room:
        keep -= 1
    return content[: keep - keep // 3] + "…" + content[len(content) - keep // 3 :]


def text(x: float, y: float, content: str, css: str = "tick", anchor: str = "middle", turn: bool = False) -> str:
    """Return a text element; the content is escaped here and nowhere else."""
    turned = f' transform="rotate(-90 {x:.1f} {y:.1f})"' if turn else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" class="{css}" text-anchor="{anchor}"{turned}>{html.escape(str(content))}</text>'
    )


_LABELLED = 30  # [pixels] a narrower left margin has no labels of a y axis


@dataclass
class PlotArea:
    """A plot area with linear or logarithmic axes, in pixels of its view box."""

    x: tuple[float, float]
    y: tuple[float, float]
    width: int = 440
    height: int = 330
    left: int = 58
    right: int = 14
    top: int = 14
    bottom: int = 46
    log_x: bool = False
    log_y: bool = False

    def __post_init__(self) -> None:
        self.x, self.y = _opened(*self.x, self.log_x), _opened(*self.y, self.log_y)
        if self.left >= _LABELLED:  # room for the longest tick between the label and the axis
            widest = max(map(text_width, tick_labels(self.y_ticks())), default=0.0)
            self.left = max(self.left, math.ceil(30 + widest))

    def y_ticks(self) -> list[float]:
        return axis_ticks(*self.y) if self.log_y else nice_ticks(*self.y)

    def px(self, values: np.ndarray | float) -> np.ndarray | float:
        return self.left + _share(values, self.x, self.log_x) * (self.width - self.left - self.right)

    def py(self, values: np.ndarray | float) -> np.ndarray | float:
        return self.height - self.bottom - _share(values, self.y, self.log_y) * (self.height - self.top - self.bottom)

    def axes(self, x_label: str, y_label: str) -> list[str]:
        """Return the grid, ticks and labels."""
        bottom, right = self.height - self.bottom, self.width - self.right
        parts = []
        for value, label in zip(ys := self.y_ticks(), tick_labels(ys)):
            y = float(self.py(value))
            parts += [
                f'<line x1="{self.left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>',
                text(self.left - 7, y + 4, label, anchor="end"),
            ]
        taken = -math.inf
        xs = axis_ticks(*self.x) if self.log_x else nice_ticks(*self.x)
        for value, label in zip(xs, tick_labels(xs)):
            x, half = float(self.px(value)), text_width(label) / 2
            parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{self.top}" y2="{bottom}" class="grid"/>')
            if x - half > taken and x + half <= self.width:  # a label that would touch its neighbour is left out
                parts.append(text(x, bottom + 17, label))
                taken = x + half + 6
        parts += [
            text((self.left + right) / 2, self.height - 8, shortened(x_label, right - self.left), "label"),
            text(14, (self.top + bottom) / 2, shortened(y_label, bottom - self.top), "label", turn=True),
        ]
        return parts

    def svg(self, title: str, parts: Sequence[str]) -> str:
        """Return the whole picture; the title is for screen readers."""
        label = html.escape(title, quote=True)
        head = f'<svg viewBox="0 0 {self.width} {self.height}" role="img" aria-label="{label}">'
        return "".join([head, *parts, "</svg>"])


def axis_ticks(low: float, high: float) -> list[float]:
    """Return ticks of a logarithmic axis; over less than two of them, round numbers."""
    found = log_ticks(low, high)
    return found if len(found) > 2 else [v for v in nice_ticks(low, high) if v > 0]


def _share(values: np.ndarray | float, ends: tuple[float, float], log: bool) -> np.ndarray:
    """Return where values lie between the ends of an axis: 0 at the low one, 1 at the high one."""
    low, high = ends
    if log:
        return np.log(np.maximum(values, 1e-300) / low) / math.log(high / low)
    return (np.asarray(values) - low) / (high - low)


def _opened(low: float, high: float, log: bool = False) -> tuple[float, float]:
    """Return a range of positive width, even if all values are equal."""
    if log:
        low, high = max(low, 1e-300), max(high, 1e-300)
        return (low, high) if high > low * 1.02 else (low / 1.5, high * 1.5)
    if high > low:
        return low, high
    pad = abs(low) * 0.05 or 1.0
    return low - pad, high + pad
