"""The first section: can it ship? Error per target with its interval, the budget,
the recommended engine, the machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .collect import Report
from .markup import e, section, table
from .notes import busy, hardly_better, training_said
from .recommend import RULE
from .rows import kept_within
from .table import figure, percent, size

__all__ = ["banner", "machine_line", "verdict"]

_WORDS = {
    "pass": "pass",
    "pass?": "pass, but the interval reaches above the allowance",
    "FAIL": "FAIL",
    "FAIL?": "FAIL, but the interval reaches below the allowance",
}


def banner(report: Report) -> str:
    """Return what belongs above all figures: engines that failed, warnings about the training and a student that is of
    no use, a busy machine, engines measured apart."""
    benches = list(report.facts["benches"].values())
    recommended = report.recommended["name"] if report.recommended else None
    said = [*training_said(report.facts["stages"])[0], *hardly_better(report.rows, recommended)]
    said += dict.fromkeys(text for bench in benches if (text := busy(bench["machine"])))
    cpus = {str(bench["machine"].get("board") or bench["machine"].get("cpu")) for bench in benches}
    if len(cpus) > 1:
        said.append(f"The engines were measured on different machines: {', '.join(sorted(cpus))}.")
    alone = [name for name, bench in report.facts["benches"].items() if not bench.get("timed_with")]
    if len(benches) > 1 and alone:
        said.append(
            f"{', '.join(alone)} and the other engines were not timed together: background "
            "load may differ between them."
        )
    bad = "".join(
        f'<p class="banner failed" role="note"><b>FAILED.</b> {e(name)}: {e(reason)}. Do not use it.</p>'
        for name, reason in report.failed.items()
    )
    return bad + "".join(f'<p class="banner" role="note"><b>Attention.</b> {e(text)}</p>' for text in said)


def verdict(report: Report) -> str:
    """Return the section that answers whether the recommended engine can ship."""
    if report.recommended is None:
        why = "No engine was both timed and compared with the FP32 student, so none is recommended."
        if report.failed:
            why = "No engine that answers as its graph was both timed and compared with the FP32 student."
        return section("Can it ship?", f'<p class="lead">No engine is recommended</p><p>{why}</p>', css="verdict")
    rows = {row["name"]: row for row in report.rows}
    best = rows[report.recommended["name"]]
    return section(
        "Can it ship?",
        _answer(report, best),
        _tiles(report, best, rows.get("teacher")),
        _targets(report, best, rows),
        f"<p><b>Why {e(best['name'])}:</b> {e(report.recommended['why'])}.</p>",
        f"<p>{e(machine_line(report, best['name']))}</p>",
        f'<p class="quiet">How the engine was chosen: {e(RULE)}</p>',
        css="verdict",
    )


def _answer(report: Report, best: dict[str, Any]) -> str:
    name = e(best["name"])
    if best["passed"] is None:
        return (
            f'<p class="lead">Recommended engine: {name}</p><p>No error budget was given, so pass or fail is not '
            f"judged. Give one in the unit of the target: <code>regkd-edge report RUN --allow "
            f"{e(_allowance(report.target_names))}</code></p>"
        )
    over = [t["name"] for t in best["targets"] if t["passed"] is False]
    if best["passed"]:
        return f'<p class="lead pass">Yes: {name} keeps the error budget.</p>'
    return f'<p class="lead fail">No: {name} exceeds the error budget in {e(", ".join(over))}.</p>'


def _allowance(targets: Sequence[str]) -> str:
    """Return what to type behind --allow: without quotes for the shell, so the only target needs no name."""
    plain = targets[0].replace("_", "").isalnum()
    return f"{targets[0]}=RMSE" if plain else "RMSE" if len(targets) == 1 else "TARGET=RMSE"


def _tiles(report: Report, best: dict[str, Any], teacher: dict[str, Any] | None) -> str:
    batch = report.batches[0]
    tiles = [
        (f"{figure(t['rmse'])}{' ' + t['unit'] if t['unit'] not in (None, '1', '-') else ''}", f"RMSE of {t['name']}")
        for t in best["targets"][:4]
    ]
    tiles += [
        (figure(best[f"p50_us_b{batch}"], 3) + " µs", f"median latency of a Python call, batch {batch}"),
        (size(best["size_bytes"]), "engine file"),
    ]
    if teacher and teacher["parameters"] and best["parameters"]:
        tiles.append(_of_teacher(best["parameters"], teacher["parameters"]))
    shown = "".join(f"<div><b>{e(value)}</b><span>{e(label)}</span></div>" for value, label in tiles)
    return f'<div class="tiles">{shown}</div>'


def _of_teacher(ours: int, theirs: int) -> tuple[str, str]:
    """Return the tile that compares the numbers of parameters: a factor only where it says something."""
    factor = max(theirs / ours, ours / theirs)
    if f"{factor:.2g}" == "1":
        return f"{ours:,}", f"parameters, about as many as the teacher ({theirs:,})"
    return (
        f"{factor:.2g}×" if factor < 100 else f"{factor:,.0f}×",
        f"{'fewer' if theirs > ours else 'more'} parameters than the teacher",
    )


def _targets(report: Report, best: dict[str, Any], rows: dict[str, dict[str, Any]]) -> str:
    others = [name for name in ("teacher", "student") if name in rows]
    budget = best["passed"] is not None
    heads = [("target", True), (f"RMSE of {best['name']}", False), ("95 % interval", False)]
    heads += [("allowed", False), ("verdict", True)] if budget else []
    heads += [(f"RMSE of the {'FP32 student' if name == 'student' else name}", False) for name in others]
    heads += [("change from the FP32 student", False), ("R²", False), ("largest error", False)]
    lines = []
    for j, t in enumerate(best["targets"]):
        cells = [e(t["name"]), figure(t["rmse"]), f"{figure(t['rmse_low'])} … {figure(t['rmse_high'])}"]
        if budget:
            word = kept_within(t)
            cells += [figure(t["allowed"]), f'<span class="{word[:4].lower()}">{e(_WORDS.get(word, "–"))}</span>']
        cells += [figure(rows[name]["targets"][j]["rmse"]) for name in others]
        cells += [percent(t["delta"]), "–" if t["r2"] is None else f"{t['r2']:.4f}", figure(t["max_error"])]
        lines.append(("", cells))
    return table(f"Error of {best['name']} per target", heads, lines)


def machine_line(report: Report, name: str) -> str:
    """Return when and where an engine was measured, and in what state the machine was."""
    bench = report.facts["benches"][name]
    machine = bench["machine"]
    parts = [f"Measured {bench['measured'].replace('T', ' ').replace('Z', ' UTC')}"]
    where = machine.get("board") or machine.get("cpu")
    parts.append(f"on {where}" if where else "on an unknown machine")
    if machine.get("cores"):
        parts.append(f"{machine['cores']} cores")
    load = machine.get("load")
    if load:
        state = "busy" if busy(machine) else "not busy"
        parts.append(f"{state} (load {load[0]:.1f})")
    for key, word in (("governor", "CPU governor"), ("nvpmodel", "power mode"), ("l4t", "L4T")):
        value = machine.get(key)
        if value:
            parts.append(f"{word} {', '.join(map(str, value)) if isinstance(value, (list, tuple)) else value}")
    temperatures = machine.get("temperatures")
    if isinstance(temperatures, dict):
        degrees = [value for value in temperatures.values() if isinstance(value, (int, float))]
        parts += [f"{max(degrees):.0f} °C at most"] if degrees else []
    return ", ".join(parts) + "."
