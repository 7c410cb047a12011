"""Parquet files, by pyarrow."""

from __future__ import annotations

import contextlib
import re
from array import array
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import DataError, NotAvailable
from ...io.limits import INFLATED_BYTES
from .fast import NotPlain
from .frame import Frame, Odd, exact_float64, text_column
from .layout import require_unique

__all__ = ["StreamedParquet", "read_parquet"]

_INDEX = re.compile(r"__index_level_\d+__")  # as pandas stores an index without a name
_BATCH = 65_536  # rows that are converted at a time
_RATIO = 100  # repeated values take almost no space in this format


def read_parquet(path: Path, skip: Collection[str] = (), texts: Collection[str] = ()) -> Frame:
    """Read the columns of a Parquet file; those of numbers as numbers, any others as texts."""
    streamed = StreamedParquet(path, skip, texts)
    frame = streamed.frame
    frame.values = np.empty((streamed.rows, len(frame.names)))
    begin = 0
    for part in streamed.parts():
        frame.values[begin : begin + len(part.values)] = part.values
        for name, odd in part.odd.items():
            frame.odd.setdefault(name, Odd()).join(odd, begin)
        for name, cells in part.texts.items():
            frame.texts.setdefault(name, []).extend(cells)
        begin += len(part.values)
    return frame


class StreamedParquet:
    """A Parquet file that is read in parts.

    Parameters
    ----------
    path : path
    skip : collection of str
        Columns that are not read. Neither is a nameless index of pandas, unless ``texts`` names it.

    Raises
    ------
    DataError
        Not readable, no rows, or columns of one name.
    NotAvailable
        pyarrow is not installed.
    """

    def __init__(self, path: Path, skip: Collection[str] = (), texts: Collection[str] = ()) -> None:
        self._path, self._pa, self._pq = path, *_libraries()
        pa = self._pa
        with self._readable(), self._pq.ParquetFile(path) as file:  # once: it looks at every column
            facts, schema = file.metadata, file.schema_arrow
            groups = [facts.row_group(i).num_rows for i in range(facts.num_row_groups)]
            if min([0, *groups]) < 0 or sum(groups) != facts.num_rows:
                raise self._disagrees(facts.num_rows, f"those of its groups of rows are {groups[:5]}")
            unpacked = sum(max(0, facts.row_group(i).total_byte_size) for i in range(facts.num_row_groups))
            for announced, what in ((8 * facts.num_rows * facts.num_columns, "numbers"), (unpacked, "pages")):
                if announced > max(INFLATED_BYTES, _RATIO * path.stat().st_size):
                    raise DataError(
                        f"'{path}' announces {announced:,} bytes of {what}, more than {_RATIO} times its size.",
                        "Write it again without compression.",
                    )
            names, text = schema.names, (pa.string(), pa.large_string())
            self._words = [field.name for field in schema if field.type in text]
        require_unique(path, names)
        index = [name for name in names if _INDEX.fullmatch(name) and name not in (*skip, *texts)]
        wanted = [name for name in names if name not in (*skip, *index)]
        #: Rows of the file.
        self.rows = facts.num_rows
        if not wanted or not self.rows:
            raise DataError(f"'{path}' has no rows.", "Give a file with data in it.")
        #: The table without its rows.
        self.frame = Frame(str(path), wanted, np.empty((0, len(wanted))), typed=True)
        self.frame.notes = [f"column '{name}' is left out: it is the index of a data frame" for name in index]
        self.frame.left_out = sorted(set(names) - set(wanted))

    def size(self) -> int:
        """How many rows there are."""
        return self.rows

    def parts(self) -> Iterator[Frame]:
        """Yield the rows from the first one on; DataError where there are more or fewer of them than announced."""
        found = 0
        # A word that fills a column is one text, not one per row.
        with self._readable(), self._pq.ParquetFile(self._path, read_dictionary=self._words) as file:
            for batch in file.iter_batches(_BATCH, columns=self.frame.names):
                found += batch.num_rows
                if found > self.rows:
                    break
                yield self._part(batch)
        if found != self.rows:
            raise self._disagrees(self.rows, f"it holds {'more' if found > self.rows else found}")

    def _disagrees(self, announced: int, found: str) -> DataError:
        return DataError(
            f"'{self._path}' is not a readable Parquet file: it announces {announced} rows, and {found}.",
            "Write it again.",
        )

    def plain_parts(self) -> Iterator[Frame]:
        """The same where all cells are numbers; ``NotPlain`` at the first part with another one."""
        for part in self.parts():
            if part.odd or part.texts:
                raise NotPlain
            yield part

    def _part(self, batch: Any) -> Frame:
        names = self.frame.names
        frame = Frame(self.frame.source, list(names), np.full((batch.num_rows, len(names)), np.nan), typed=True)
        for j, name in enumerate(names):
            self._fill(frame, j, name, batch.column(name))
        return frame

    def _fill(self, frame: Frame, j: int, name: str, column: Any) -> None:
        pa = self._pa
        kind = column.type
        if pa.types.is_dictionary(kind) and pa.types.is_string(kind.value_type):
            words = column.dictionary.to_pylist()
            frame.texts[name] = [
                "" if code is None or words[code] is None else words[code] for code in column.indices.to_pylist()
            ]
            frame.odd[name] = text_column(frame.texts[name])
            return
        if pa.types.is_dictionary(kind):
            column, kind = column.cast(kind.value_type), kind.value_type
        if pa.types.is_boolean(kind):
            column, kind = column.cast(pa.int8()), pa.int8()
        if pa.types.is_decimal(kind):
            column, kind = column.cast(pa.float64()), pa.float64()
        if pa.types.is_floating(kind):
            frame.values[:, j] = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
        elif pa.types.is_integer(kind):
            valid = np.flatnonzero(np.asarray(column.is_valid()))
            frame.values[valid, j], odd = exact_float64(column.drop_null().to_numpy(zero_copy_only=False))
            if odd is not None:
                odd.texts = {text: [count, int(valid[row])] for text, (count, row) in odd.texts.items()}
                odd.rows = array("q", valid[np.array(odd.rows)].tolist())
                frame.odd[name] = odd
        elif not pa.types.is_null(kind):
            frame.texts[name] = ["" if cell is None else str(cell) for cell in column.to_pylist()]
            frame.odd[name] = text_column(frame.texts[name])
            if pa.types.is_nested(kind) or pa.types.is_binary(kind):
                frame.odd[name].what = f"values of type {kind}"

    @contextlib.contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except (self._pa.ArrowException, OSError, UnicodeDecodeError) as error:  # the last one: names that are no text
            raise DataError(f"'{self._path}' is not a readable Parquet file: {error}.", "Write it again.") from None


def _libraries() -> tuple[Any, Any]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise NotAvailable(
            "Parquet files are read by pyarrow, which is not installed.",
            "Run: pip install 'regkd-edge[data]', or give a CSV file.",
        ) from None
    return pa, pq
