"""Refusals of the operating system that a user can act on: no permission, no space, no memory.

Many steps look at a path (does it exist, is it a folder), and each of them raises an error where a folder on the way
may not be entered. So the commands turn these errors into one line where they end, whatever step met them.
"""

from __future__ import annotations

import errno

from ..errors import RunFolderError, UserError

__all__ = ["refusal_of"]

_ACCESS = "Give a path that you may read and write, or change its permissions."
_SPACE = "Free space, or choose another folder."
_REMEDIES = {
    errno.EACCES: _ACCESS,
    errno.EPERM: _ACCESS,
    errno.EROFS: "Choose a folder that can be written to.",
    errno.ENOSPC: _SPACE,
    errno.EDQUOT: _SPACE,
    errno.EFBIG: _SPACE,
    errno.EIO: "Check the disk, or choose another one.",
    errno.ESTALE: "Mount that file system again.",
    errno.ELOOP: "Correct the links on that path.",
    errno.ENAMETOOLONG: "Choose a shorter name.",
    errno.ENOTDIR: "Correct the path: a part of it is a file.",
    errno.EMFILE: "Allow more open files: ulimit -n.",
    errno.ENFILE: "End other programs: the system has no open files left.",
    errno.ENOMEM: "Free memory, or choose a smaller network or batch.",
}


def refusal_of(error: OSError | MemoryError) -> UserError | None:
    """Return the error that a user can act on, with the path and the system's reason; None for any other error."""
    if isinstance(error, MemoryError):
        return UserError(f"there is not enough memory{f': {error}' if str(error) else ''}.", _REMEDIES[errno.ENOMEM])
    if isinstance(error, FileNotFoundError) and "temporary directory" in str(error):
        return UserError("no temporary folder can be written to.", "Set TMPDIR to a folder that can be written to.")
    remedy = _REMEDIES.get(error.errno or 0)
    if remedy is None:
        return None
    where = f"'{error.filename}' cannot be used" if error.filename else "the system refuses a step"
    return RunFolderError(f"{where}: {error.strerror}.", remedy)
