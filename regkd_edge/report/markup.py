"""Pieces of HTML that the sections share. Everything that comes from data is escaped here."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["details", "e", "figure", "fold", "grid", "legend", "scroll", "section", "table"]


_MANY = 13  # columns: more are printed in smaller letters


def e(value: Any) -> str:
    """Return text for HTML, quotes included."""
    return html.escape(str(value), quote=True)


def section(title: str, *parts: str, css: str = "") -> str:
    """Return a section with its heading, or nothing if all parts are empty."""
    body = "".join(part for part in parts if part)
    kind = f' class="{css}"' if css else ""
    return f"<section{kind}><h2>{e(title)}</h2>{body}</section>" if body else ""


def scroll(content: str, label: str) -> str:
    """Return content that scrolls by itself where it is wider than the page, by keyboard too."""
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{e(label)}">{content}</div>'


def table(label: str, heads: Sequence[tuple[str, bool]], rows: Sequence[tuple[str, Sequence[str]]]) -> str:
    """Return a table that scrolls.

    Parameters
    ----------
    heads : sequence of (str, bool)
        Heading as text, and whether its column holds text (left-aligned).
    rows : sequence of (str, sequence of str)
        CSS class and finished cells as HTML; the first one names the row. On a phone each row becomes a list of
        headings and cells.
    """
    side = ["left" if text else "" for _, text in heads]
    head = "".join(f'<th scope="col" class="{css}">{e(name)}</th>' for (name, _), css in zip(heads, side))
    lines = []
    for css, cells in rows:
        inner = f'<th scope="row" class="{side[0]}">{cells[0]}</th>'
        for (name, _), where, content in list(zip(heads, side, cells))[1:]:
            kind = f"{where} none" if content == "–" else where  # what was not measured is left out on a phone
            inner += f'<td class="{kind}" data-label="{e(name)}">{f"<span>{content}</span>" if content else ""}</td>'
        lines.append(f'<tr class="{e(css)}">{inner}</tr>' if css else f"<tr>{inner}</tr>")
    many = ' class="many"' if len(heads) > _MANY else ""
    return scroll(f"<table{many}><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>", label)


def legend(names: Mapping[str, str]) -> str:
    """Return a legend: name -> CSS class of its colour."""
    inner = "".join(f'<span class="{css}"><i></i>{e(name)}</span>' for name, css in names.items())
    return f'<p class="legend">{inner}</p>'


def figure(caption: str, *parts: str) -> str:
    """Return a figure with its caption as text."""
    return f"<figure><figcaption>{e(caption)}</figcaption>{''.join(parts)}</figure>" if any(parts) else ""


def grid(*figures: str) -> str:
    """Return figures side by side where there is room."""
    shown = [part for part in figures if part]
    return f'<div class="plots">{"".join(shown)}</div>' if shown else ""


def details(title: str, content: Any) -> str:
    """Return JSON that opens on a click."""
    written = json.dumps(content, indent=1, ensure_ascii=False, default=str)
    return fold(title, f'<pre tabindex="0">{e(written)}</pre>')


def fold(title: str, content: str) -> str:
    """Return HTML that opens on a click, or nothing if there is none."""
    return f"<details><summary>{e(title)}</summary>{content}</details>" if content else ""
