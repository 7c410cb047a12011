"""Engines that do not answer as their graph: named with the reason, shown as failed, and never recommended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..engines.verify import DIFFERS
from ..io.text import significant

__all__ = ["failed_engines", "is_failure"]


def is_failure(reason: str) -> bool:
    """Return whether an engine was left out because its answers are not those of its graph."""
    return DIFFERS in reason


def failed_engines(
    stages: Mapping[str, Any],
    deployed: Mapping[str, Any] | None,
    verified: Mapping[str, Mapping[str, Any] | None],
) -> dict[str, str]:
    """Return engine -> what its comparison with its graph found, for all that failed it.

    Parameters
    ----------
    stages : dict
        The state of the run: what the stages build and bench left out.
    deployed : dict or None
        ``deploy.json``, where a bundle was deployed: the comparison on the device.
    verified : dict
        Engine -> ``verified`` of its manifest.
    """
    found = {}
    for stage in ("build", "bench"):
        summary = (stages.get(stage) or {}).get("summary")
        for line in (summary or {}).get("left_out", ()) if isinstance(summary, dict) else ():
            name, _, reason = str(line).partition(": ")
            if is_failure(reason):
                found[name] = reason
    for name, record in verified.items():
        if record is not None and record.get("passed") is not True:
            found[name] = f"{DIFFERS} (its manifest says so)"
    for one in (deployed or {}).get("verified", ()):
        if not one["passed"]:
            found[one["name"]] = f"{DIFFERS}: {_differences(one)}"
    return found


def _differences(one: Mapping[str, Any]) -> str:
    """Return the difference of each target beside what is allowed."""
    if one["difference"] is None:
        return "answers that are not finite"
    parts = one.get("targets") or [{**one, "name": one.get("target", "its target")}]
    return "; ".join(
        f"an RMS difference of {significant(part['difference'], 3)} in {part['name']}, at most "
        f"{significant(part['allowed'], 3)} is allowed"
        for part in parts
    )
