"""Nouns of messages: with their numbers, with their articles."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["counted", "described", "in_percent", "name_and_unit"]

# In round brackets a remark may stand, which is longer than a unit; in square ones hardly.
_BRACKETED = re.compile(r"(.*\S)\s*(?:\[\s*([^\[\]()]{1,40}?)\s*\]|\(\s*([^\[\]()]{1,16}?)\s*\))\s*", re.DOTALL)


def counted(number: int, noun: str) -> str:
    """Return "1 row", "2 rows", "12,000 rows"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def in_percent(share: float) -> str:
    """Return "12%"; "less than 1%" of what would be rounded to nothing, and is not."""
    return "less than 1%" if 0 < share < 0.005 else f"{share:.0%}"


def described(value: Any) -> str:
    """Return "a Teacher", "an int", "None": what an argument is that is of no use."""
    if value is None:
        return "None"
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIO' else 'a'} {name}"


def name_and_unit(column: str) -> tuple[str, str | None]:
    """Part the name of a column from the unit in brackets at its end: "capacity [mAh]" into "capacity" and "mAh"."""
    found = _BRACKETED.fullmatch(column)
    return (found.group(1), found.group(2) or found.group(3)) if found else (column, None)
