"""The page in Chromium: nothing clipped, nothing on top of something else, and what axe-core asks of a page."""

from __future__ import annotations

import pytest
from browser import BROWSER, axe_source, measure
from hostile import crowded_report

from regkd_edge.report.page import page

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="no Chromium here: its layout is checked by the text-extent model only"),
]


@pytest.fixture(scope="module")
def crowded(measured_run):
    return page(crowded_report(measured_run)).replace(
        "<details><summary>Training and", "<details open><summary>Training and"
    )


@pytest.mark.parametrize(
    ("width", "mode"), [(1400, "light"), (400, "light"), (1400, "dark"), (400, "dark"), (1032, "print")]
)
def test_nothing_is_clipped_or_covered(crowded, tmp_path, width, mode):
    found = measure(crowded, tmp_path, width, mode)
    assert found.get("error") is None
    assert found["width"] == width and found["page_wider_by"] <= 0
    assert found["outside"] == [] and found["overlaps"] == [] and found["clipped"] == []


@pytest.mark.parametrize(("width", "mode"), [(1400, "light"), (1400, "dark"), (400, "light")])
def test_axe_finds_no_violation(crowded, tmp_path, width, mode):
    axe = axe_source()
    if axe is None:
        pytest.skip("axe-core is not installed: pip install axe-core-python, or name axe.min.js in AXE_CORE")
    found = measure(crowded, tmp_path, width, mode, axe)
    assert found.get("error") is None
    assert found["violations"] == [] and found["rules_passed"] > 15
