"""Files in: whatever holds a table becomes a :class:`Frame` of named columns."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from pathlib import Path

import numpy as np

from ...errors import DataError
from ...io.limits import MAPPED_BYTES, TABLE_BYTES
from ...io.regular import file_problem
from ...io.words import counted
from .bundled import BUNDLED, read_bundled
from .cells import Missing, TextFormat
from .delimited import StreamedText, read_delimited
from .frame import Frame, Odd
from .mat import read_mat
from .npz import read_npy, read_npz
from .parquet import StreamedParquet, read_parquet
from .workbook import workbook_text

__all__ = [
    "BUNDLED",
    "TextFormat",
    "Frame",
    "Missing",
    "Odd",
    "StreamedParquet",
    "StreamedText",
    "empty_rows",
    "leave_out_nameless",
    "mark_missing",
    "note_on_empty",
    "read_frame",
    "streamed_frame",
]

_STREAMED = 1 << 20  # bytes below which no file holds more rows than memory takes, compressed or not
_WORKBOOKS = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")


def read_frame(
    source: str | Path,
    form: TextFormat = TextFormat(),
    *,
    skip: Collection[str] = (),
    only: Collection[str] | None = None,
    texts: Collection[str] = (),
) -> Frame:
    """Read a table from a file, by its kind, or a bundled set.

    Parameters
    ----------
    form : TextFormat
        How a text table is written, and which values mean missing (in any kind of file).
    skip, only : collections of str
        Columns that are left out, or the only ones that are not.
    texts : collection of str
        Columns whose cells are wanted as texts too.

    Raises
    ------
    DataError
        No such file, not a file, or one that cannot be read; it says what was met.
    NotAvailable
        The library that reads this kind of file is not installed.
    """
    name = str(source)
    if name in BUNDLED:
        frame = read_bundled(name)
    else:
        frame = _read_file(_file(Path(source)), form, skip, only, texts)
    for column in list(frame.names):
        if column in skip or (only is not None and column not in only):
            frame.without_column(column)
    mark_missing(frame, form)
    leave_out_nameless(frame)
    empty = empty_rows(frame)
    if empty.any() and not empty.all():
        frame.without_rows(empty)
        frame.notes.append(note_on_empty(int(empty.sum())))
    return frame


def streamed_frame(
    source: str | Path, form: TextFormat = TextFormat(), *, skip: Collection[str] = (), texts: Collection[str] = ()
) -> StreamedText | StreamedParquet | None:
    """Return a text table or a Parquet file that is read in parts; None for any other kind, or a small file.

    The errors are those of :func:`read_frame`; its parts are passed to :func:`mark_missing` by the caller.
    """
    path = Path(source)
    if str(source) in BUNDLED or path.suffix.lower() in (".npz", ".npy", ".mat", *_WORKBOOKS):
        return None
    _file(path, MAPPED_BYTES)
    if path.stat().st_size < _STREAMED:
        return None
    return (
        StreamedParquet(path, skip, texts)
        if path.suffix.lower() in (".parquet", ".pq")
        else StreamedText(path, form, skip, texts)
    )


def _file(path: Path, largest: int = TABLE_BYTES) -> Path:
    if not path.exists() and not path.is_symlink():
        raise DataError(f"no file '{path}'.", _near_files(path))
    if path.is_dir():
        raise DataError(f"'{path}' is a folder, expected a data file.", "Give the path of a CSV, Parquet or NPZ file.")
    problem = file_problem(path, largest)
    if problem is not None:
        raise DataError(f"'{path}' cannot be read: {problem}.", "Write the table to an ordinary, readable file.")
    return path


def _near_files(path: Path) -> str:
    folder = path.parent
    near = difflib.get_close_matches(path.name, [p.name for p in folder.iterdir()], n=1) if folder.is_dir() else []
    if near:
        return f"Did you mean '{folder / near[0]}'?"
    return f"Give the path of a CSV, Parquet or NPZ file, or a bundled set: {', '.join(BUNDLED)}."


def _read_file(
    path: Path, form: TextFormat, skip: Collection[str], only: Collection[str] | None, texts: Collection[str]
) -> Frame:
    suffix = path.suffix.lower()
    if suffix == ".npz":
        return read_npz(path)
    if suffix == ".npy":
        return read_npy(path)
    if suffix == ".mat":
        return read_mat(path)
    if suffix in (".parquet", ".pq"):
        return read_parquet(path, skip, texts)
    if suffix in _WORKBOOKS:
        content, notes = workbook_text(path)
        form = TextFormat("comma", form.decimal, form.thousands, form.missing, form.header)
        frame = read_delimited(path, form, skip=skip, only=only, texts=texts, content=content)
        frame.notes += notes
        return frame
    return read_delimited(path, form, skip=skip, only=only, texts=texts)


def mark_missing(frame: Frame, form: TextFormat) -> None:
    """Numbers and texts that mean missing become blanks, whatever kind of file they came from; texts that are numbers
    become numbers in a file that stores them as texts."""
    if frame.typed:
        _read_texts(frame, form)
    for name in form.missing.columns:
        if name not in frame.names:
            raise DataError(
                f"--missing names '{name}', which is not a column.", f"Its columns: {', '.join(frame.names)}."
            )
    for j, name in enumerate(frame.names):
        missing = form.missing.in_column(name)
        if missing.numbers:
            frame.values[np.isin(frame.values[:, j], list(missing.numbers)), j] = np.nan
        for text in missing.texts & set(frame.odd[name].texts if name in frame.odd else ()):
            frame.odd[name].count -= frame.odd[name].texts.pop(text)[0]
        if name in frame.odd and not frame.odd[name].count:
            del frame.odd[name]
        if name in frame.texts and missing.texts:
            frame.texts[name] = ["" if cell.strip() in missing.texts else cell for cell in frame.texts[name]]


def _read_texts(frame: Frame, form: TextFormat) -> None:
    """Read the cells of texts as those of a text table are read: a data frame of strings may well hold numbers."""
    for name in [name for name in frame.odd if name in frame.texts and not frame.odd[name].what]:
        cells, reader = frame.texts[name], form.reader(name, "." if form.decimal == "auto" else form.decimal)
        values, places = reader.column(list(distinct := dict.fromkeys(cells)))
        wrong = set(map(list(distinct).__getitem__, places))
        if len(wrong) == len(set(distinct) - {""}):
            continue
        number = dict(zip(distinct, values.tolist()))
        frame.values[:, frame.names.index(name)] = [number[cell] for cell in cells]
        odd = Odd()
        for row, cell in enumerate(cells):
            if cell in wrong:
                odd.add(cell.strip(), row)
        if odd.count:
            frame.odd[name] = odd
        else:
            del frame.odd[name]


def leave_out_nameless(frame: Frame) -> None:
    """Leave out nameless columns without a value, and those that count the rows."""
    for name in [n for n in frame.names if n.startswith("unnamed")]:
        column = frame.values[:, frame.names.index(name)]
        if name in frame.odd:
            continue
        if np.isnan(column).all():
            frame.notes.append(f"column {name.removeprefix('unnamed')} is left out: it has no name and no values")
        elif len(column) > 2 and column[0] in (0, 1) and (np.diff(column) == 1).all():
            frame.notes.append(f"column {name.removeprefix('unnamed')} is left out: it has no name and counts the rows")
        else:
            frame.notes.append(f"column {name.removeprefix('unnamed')} has no name and is called '{name}'")
            continue
        frame.without_column(name)


def note_on_empty(count: int) -> str:
    """Return "1 empty row is left out", "1,200 empty rows are left out"."""
    return f"{counted(count, 'empty row')} {'is' if count == 1 else 'are'} left out"


def empty_rows(frame: Frame) -> np.ndarray:  # bool [N]
    """Rows without a cell that holds anything."""
    empty = np.isnan(frame.values).all(axis=1)
    if empty.any():
        for odd in frame.odd.values():
            empty[np.array(odd.rows, dtype=np.int64)] = False
        for cells in frame.texts.values():
            empty &= np.array([not cell.strip() for cell in cells], dtype=bool)
    return empty
