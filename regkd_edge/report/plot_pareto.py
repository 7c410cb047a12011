"""The trade: error against what an engine costs, one point per engine, the best trades joined."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .axes import PlotArea, number, text, text_width

__all__ = ["Point", "frontier", "placed_labels", "trade_off"]

Box = tuple[float, float, float, float]  # left, top, right, bottom [pixels]


@dataclass(frozen=True)
class Point:
    """One engine: its number in the legend, what it costs (µs or bytes), its error, and whether it is recommended."""

    label: str
    cost: float
    error: float
    chosen: bool = False


_SAME_ERROR = 1e-4  # relative: not seen in the four digits of a table, and no reason to pay for


def frontier(points: Sequence[Point]) -> list[Point]:
    """Return the points that no other beats in both cost and error, from the cheapest on (Pareto).

    What is more accurate by a rounding of float32 alone is not worth its cost.
    """
    best: list[Point] = []
    for point in sorted(points, key=lambda p: (p.cost, p.error)):
        if not best or point.error < best[-1].error * (1 - _SAME_ERROR):
            best.append(point)
    return best


def trade_off(
    points: Sequence[Point],
    cost: str,
    error: str,
    lines: Sequence[tuple[str, float]] = (),  # name and height of a horizontal line: the teacher's error, a budget
) -> str:
    """Draw error against cost (logarithmic); lower and further left is better."""
    costs, errors = [p.cost for p in points], [*(p.error for p in points), *(height for _, height in lines)]
    low, high = min(errors), max(errors)
    pad = (high - low) * 0.12 or abs(high) * 0.05 or 1.0
    frame = PlotArea((min(costs) / 1.25, max(costs) * 1.25), (max(low - pad, 0.0), high + pad), log_x=True, left=66)
    parts = frame.axes(cost, error)
    centres = [(float(frame.px(p.cost)), float(frame.py(p.error))) for p in points]
    boxes: list[Box] = []
    for name, height in lines:
        y = float(frame.py(height))
        boxes.append(_beside_line(y, text_width(name), frame, [*boxes, *map(_marker, centres)]))
        parts += [
            f'<line x1="{frame.left}" x2="{frame.width - frame.right}" y1="{y:.1f}" y2="{y:.1f}" class="diagonal"/>',
            text(boxes[-1][0], boxes[-1][3] - 2, name, "tick", "start"),
        ]
    steps = frontier(points)
    path = "".join(
        f"{'M' if i == 0 else 'L'}{float(frame.px(p.cost)):.1f} {float(frame.py(p.error)):.1f}"
        for i, p in enumerate(steps)
    )
    if len(steps) > 1:
        parts.append(f'<path d="{path}" class="line s3"/>')
    for point, (x, y) in zip(points, centres):
        title = f"<title>{number(float(f'{point.cost:.3g}'))}, {number(float(f'{point.error:.4g}'))}</title>"
        parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" '
            f'class="dots {"s1" if point.chosen else "s2"} solid">{title}</circle>'
        )
    for point, (x, y) in zip(points, placed_labels([p.label for p in points], centres, frame, boxes)):
        parts.append(text(x, y, point.label, "label"))
    return frame.svg(f"{error} against {cost}", parts)


def _marker(centre: tuple[float, float]) -> Box:
    x, y = centre
    return (x - 6, y - 6, x + 6, y + 6)


def _beside_line(y: float, width: float, frame: PlotArea, taken: Sequence[Box]) -> Box:
    """Return where the name of a horizontal line stands: above it or below it, where it covers nothing."""
    ends = frame.left + 4, frame.width - frame.right - 4 - width
    places = [ends[0] + share * (ends[1] - ends[0]) for share in (0.0, 1.0, 0.5, 0.25, 0.75)]
    options = [(x, y + low, x + width, y + low + 13) for low in (-14, 2) for x in places]
    inside = [box for box in options if box[1] >= 0 and box[3] <= frame.height - frame.bottom]
    free = [box for box in inside if not any(_meet(box, other) for other in taken)]
    return (free or inside or options)[0]


def placed_labels(
    labels: Sequence[str],
    centres: Sequence[tuple[float, float]],
    frame: PlotArea,
    taken: Sequence[Box] = (),
) -> list[tuple[float, float]]:
    """Return where each label stands (middle, base line) so that none covers a point or another label, and each is
    nearest to its own point, if there is such a place."""
    boxes = [*taken, *map(_marker, centres)]
    places = []
    for label, centre in zip(labels, centres):
        half = text_width(label, 12.5) / 2 + 1
        free = [
            (px, py)
            for px, py in _around(centre, half)
            if frame.left <= px - half
            and px + half <= frame.width - 2
            and py - 11 >= 0
            and py + 3 <= frame.height - frame.bottom
            and not any(_meet((px - half, py - 11, px + half, py + 3), other) for other in boxes)
        ]
        own = [place for place in free if _nearest(place, centre, centres)]
        px, py = (own or free or _around(centre, half))[0]
        boxes.append((px - half, py - 11, px + half, py + 3))
        places.append((px, py))
    return places


def _around(centre: tuple[float, float], half: float) -> list[tuple[float, float]]:
    """Return places around a point, the nearest first: above, below, beside, at the corners; then farther away."""
    x, y = centre
    sides = ((0, -1), (0, 1), (1, 0), (-1, 0), (1, -1), (-1, -1), (1, 1), (-1, 1))
    return [(x + sx * (far + half * abs(sx)), y + 4 + sy * (far + 7)) for far in range(7, 77, 10) for sx, sy in sides]


def _nearest(place: tuple[float, float], own: tuple[float, float], centres: Sequence[tuple[float, float]]) -> bool:
    """Whether the middle of a label is clearly nearer to its own point than to any that is not drawn on it."""
    away = lambda centre: math.hypot(place[0] - centre[0], place[1] - 4 - centre[1])
    others = [c for c in centres if math.dist(c, own) > 3]
    return all(away(other) > 1.25 * away(own) for other in others)


def _meet(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
