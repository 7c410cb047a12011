"""The trade: error against what an engine costs, one point per engine, the best trades joined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .axes import PlotArea, number, text, text_width

__all__ = ["Point", "frontier", "placed_labels", "trade_off"]


@dataclass(frozen=True)
class Point:
    """One engine: its number in the legend, what it costs (µs or bytes), its error, and whether it is recommended."""

    label: str
    cost: float
    error: float
    chosen: bool = False


def frontier(points: Sequence[Point]) -> list[Point]:
    """Return the points that no other beats in both cost and error, from the cheapest on (Pareto)."""
    best: list[Point] = []
    for point in sorted(points, key=lambda p: (p.cost, p.error)):
        if not best or point.error < best[-1].error:
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
    boxes: list[tuple[float, float, float, float]] = []
    for k, (name, height) in enumerate(lines):
        y = float(frame.py(height))
        width = text_width(name)
        x = frame.left + 4 if k % 2 == 0 else frame.width - frame.right - 4 - width
        box = (x, y - 14, x + width, y - 1)
        if any(_meet(box, other) for other in boxes):
            box = (x, y + 3, x + width, y + 15)
        boxes.append(box)
        parts += [
            f'<line x1="{frame.left}" x2="{frame.width - frame.right}" y1="{y:.1f}" y2="{y:.1f}" class="diagonal"/>',
            text(x, box[3] - 2, name, "tick", "start"),
        ]
    steps = frontier(points)
    path = "".join(
        f"{'M' if i == 0 else 'L'}{float(frame.px(p.cost)):.1f} {float(frame.py(p.error)):.1f}"
        for i, p in enumerate(steps)
    )
    if len(steps) > 1:
        parts.append(f'<path d="{path}" class="line s3"/>')
    centres = [(float(frame.px(p.cost)), float(frame.py(p.error))) for p in points]
    for point, (x, y) in zip(points, centres):
        title = f"<title>{number(float(f'{point.cost:.3g}'))}, {number(float(f'{point.error:.4g}'))}</title>"
        parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" '
            f'class="dots {"s1" if point.chosen else "s2"} solid">{title}</circle>'
        )
    for point, (x, y) in zip(points, placed_labels([p.label for p in points], centres, frame, boxes)):
        parts.append(text(x, y, point.label, "label"))
    return frame.svg(f"{error} against {cost}", parts)


def placed_labels(
    labels: Sequence[str],
    centres: Sequence[tuple[float, float]],
    frame: PlotArea,
    taken: Sequence[tuple[float, float, float, float]] = (),
) -> list[tuple[float, float]]:
    """Return where each label stands (middle, base line) so that none covers a point or another label."""
    boxes = [*taken, *((x - 6, y - 6, x + 6, y + 6) for x, y in centres)]
    places = []
    for label, (x, y) in zip(labels, centres):
        half = text_width(label, 12.5) / 2 + 1
        options = []
        for ring in range(1, 8):
            r = 4 + 10 * ring
            options += [
                (x + sx * (r + half * abs(sx)), y + sy * (r - 2) + 4)
                for sy in (-1, 0, 1)
                for sx in (0, 1, -1)
                if sx or sy
            ]
        for px, py in options:
            box = (px - half, py - 11, px + half, py + 3)
            inside = (
                box[0] >= frame.left
                and box[2] <= frame.width - 2
                and box[1] >= 0
                and box[3] <= frame.height - frame.bottom
            )
            if inside and not any(_meet(box, other) for other in boxes):
                break
        else:
            px, py = options[0]
            box = (px - half, py - 11, px + half, py + 3)
        boxes.append(box)
        places.append((px, py))
    return places


def _meet(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
