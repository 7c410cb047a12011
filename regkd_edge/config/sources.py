"""How a teacher that exists already is named: a run folder, a file, or ``package.module:factory``."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["absolute_source", "factory_of"]


def factory_of(text: str | None) -> tuple[str, str] | None:
    """``("package.module", "factory")`` or ``("path/to/file.py", "factory")`` where a text names one, else None."""
    if not text or Path(text).exists():
        return None
    place, colon, name = text.rpartition(":")
    return (place, name) if colon and place and name.isidentifier() else None


def absolute_source(text: str, base: Path | None = None) -> str:
    """The same source from any folder: a path becomes absolute, one beside ``base`` first; a module stays."""
    factory = factory_of(text)
    if factory is None and ":" in text and not Path(text).expanduser().exists():
        return text  # a factory that is misspelt; it is refused when it is read
    place = text if factory is None else factory[0]
    if factory is not None and not place.endswith(".py"):
        return text
    path = Path(place).expanduser()
    if base is not None and (base / path).exists():
        path = base / path
    return os.path.abspath(path) + ("" if factory is None else f":{factory[1]}")
