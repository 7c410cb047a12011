"""Whether the user allowed the code that a configuration names to run; what he allows is remembered."""

from __future__ import annotations

from pathlib import Path

from ..config import RunConfig, TeacherConfig
from ..config.sources import factory_of
from ..errors import ModelError
from ..io import consent
from ..io.regular import file_problem

__all__ = ["remember_consent", "remember_student", "require_code", "require_student", "trusts"]

_STUDENT = "distill.student"
_FIELDS = {"factory": "factory_name", "teacher_scaler": "teacher_scaler"}


def trusts(config: TeacherConfig, path: str | Path | None) -> bool:
    """Return whether a file of the teacher may be unpickled: allowed by this call, or earlier by its content."""
    if config.trust:
        return True
    if path is None or file_problem(path) is not None:
        return False
    return consent.allowed(consent.file_key(path))


def require_code(config: TeacherConfig, field: str) -> None:
    """Refuse to import what ``factory`` or ``teacher_scaler`` names where a
    file named it and the user never allowed it.

    Raises
    ------
    ModelError
        With the module, and how to allow it.
    """
    code = _code(config, field)
    if code is None or _named_by(config, field) not in config.unconfirmed:
        return
    _require_allowed(code, f"the teacher's {field.replace('teacher_', '')}", "on the command line")


def remember_consent(config: TeacherConfig, folder: Path) -> None:
    """Remember what the user allows by this call: all of the teacher with ``--trust``, else the code that he named.

    ``folder`` is the teacher's folder in the run, whose copy of a file counts.
    """
    for field in _FIELDS:
        code = _code(config, field)
        if code is not None and _named_by(config, field) not in config.unconfirmed:
            consent.allow(consent.code_key(*code), ":".join(code))
    if not config.trust:
        return
    path = Path(config.path) if config.path else None
    files = [config.weights, config.teacher_scaler, path, folder, path and path / "teacher"]
    for given in files:
        for file in _files(given):
            consent.allow(consent.file_key(file), str(file))


def _require_allowed(code: tuple[str, str], what: str, where: str) -> None:
    if not consent.allowed(consent.code_key(*code)):
        raise ModelError(
            f"the configuration names the code '{':'.join(code)}' as {what}, and it was not allowed to run on this "
            "machine as it is now.",
            f"Read it; then add --trust, or name it {where}.",
        )


def require_student(config: RunConfig) -> None:
    """Refuse to import the student's own code where a file named it and the user never allowed it.

    Raises
    ------
    ModelError
        With the module, and how to allow it.
    """
    code = _student_code(config)
    if code is None or _STUDENT not in config.teacher.unconfirmed or config.teacher.trust:
        return
    _require_allowed(code, "the student", "with distill --student")


def remember_student(config: RunConfig) -> None:
    """Remember the student's own code that the user named by this call, or allowed with ``--trust``."""
    code = _student_code(config)
    if code is not None and (config.teacher.trust or _STUDENT not in config.teacher.unconfirmed):
        consent.allow(consent.code_key(*code), ":".join(code))


def _student_code(config: RunConfig) -> tuple[str, str] | None:
    family, _, rest = config.distill.student.partition(":")  # as parse_spec reads it
    return factory_of(rest.strip()) if family.strip() == "factory" else None


def _named_by(config: TeacherConfig, field: str) -> str:
    """The field that names the code: a factory may stand in ``teacher_from`` too."""
    return "teacher_from" if field == "factory" and not config.factory else field


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
