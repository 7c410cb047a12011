"""Choice of the engine, from measurements only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .table import figure, percent

__all__ = ["MOST_LOSS", "RULE", "SAME_SPEED", "recommend", "worst"]

MOST_LOSS = 0.01  # RMSE increase over the FP32 student that counts as no loss
SAME_SPEED = 0.05  # medians closer than this vary more from run to run than between engines

RULE = (
    "Of the engines that answer as their graph, that keep the error budget, if one was given, and whose RMSE is at "
    f"most {MOST_LOSS:.0%} above the FP32 student's in every target, the one with the lowest median latency at "
    f"the smallest batch; within {SAME_SPEED:.0%} of it, the smallest file, of equal ones the most accurate. If none "
    "is that accurate, the most accurate one."
)


def recommend(rows: Sequence[dict[str, Any]], batches: Sequence[int]) -> dict[str, Any] | None:
    """Apply :data:`RULE` to rows of a report.

    Returns
    -------
    dict or None
        ``name``, ``why`` (one sentence with the figures), ``rule``; None when no engine was both timed and compared, or
        all failed the comparison with their graph.
    """
    if not batches:
        return None
    batch = batches[0]
    key = f"p50_us_b{batch}"
    engines = [
        row
        for row in rows
        if row["kind"] == "engine"
        and not row.get("failed")
        and row.get(key) is not None
        and worst(row)["delta"] is not None
    ]
    if not engines:
        return None
    kept = [row for row in engines if row.get("passed") is not False]
    accurate = [row for row in kept or engines if worst(row)["delta"] <= MOST_LOSS]
    broken = "" if kept else "no engine keeps the error budget; "
    if not accurate:
        best = min(kept or engines, key=lambda row: worst(row)["delta"])
        why = (
            f"{broken}no engine is within {MOST_LOSS:.0%} of the FP32 student's RMSE; "
            f"this is the most accurate one ({_delta(best)})"
        )
        return {"name": best["name"], "why": why, "rule": RULE}
    fastest = min(accurate, key=lambda row: row[key])
    near = [row for row in accurate if row[key] <= fastest[key] * (1 + SAME_SPEED)]
    best = min(near, key=lambda row: (row["size_bytes"], worst(row)["delta"], row[key]))
    if len(engines) == 1:
        reason = f"it is the only measured engine: p50 {figure(best[key], 3)} µs at batch {batch}"
    elif best is fastest and len(near) == 1:
        reason = f"it is the fastest at batch {batch}: p50 {figure(best[key], 3)} µs"
    else:
        others = [row for row in near if row is not best]
        alike = [row["name"] for row in others if row["size_bytes"] == best["size_bytes"]]
        small = (
            f"of the files as small as that of {', '.join(alike)} the most accurate" if alike else "the smallest file"
        )
        reason = (
            f"at batch {batch} it is as fast as {', '.join(row['name'] for row in others)} (p50 "
            f"{figure(best[key], 3)} µs, within {SAME_SPEED:.0%}) and {small}"
        )
    left_out = [f"{row['name']} loses {worst(row)['delta']:.1%}" for row in kept or engines if row not in accurate]
    left_out += [f"{row['name']} exceeds the budget" for row in engines if kept and row not in kept]
    why = f"{broken}{reason}; {_delta(best)}" + (f"; {', '.join(left_out)}" if left_out else "")
    return {"name": best["name"], "why": why, "rule": RULE}


def worst(row: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of the target that lost most against the FP32 student."""
    targets = [target for target in row.get("targets", ()) if target["delta"] is not None]
    return max(targets, key=lambda target: target["delta"]) if targets else row


def _delta(row: dict[str, Any]) -> str:
    found = worst(row)
    of = f" of {found['name']}" if len(row.get("targets", ())) > 1 and found is not row else ""
    interval = (
        ""
        if found.get("delta_low") is None
        else f", 95 % interval {percent(found['delta_low'])} to {percent(found['delta_high'])}"
    )
    if {percent(found[key]) for key in ("delta", "delta_low", "delta_high") if found.get(key) is not None} == {"0.00%"}:
        return f"its RMSE{' of every target' if len(row.get('targets', ())) > 1 else ''} is that of the FP32 student"
    return f"RMSE{of} {percent(found['delta'])} against the FP32 student{interval}"
