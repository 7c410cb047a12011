"""The HTML page: one self-contained file, for light and dark themes, desktop and phone.

Everything that comes from data (names of columns, engines, paths) is escaped by :func:`html.escape`. The content policy
in the head forbids scripts and every fetch, so a hostile name cannot run or send anything even if escaping failed.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from .collect import Report
from .notes import loop_overhead
from .plots import MOST_POINTS, error_by_range, latency_distribution, predicted_against_true
from .recommend import RULE
from .style import STYLE
from .table import columns, figure, percent, size

__all__ = ["page"]

_MOST_TARGETS = 4
_KINDS = {"teacher": "s3", "baseline": "s4", "student": "s2"}


def page(report: Report) -> str:
    """Return the report as a complete HTML document."""
    sections = [
        _head(report),
        _headline(report),
        _table(report),
        *_target_plots(report),
        _latency_plots(report),
        _notes(report),
        _how(report),
    ]
    body = "\n".join(part for part in sections if part)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{_e(report.name)} · "
        f"regkd-edge</title>\n<style>{STYLE}</style></head>\n<body><main>\n{body}\n</main></body></html>\n"
    )


def _e(value: Any) -> str:
    return html.escape(str(value), quote=True)


def _head(report: Report) -> str:
    data = report.facts["data"]
    split = data["split"]
    held_out = len(report.truth)
    return (
        f"<header><h1>{_e(report.name)}</h1><p>{_e(data['source'])}: {data['rows']:,} rows, {data['features']} inputs, "
        f"{_e(', '.join(data['targets']))} as target. All figures are for the {held_out:,} held-out rows"
        f"{_trained_on(split)}.</p></header>"
    )


def _trained_on(split: Mapping[str, Any]) -> str:
    return (
        f" of a split {split['train']:,} / {split['validation']:,} / {split['test']:,} (train / validation / test)"
        if {"train", "validation", "test"} <= set(split)
        else ""
    )


def _headline(report: Report) -> str:
    """Return the section with the recommended engine and its comparison with the teacher."""
    if report.recommended is None:
        return (
            '<section class="verdict"><h2>No engine is recommended</h2>'
            "<p>No engine was both timed and compared with the FP32 student.</p></section>"
        )
    rows = {row["name"]: row for row in report.rows}
    best, teacher = rows[report.recommended["name"]], rows.get("teacher")
    batch = report.batches[0]
    tiles = [
        (figure(best[f"p50_us_b{batch}"], 3) + " µs", f"p50 at batch {batch}"),
        (size(best["size_bytes"]), "engine file"),
        (figure(best["rmse"]), "RMSE on held-out rows"),
    ]
    if best["delta"] is not None:
        tiles.append((percent(best["delta"]), "RMSE against the FP32 student"))
    if teacher and teacher["parameters"] and best["parameters"]:
        tiles.append((f"{teacher['parameters'] / best['parameters']:.3g}×", "fewer parameters than the teacher"))
    if teacher and teacher["rmse"]:
        tiles.append((f"{best['rmse'] / teacher['rmse'] - 1:+.1%}", "RMSE against the teacher"))
    shown = "".join(f"<div><b>{_e(value)}</b><span>{_e(label)}</span></div>" for value, label in tiles)
    return (
        f'<section class="verdict"><h2>Recommended: {_e(best["name"])}</h2><div class="tiles">{shown}</div>'
        f'<p>Because {_e(report.recommended["why"])}.</p><p class="quiet">Rule: {_e(RULE)}</p></section>'
    )


def _table(report: Report) -> str:
    shown = columns(report.rows)
    chosen = report.recommended["name"] if report.recommended else None
    head = "".join(f"<th{_side(key)}>{_broken(heading)}</th>" for key, heading, _ in shown)
    lines = []
    for row in report.rows:
        cells = []
        for key, _, write in shown:
            content = _e(write(row.get(key)))
            if key == "delta" and row.get("delta_low") is not None:
                content += f"<small>{percent(row['delta_low'])} … {percent(row['delta_high'])}</small>"
            tag = "th" if key == "name" else "td"
            cells.append(f"<{tag}{_side(key)}>{content}</{tag}>")
        lines.append(f'<tr class="{"chosen " if row["name"] == chosen else ""}{_e(row["kind"])}">{"".join(cells)}</tr>')
    overhead = loop_overhead(report.facts["benches"])
    overhead = f"; {overhead}" if overhead else ""
    several = f"Errors are in units of the target, {_e(report.unit)}. "
    if len(report.target_names) > 1:
        several = "Overall errors are in standard deviations of each target, and R² is the mean over the targets. "
    return (
        f"<section><h2>Accuracy and latency</h2><div "
        f'class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'
        f'<p class="quiet">{several}Below the difference from the FP32 student: its 95 % interval by a paired '
        f"bootstrap over the held-out rows. "
        f"Latency is that of one synchronous request, by the host clock; no outlier was removed{overhead}. A "
        f"dash marks what was not measured.</p></section>"
    )


def _broken(heading: str) -> str:
    """Return a column head on two lines; the headings are ours, so the possible breaks are known."""
    return _e(heading).replace(", ", "<br>").replace("vs FP32 ", "vs FP32<br>").replace("largest ", "largest<br>")


def _side(key: str) -> str:
    return ' class="left"' if key in ("name", "what") else ""


def _series(report: Report, column: int) -> dict[str, tuple[str, np.ndarray]]:
    """Return name -> (CSS class, predictions of one target): models, then the engine of the page."""
    chosen = (
        report.recommended["name"]
        if report.recommended
        else next((row["name"] for row in report.rows if row["kind"] == "engine"), None)
    )
    found = {name: (_KINDS[name], values[:, column]) for name, values in report.predictions.items() if name in _KINDS}
    if chosen is not None:
        found[chosen] = ("s1", report.predictions[chosen][:, column])
    return found


def _legend(names: Mapping[str, tuple[str, Any]]) -> str:
    return (
        '<p class="legend">'
        + "".join(f'<span class="{css}"><i></i>{_e(name)}</span>' for name, (css, _) in names.items())
        + "</p>"
    )


def _target_plots(report: Report) -> list[str]:
    sections = []
    for column, target in enumerate(report.target_names[:_MOST_TARGETS]):
        series, truth = _series(report, column), report.truth[:, column]
        if not series:
            continue
        best = list(series)[-1]
        pair = {name: series[name] for name in ("teacher", best) if name in series}
        sample = f" A sample of {MOST_POINTS} of {len(truth):,} rows." if len(truth) > MOST_POINTS else ""
        sections.append(
            f'<section><h2>{_e(target)}</h2><div class="plots">'
            f"<figure><figcaption>Predicted versus "
            f"true.{sample}</figcaption>{_legend(pair)}{predicted_against_true(truth, pair, target)}</figure>"
            f"<figure><figcaption>Error by range of the target: RMSE in each "
            f"range.</figcaption>{_legend(series)}{error_by_range(truth, series, target)}</figure></div></section>"
        )
    if len(report.target_names) > _MOST_TARGETS:
        sections.append(
            f'<p class="quiet">Plots of the first {_MOST_TARGETS} of {len(report.target_names)} targets; report.json '
            f"has the figures for all.</p>"
        )
    return sections


def _latency_plots(report: Report) -> str:
    figures = []
    chosen = report.recommended["name"] if report.recommended else None
    for batch in report.batches:
        raw = {name: values[batch] for name, values in report.latencies.items() if batch in values}
        if raw:
            figures.append(
                f'<figure class="wide"><figcaption>Batch {batch}</figcaption><div '
                f'class="scroll">{latency_distribution(raw, batch, chosen)}</div></figure>'
            )
    return f"<section><h2>Latency distribution</h2>{''.join(figures)}</section>" if figures else ""


def _notes(report: Report) -> str:
    if not report.notes:
        return ""
    return f"<section><h2>Notes</h2><ul>{''.join(f'<li>{_e(note)}</li>' for note in report.notes)}</ul></section>"


def _how(report: Report) -> str:
    facts = report.facts
    benches = list(facts["benches"].values())
    parts = []
    if benches:
        parts.append(
            _details(
                "Machine", {**benches[0]["machine"], "changed while measuring": benches[0].get("machine_after", {})}
            )
        )
        parts += [
            _details(
                f"Engine {bench['name']}",
                {
                    "measured": bench["measured"],
                    "threads": bench.get("threads"),
                    **bench["engine"],
                    "executed": bench.get("executed"),
                    "latency": bench["latency"],
                },
            )
            for bench in benches
        ]
    parts.append(_details("Configuration", facts["config"]))
    parts.append(
        _details(
            "Stages",
            {
                name: {key: record.get(key) for key in ("finished", "seconds", "outputs", "summary")}
                for name, record in facts["stages"].items()
            },
        )
    )
    return f"<section><h2>How it was made</h2>{''.join(parts)}</section>"


def _details(title: str, content: Any) -> str:
    written = json.dumps(content, indent=1, ensure_ascii=False, default=str)
    return f"<details><summary>{_e(title)}</summary><pre>{_e(written)}</pre></details>"
