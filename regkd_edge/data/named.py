"""The inputs of a network out of a file or folder that may hold anything besides."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..config import DataConfig
from ..errors import DataError
from .encode import Category
from .reading import Frame, TextFormat, read_frame
from .reading.recordings import SOUNDS
from .sources import kind_of_source, read_source, text_format

__all__ = ["NamedRows", "column_names", "read_inputs", "read_rows"]

_AUTO = TextFormat()  # separator and decimal mark are told from the file


@dataclass(frozen=True, eq=False)
class NamedRows:
    """Inputs of a network [n, d], and what says where each is from: the file, and the first sample of a window."""

    x: np.ndarray
    places: dict[str, list[str]] = field(default_factory=dict)


def read_rows(
    path: str | Path, names: Sequence[str], shape: Sequence[int] | None, config: DataConfig | None = None
) -> NamedRows:
    """Read inputs of a network: columns by their names, or examples of a shape as :mod:`.sources` reads them.

    Parameters
    ----------
    shape : sequence of int, optional
        That of an example of the training; None: a row of named columns.
    config : DataConfig, optional
        How the training's data were read. Without it a recording is cut into windows that lie side by side.

    Raises
    ------
    DataError
        As :func:`read_inputs`, or examples of another shape.
    """
    source = Path(path)
    arrays = source.suffix.lower() in (".npy", ".npz")
    if shape is None or not (
        source.is_dir() or arrays or source.suffix.lower() in SOUNDS or (config and config.window)
    ):
        return NamedRows(read_inputs(path, names, _AUTO if config is None else text_format(config)))
    if not source.exists():
        raise DataError(f"no file or folder '{source}'.", "Give the path of an array, a recording or a folder.")
    config = config or DataConfig()
    signals = kind_of_source(source) not in ("array", "images")
    if signals and config.window is None:
        config = config.model_copy(update={"window": str(shape[-1])})
    config = config.model_copy(update={"labels": None, "resize": config.resize if not (signals or arrays) else None})
    examples, _ = read_source(config, source, labelled=False)
    if list(examples.shape) != list(shape):
        raise DataError(
            f"'{source}' holds examples of shape {list(examples.shape)}, expected {list(shape)} as in the training.",
            "Give examples of the shape of the training.",
        )
    x = np.asarray(examples.x, dtype=np.float64).reshape(len(examples), -1)
    if not np.isfinite(x).all():
        row = int(np.argmin(np.isfinite(x).all(axis=1)))
        raise DataError(f"'{source}': example {row} holds values that are not finite.", "Leave it out, or correct it.")
    places: dict[str, list[str]] = {"file": examples.names} if examples.names is not None else {}
    if examples.cut is not None:
        places = {
            "recording": [examples.cut.names[i] for i in examples.cut.recording],
            "first_sample": [str(start) for start in examples.cut.start],
        }
    return NamedRows(x, places)


def column_names(path: str | Path, form: TextFormat = _AUTO) -> list[str]:
    """The names of the columns of a table."""
    return read_frame(path, form).names


def read_inputs(
    path: str | Path,
    names: Sequence[str],
    form: TextFormat = _AUTO,
) -> np.ndarray:  # [n, d] float64, raw units
    """Read the named columns; others (targets, an index, text) are passed over.

    Inputs ``kind=A``, ``kind=B`` that are no columns themselves are read off the words of the column ``kind``.

    Raises
    ------
    DataError
        No such file or column, a cell that is not a finite number, or a word that is not among the inputs.
    """
    categories = _categories(path, names, form)
    words = [name for category in categories for name in category.inputs]
    whole = [category.name for category in categories]
    plain = [name for name in names if name not in words]
    frame = read_frame(path, form, only=plain + whole, texts=whole)
    for name in plain:
        if name not in frame.names:
            every = column_names(path, form)
            near = difflib.get_close_matches(name, every, n=1)
            hint = f"Did you mean '{near[0]}'? " if near else ""
            raise DataError(f"'{path}' has no column '{name}'.", f"{hint}Give a column for each input, under its name.")
    for name in plain:
        if name in frame.odd:
            text, (_, row) = min(frame.odd[name].texts.items(), key=lambda item: item[1][1])
            raise DataError(
                f"'{path}' {frame.place(row)}, column '{name}': met '{text[:60]}', expected a number.",
                "Correct that cell, or leave the row out.",
            )
    of_words = {name: column for category in categories for name, column in _coded(frame, category).items()}
    place = {name: j for j, name in enumerate(frame.names)}
    x = np.column_stack([of_words[n] if n in of_words else frame.values[:, place[n]] for n in names])
    bad = ~np.isfinite(x)
    if bad.any():
        row, j = (int(v) for v in np.argwhere(bad)[0])
        name = next((category.name for category in categories if names[j] in category.inputs), names[j])
        met = "nan or an empty cell" if np.isnan(x[row, j]) else f"{x[row, j]:g}"
        expected = "a word" if name in whole else "a finite number"
        raise DataError(
            f"'{path}' {frame.place(row)}, column '{name}': met {met}, expected {expected}.",
            "Fill in that cell, or leave the row out.",
        )
    return x


def _categories(path: str | Path, names: Sequence[str], form: TextFormat) -> list[Category]:
    """The columns of a file whose words are inputs ``column=word`` of the network."""
    if not any("=" in name for name in names):
        return []
    columns = column_names(path, form)
    words: dict[str, list[str]] = {}
    for name in names:
        of = [column for column in columns if name.startswith(f"{column}=")]
        if of and name not in columns:
            column = max(of, key=len)
            words.setdefault(column, []).append(name[len(column) + 1 :])
    return [Category(column, tuple(found)) for column, found in words.items()]


def _coded(frame: Frame, category: Category) -> dict[str, np.ndarray]:
    """The inputs of a category, 0 or 1 in each row, not-a-number where the cell is blank; by name."""
    cells = [cell.strip() for cell in frame.texts[category.name]]
    blank = np.isnan(category.codes(cells))
    for row in np.flatnonzero(blank):
        if cells[row]:
            raise DataError(
                f"'{frame.source}' {frame.place(int(row))}, column '{category.name}': met '{cells[row][:60]}', which "
                "is not among the words of the training.",
                f"Expected one of: {', '.join(category.words[:20])}.",
            )
    codes = np.array(category.codes(cells))
    return {name: np.where(blank, np.nan, codes == code) for code, name in enumerate(category.inputs)}
