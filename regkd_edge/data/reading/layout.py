"""How a text table is laid out, told from its first lines: encoding, separator, header, decimal mark."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ...errors import DataError
from ...io.limits import COLUMN_NAME, COLUMNS
from ...io.words import counted
from .cells import TextFormat, certain_decimal, shortened
from .dots import dots_for_thousands
from .header import below_names, is_title, joined_names, kind_of_cell, names_rows

__all__ = ["SPACE", "Layout", "layout_of", "parsed", "require_few", "require_unique"]

SPACE = " "  # any run of spaces and tabs
_NAMED = {"comma": ",", "semicolon": ";", "tab": "\t", "\\t": "\t", "bar": "|", "pipe": "|", "space": SPACE}
_WORDS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", SPACE: "spaces"}
_TRIED = ("\t", ";", "|", ",")  # in this order where several fit; spaces only where none does
_ROWS, _BODY = 200, 5000  # rows that decide the separator, and those that decide the decimal mark
_COMMENTS = ("#", "%", "//")
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Layout:
    """How to read the lines of a text table.

    Parameters
    ----------
    encoding : str
    separator : str
        One character; a space stands for any run of spaces and tabs.
    names : list of str
    start : int
        Lines before the first row.
    decimal : str
    notes : list of str
        What was left out before the first row, for the user to know.
    dotted : dict of str to str
        Columns whose dot may be a thousands separator, with what says so.
    left_out : list of (int, list of str)
        Number and cells of the lines below the names that hold no numbers.
    """

    encoding: str
    separator: str
    names: list[str]
    start: int
    decimal: str
    notes: list[str] = field(default_factory=list)
    dotted: dict[str, str] = field(default_factory=dict)
    left_out: list[tuple[int, list[str]]] = field(default_factory=list)


def layout_of(path: Path, head: bytes, whole: bool, form: TextFormat) -> Layout:
    """Tell the layout from the first bytes ``head``; ``whole``: these are all.

    Raises
    ------
    DataError
        Nothing in it, not a text, one column, no header line, columns without or with equal names.
    """
    encoding, text = _decoded(path, head, whole)
    lines = list(io.StringIO(text, newline=""))
    if not whole and len(lines) > 1:
        lines = lines[:-1]
    _refuse_other_kinds(path, text)
    arff = _arff(lines)
    if arff is not None:
        return Layout(encoding, ",", _check_names(path, arff[0]), arff[1], ".")
    first, notes = 0, []
    named = _NAMED.get(form.separator.lower(), form.separator)
    if lines and re.fullmatch(r"sep=.[\r\n]*", lines[0], re.IGNORECASE):
        named, first = (lines[0][4] if named == "auto" else named), 1
    comment = ""
    while first < len(lines) and (not lines[first].strip(" \t\r\n,;|") or lines[first].startswith(_COMMENTS)):
        comment = lines[first].lstrip("#%/ ") if lines[first].strip() else comment
        first += 1
    if first == len(lines):
        raise DataError(f"'{path}' is empty, expected a header line and rows.", "Give a CSV file with data in it.")
    most = max(lines[first].count(mark) for mark in ",;\t|")
    if most > 2 * COLUMNS:  # before millions of cells are made, whichever of the marks parts them
        require_few(path, most + 1)
    separator = _separator(lines[first:]) if named == "auto" else named
    if len(separator) != 1:
        raise DataError(f"separator '{separator}' is not one character.", f"Give one, or one of: {', '.join(_NAMED)}.")
    rows = [(first + number, row) for number, row in _sample(lines[first:], separator, _BODY)]
    width = Counter(len(row) for _, row in rows[1:] if len(row) > 1).most_common(1)
    usual = width[0][0] if width else len(rows[0][1])
    above = 0
    while len(rows) > 1 and is_title(rows[0][1], [row for _, row in rows[1:]], usual):
        first, above, comment = rows.pop(0)[0], above + 1, ""
    if above:
        notes.append(f"{counted(above, 'line')} above the header left out")
    end, header = rows[0]
    names = [name.strip() for name in header]
    if len(names) == 1:
        raise _one_column(path, names[0], lines[first], form)
    before = [name.strip() for name in next(iter(parsed([comment], separator)), [])] if comment else []
    if form.header and len(before) == len(names) and not _like_rows(before, rows[:3]) and _like_rows(names, rows[1:3]):
        names, end = before, end - 1  # numpy.savetxt writes its header as a comment
    elif not form.header:
        names, end = [f"c{i}" for i in range(1, usual + 1)], end - 1
    elif _like_rows(names, rows[1:6]):
        raise DataError(
            f"'{path}' starts with numbers ({shortened(', '.join(names[:4]))}{', ...' * (len(names) > 4)}), separated "
            f"by {_WORDS.get(separator, repr(separator))}, expected a header line with column names.",
            f"Add a header line, or pass --no-header: the columns are then c1 to c{len(names)}, as in --target "
            f"c{len(names)}.",
        )
    body = [row for number, row in rows if number > end]
    if len(names) == usual - 1 and form.header and names[-1] and all(len(row) == usual for row in body):
        if names_rows([row[0].strip() for row in body]) and any(row[-1].strip() for row in body):
            names.insert(0, "")  # R's write.table names no column for the row names
            notes.append("rows have one cell more than the header: the first one was taken for the name of the row")
    while len(names) == usual + 1 and not names[-1]:  # a separator at the end of the header alone
        names.pop()
    left_out = []
    joined = joined_names(names, body[0]) if below_names(len(names), body) else None
    if joined is not None:
        notes.append(f"lines {end + 1} and {end + 2} are the names: '{joined[0]}' and so on")
        names, end, body = joined, end + 1, body[1:]
    for _ in range(below_names(len(names), body)):
        notes.append(
            f"line {end + 2} is left out: it holds no numbers ({shortened(', '.join(body[0]))}), units perhaps"
        )
        left_out.append((end + 2, [cell.strip() for cell in body[0]]))
        end, body = end + 1, body[1:]
    decimal = form.decimal
    if decimal == "auto":
        decimal = certain_decimal([cell.strip() for row in body for cell in row]) or "."
        if decimal == ",":
            notes.append("numbers were read with a decimal comma")
    names = _check_names(path, names)
    dotted = {} if decimal == "," else dots_for_thousands(names, body, form, separator)
    return Layout(encoding, separator, names, end + 1, decimal, notes, dotted, left_out)


def _refuse_other_kinds(path: Path, text: str) -> None:
    """Say what a file is that is often met where a table is expected."""
    begin = text.lstrip()[:400]
    kinds = [
        (r"<(!doctype )?html|<\?xml|<html", "an HTML or XML page", "Download the table itself."),
        (r"[\[{]\s*[\[{\"]", "JSON", "Convert it to CSV."),
        (r"version https://git-lfs", "a pointer of Git LFS, not the table", "Run: git lfs pull."),
    ]
    for form, what, remedy in kinds:
        if re.match(form, begin, re.IGNORECASE):
            raise DataError(f"'{path}' is {what}, expected a table.", remedy)


def _arff(lines: list[str]) -> tuple[list[str], int] | None:
    """Names and number of lines above the rows of a file of Weka's format."""
    if not re.match(r"\s*(%.*\n\s*)*@relation", "".join(lines[:50]), re.IGNORECASE):
        return None
    names = []
    for number, line in enumerate(lines, start=1):
        attribute = re.match(r"\s*@attribute\s+('[^']*'|\"[^\"]*\"|\S+)", line, re.IGNORECASE)
        if attribute:
            names.append(attribute[1].strip("'\""))
        elif re.match(r"\s*@data", line, re.IGNORECASE):
            return names, number
    return None


def parsed(lines: Iterable[str], separator: str, strict: bool = False) -> Iterator[list[str]]:
    """Rows of cells; ``csv.Error`` where ``strict`` and the quotes do not match."""
    if separator == SPACE:
        for line in lines:
            yield [cell.strip('"') for cell in re.findall(r'"[^"]*"|\S+', line)] if '"' in line else line.split()
        return
    yield from csv.reader(lines, delimiter=separator, strict=strict, skipinitialspace=separator != "\t")


def _sample(lines: list[str], separator: str, limit: int = _ROWS) -> list[tuple[int, list[str]]]:
    """``(index of its last line, cells)`` of the first rows that are not blank."""
    taken = 0

    def numbered() -> Iterator[str]:
        nonlocal taken
        for line in lines:
            taken += 1
            yield line

    rows = []
    try:
        for row in parsed(numbered(), separator):
            if any(cell.strip() for cell in row):
                rows.append((taken - 1, row))
            if len(rows) == limit:
                break
    except csv.Error:  # the reader of the whole file says which line
        pass
    return rows or [(0, [""])]


def _decoded(path: Path, head: bytes, whole: bool) -> tuple[str, str]:
    for mark, encoding in _BOMS:
        if head.startswith(mark):
            return encoding, head.decode(encoding, errors="replace")
    for start, encoding in ((0, "utf-16-be"), (1, "utf-16-le")):  # without a mark: every other byte of ASCII is 0
        if head[start::2].count(0) > 0.9 * len(head) / 2 and not head[1 - start :: 2].count(0):
            return encoding, head.decode(encoding, errors="replace")
    if head.count(0) > len(head) / 100:
        raise DataError(
            f"'{path}' is not a text file (byte {head.index(0)} is 0).", "Give a CSV, Parquet, NPZ or Excel file."
        )
    try:
        return "utf-8", codecs.getincrementaldecoder("utf-8")().decode(head, final=whole)
    except UnicodeDecodeError:
        return "cp1252", head.decode("cp1252", errors="replace")


def _separator(lines: list[str]) -> str:
    """Return the separator under which the largest share of rows has the same length; a comma where none fits."""
    best, score = "", 0.0
    for separator in _TRIED:
        rows = [row for _, row in _sample(lines, separator)]
        lengths = Counter(len(row) for row in rows if len(row) > 1)
        if not lengths:
            continue
        usual, count = lengths.most_common(1)[0]
        header = next((row for row in rows if len(row) > 1), rows[0])
        alike = count / len(rows) * (1.0 if len(header) in (usual, usual - 1) else 0.5)
        if alike > score + 0.02:
            best, score = separator, alike
    spaced = [len(row) for row in parsed([line for line in lines[:_ROWS] if line.strip()], SPACE)]
    if not spaced:  # a quote that nothing closes
        return best or ","
    usual, count = Counter(spaced).most_common(1)[0]
    if not best:
        return SPACE if usual > 1 and count >= 0.5 * len(spaced) else ","
    # Spaces with a tab here and there, as old collections have them.
    parted = max(len(row) for _, row in _sample(lines, best))
    even = spaced[0] == usual > 1 and count >= 0.95 * len(spaced)
    return SPACE if even and ((best == "\t" and usual > parted) or score < 0.5) else best


def _like_rows(names: list[str], rows: list[tuple[int, list[str]]]) -> bool:
    """Whether what should be names are cells like those below: numbers where numbers are, and at least half of them."""
    kinds = [kind_of_cell(name) for name in names]
    numbers = kinds.count("number")
    if numbers == len(names):
        return True
    same = [[kind_of_cell(cell) for cell in row] for _, row in rows]
    alike = sum(kind == kinds for kind in same)
    return bool(rows) and 2 * numbers >= len(names) and 2 * alike > len(same)


def _one_column(path: Path, name: str, line: str, form: TextFormat) -> DataError:
    met = f"'{path}' has one column ('{shortened(name)}'), expected at least one input and one target."
    if form.separator != "auto":
        return DataError(met, f"Leave --separator out, or name what parts the cells of '{shortened(line.strip())}'.")
    return DataError(met, "Give a file with more columns, or name the character between them: --separator.")


def _check_names(path: Path, names: list[str]) -> list[str]:
    """The names, with ``unnamed3`` where the third column has none."""
    names = [name or f"unnamed{place}" for place, name in enumerate(names, start=1)]
    require_unique(path, names)
    return names


def require_few(path: Path, count: int) -> None:
    """Refuse more columns than a table of rows has."""
    if count > COLUMNS:
        raise DataError(
            f"'{path}' has {count:,} columns, expected at most {COLUMNS:,}.",
            "Give one row per example; if rows and columns are swapped, transpose the table.",
        )


def require_unique(path: Path, names: list[str]) -> None:
    """Refuse a name that two columns share, or one too long for a name; :class:`DataError`."""
    require_few(path, len(names))
    seen = set()
    for name in names:
        if len(name) > COLUMN_NAME:
            raise DataError(
                f"'{path}': the name '{shortened(name)}' has {len(name):,} characters, expected at most "
                f"{COLUMN_NAME:,}.",
                "Name the columns in the first line, one name per column.",
            )
        if name in seen:
            raise DataError(
                f"'{path}': column '{name}' appears more than once.", "Rename or remove the duplicate columns."
            )
        seen.add(name)
