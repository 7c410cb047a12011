"""Files beside those that a bundle lists: what an earlier deployment wrote, and what nobody vouches for."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import RunFolderError
from .schema import LIST, SIGNATURE

__all__ = ["require_listed"]

#: What a deployment writes itself, and makes again: engines that are not part of the bundle, figures, the report.
_WRITTEN = re.compile(
    r"engines/(?!native\.)[^/]+/.+|bench/[^/]+\.(json|npz)|report\.(html|json)|deploy\.json|timing\.cache"
)
_KEPT = {LIST, SIGNATURE, ".lock", "run.log"}  # neither of the last two is ever read
_SHOWN = 3


def require_listed(folder: Path, content: Mapping[str, Any]) -> int:
    """Leave only what ``content`` (``bundle.json``) lists in ``folder``, and return how many files were removed.

    Removed is what a deployment makes again. Nothing is removed where anything else is found.

    Raises
    ------
    RunFolderError
        A file that the bundle does not list and no deployment writes, or a symbolic link; the message names it.
    """
    strange, written = [], []
    for name, link in _files(folder):
        if not link and (name in content["files"] or name in _KEPT):
            continue
        (strange if link or _WRITTEN.fullmatch(name) is None else written).append(name)
    if strange:
        more = f" and {len(strange) - _SHOWN:,} more" if len(strange) > _SHOWN else ""
        raise RunFolderError(
            f"'{folder}' holds {', '.join(repr(name) for name in sorted(strange)[:_SHOWN])}{more}, which the signed "
            "bundle does not list.",
            "Remove it, or deploy the archive into a new folder.",
        )
    for name in written:
        (folder / name).unlink()
    for inner in {name.split("/")[1] for name in written if name.startswith("engines/")}:
        shutil.rmtree(folder / "engines" / inner, ignore_errors=True)
    return len(written)


def _files(folder: Path) -> list[tuple[str, bool]]:
    """The name of every file below ``folder``, with forward slashes, and whether it is a symbolic link."""
    found = []
    for place, folders, files in os.walk(folder):
        for name in [*files, *folders]:
            path = Path(place, name)
            if name in files or path.is_symlink():
                found.append((path.relative_to(folder).as_posix(), path.is_symlink()))
    return found
