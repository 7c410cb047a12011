"""The HTML page: one self-contained file, for light and dark themes, desktop, phone and paper.

It answers "can it ship?" first and shows the evidence below. Everything that comes from data (names of columns,
engines, paths) is escaped by :func:`~regkd_edge.report.markup.e`. The content policy in the head forbids scripts and
every fetch, so a hostile name cannot run or send anything even if escaping failed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .collect import Report
from .evidence import relative_path
from .markup import details, e, section, table
from .sections import (
    error_sections,
    latency_section,
    layer_section,
    machine_details,
    memory_section,
    trade_section,
    training_section,
)
from .style import STYLE
from .verdict import banner, verdict
from .whole_table import table_section

__all__ = ["page"]


def page(report: Report) -> str:
    """Return the report as a complete HTML document."""
    sections = [
        _head(report),
        banner(report),
        verdict(report),
        table_section(report),
        trade_section(report),
        *error_sections(report),
        training_section(report),
        layer_section(report),
        latency_section(report),
        memory_section(report),
        section("Notes", "<ul>" + "".join(f"<li>{e(note)}</li>" for note in report.notes) + "</ul>")
        if report.notes
        else "",
        _reproduce(report),
        _how(report),
    ]
    body = "\n".join(part for part in sections if part)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{e(report.name)} · "
        f"regkd-edge</title>\n<style>{STYLE}</style></head>\n<body><main>\n{body}\n</main></body></html>\n"
    )


def _head(report: Report) -> str:
    data = report.facts["data"]
    plural = "s" if len(data["targets"]) > 1 else ""
    return (
        f"<header><h1>{e(report.name)}</h1><p>{e(data['source'])}: {data['rows']:,} rows, {data['features']} inputs, "
        f"target{plural} {e(', '.join(data['targets']))}. All figures are for the {len(report.truth):,} held-out rows"
        f"{_trained_on(data['split'])}.</p></header>"
    )


def _trained_on(split: Mapping[str, Any]) -> str:
    return (
        f" of a split {split['train']:,} / {split['validation']:,} / {split['test']:,} (train / validation / test)"
        if {"train", "validation", "test"} <= set(split)
        else ""
    )


def _reproduce(report: Report) -> str:
    """Return the commands, versions, hashes and files from which the same figures can be made."""
    facts = report.facts
    hashes = {
        name: digest
        for record in facts["stages"].values()
        for name, digest in record.get("outputs", {}).items()
        if isinstance(digest, str)
    }
    hashes |= {f"engines/{name}/{bench['engine'].get('file')}": bench["engine"]["sha256"] for name,
    bench in facts["benches"].items()}  # fmt: skip
    rows = [
        ("", [f'<a href="{e(relative_path(path))}">{e(path)}</a>', e(what), f"<code>{e(hashes.get(path, '–'))}</code>"])
        for what, path in report.evidence.files
    ]
    versions = next((bench["machine"].get("versions") for bench in facts["benches"].values()), None)
    said = ", ".join(f"{name} {version}" for name, version in versions.items()) if isinstance(versions, dict) else ""
    return section(
        "How to reproduce it",
        "<p>The configuration holds every option and the seed. The same versions on the same kind of machine give the "
        "same network bit for bit; the latency is that of the machine and its state.</p>"
        '<pre tabindex="0"># everything, into a new folder\nregkd-edge run run.yaml AGAIN\n'
        "# measure the same engines again\nregkd-edge bench RUN --force\n"
        "# write this page again\nregkd-edge report RUN</pre>",
        f"<p>Versions: {e(said)}.</p>" if said else "",
        table("Files of the run", [("file", True), ("what", True), ("SHA-256", True)], rows) if rows else "",
    )


def _how(report: Report) -> str:
    stages = {
        name: {key: record.get(key) for key in ("finished", "seconds", "outputs", "summary")}
        for name, record in report.facts["stages"].items()
    }
    return section(
        "Records",
        machine_details(report),
        details("Configuration", report.facts["config"]),
        details("Stages", stages),
    )
