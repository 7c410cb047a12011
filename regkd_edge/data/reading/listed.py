"""A folder of files and the table that says something of each: every file has one row, and every row its file."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath

from ...errors import DataError
from ...io.limits import FOLDER_FILES
from .frame import Frame

__all__ = ["FILE_COLUMNS", "LABELS", "files_in", "matched", "shown"]

#: The table that is taken where none is named.
LABELS = "labels.csv"
#: Columns that name the file, the first of them that is there.
FILE_COLUMNS = ("file", "filename", "file_name", "image", "recording", "path", "name")
_LISTED = 3


def files_in(folder: Path, suffixes: Collection[str], what: str, aside: Collection[Path] = ()) -> list[Path]:
    """Return the files below a folder with one of the ``suffixes``, in the order of their names.

    Hidden files and folders, links out of it and the files ``aside`` are passed over.

    Raises
    ------
    DataError
        None, too many, or a folder that cannot be listed.
    """
    found: list[Path] = []
    others: set[str] = set()
    passed = {path.resolve() for path in aside}
    problems: list[OSError] = []
    for place, folders, names in os.walk(folder, onerror=problems.append):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(place, name)
            if name.startswith(".") or path.resolve() in passed:
                continue
            if path.suffix.lower() in suffixes:
                found.append(path)
            else:
                others.add(path.suffix.lower() or name)
        if len(found) > FOLDER_FILES:
            raise DataError(f"'{folder}' holds more than {FOLDER_FILES:,} files.", "Store them as one array (NPY).")
    if problems:
        raise DataError(f"'{problems[0].filename}' cannot be read: {problems[0].strerror}.", "Give a readable folder.")
    if not found:
        there = f" (it holds {', '.join(sorted(others)[:5])})" if others else ""
        raise DataError(
            f"'{folder}' holds no {what}{there}.", f"Expected files that end in {', '.join(sorted(suffixes))}."
        )
    return found


def matched(folder: Path, files: Sequence[Path], labels: Frame, leave_out: bool) -> tuple[list[Path], list[str]]:
    """Pair files and rows; the rows of ``labels`` are brought into the order of the files that are returned.

    A row names its file by the path in the folder or, where that is clear, by its name with or without suffix.

    Parameters
    ----------
    leave_out : bool
        Leave out files without a row and rows without a file, in place of refusing them.

    Raises
    ------
    DataError
        No column that names files, files without labels, labels without files, a file named twice; with counts and
        first names.
    """
    column = next((name for wanted in FILE_COLUMNS for name in labels.names if name.lower() == wanted), None)
    if column is None:
        raise DataError(
            f"'{labels.source}' has no column that names the files, its columns are: {', '.join(labels.names[:12])}.",
            "Call that column 'file'.",
        )
    places = _places(folder, files)
    row_of: dict[int, int] = {}
    lost: list[str] = []
    cells = labels.texts.get(column) or [f"{value:.17g}" for value in labels.values[:, labels.names.index(column)]]
    for row, cell in enumerate(cells):
        at = places.get(str(PurePosixPath(cell.strip().replace("\\", "/"))))
        if at is None:
            lost.append(cell.strip())
        elif at in row_of:
            raise DataError(
                f"'{labels.source}' names '{_name(folder, files[at])}' twice, in {labels.place(row_of[at])} and "
                f"{labels.place(row)}.",
                "Keep one row per file.",
            )
        else:
            row_of[at] = row
    bare = [_name(folder, files[i]) for i in range(len(files)) if i not in row_of]
    if (lost or bare) and (not leave_out or not row_of):
        said = ([f"{len(bare):,} of {len(files):,} files have no label ({shown(bare)})"] if bare else []) + (
            [f"{len(lost):,} of {len(labels.values):,} labels have no file ({shown(lost)})"] if lost else []
        )
        raise DataError(
            f"'{labels.source}' and '{folder}' do not fit: {' and '.join(said)}.",
            "Add --blanks drop to leave them out." if row_of else "Write the names as they are in the folder.",
        )
    notes = [f"{len(bare):,} files without a label are left out: {shown(bare)}"] if bare else []
    notes += [f"{len(lost):,} labels without a file are left out: {shown(lost)}"] if lost else []
    order = [row_of[i] for i in sorted(row_of)]
    labels.take(order)
    labels.without_column(column)
    return [files[i] for i in sorted(row_of)], notes


def shown(names: Sequence[str]) -> str:
    """The first few of many names."""
    return ", ".join(f"'{name[:80]}'" for name in names[:_LISTED]) + (", ..." if len(names) > _LISTED else "")


def _places(folder: Path, files: Sequence[Path]) -> dict[str, int | None]:
    """By what a file may be called, its number; None for what several are called."""
    places: dict[str, int | None] = {}
    exact = {_name(folder, path): i for i, path in enumerate(files)}
    for i, path in enumerate(files):
        inside = PurePosixPath(_name(folder, path))
        for call in {str(inside.with_suffix("")), inside.name, inside.stem, f"{folder.name}/{inside}"}:
            places[call] = None if call in places else i
    return {**places, **exact}


def _name(folder: Path, path: Path) -> str:
    return path.relative_to(folder).as_posix()
