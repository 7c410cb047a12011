"""The tables at the end of the commands, read from what the stages left in the run folder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..io.text import Column, TextTable, per_target, significant
from ..io.words import counted
from ..measure.accuracy import unit_of
from ..run import RunFolder
from .output import number, show

__all__ = [
    "bundled_graphs",
    "data_notes",
    "export_note",
    "graph_notes",
    "graphs",
    "measured",
    "sensitivity_notes",
    "show_report",
    "teacher_notes",
    "training_notes",
    "whole_name",
]


_MOST = 4  # targets in a line


def measured(run: RunFolder) -> dict[str, Any]:
    """Return the run's models, engines and measurements: ``rows``, ``table``, ``footnotes`` of :func:`show`."""
    from ..report import collect, console_table
    from ..report.notes import busy, hardly_better, loop_overhead

    report = collect(run)
    recommended = (report.recommended or {}).get("name")
    table = console_table(report.rows, recommended)
    overhead = loop_overhead(report.facts["benches"])
    return {
        "rows": report.rows,
        "table": table,
        "footnotes": [
            *whole_name(report.target_names),
            *(f"FAILED: {name}: {reason}." for name, reason in report.failed.items()),
            *hardly_better(report.rows, recommended),
            *dict.fromkeys(said for bench in report.facts["benches"].values() if (said := busy(bench["machine"]))),
            *report.dashes,
            *report.slower,
            *budget_notes(report),
            *([f"{overhead[0].upper()}{overhead[1:]}."] if overhead else []),
        ],
    }


def whole_name(targets: Sequence[str]) -> list[str]:
    """Return which target a table is about, where that name is too long for its headings."""
    from ..report.table import in_heading

    if len(targets) != 1 or in_heading(targets[0]) == f" ({targets[0]})":
        return []
    return [f"Target: {targets[0]}."]


def budget_notes(report: Any) -> list[str]:
    """Return what a question mark beside pass or FAIL means, if there is one."""
    from ..report.rows import kept_within

    unsure = any(kept_within(target).endswith("?") for row in report.rows for target in row["targets"])
    return ["pass? and FAIL?: the 95 % interval of the RMSE contains the allowed value."] if unsure else []


def graphs(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the graphs of the quantize stage and their difference from FP32, per target in its own unit: ``rows`` and
    ``table`` of :func:`show`.
    """
    from ..report.table import in_heading

    rows = [
        {
            "precision": graph["precision"],
            "graph": graph["target"],
            "size_bytes": graph["size_bytes"],
            "pairs": graph["pairs"],
            "share": graph["share"],
            "targets": [
                {"name": target["name"], "unit": unit_of(target["name"]), **target}
                for target in (graph.get("check") or {}).get("targets", [])
            ],
        }
        for graph in found
    ]
    several = any(len(row["targets"]) > 1 for row in rows)
    names = [target["name"] for target in rows[0]["targets"]] if rows else []
    unit = in_heading(names[0]) if len(names) == 1 else ""
    columns = [
        Column("precision", text=True),
        *([Column("target", text=True)] if several else []),
        Column(f"RMS change against fp32{unit}"),
        Column(f"largest change{unit}", rank=1),
        Column("graph", text=True, rank=2),
        Column("bytes", rank=3),
        Column("multiply-adds", text=True, rank=4),
        Column("Q/DQ pairs", rank=5),
    ]
    lines = []
    for row in rows:
        for place, target in enumerate(row["targets"] or [{"name": "", "rmse": None, "max_abs": None}]):
            share = ", ".join(f"{name} {value:.0%}" for name, value in row["share"].items() if value)
            about = [row["graph"], number(row["size_bytes"]), share, number(row["pairs"])]
            lines.append(
                [
                    row["precision"] if place == 0 else "",
                    *([target["name"]] if several else []),
                    number(target["rmse"], 3),
                    number(target["max_abs"], 3),
                    *(about if place == 0 else [""] * len(about)),
                ]
            )
    return {"rows": rows, "table": TextTable(columns, lines), "footnotes": whole_name(names)}


def export_note(summary: dict[str, Any]) -> str:
    """Return how far the exported graph is from the torch student, per target in its own unit."""
    targets = summary.get("targets", [])
    most = ", ".join(f"{significant(target['max_abs'], 2)} in {target['name']}" for target in targets[:_MOST])
    most += f" (and {counted(len(targets) - _MOST, 'more target')})" if len(targets) > _MOST else ""
    checked = f"at most {most} from the torch student on" if most else "checked on"
    return f"{summary['graph']}: {checked} {summary['rows_checked']:,} held-out rows."


def graph_notes(graphs: list[dict[str, Any]]) -> list[str]:
    """Return what is to be known of each graph, with the precision that it is about."""
    return [f"{graph['precision']}: {note}." for graph in graphs for note in graph.get("notes", [])]


def sensitivity_notes(graphs: list[dict[str, Any]]) -> list[str]:
    """Return where the error of each graph comes from, in the unit of each target: the whole, its parts, then one line
    per layer, worst first."""
    lines = []
    for graph in graphs:
        found = graph.get("sensitivity")
        if not found:
            continue
        own = lambda values: ", ".join(significant(value, 3) for value in values[:_MOST])
        parts = ", ".join(f"{name} {significant(value, 2)} %" for name, value in found["parts"].items())
        lines.append(
            f"{graph['precision']}: rounding moves the answers by "
            f"{per_target(found['all_targets'], found['targets'], most=_MOST, digits=3)} (RMS over {found['rows']:,} "
            f"rows), {significant(found['all'], 2)} % of their standard deviation ({parts})."
        )
        lines += [
            f"{graph['precision']}, {layer['name']} ({layer['precision']}) alone: {own(layer['targets'])}, "
            f"{significant(layer['change'], 2)} % (data {significant(layer['data'], 2)} %, "
            f"weights {significant(layer['weights'], 2)} %)."
            for layer in found["layers"]
        ]
        if any(layer["change"] > found["all"] for layer in found["layers"]):
            lines.append(
                f"{graph['precision']}: a layer is corrected for the rounding of those before it, so that alone it can "
                "move the answers more than all layers together."
            )
    return lines


def data_notes(summary: dict[str, Any]) -> list[str]:
    """Return the split in one line, and the warnings from reading the table."""
    rows, train, validation, test = (summary[part] for part in ("rows", "train", "validation", "test"))
    counts = f"{rows:,} rows: {train:,} to train, {validation:,} to validate, {test:,} held out."
    return [counts, *(f"warning: {warning}" for warning in summary["warnings"])]


def teacher_notes(summary: dict[str, Any]) -> list[str]:
    """What was taken as the teacher, or how it was trained, in one line, and what was chosen or does not fit."""
    loaded = summary.get("loaded")
    lines = [f"teacher: {loaded}"] if loaded else _how_trained("teacher", summary)
    return [*lines, *summary.get("notes", [])]


# What computed the steps, and why: keys of a summary, and those of version 0.1.
_COMPUTE = (("compute", "backend"), ("compute_reason", "backend_reason"))


def training_notes(summary: dict[str, Any]) -> list[str]:
    """Return which engine computed the steps and why, one line per student, and further notes."""
    lines: list[str] = []
    told: set[str] = set()
    for name, figures in summary.items():
        if name != "external":
            lines += _how_trained(name, figures, told)
            lines += [f"{name}: {note}." for note in figures.get("notes", [])]
    return lines


def _how_trained(name: str, figures: dict[str, Any], told: set[str] | None = None) -> list[str]:
    """Return steps, seconds and what computed them; the reason only once, of those that were ``told``."""
    by, why = (figures.get(key, figures.get(old)) for key, old in _COMPUTE)
    if by is None or "steps" not in figures:  # a network that was brought
        return []
    reason = f"by '{by}' ({why})"
    if told is not None:
        reason, known = (f"by '{by}' too" if reason in told else reason), reason
        told.add(known)
    work = f"{figures['steps']:,} steps{' and the race before them' if figures.get('race') else ''}"
    return [f"{name}: {work} in {significant(figures['seconds'], 2)} s {reason}."]


def show_report(run: RunFolder, summary: dict[str, Any], as_json: bool, ran: list[str]) -> None:
    """Show the whole table, the recommended engine and the path of the report."""
    notes = []
    if summary["recommended"]:
        notes.append(f"recommended: {summary['recommended']['name']} ({summary['recommended']['why']})")
    notes.append(f"report: {run.file('report.html')}")
    notes += [f"logged: {where}" for where in summary.get("logged", [])]
    show(
        f"Results for {run.path}",
        **measured(run),
        as_json=as_json,
        run=str(run.path),
        ran=ran,
        notes=notes,
    )


def bundled_graphs(content: dict[str, Any]) -> dict[str, Any]:
    """Return the graphs of a bundle with the error that is expected on the device and the difference from the graph
    that is allowed there, per target in its own unit: ``rows``, ``table`` and ``footnotes`` of :func:`show`."""
    from ..report.table import in_heading

    rows = [
        {
            "graph": name,
            "precision": graph["precision"],
            "size_bytes": content["files"][graph["file"]]["bytes"],
            "targets": [
                {"name": t["name"], "unit": unit_of(t["name"]), "rmse_expected": t["rmse"], "difference_allowed": most}
                for t, most in zip(graph["accuracy"]["targets"], graph["allowed"])
            ],
        }
        for name, graph in content["graphs"].items()
    ]
    names = sorted({target["name"] for row in rows for target in row["targets"]})
    several = len(names) > 1
    columns = [
        Column("graph", text=True),
        *([Column("target", text=True)] if several else []),
        Column(f"RMSE expected{in_heading(names[0]) if len(names) == 1 else ''}"),
        Column("difference allowed on the device"),
        Column("computes in", text=True, rank=1),
        Column("bytes", rank=2),
    ]
    lines = [
        [row["graph"] if place == 0 else "", *([t["name"]] if several else []),
         number(t["rmse_expected"]), number(t["difference_allowed"], 3),
         *([row["precision"], number(row["size_bytes"])] if place == 0 else ["", ""])]
        for row in rows for place, t in enumerate(row["targets"])
    ]  # fmt: skip
    return {"rows": rows, "table": TextTable(columns, lines), "footnotes": whole_name(names)}
