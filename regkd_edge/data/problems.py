"""What stands in the way of using a table: all columns in one message, and what to type so that it can be read."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..errors import DataError
from .reading import Frame, Odd
from .reading.cells import GROUPED, shortened
from .typed import named_option

__all__ = ["require_numbers"]

_LISTED = 8  # columns of one kind that are named
_FEW = 40  # words of a column that may be a category
_DATE = re.compile(
    r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}([ T].*)?|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}( .*)?|\d{1,2}[:.]\d{2}([:.]\d{2}(\.\d+)?)?( ?[ap]m)?"
    r"|\d{1,2}[- ]?(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*.*"
    r"|(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*[ .,-].*\d.*",
    re.IGNORECASE,
)
_DECIMAL_COMMA = re.compile(r"[+-]?\d+(\.\d{3})*,\d+([eE][+-]?\d+)?")
_DECIMAL_POINT = re.compile(r"[+-]?\d+(,\d{3})*\.\d+([eE][+-]?\d+)?")
_TOTAL = re.compile(r"(grand |sub)?(total|sum|summe|gesamt|average|mean|mittel(wert)?|avg)s?:?", re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?[\d.,]*\d[\d.,]*([eE][+-]?\d+)?")
_UNIT = re.compile(
    r"[$\u20ac\u00a3\u00a5]?\s*[+-]?\d[\d.,]*\s*[^\d\s.,][^\d]{0,15}|[$\u20ac\u00a3\u00a5]\s*[+-]?\d[\d.,]*|[<>~]\s*\d[\d.,]*"
)
_MARKS = {
    "na", "n/a", "#n/a", "nan", "null", "none", "nil", "missing", "unknown", "nd", "n.d.", "?", "-", "--", "---", ".",
    "..", "*", "#div/0!", "#value!", "#ref!", "#null!", "#num!", "error", "bad", "void",
}  # fmt: skip
_PLAIN = re.compile(r"[+-]?\d+[.,]?\d*")
_BIG = re.compile(r"[+-]?\d{16,}")


@dataclass
class _Findings:
    """What was found by column, and the options that would let the table be read."""

    rule: str  # what --missing needs beside it
    said: dict[str, list[str]] = field(default_factory=dict)
    drop: list[str] = field(default_factory=list)
    categorical: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    point: list[str] = field(default_factory=list)
    by_hand: list[str] = field(default_factory=list)
    thousands: dict[str, list[str]] = field(default_factory=dict)
    decimal: str = ""
    blanks: str = ""

    def say(self, name: str, what: str) -> None:
        """What the column holds."""
        self.said.setdefault(name, []).append(what)

    def mark(self, texts: Sequence[str]) -> None:
        """Texts that mean missing."""
        if texts:
            self.missing += texts
            self.blanks = self.blanks or self.rule

    def options(self) -> str:
        """As they are typed."""
        parts = []
        for flag, names in (("drop", self.drop), ("categorical", self.categorical), ("missing", self.missing)):
            if names:
                parts.append(named_option(flag, list(dict.fromkeys(names))))
        if len(self.thousands) == 1 and "." not in self.thousands:
            mark = next(iter(self.thousands))
            parts.append(f"--thousands {'apostrophe' if mark == chr(39) else mark}")
        elif self.thousands:
            marks = [f"{name}={mark}" for mark, names in self.thousands.items() for name in names]
            parts.append(f"--thousands {shlex.quote(','.join(marks))}")
        parts += [f"--decimal {shlex.quote(self.decimal)}"] if self.decimal else []
        return " ".join(parts + ([f"--blanks {self.blanks}"] if self.blanks else []))


def require_numbers(
    frame: Frame,
    targets: Sequence[str],
    blanks: str,
    counting: Callable[[], Sequence[str]] = tuple,
) -> None:
    """Refuse a table in which a cell that is needed is no number, with every such column in one message.

    Parameters
    ----------
    targets : sequence of str
        Columns that cannot be dropped.
    blanks : str
        The rule for blank cells; ``refuse`` makes them a problem too.
    counting : callable() -> names
        Further columns to drop in the same go: those that count the rows.

    Raises
    ------
    DataError
    """
    found = _Findings("drop" if blanks == "refuse" else "")
    for name in frame.names:
        odd = frame.odd.get(name)
        if odd is not None and odd.count:
            numbers = int(np.isfinite(frame.values[:, frame.names.index(name)]).sum())
            _judge(found, frame, name, odd, numbers, name in targets)
    _infinite(found, frame)
    _blanks(found, frame, targets, [*found.drop, *found.categorical], blanks)
    if not found.said:
        return
    for name in counting():
        if name not in targets and name not in found.said:
            found.say(name, "the numbers of the rows")
            found.drop.append(name)
    if found.point:
        shown = ", ".join(f"'{name}'" for name in found.point)
        found.by_hand.append(f"Write {shown} with a decimal point, as the other columns are.")
    columns = [f"column '{name}' holds {' and '.join(texts)}" for name, texts in found.said.items()]
    more = f"; and {len(columns) - _LISTED} more columns" if len(columns) > _LISTED else ""
    options, by_hand = found.options(), " ".join(dict.fromkeys(found.by_hand))
    remedy = f"Add: {options}{'.' * bool(by_hand)} {by_hand}".strip() if options else by_hand
    met = "met what is no number, expected numbers throughout" if frame.odd else "met cells without a finite number"
    raise DataError(f"'{frame.source}': {met}: {'; '.join(columns[:_LISTED])}{more}.", remedy)


def _judge(found: _Findings, frame: Frame, name: str, odd: Odd, numbers: int, target: bool) -> None:
    """Say what one column holds, and add what lets it be read."""
    marks = [text for text in odd.texts if text.lower() in _MARKS]
    texts = [text for text in odd.texts if text not in marks] or marks
    first = min(texts, key=lambda text: odd.texts[text][1])
    place = frame.place(odd.texts[first][1])
    example = f"'{shortened(first)}' in {place}"
    cells = f"{odd.count} cells" if odd.count > 1 else "1 cell"

    def say(what: str) -> None:
        found.say(name, what)

    def leave_out(what: str, instead: str = "") -> None:
        say(what)
        if target:
            found.by_hand.append(f"The target '{name}' must be numbers: {instead or 'encode it, or name another one'}.")
        else:
            found.drop.append(name)

    if texts != marks:
        found.mark(marks)
    elif numbers:
        return _missing_marks(found, name, odd, texts, place)
    else:
        return leave_out(f"only '{shortened(first)}'")
    if all(_BIG.fullmatch(text) for text in texts):
        return leave_out(
            f"{cells} with more digits than float64 keeps, such as {shortened(first)} in {place}",
            "subtract an offset first",
        )
    if all(_DATE.fullmatch(text) and not _PLAIN.fullmatch(text) for text in texts):
        return leave_out(f"dates or times, such as {example}")
    grouped = [mark for mark, form in GROUPED.items() if any(form.fullmatch(text) for text in texts)]
    commas = [text for text in texts if _DECIMAL_COMMA.fullmatch(text)]
    points = [text for text in texts if _DECIMAL_POINT.fullmatch(text)]
    if grouped and all(_NUMBER.fullmatch(re.sub(r"['\s]", "", text)) for text in texts):
        mark = grouped[0]
        sure = [text for text in commas if not GROUPED[","].fullmatch(text)]
        if mark == "," and sure and not points:
            found.decimal = ","
            return say(f"numbers with a decimal comma, such as '{sure[0]}'")
        say(f"numbers with a thousands separator, such as {example}")
        if mark == "," and not points and not _has_points(frame, name):
            value = first.replace(",", "")
            found.by_hand.append(f"'{first}' is then {value}; if its comma is a decimal mark, --decimal ',' instead.")
        found.thousands.setdefault(mark, []).append(name)
        if sure and mark != ",":
            found.decimal = ","
        return None
    if commas and len(commas) == len(texts):
        if _has_points(frame, name):
            found.point.append(name)
        else:
            found.decimal = ","
        return say(f"numbers with a decimal comma, such as {example}")
    if points and len(points) == len(texts):
        found.by_hand.append("The file was read with a decimal comma: add --decimal . if that is wrong.")
        return say(f"numbers with a decimal point, such as {example}")
    totals = [text for text in texts if _TOTAL.fullmatch(text)]
    if totals and numbers + len(texts) > 2 and len(totals) == len(texts) and odd.count <= 3:
        say(f"'{totals[0]}' in {frame.place(odd.texts[totals[0]][1])}, a row of totals or means")
        found.by_hand.append("Remove that row from the file: it is no measurement.")
        return None
    if all(_UNIT.fullmatch(text) for text in texts):
        say(f"numbers with a unit, such as {example}")
        found.by_hand.append(f"Remove the unit from the cells of '{name}'.")
        return None
    if numbers >= odd.count and len(texts) <= 3 and not odd.more:
        return _missing_marks(found, name, odd, texts, place)
    if numbers < odd.count and len(texts) <= _FEW and not odd.more and (odd.count >= 2 * len(texts) or len(texts) < 4):
        say(f"{len(texts)} word{'s' * (len(texts) > 1)}, such as {example}")
        if target:
            found.by_hand.append(f"The target '{name}' must be numbers: encode it, or name another one.")
        else:
            found.categorical.append(name)
        return None
    return leave_out(f"{'text' if numbers < odd.count else f'{cells} of text'}, such as {example}")


def _missing_marks(found: _Findings, name: str, odd: Odd, texts: list[str], place: str) -> None:
    found.mark(texts)
    counts = [(shortened(text), odd.texts[text][0]) for text in texts]
    shown = ", ".join(f"'{text}' in {count:,} cell{'s' * (count > 1)}" for text, count in counts)
    found.say(name, f"{shown} (first in {place}), a mark for missing values perhaps")


def _has_points(frame: Frame, name: str) -> bool:
    """Whether another column holds fractions, so that the file as a whole has decimal points."""
    others = [j for j, other in enumerate(frame.names) if other != name]
    sample = frame.values[:1000, others]
    sample = sample[np.isfinite(sample)]
    return bool((sample != np.rint(sample)).any())


def _infinite(found: _Findings, frame: Frame) -> None:
    for j, name in enumerate(frame.names):
        infinite = np.isinf(frame.values[:, j])
        if infinite.any():
            row = int(np.argmax(infinite))
            value, count = frame.values[row, j], int(infinite.sum())
            found.say(name, f"{value:g} ({frame.place(row)}; {count} such cell{'s' * (count > 1)})")
            found.mark([f"{value:g}"])


def _blanks(found: _Findings, frame: Frame, targets: Sequence[str], aside: Sequence[str], rule: str) -> None:
    """Count the blank cells of each column where the rule refuses them, or leaves no row."""
    columns = [j for j, name in enumerate(frame.names) if name not in aside]
    odd = np.array([frame.odd[frame.names[j]].count if frame.names[j] in frame.odd else 0 for j in columns], dtype=int)
    blank = np.isnan(frame.values[:, columns])
    counts = blank.sum(axis=0) - odd
    n = len(frame.values)
    empty = [frame.names[j] for j, count in zip(columns, counts) if count >= 0.5 * n]
    for j, count in zip(columns, counts.tolist()):
        name = frame.names[j]
        if count == n or (count > 0 and rule == "refuse"):
            first = int(np.argmax(blank[:, columns.index(j)]))
            cells = f"{count:,} blank or nan cell{'s' * (count > 1)} of {n:,}"
            found.say(name, f"{'only blank or nan cells' if count == n else cells} (first in {frame.place(first)})")
    if rule != "refuse":
        found.drop += [
            name for name in empty if name not in targets and counts[columns.index(frame.names.index(name))] == n
        ]
        return
    if (counts > 0).any():
        found.drop += [name for name in empty if name not in targets]
        kept = [i for i, j in enumerate(columns) if frame.names[j] not in found.drop]
        if (counts[kept] > 0).any():
            rows = int(blank[:, kept].any(axis=1).sum())
            inputs = [i for i in kept if frame.names[columns[i]] not in targets and counts[i] > 0]
            found.blanks = "drop" if 2 * rows <= n or not inputs else "mean"
            if found.blanks == "mean":
                found.by_hand.append(
                    f"That fills inputs with the mean of the training rows; --blanks drop would leave out {rows:,} of "
                    f"{n:,} rows."
                )
            else:
                fill = "; --blanks mean fills inputs with the mean of the training rows" if inputs else ""
                found.by_hand.append(f"That leaves out {rows:,} of {n:,} rows{fill}.")
