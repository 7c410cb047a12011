"""What stands in the way of using a table: all columns in one message, and what to type so that it can be read."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ...errors import DataError
from ...io.words import counted
from ..reading import Frame, Odd
from ..reading.cells import shortened
from ..typed import named_option
from .neighbours import names_units
from .words import NUMBERS_IN_TEXT, kind_of, thousands_mark, units_of

__all__ = ["require_numbers"]

_LISTED = 8  # columns that are named
_TYPED = {",": "comma", "'": "apostrophe"}  # what reads well at the end of a command


@dataclass
class _Findings:
    """What was found by column, and the options that would let the table be read."""

    rule: str  # what --missing needs beside it
    said: dict[str, list[str]] = field(default_factory=dict)
    drop: list[str] = field(default_factory=list)
    categorical: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    marked: set[str] = field(default_factory=set)  # columns whose odd cells are all of them
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
            parts.append(f"--thousands {_TYPED.get(mark, mark)}")
        elif self.thousands:
            marks = [f"{name}={mark}" for mark, names in self.thousands.items() for name in names]
            parts.append(f"--thousands {shlex.quote(','.join(marks))}")
        parts += [f"--decimal {_TYPED[self.decimal]}"] if self.decimal else []
        return " ".join(parts + ([f"--blanks {self.blanks}"] if self.blanks else []))


def require_numbers(
    frame: Frame,
    targets: Sequence[str],
    blanks: str,
    counting: Callable[[], Sequence[str]] = tuple,
) -> None:
    """Refuse a table in which a required cell is not a number; one message lists every such column.

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
    numbers, demanded = frame.numbers(), set(targets)
    for name in frame.names:
        odd = frame.odd.get(name)
        if odd is not None and odd.count:
            _judge(found, frame, name, odd, numbers[name], name in demanded)
    _infinite(found, frame)
    _blanks(found, frame, numbers, demanded, [*found.drop, *found.categorical], blanks)
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
    met = (
        "met cells that are not numbers, expected numbers throughout"
        if frame.odd
        else "met cells without a finite number"
    )
    raise DataError(f"'{frame.source}': {met}: {'; '.join(columns[:_LISTED])}{more}.", remedy)


def _judge(found: _Findings, frame: Frame, name: str, odd: Odd, numbers: int, target: bool) -> None:
    """Say what one column holds, and add what lets it be read."""
    if odd.what:
        found.say(name, f"{odd.what}, such as '{shortened(next(iter(odd.texts)))}'")
        if target:
            found.by_hand.append(f"The target '{name}' must be numbers: make a column of each, or name another one.")
        else:
            found.drop.append(name)
        return
    kind, texts, marks = kind_of(odd, numbers)
    first = min(texts, key=lambda text: odd.texts[text][1])
    place = frame.place(odd.texts[first][1])
    example = f"'{shortened(first)}' in {place}"
    found.mark(marks)
    if texts == [name]:
        found.say(name, f"its own name in {place}, the line of names again")
        found.mark(texts)
    elif kind == "marks":
        counts = [(shortened(text), odd.texts[text][0]) for text in texts]
        shown = ", ".join(f"'{text}' in {counted(count, 'cell')}" for text, count in counts)
        found.say(name, f"{shown} (first in {place}), a mark for missing values perhaps")
        found.mark(texts)
        found.marked.add(name)
    elif kind in ("comma", "point", "grouped"):
        _judge_numbers(found, frame, name, kind, texts, example)
    elif kind == "total":
        many = odd.count > 1
        found.say(name, f"{example}, {f'{odd.count} rows' if many else 'a row'} of totals or means")
        those = (
            "those rows from the file: they are not measurements"
            if many
            else "that row from the file: it is not a measurement"
        )
        found.by_hand.append(f"Remove {those}.")
    elif kind in NUMBERS_IN_TEXT:
        found.say(name, f"{kind}, such as {example}")
        leave = "" if target else f", or leave it out: {named_option('drop', [name])}"
        found.by_hand.append(f"Write each cell of '{name}' as one plain number{leave}.")
    elif kind == "unit":
        found.say(name, f"numbers with a unit, such as {example}")
        units = sorted(units_of(texts)) + ["none"] * (numbers > 0)
        if len(units) > 1:  # 5% among 0.05 would become a hundredfold error
            found.by_hand.append(f"Convert '{name}' to one unit first (it has {', '.join(units[:4])}), then remove it.")
        else:
            found.by_hand.append(f"Remove the unit from the cells of '{name}'.")
    elif kind == "words" and not target and _are_files(frame.source, texts):
        found.say(name, f"{counted(len(texts), 'file name')}, such as {example}")
        folder = shlex.quote(str(Path(frame.source).parent))
        found.by_hand.append(f"If those files are the inputs: --data {folder} --labels {shlex.quote(frame.source)}.")
    else:
        what = {
            "only marks": f"only {example}",
            "big": f"{counted(odd.count, 'cell')} with more digits than float64 keeps, such as {example}",
            "dates": f"dates or times, such as {example}",
            "words": f"{counted(len(texts), 'word')}, such as {example}",
            "text": f"text in {counted(odd.count, 'cell')}, such as {example}",
        }[kind]
        found.say(name, what)
        if target:
            instead = "subtract an offset first" if kind == "big" else "encode it, or name another one"
            found.by_hand.append(f"The target '{name}' must be numbers: {instead}.")
        elif kind != "words":
            found.drop.append(name)
        else:
            found.categorical.append(name)
            if names_units(name) and len(texts) > 2:
                group = named_option("group", [name])
                found.by_hand.append(f"If '{name}' names the unit a row came from, {group} instead.")


def _are_files(table: str, texts: Sequence[str]) -> bool:
    """Whether the words of a column are files beside the table: images or recordings with their labels."""
    folder = Path(table).parent
    try:
        return Path(table).is_file() and all((folder / text).is_file() for text in texts[:20])
    except (OSError, ValueError):  # names that no file can have
        return False


def _judge_numbers(found: _Findings, frame: Frame, name: str, kind: str, texts: list[str], example: str) -> None:
    """A column of numbers that are written in another way than the file was read."""
    if kind == "point":
        found.say(name, f"numbers with a decimal point, such as {example}")
        found.by_hand.append("The file was read with a decimal comma: add --decimal . if that is wrong.")
        return
    points_elsewhere = _has_points(frame, name)
    if kind == "comma":
        found.say(name, f"numbers with a decimal comma, such as {example}")
        if points_elsewhere:
            found.point.append(name)
        else:
            found.decimal = ","
        return
    mark = thousands_mark(texts)
    if mark == "," and _are_decimals(frame, name, texts):
        found.say(name, f"numbers with a decimal comma beside others with a point, such as {example}")
        found.point.append(name)
        return
    found.say(name, f"numbers with a thousands separator, such as {example}")
    found.thousands.setdefault(mark, []).append(name)
    if mark == "," and not points_elsewhere and not any("." in text for text in texts):
        value = texts[0].replace(",", "")
        found.by_hand.append(f"'{texts[0]}' is then {value}; if its comma is a decimal mark, --decimal comma instead.")
    if mark != "," and any("," in text for text in texts):
        found.decimal = ","


def _are_decimals(frame: Frame, name: str, texts: list[str]) -> bool:
    """Whether ``19,604`` stands among numbers such as 20.377, so that 19604 would be a thousandfold error."""
    plain = frame.values[:, frame.names.index(name)]
    plain = plain[np.isfinite(plain)]
    if len(plain) < 5 or not (plain != np.rint(plain)).any() or any("." in text for text in texts):
        return False
    low, high = plain.min(), plain.max()
    margin = high - low
    values = np.array([float(text.replace(",", ".", 1)) for text in texts if text.count(",") == 1])
    inside = len(values) == len(texts) and bool(((values >= low - margin) & (values <= high + margin)).all())
    return inside and bool((1000 * np.abs(values) > 10 * np.abs(plain).max()).all())


def _has_points(frame: Frame, name: str) -> bool:
    """Whether another column holds fractions, so that the file as a whole has decimal points."""
    if frame.typed:  # the decimal mark is that of the columns of texts alone
        return False
    others = [j for j, other in enumerate(frame.names) if other != name]
    sample = frame.values[:1000, others]
    sample = sample[np.isfinite(sample)]
    return bool((sample != np.rint(sample)).any())


def _infinite(found: _Findings, frame: Frame) -> None:
    for j in np.flatnonzero(np.isinf(frame.values).any(axis=0)).tolist():
        infinite = np.isinf(frame.values[:, j])
        row = int(np.argmax(infinite))
        value, count = frame.values[row, j], int(infinite.sum())
        found.say(frame.names[j], f"{value:g} ({frame.place(row)}; {counted(count, 'such cell')})")
        found.mark([f"{value:g}"])


def _blanks(
    found: _Findings, frame: Frame, numbers: dict[str, int], targets: set[str], aside: Sequence[str], rule: str
) -> None:
    """Count the blank cells of each column where the rule refuses them, or leaves no row."""
    n, beside = frame.rows, set(aside)
    blank, infinite = np.isnan(frame.values), np.isinf(frame.values).sum(axis=0).tolist()
    counts = {}
    for j, name in enumerate(frame.names):
        odd = frame.odd.get(name)
        if odd is not None:
            blank[np.array(odd.rows, dtype=np.int64), j] = False
        count = n - numbers[name] - (0 if odd is None else odd.count) - infinite[j]
        if count and name not in beside:
            counts[name] = count
    for j, name in enumerate(frame.names):
        count = counts.get(name, 0)
        if count == n or (count and rule == "refuse"):
            cells = f"{counted(count, 'blank or nan cell')} of {n:,}"
            place = frame.place(int(np.argmax(blank[:, j])))
            found.say(name, f"{'only blank or nan cells' if count == n else cells} (first in {place})")
    least = 0.5 * n if rule == "refuse" else n
    found.drop += [name for name, count in counts.items() if count >= least and name not in targets]
    dropped = set(found.drop)
    kept = [j for j, name in enumerate(frame.names) if name in counts and name not in dropped]
    if rule != "refuse" or not kept:
        return
    left_out = blank[:, kept].any(axis=1)
    for name in found.marked:  # these cells are blank once the marks are named
        left_out[np.array(frame.odd[name].rows, dtype=np.int64)] = True
    rows = int(left_out.sum())
    inputs = [j for j in kept if frame.names[j] not in targets]
    found.blanks = "drop" if 2 * rows <= n or not inputs else "mean"
    if found.blanks == "mean":
        found.by_hand.append(
            f"That fills inputs with the mean of the training rows; --blanks drop would leave out {rows:,} of {n:,} "
            "rows."
        )
    else:
        fill = "; --blanks mean fills inputs with the mean of the training rows" if inputs else ""
        found.by_hand.append(f"That leaves out {rows:,} of {n:,} rows{fill}.")
