"""From the files of a run to its table and split: read, part the rows, fill blanks from the training rows alone."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..config import DataConfig
from ..errors import DataError
from .arrays import require_shape
from .checks.near import close_groups, compares
from .checks.neighbours import looks_grouped
from .checks.row_labels import is_time, labels_of_rows
from .columns import Columns
from .encode import Category, expand, with_codes
from .flattened import joined_cut
from .large import sample_of
from .split import Split, at_most, repeated_rows, split, split_by_column, split_units
from .stored import StoredRows, held_out_limit, is_stored
from .table import Table, finished, read_table
from .times import times_of
from .typed import named_option
from .windows import split_windows

__all__ = ["prepare"]

_WORTH = 0.01  # share of repeated rows from which they are mentioned
_GLANCE, _NUMBERS = 3000, 20_000_000  # examples that are compared with each other, and numbers in them at most


def prepare(config: DataConfig, seed: int, folder: str | Path | None = None) -> tuple[Table, Split]:
    """Read the table that ``config.data`` names, with its held-out rows as ``config`` asks for them.

    ``folder``: where the rows of a table that is larger than memory are stored, by default that of temporary files.

    Rows whose inputs are equal fall into one part. Where the user says which rows are held out (a unit, a column, a
    file), training and validation rows that repeat a held-out one are left out.

    Raises
    ------
    DataError
        Anything that :func:`load_table` and the splits refuse, and a test file whose columns are others.
    """
    if config.data is None:
        raise DataError("no data given.", "Name the table as DataConfig.data.")
    table, categories = read_table(config, config.data, folder=folder or tempfile.gettempdir())
    count = len(table)
    if config.test_data:
        table = _with_test_rows(table, config, categories)
    if table.cut is not None:
        table, parts = _of_windows(table, config, seed, count)
        return as_tensors(finished(table, categories, config)), _with_units(table, parts, config)
    plain = table.input_shape is None
    if config.time:
        table = _in_order_of_time(table, config.time, count)
    names, read = with_codes(table.feature_names, categories if is_stored(table.x) else [])  # as in memory
    looked = read(table.x[sample_of(table, count, len(names)) if plain else []])
    counting = dict.fromkeys(labels_of_rows(names, looked) if plain else [])  # numbered copies are copies
    kept = [j for j, name in enumerate(names) if name not in counting]
    repeats = repeated_rows(table.x, kept if 0 < len(kept) < len(names) else None, read)
    warnings = list(table.warnings)
    close, times, jittered = None, [], False
    if plain:
        warnings += _out_of_order(names, looked, config)
    if plain and not table.large and compares(len(table)):
        left_out = [j for j, name in enumerate(names) if name in counting]
        repeats, close, notes = _close(read(table.x[:]), repeats, left_out)
        warnings, jittered = warnings + notes, bool(notes)
    if plain and not is_stored(table.x):
        times = [name for name in counting if is_time(name, np.sort(looked[:, names.index(name)]))]
    parts = _parts(table, config, seed, count, repeats)
    if is_stored(table.x):
        warnings.append("the rows stay in their file")
    if table.large:
        parts, left = at_most(parts, held_out_limit(len(names)), seed)
        if left and config.split == "random" and not (config.group or config.split_column or config.test_data):
            held = np.concatenate([parts.validation, parts.test])
            parts = replace(parts, train=held)  # the old rows go before the new ones come
            parts = replace(parts, train=np.flatnonzero(~_copies(repeats, held)))
        warnings[-1] += f": validation and test have at most {held_out_limit(len(names)):,} rows each"
    if config.group or config.split_column or config.test_data or table.large:
        table, parts, left_out = _without_copies(table, parts, repeats)
        if left_out:
            warnings.append(f"{left_out:,} rows are left out of training and validation: they repeat held-out rows")
    else:
        distinct = int(repeats.max()) + 1
        if not jittered and len(table) - distinct >= max(1, _WORTH * len(table)):
            warnings.append(
                f"{len(table):,} rows hold {distinct:,} distinct inputs: copies are on one side of the split each, so "
                "that no held-out row was trained on"
            )
    table, filled = _filled(table, parts, config, categories)
    small = plain or table.d * min(len(table), _GLANCE) <= _NUMBERS
    if config.split == "random" and small and not (config.group or config.split_column or config.test_data):
        grouped = looks_grouped(table.x, table.y, table.feature_names, repeats, seed, close, times[:1])
        warnings += [grouped] if grouped else []
    table = finished(replace(table, warnings=warnings + filled), categories, config)
    if config.input_shape is not None:
        require_shape(config.input_shape, table.d, f"'{config.data}'")
        table = replace(table, input_shape=tuple(config.input_shape))
    parts = _with_units(table, parts, config)
    return table if table.input_shape is None else as_tensors(table), parts


def _in_order_of_time(table: Table, name: str, count: int) -> Table:
    """The rows in the order of a column of times; those of a test file stay below them."""
    order = np.argsort(times_of(table.aside[name][:count], name), kind="stable")
    return table.take(np.concatenate([order, np.arange(count, len(table))]))


def _out_of_order(names: list[str], x: np.ndarray, config: DataConfig) -> list[str]:
    """Whether the last rows of the table, which split time holds out, are not the latest ones."""
    if config.split != "time" or config.time:
        return []
    return [
        f"split time holds out the last rows of the table, which are not the latest by '{name}': add "
        f"{named_option('time', [name])}"
        for name, column in zip(names, x.T)
        if (np.diff(column) < 0).any() and is_time(name, np.sort(column))
    ]


def _close(x: np.ndarray, repeats: np.ndarray, left_out: list[int]) -> tuple[np.ndarray, np.ndarray | None, list[str]]:
    """Copies but for noise count as copies; other groups of close rows are returned to be judged."""
    found = close_groups(x, left_out)
    if found is None:
        return repeats, None, []
    groups, copies = found
    if not copies:
        return repeats, groups, []
    return (
        groups,
        None,
        [
            f"{len(groups):,} rows form {int(groups.max()) + 1:,} groups of nearly equal inputs (within 1% of the "
            "spread of each column): each group is on one side of the split, so that no held-out row was trained on"
        ],
    )


def _with_units(table: Table, parts: Split, config: DataConfig) -> Split:
    """The parts with the unit of every row, where ``--group`` names them: a share of the rows keeps units whole."""
    if not config.group or len(table.aside.get(config.group, ())) != len(table):
        return parts
    cells = np.array(table.aside[config.group], dtype=str)
    return replace(parts, units=np.unique(cells, return_inverse=True)[1].reshape(-1).astype(np.int64))


def as_tensors(table: Table) -> Table:
    """A table whose rows are images or signals: no column of them is a code."""
    return replace(table, columns=Columns.of_tensors(table.x, table.feature_names))


def _of_windows(table: Table, config: DataConfig, seed: int, count: int) -> tuple[Table, Split]:
    """Windows and their parts; those that cross a cut, and copies of held-out ones, are left out."""
    held_out = np.arange(len(table)) >= count
    parts, notes = split_windows(table.cut, config, seed, table.aside, held_out)
    repeats = repeated_rows(table.x)
    silent = np.flatnonzero(table.x.min(axis=1) == table.x.max(axis=1))  # silence repeats by itself
    repeats[silent] = int(repeats.max(initial=0)) + 1 + np.arange(len(silent))
    table, parts, left_out = _without_copies(table, parts, repeats)
    if left_out:
        notes.append(f"{left_out:,} windows are left out of training and validation: they repeat held-out ones")
    return replace(table, warnings=[*table.warnings, *notes]), parts


def _parts(table: Table, config: DataConfig, seed: int, count: int, repeats: np.ndarray) -> Split:
    validation, test = config.validation, config.test
    if config.split_column:
        return split_by_column(table.aside[config.split_column], config.split_column, validation, seed, repeats)
    units, what = repeats, "distinct inputs"
    if config.group:
        labels = table.aside[config.group]
        if "" in labels[:count]:
            raise DataError(
                f"column '{config.group}' names no unit in {labels[:count].count('')} rows.", "Fill in these cells."
            )
        units = np.unique(np.array(labels, dtype=str), return_inverse=True)[1].reshape(-1)
        what = f"values of '{config.group}'"
    if config.test_data:
        rest = split_units(units[:count], validation, 0.0, seed, in_order=config.split == "time", what=what)
        return Split(rest.train, rest.validation, np.arange(count, len(table), dtype=np.int64))
    if config.split == "random" and int(units.max()) + 1 == len(table):
        return split(len(table), validation, test, seed)
    return split_units(units, validation, test, seed, in_order=config.split == "time", what=what)


def _with_test_rows(table: Table, config: DataConfig, categories: list[Category]) -> Table:
    """The rows of the test file below those of the table."""
    other, _ = read_table(config, str(config.test_data), like=categories)
    if is_stored(table.x) and not is_stored(other.x):  # its words are inputs already
        x, names, _groups = expand(other.x, other.feature_names, categories)
        other = replace(other, x=x, feature_names=names)
    if other.input_shape != table.input_shape:
        raise DataError(
            f"'{config.data}' holds {_shape_of(table)} and '{config.test_data}' {_shape_of(other)}.",
            "Give test data of the same shape.",
        )
    if set(other.feature_names) != set(table.feature_names) or other.target_names != table.target_names:
        odd = sorted(set(table.feature_names + table.target_names) ^ set(other.feature_names + other.target_names))
        lacks = config.test_data if odd and odd[0] in table.feature_names + table.target_names else config.data
        raise DataError(
            f"'{config.test_data}' and '{config.data}' have other columns: '{lacks}' has no '{odd[0] if odd else ''}'.",
            "Give a test file with the columns of the table, or leave out others with --drop.",
        )
    if is_stored(other.x) or (is_stored(table.x) and not table.x.grows):
        raise DataError(
            f"'{config.test_data if is_stored(other.x) else config.data}' stays in its file, and the rows of another "
            "file cannot be joined to it.",
            "Store them in one file, with a column that says train or test, and add --split-column.",
        )
    place = {name: j for j, name in enumerate(other.feature_names)}
    order = [place[name] for name in table.feature_names]
    aside = {name: [*cells, *other.aside.get(name, [""] * len(other))] for name, cells in table.aside.items()}
    return replace(
        table,
        x=_joined(table.x, other.x[:, order]),
        y=np.concatenate([table.y, other.y]),
        warnings=[*table.warnings, *(f"test data: {note}" for note in other.warnings)],
        aside=aside,
        cut=joined_cut(table, other),
    )


def _joined(x: np.ndarray | StoredRows, further: np.ndarray) -> np.ndarray | StoredRows:
    if not is_stored(x):
        return np.concatenate([x, further])
    x.append(further)
    return x


def _shape_of(table: Table) -> str:
    return f"examples of shape {list(table.input_shape)}" if table.input_shape else "a table"


def _copies(repeats: np.ndarray, rows: np.ndarray) -> np.ndarray:  # bool [N]
    """Which rows of the table equal one of ``rows``, themselves among them."""
    found = np.zeros(int(repeats.max(initial=-1)) + 1, dtype=bool)
    found[repeats[rows]] = True
    return found[repeats]


def _without_copies(table: Table, parts: Split, repeats: np.ndarray) -> tuple[Table, Split, int]:
    """Leave out validation rows that repeat a held-out row, and training rows that repeat either."""
    validation = parts.validation[~_copies(repeats, parts.test)[parts.validation]]
    train = parts.train[~_copies(repeats, np.concatenate([parts.test, validation]))[parts.train]]
    left_out = len(parts.train) + len(parts.validation) - len(train) - len(validation)
    if not left_out and len(train) + len(validation) + len(parts.test) == len(table):
        return table, parts, 0
    if len(train) < 2 or not len(validation):
        raise DataError(
            f"{left_out:,} training and validation rows repeat the inputs of held-out rows: {len(train)} training and "
            f"{len(validation)} validation rows are left.",
            "Hold out other rows, or remove the copies.",
        )
    kept = np.sort(np.concatenate([train, validation, parts.test]))
    place = np.full(len(table), -1, dtype=np.int64)
    place[kept] = np.arange(len(kept))
    table = table.take(kept)
    return table, Split(place[train], place[validation], place[parts.test]), left_out


def _filled(table: Table, parts: Split, config: DataConfig, categories: list[Category]) -> tuple[Table, list[str]]:
    """Blank inputs filled from the training rows: the mean, the whole number nearest it, or the commonest code."""
    if table.input_shape is not None:  # examples with a blank are refused or left out
        return table, []
    if is_stored(table.x):  # examples that are not finite were left out when they were read
        return table, []
    blank = np.isnan(table.x)
    if not blank.any():
        return table, []
    x, notes = table.x.copy(), []
    coded = {*config.categorical, *(category.name for category in categories)}
    for j in np.flatnonzero(blank.any(axis=0)):
        name, seen = table.feature_names[j], table.x[parts.train, j]
        seen = seen[np.isfinite(seen)]
        if not len(seen):
            raise DataError(
                f"input '{name}' has no value in the training rows.", f"Add: {named_option('drop', [name])}"
            )
        distinct, counts = np.unique(seen, return_counts=True)
        if name in coded:
            value, what = distinct[np.argmax(counts)], "commonest value"
        elif (distinct == np.rint(distinct)).all():
            value, what = distinct[np.argmin(np.abs(distinct - seen.mean()))], "observed value nearest the mean"
        else:
            value, what = seen.mean(), "mean"
        x[blank[:, j], j] = value
        shown = next((c.words[int(value)] for c in categories if c.name == name), f"{value:.6g}")
        notes.append(
            f"input '{name}': {int(blank[:, j].sum()):,} blanks filled with {shown}, the {what} of the training rows; "
            "the device must fill them likewise"
        )
    return replace(table, x=x), notes
