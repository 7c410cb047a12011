"""Whether the user allowed the code that a configuration names to run; what he allows is remembered."""

from __future__ import annotations

from pathlib import Path

from ..config import TeacherConfig
from ..config.sources import factory_of
from ..errors import ModelError
from ..io import consent
from ..io.regular import file_problem

__all__ = ["remember_consent", "require_code", "trusts"]

_FIELDS = {"factory": "factory_name", "teacher_scaler": "teacher_scaler"}


def trusts(config: TeacherConfig, path: str | Path | None) -> bool:
    """Return whether a file of the teacher may be unpickled: allowed by this call, or earlier by its content."""
    if config.trust:
        return True
    if path is None or file_problem(path) is not None:
        return False
    return consent.allowed(consent.file_key(path))


def require_code(config: TeacherConfig, field: str) -> None:
    """Refuse to import what ``factory`` or ``teacher_scaler`` names where a file named it and the user never allowed it.

    Raises
    ------
    ModelError
        With the module, and how to allow it.
    """
    code = _code(config, field)
    named = {"factory", "teacher_from"} if field == "factory" else {field}
    if code is None or not named <= config.unconfirmed:
        return
    if not consent.allowed(consent.code_key(*code)):
        raise ModelError(
            f"the configuration names the code '{':'.join(code)}' as the teacher's {field.replace('teacher_', '')}, and "
            "it was not allowed to run on this machine as it is now.",
            "Read it; then add --trust, or name it on the command line.",
        )


def remember_consent(config: TeacherConfig, folder: Path) -> None:
    """Remember what the user allows by this call: all of the teacher with ``--trust``, else the code that he named.

    ``folder`` is the teacher's folder in the run, whose copy of a file counts.
    """
    for field in _FIELDS:
        code = _code(config, field)
        own = {"factory", "teacher_from"} if field == "factory" else {field}
        if code is not None and not own <= config.unconfirmed:
            consent.allow(consent.code_key(*code), ":".join(code))
    if not config.trust:
        return
    path = Path(config.path) if config.path else None
    files = [config.weights, config.teacher_scaler, path, folder, path and path / "teacher"]
    for given in files:
        for file in _files(given):
            consent.allow(consent.file_key(file), str(file))


def _code(config: TeacherConfig, field: str) -> tuple[str, str] | None:
    text = getattr(config, _FIELDS[field])
    if field == "teacher_scaler" and text is not None and text.endswith(".py"):
        return text, ""
    return factory_of(text)


def _files(given: str | Path | None) -> list[Path]:
    if given is None:
        return []
    path = Path(given)
    found = sorted(path.glob("source.*")) if path.is_dir() else [path]
    return [file for file in found if file_problem(file) is None]
