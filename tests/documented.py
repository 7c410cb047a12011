"""The keys of ``--json`` as docs/formats.md lists them."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "formats.md"


def keys(command: str, batches=()) -> list[str]:
    """Keys of a row of a command, in order; ``command + " targets"`` those of one of its targets."""
    section = PAGE.read_text(encoding="utf-8").partition("## JSON of the commands")[2].partition("\n## ")[0]
    name, _, targets = command.partition(" ")
    lines = [line for line in section.splitlines() if line.startswith("|")]
    at = next(i for i, line in enumerate(lines) if f"`{name}`" in line.split("|")[1])
    cell = re.sub(r"\([^)]*\)", "", lines[at + bool(targets)].split("|")[2])
    found, timed = [], []
    for key in re.findall(r"`(\w+)`", cell):
        (timed if key.endswith("_bB") else found).append(key)
        if key.endswith("_bB") and "" not in found:
            found.append("")  # their place
    found = found if found.count("unit") < 2 else list(dict.fromkeys(found))
    place = found.index("") if "" in found else len(found)
    expanded = [key.removesuffix("B") + str(batch) for batch in batches for key in timed]
    return [*found[:place], *expanded, *found[place + 1 :]]
