"""Names that come from files: one function decides whether they stay inside their folder.

A name in ``state.json``, ``bundle.json``, a manifest or a record is text that somebody else may have written. It
becomes a path by :func:`inside` and by nothing else, so that no file
can make a command read, write or delete elsewhere.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from ..errors import RunFolderError, UserError
from .limits import NAME_BYTES, PATH_BYTES

__all__ = ["inside", "name_problem", "plain_name"]

# Names that Windows opens as a device, with any ending.
_DEVICES = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|clock\$|(com|lpt)[0-9¹²³])(\.|$)", re.IGNORECASE)


def name_problem(name: Any) -> str | None:
    """Return why ``name`` does not name something inside a folder, on any system; None where it does.

    A name is text, relative, with forward slashes, and every part of it is an ordinary name: not empty, ``.`` or
    ``..``, without backslash, colon (drive letters, streams), NUL or control characters, and no device of Windows.
    """
    if not isinstance(name, str):
        return f"is of type {type(name).__name__}, expected text"
    try:
        encoded = name.encode()
    except UnicodeEncodeError:
        return "holds a half character (surrogate)"
    if not name:
        return "is empty"
    if len(encoded) > PATH_BYTES:
        return f"has {len(encoded)} bytes, expected at most {PATH_BYTES}"
    if name.startswith("/"):
        return "is absolute"
    for part in name.split("/"):
        if part == "":
            return "has an empty part"
        if part in (".", ".."):
            return f"has the part '{part}'"
        if len(part.encode()) > NAME_BYTES:
            return f"has a part of {len(part.encode())} bytes, expected at most {NAME_BYTES}"
        if any(c in '\\:*?"<>|' or ord(c) < 32 or ord(c) == 127 for c in part):
            return "has a backslash, a colon, or another character that some system does not take in a name"
        if part != part.strip() or part.endswith("."):
            return "has a part that begins or ends with a space, or ends with a dot"
        if _DEVICES.match(part):
            return f"has the part '{part}', which is a device on Windows"
    return None


def plain_name(name: Any) -> bool:
    """Return whether ``name`` is one ordinary name, without a folder before it."""
    return name_problem(name) is None and "/" not in name


def inside(
    folder: str | Path,
    name: Any,
    where: str = "",
    kind: type[UserError] = RunFolderError,
    remedy: str = "Do not use this file: it was damaged, or made to harm.",
) -> Path:
    """Return the path ``folder/name`` of a name that was read from a file.

    Parameters
    ----------
    folder : path
        Where the name has to stay. It may itself be reached through a symbolic link.
    name : str
        As the file has it; any other type is refused.
    where : str
        The file that holds the name, for the message.
    kind, remedy
        Error to raise and what it tells the user to do.

    Raises
    ------
    UserError
        Of the ``kind`` given: the name is not an ordinary relative name (:func:`name_problem`), or a symbolic link in
        ``folder`` leads outside.
    """
    problem = name_problem(name)
    folder = Path(folder)
    if problem is None:
        root = os.path.realpath(folder)
        target = os.path.realpath(folder / name)
        if target != root and not target.startswith(root.rstrip(os.sep) + os.sep):
            problem = "passes a symbolic link that leads elsewhere"
    if problem is not None:
        shown = repr(name if isinstance(name, str) and len(name) <= 80 else str(name)[:80])
        source = f"{where} names" if where else "met the name"
        raise kind(f"{source} {shown}, which is not a name inside '{folder}': it {problem}.", remedy)
    return folder / name
