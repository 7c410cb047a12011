"""What a file or folder of data holds, read as little as will tell: for ``inspect``."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError, UserError
from ..io.mapped import map_npy, npz_entries
from .reading import read_frame
from .reading.images import IMAGES, size_of_image
from .reading.listed import LABELS, files_in
from .reading.recordings import SOUNDS, TABLES, Recording, clipped_or_silent, read_sounds
from .sources import kind_of_source

__all__ = ["facts_of_data", "holds_data"]

_TABLE = (*TABLES, ".xlsx", ".xlsm", ".xlsb", ".xls", ".ods", ".mat", ".bz2", ".xz", ".zip", ".data")


def holds_data(path: Path) -> bool:
    """Whether a path looks like data: by its suffix, or a folder of images or recordings."""
    if path.is_file():
        return path.suffix.lower() in (".npy", ".npz", *SOUNDS, *_TABLE)
    try:
        return path.is_dir() and bool(kind_of_source(path))
    except UserError:
        return False


def facts_of_data(path: Path) -> tuple[str, dict[str, Any]]:
    """Return the kind of data, and facts about them in the order in which they are worth reading.

    Raises
    ------
    DataError
        A file that cannot be read.
    """
    kind = kind_of_source(path)
    if kind == "array":
        return "array", _arrays(path)
    if kind == "images":
        return "images", _images(path)
    if kind in ("sound", "sounds"):
        files = files_in(path, SOUNDS, "recordings") if path.is_dir() else [path]
        return "recordings", {**_sounds(path, read_sounds(files, [_name(path, file) for file in files])), **_list(path)}
    if kind == "tables":
        files = files_in(path, TABLES, "recordings", [path / LABELS])
        first = read_frame(files[0])
        return "recordings", {"files": len(files), "columns": ", ".join(first.names[:20]), **_list(path)}
    frame = read_frame(path)
    return "table", {
        "rows": len(frame.values),
        "columns": f"{len(frame.names)}: {', '.join(frame.names[:20])}{', ...' if len(frame.names) > 20 else ''}",
        "columns with text": ", ".join(list(frame.odd)[:20]) or "none",
        "blank cells": int(np.isnan(frame.values).sum()) - sum(odd.count for odd in frame.odd.values()),
        "notes": "; ".join(frame.notes) or "none",
    }


def _arrays(path: Path) -> dict[str, Any]:
    try:
        if path.suffix.lower() == ".npy":
            array = map_npy(path)
            return {"shape": list(array.shape), "type": str(array.dtype), "bytes": array.nbytes}
        return {
            name: f"{list(stored.shape)} {stored.dtype}{'' if stored.offset is not None else ', compressed'}"
            for name, stored in npz_entries(path).items()
        }
    except Exception as error:  # NumPy and zipfile raise one of a dozen kinds for a damaged file
        raise DataError(
            f"'{path}' is not a readable array: {' '.join(str(error).split()).strip('.')}.", "Save it again."
        ) from None


def _images(path: Path) -> dict[str, Any]:
    files = files_in(path, IMAGES, "images")
    facts = [size_of_image(file) for file in files]
    sizes, modes = Counter(f"{h}x{w}" for (h, w), _ in facts), Counter(mode for _, mode in facts)
    return {"files": len(files), "sizes": _counted(sizes), "modes": _counted(modes), **_list(path)}


def _sounds(path: Path, recordings: list[Recording]) -> dict[str, Any]:
    lengths = np.array([len(one) for one in recordings])
    rate = recordings[0].rate or 1.0
    return {
        "files": len(recordings),
        "samples per second": rate,
        "channels": recordings[0].values.shape[1],
        "type": _counted(Counter(str(one.values.dtype) for one in recordings)),
        "samples": f"{lengths.min():,} to {lengths.max():,} "
        f"({lengths.min() / rate:.3g} to {lengths.max() / rate:.3g} s)",
        "notes": "; ".join(clipped_or_silent(recordings)) or "none",
    }


def _list(path: Path) -> dict[str, Any]:
    labels = path / LABELS
    if not path.is_dir():
        return {}
    return {"labels": ", ".join(read_frame(labels).names[:20]) if labels.is_file() else f"no '{LABELS}' in it"}


def _name(folder: Path, file: Path) -> str:
    return file.relative_to(folder).as_posix() if folder.is_dir() else file.name


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{what} ({count:,})" for what, count in counts.most_common(6)) + (
        ", ..." if len(counts) > 6 else ""
    )
