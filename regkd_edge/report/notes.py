"""Remarks for the reader of the report, one sentence each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..io.text import significant
from ..measure.latency import BEYOND
from ..recipes import TERMS
from .evidence import summary_of
from .recommend import SAME_SPEED

__all__ = [
    "busy",
    "deployed",
    "hardly_better",
    "loop_overhead",
    "other_settings",
    "too_few",
    "trained_by",
    "training_said",
]

_FOR_P99 = round(BEYOND / (1 - 0.99))


def trained_by(card: dict[str, Any]) -> str:
    """Return the objective that a student was trained on, from its model.json: "mimic + PM + ABM + GM".

    The run's configuration may have been edited since. Empty if model.json stores no recipe.
    """
    recipe = (card.get("extra") or {}).get("recipe") or {}
    weights = {"base": recipe.get("w_base"), **{term: recipe.get(f"w_{term}") for term in TERMS}}
    active = [term for term, weight in weights.items() if weight and (weight["start"] or weight["end"])]
    setup = (card.get("extra") or {}).get("setup") or {}
    direct = setup.get("sampler") == "direct"  # its points are those of abm, from random starts
    base = setup.get("base", recipe.get("base"))
    base = "labels" if base == "blend" and recipe.get("alpha") == 1.0 else base
    names = [base if term == "base" else term.upper() for term in active if not (direct and term == "abm")]
    parts = [name for name in names if name != "none"]
    if setup.get("heads") == 2:
        parts[0] += f", two heads ({setup['export_head']} kept)"
    said = " + ".join(parts) + (
        " alone" if active == ["base"] and not setup.get("sampler") and setup.get("heads") != 2 else ""
    )
    if setup.get("no_data"):
        return f"{said}, no data: {setup['sampler']} inputs"
    if setup.get("sampler") == "neighbours":  # perturbation matching on points that rows can be
        noise, sigma = setup.get("noise", "mixed"), ",".join(f"{v:g}" for v in setup.get("sigma", ()))
        size = "" if noise.startswith("mixed") else f" {sigma}"
        return f"{said} + PM ({noise} noise{size})"
    return said + (f", rows and {setup['sampler']} points" if setup.get("sampler") else "")


_WARNING = "WARNING: "
_NEXT_TO_NOTHING = 0.05  # R2


def training_said(stages: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Return what was said of teacher and students when they were trained: warnings, and remarks.

    What the page's section on the training says itself is left out; of a record that was edited, nothing is taken.
    """
    warnings, remarks = [], []
    trained = {"teacher": summary_of(stages, "teacher"), **summary_of(stages, "distill")}
    for name, figures in trained.items():
        figures = figures if isinstance(figures, dict) else {}
        race, notes = figures.get("race"), figures.get("notes")
        told = race.get("explanation") if isinstance(race, dict) else None
        for note in notes if isinstance(notes, list) else ():
            sentence = f"{name}: {str(note).removeprefix(_WARNING).rstrip('.')}."
            if str(note).startswith(_WARNING):
                warnings.append(sentence)
            elif note != told:
                remarks.append(sentence)
    return warnings, remarks


def hardly_better(rows: Sequence[Mapping[str, Any]], recommended: str | None) -> list[str]:
    """Return a warning if the recommended engine, else the student, explains next to nothing of a target."""
    found = {row["name"]: row for row in rows}
    row = found.get(recommended or "student")
    low = [t for t in row["targets"] if t["r2"] is not None and t["r2"] < _NEXT_TO_NOTHING] if row else []
    if row is None or not low:
        return []
    where = ", ".join(f"{t['name']} (R² {t['r2']:.2f})" for t in low)
    return [f"{row['name']} is hardly better than answering with the mean of the held-out rows: {where}."]


def too_few(benches: dict[str, dict[str, Any]]) -> list[str]:
    """Return why p99 is missing: one line for all engines that were timed with the same number of requests."""
    found: dict[int, dict[str, list[str]]] = {}
    for name, record in benches.items():
        for timing in record["latency"]:
            if timing["p99_ns"] is None:
                engines = found.setdefault(timing["samples"], {}).setdefault(str(timing["batch"]), [])
                engines.append(name)
    lines = []
    for samples, batches in sorted(found.items()):
        engines = sorted({name for names in batches.values() for name in names})
        where = "" if engines == sorted(benches) else f" of {', '.join(engines)}"
        sizes = f"batch{'es' if len(batches) > 1 else ''} {', '.join(batches)}"
        lines.append(
            f"p99{where} is not given at {sizes}: {samples:,} requests are too few, {_FOR_P99:,} are needed "
            f"(bench --samples {_FOR_P99})."
        )
    return lines


def loop_overhead(benches: dict[str, dict[str, Any]]) -> str | None:
    """Return the overhead of the timing loop per request, measured on an empty function; it was not subtracted."""
    values = [timing["overhead_ns"] for record in benches.values() for timing in record["latency"]]
    if not values:
        return None
    low, high = (f"{v:.0f}" for v in (min(values), max(values)))
    return f"each latency includes {low if low == high else f'{low} to {high}'} ns of the timing loop"


def other_settings(name: str, record: dict[str, Any]) -> list[str]:
    """Return the GPU's part of a request, and the gain of the fastest other setting, or that none is faster."""
    notes = []
    for timing in record["latency"]:
        here = {
            setting: other["p50_ns"]
            for setting, others in record.get("settings", {}).items()
            for other in others
            if other["batch"] == timing["batch"] and other["p50_ns"] is not None
        }
        if timing["p50_ns"] is None:
            continue
        ours = timing["p50_ns"] / 1000
        if "gpu" in timing and timing["gpu"]["p50_ns"] is not None:
            notes.append(
                f"{name}: of the {significant(ours, 3)} µs at batch {timing['batch']} the GPU's own clock counts "
                f"{significant(timing['gpu']['p50_ns'] / 1000, 3)} µs for copies and kernels (p50)."
            )
        if not here:
            continue
        best = min(here, key=here.__getitem__)
        theirs = here[best] / 1000
        if theirs < ours * (1 - SAME_SPEED):
            notes.append(
                f'{name}: at batch {timing["batch"]} the setting "{best}" is faster: median '
                f"{significant(theirs, 3)} µs, {significant(ours, 3)} µs as measured."
            )
        else:
            notes.append(
                f"{name}: no other setting is faster at batch {timing['batch']} (tried: {'; '.join(here)}; median "
                f"{significant(theirs, 3)} µs at best, {significant(ours, 3)} µs as measured)."
            )
    return notes


def deployed(record: dict[str, Any] | None) -> list[str]:
    """Return the results of comparing a bundle's engines with the expected outputs on the device."""
    if record is None:  # no bundle
        return []
    said = []
    for one in record["verified"]:
        if one["passed"]:
            parts = one.get("targets") or [one]
            figures = "; ".join(
                f"{part['name'] + ': ' if len(parts) > 1 else ''}"
                f"RMS difference {significant(part['difference'], 3)}, {significant(part['allowed'], 3)} allowed"
                for part in parts
            )
            said.append(f"{one['name']}: its outputs match its graph's ({figures}).")
    return [*record["notes"], *said, *(f"Not built: {reason}" for reason in record["left_out"])]


def busy(machine: dict[str, Any]) -> str | None:
    """Return a warning if other work shared the cores while engines were timed."""
    load, cores = machine.get("load"), machine.get("cores")
    if not load or not cores or load[0] < 0.75 * cores:
        return None
    return (
        f"The machine was busy while the engines were timed (load {load[0]:.1f} on {cores} cores): "
        "latencies, especially p99, are higher than on an idle machine."
    )
