"""The map of CONTRIBUTING.md against the imports: arrows point down only."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "regkd_edge"
# What is no room: the extension, the version, the entry point, marks.
OUTSIDE = {"__init__", "__main__", "_core", "_runtime", "__version__"}


def rooms() -> set[str]:
    found = {p.stem for p in PACKAGE.glob("*.py")} | {p.parent.name for p in PACKAGE.glob("*/__init__.py")}
    return found - OUTSIDE


def lines_of_the_map() -> list[set[str]]:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    picture = re.search(r"```text\n(.*?)```", text, re.DOTALL)[1]
    lines = []
    for line in picture.splitlines():
        if line.startswith("  csrc"):
            break
        names = set(re.findall(r"[a-z]+", line[:40]))
        if names:
            lines.append(names)
    return lines


def imports_of(path: Path) -> set[str]:
    """Rooms that a file imports, at its head or inside its functions."""
    inside = path.relative_to(PACKAGE).parts[:-1]
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = list(inside[: len(inside) - node.level + 1])
            parts = base + (node.module or "").split(".") if node.module else base
            found |= {parts[0]} if parts else {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "regkd_edge":
            parts = node.module.split(".")[1:]
            found |= {parts[0]} if parts else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("regkd_edge.")}
    return found - OUTSIDE


def imports() -> dict[str, dict[str, set[str]]]:
    """Room -> imported room -> files."""
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for path in PACKAGE.rglob("*.py"):
        name = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if name not in OUTSIDE:
            for other in imports_of(path) - {name}:
                found[name][other].add(str(path.relative_to(PACKAGE)))
    return found


def test_the_map_shows_every_room_once():
    shown = [name for line in lines_of_the_map() for name in line]
    assert sorted(shown) == sorted(rooms())


def test_a_room_imports_from_the_lines_below_alone():
    height = {name: -number for number, line in enumerate(lines_of_the_map()) for name in line}
    both = {("models", "export"), ("export", "models")}
    assert "models <-> export" in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    wrong = {
        (room, other): sorted(files)
        for room, others in imports().items()
        for other, files in others.items()
        if height[other] >= height[room] and (room, other) not in both
    }
    assert wrong == {}


@pytest.mark.parametrize("room", ["stages", "bundle", "cli", "report", "prediction", "sklearn"])
def test_nothing_above_the_api_trains_or_quantizes_by_itself(room):
    """There is no second way: what is above the API reaches training, quantization and the core through it alone."""
    assert not {"training", "quantization", "objectives", "fused", "sampling", "export"} & set(imports()[room])


def test_the_stages_reach_engines_and_their_measurement_through_the_api():
    assert set(imports()["stages"]) <= {
        "api",
        "config",
        "data",
        "errors",
        "graph",
        "io",
        "models",
        "report",
        "run",
        "trackers",
    }
