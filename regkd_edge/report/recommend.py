"""Choice of the engine, from measurements only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .table import percent

__all__ = ["MOST_LOSS", "RULE", "SAME_SPEED", "recommend"]

MOST_LOSS = 0.01  # RMSE increase over the FP32 student that counts as no loss
SAME_SPEED = 0.05  # medians closer than this vary more from run to run than between engines

RULE = (
    f"Of the engines whose RMSE is at most {MOST_LOSS:.0%} above the FP32 student's, the one with the lowest median "
    f"latency at the "
    f"smallest batch; within {SAME_SPEED:.0%} of it, the smallest file. If none is that accurate, the most accurate one."
)


def recommend(rows: Sequence[dict[str, Any]], batches: Sequence[int]) -> dict[str, Any] | None:
    """Apply :data:`RULE` to rows of a report.

    Returns
    -------
    dict or None
        ``name``, ``why`` (one sentence with the figures), ``rule``; None when no engine was both timed and compared.
    """
    if not batches:
        return None
    batch = batches[0]
    key = f"p50_us_b{batch}"
    engines = [
        row for row in rows if row["kind"] == "engine" and row.get(key) is not None and row.get("delta") is not None
    ]
    if not engines:
        return None
    accurate = [row for row in engines if row["delta"] <= MOST_LOSS]
    if not accurate:
        best = min(engines, key=lambda row: row["delta"])
        why = (
            f"no engine is within {MOST_LOSS:.0%} of the FP32 student's RMSE; "
            f"this is the most accurate one ({_delta(best)})"
        )
        return {"name": best["name"], "why": why, "rule": RULE}
    fastest = min(accurate, key=lambda row: row[key])
    near = [row for row in accurate if row[key] <= fastest[key] * (1 + SAME_SPEED)]
    best = min(near, key=lambda row: (row["size_bytes"], row[key]))
    if len(engines) == 1:
        reason = f"it is the only measured engine: p50 {best[key]:.3g} µs at batch {batch}"
    elif best is fastest and len(near) == 1:
        reason = f"it is the fastest at batch {batch}: p50 {best[key]:.3g} µs"
    else:
        others = ", ".join(row["name"] for row in near if row is not best)
        reason = (
            f"at batch {batch} it is as fast as {others} (p50 {best[key]:.3g} µs, within {SAME_SPEED:.0%}) "
            "and the smallest file"
        )
    left_out = [f"{row['name']} loses {row['delta']:.1%}" for row in engines if row not in accurate]
    why = f"{reason}; {_delta(best)}" + (f"; {', '.join(left_out)}" if left_out else "")
    return {"name": best["name"], "why": why, "rule": RULE}


def _delta(row: dict[str, Any]) -> str:
    interval = (
        ""
        if row.get("delta_low") is None
        else f", 95 % interval {percent(row['delta_low'])} to {percent(row['delta_high'])}"
    )
    return f"RMSE {percent(row['delta'])} against the FP32 student{interval}"
