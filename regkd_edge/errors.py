"""Errors a user can act on: the value met, the value expected, and the remedy.

The CLI prints them as one line without a traceback and exits with code 2; a library user catches
:class:`UserError` or one of its kin. An error that is none of these is a bug in the project.
"""

from __future__ import annotations

import re

__all__ = [
    "DataError",
    "DataWarning",
    "GraphError",
    "ModelError",
    "NotAvailable",
    "OptionError",
    "ProcessLost",
    "RecipeError",
    "RunFolderError",
    "UserError",
]


class DataWarning(UserWarning):
    """Rows that are taken as they are and look like a mistake, such as a mark for missing values among readings."""


class TeacherWarning(UserWarning):
    """A teacher that is not worth following on the rows that were handed over, or that these are too few to judge."""


class UserError(Exception):
    """A mistake that the user can fix.

    Those that concern a value which was handed in (:class:`DataError`, :class:`ModelError`, :class:`RecipeError`,
    :class:`OptionError`, :class:`GraphError`) are a ``ValueError`` too.

    Parameters
    ----------
    cause : str
        What was wrong, with the value met and the value expected.
    remedy : str, optional
        What to do about it, as an imperative sentence.
    """

    def __init__(self, cause: str, remedy: str = "") -> None:
        self.cause, self.remedy = _one_line(cause), _one_line(remedy)
        super().__init__(f"{self.cause} {self.remedy}".strip())


def _one_line(text: str) -> str:
    """Replace each line break and the space around it by one space; other spaces may belong to a file name.

    A control character is shown as its escape: causes quote cells and names that the user was
    given.
    """
    line = re.sub(r"\s*[\r\n\v\f]\s*", " ", str(text)).strip()
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


class DataError(UserError, ValueError):
    """A table, a column or a split that cannot be used."""


class ModelError(UserError, ValueError):
    """A model spec, a factory or a state dict that cannot be used."""


class RecipeError(UserError, ValueError):
    """Terms, weights or a teacher that do not go together, or a constant outside its range."""


class OptionError(UserError, ValueError):
    """An option that does not exist, is out of its range, or does not go with another."""


class GraphError(UserError, ValueError):
    """An ONNX graph that is not what was requested (nothing quantized, wrong outputs, wrong types)."""


class RunFolderError(UserError):
    """A run folder that is corrupt, half written, or cannot be written to."""


class ProcessLost(UserError):
    """A process of several that train together has ended, or cannot be reached."""


class NotAvailable(UserError):
    """A library, a device or a precision that is absent on this machine; the cause names it."""
