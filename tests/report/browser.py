"""A page in a real browser: Chromium lays it out without a screen, and a
script beside it reads where everything stands.

The page is put into a frame of the width to test, since a window cannot be narrower than 500 pixels. Dark theme and
print are those of the page's own style sheet, with the media query taken out, so that no flag of a browser decides.
"""

from __future__ import annotations

import html
import importlib.util
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

_MEASURE = """
const frame = document.getElementById('page'), doc = frame.contentDocument, found = {};
const width = doc.documentElement.clientWidth;
const box = e => { const r = e.getBoundingClientRect(); return [r.left, r.top, r.right, r.bottom]; };
const name = e => e.tagName + ':' + e.textContent.slice(0, 60);
found.width = width;
found.page_wider_by = doc.documentElement.scrollWidth - width;
found.overlaps = []; found.outside = []; found.clipped = [];
for (const svg of doc.querySelectorAll('svg')) {
  const edge = box(svg), texts = [...svg.querySelectorAll('text')].map(t => [t, box(t)]);
  texts.forEach(([t, a], i) => {
    if (a[0] < edge[0] - 1 || a[1] < edge[1] - 1 || a[2] > edge[2] + 1 || a[3] > edge[3] + 1) found.outside.push(name(t));
    for (const [u, b] of texts.slice(i + 1))
      if (a[0] + 1 < b[2] && b[0] + 1 < a[2] && a[1] + 2 < b[3] && b[1] + 2 < a[3]) found.overlaps.push(name(t) + ' / ' + name(u));
  });
}
for (const e of doc.querySelectorAll('main *:not(svg *)')) {
  const r = box(e), scrolled = e.closest('.scroll, pre');
  if (r[2] - r[0] === 0 || e.closest('details:not([open]) > :not(summary)')) continue;
  if (!scrolled && r[2] > width + 1) found.outside.push(name(e));
  const style = getComputedStyle(e);
  if (style.overflowX === 'hidden' && e.scrollWidth > e.clientWidth + 1) found.clipped.push(name(e));
}
const blocks = [...doc.querySelectorAll('section, header, .banner')].map(e => [e, box(e)]);
blocks.forEach(([e, a], i) => { for (const [f, b] of blocks.slice(i + 1))
  if (a[1] + 1 < b[3] && b[1] + 1 < a[3]) found.overlaps.push(name(e) + ' / ' + name(f)); });
"""
_AXE = """
const script = doc.createElement('script'); script.textContent = AXE; doc.head.appendChild(script);
const result = await frame.contentWindow.axe.run(doc);
found.violations = result.violations.map(v => v.id + ': ' + v.help + ' ' + v.nodes.slice(0, 3).map(n => n.html.slice(0, 90)).join(' | '));
found.rules_passed = result.passes.length;
"""


def axe_source() -> str | None:
    """The script of axe-core, from AXE_CORE or from the package axe-core-python."""
    named = os.environ.get("AXE_CORE")
    if named:
        return Path(named).read_text(encoding="utf-8")
    spec = importlib.util.find_spec("axe_core_python")
    if spec is None or not spec.submodule_search_locations:
        return None
    return (Path(spec.submodule_search_locations[0]) / "axe.min.js").read_text(encoding="utf-8")


def measure(page: str, folder: Path, width: int, mode: str = "light", axe: str | None = None) -> dict:
    """Lay ``page`` out at ``width`` pixels and return what the script found; ``mode``: light, dark or print."""
    plain = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    for query, kind in (("@media(prefers-color-scheme:dark)", "dark"), ("@media print", "print")):
        assert query in plain
        plain = plain.replace(query, "@media all" if kind == mode else "@media not all")
    code = _MEASURE + (_AXE.replace("AXE", json.dumps(axe).replace("</", "<\\/"), 1) if axe else "")
    document = (
        f'<!doctype html><body><iframe id="page" style="width:{width}px;height:900px;border:0" '
        f'srcdoc="{html.escape(plain, quote=True)}"></iframe><pre id="found"></pre><script>'
        "document.getElementById('page').onload = async () => { try {"
        f"{code} document.getElementById('found').textContent = JSON.stringify(found); }} catch (error) "
        "{ document.getElementById('found').textContent = JSON.stringify({error: String(error)}); } };</script>"
    )
    path = folder / f"{mode}{width}.html"
    path.write_text(document, encoding="utf-8")
    done = subprocess.run(
        [
            BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--dump-dom",
            f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=60000", "--window-size=1500,1000",
            path.resolve().as_uri(),
        ],
        capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    match = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    assert match and match.group(1), done.stderr[-2000:]
    return json.loads(html.unescape(match.group(1)))
