"""Where examples come from: what a source is, its labels, and the reader of its kind."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..config import DataConfig
from ..config.data import thousands_by_column
from ..errors import DataError
from ..io.words import counted
from .checks.problems import require_numbers
from .checks.ranges import require_ranges
from .checks.suspicious import suspicious_values
from .reading import BUNDLED, Frame, Missing, TextFormat, read_frame
from .reading.examples import Examples
from .reading.images import IMAGES, read_images
from .reading.listed import FILE_COLUMNS, LABELS, files_in, matched
from .reading.recordings import SOUNDS, TABLES, Recording, clipped_or_silent, of_table, read_sounds
from .reading.tensors import array_shape, read_label_array, read_tensors
from .windows import cut_windows

__all__ = [
    "columns_aside",
    "holds_examples",
    "kind_of_source",
    "labels_of",
    "only_column",
    "read_source",
    "require_column",
    "texts_of",
]


def holds_examples(config: DataConfig, source: str | Path) -> bool:
    """Whether a source is read here: an array of any rank, a folder, a recording, or a table to be cut into windows."""
    path = Path(source)
    if str(source) in BUNDLED and not path.exists():
        if config.window:
            raise DataError(f"the rows of '{source}' are no samples in time order.", "Omit --window.")
        return False
    if path.is_dir() or config.window or path.suffix.lower() in SOUNDS:
        return True
    if path.suffix.lower() not in (".npy", ".npz"):
        if config.labels and path.is_file():
            raise DataError(
                f"'{path}' is a table, which holds its target as a column, and labels '{config.labels}' are given too.",
                "Omit --labels, or join the two tables.",
            )
        return False
    shape = array_shape(path)
    return bool(config.labels) or (shape is not None and len(shape) > 2)


def kind_of_source(path: Path) -> str:
    """``array``, ``sound``, ``table``, or of a folder ``images``, ``sounds`` or ``tables``; by the names of files."""
    if not path.is_dir():
        suffix = path.suffix.lower()
        return "array" if suffix in (".npy", ".npz") else "sound" if suffix in SOUNDS else "table"
    kinds: dict[str, str] = {}
    for kind, suffixes in (("images", IMAGES), ("sounds", SOUNDS), ("tables", TABLES)):
        first = next((p for p in sorted(path.rglob("*")) if _of_kind(p, path, suffixes)), None)
        if first is not None:
            kinds[kind] = first.name
    if not kinds:
        raise DataError(
            f"folder '{path}' holds neither images nor recordings.",
            f"Expected files that end in {', '.join([*IMAGES, *SOUNDS, *TABLES])}.",
        )
    if len(kinds) > 1 and "tables" in kinds:
        del kinds["tables"]  # lists beside the images or sounds
    if len(kinds) > 1:
        raise DataError(
            f"folder '{path}' holds {' and '.join(f'{kind} ({name})' for kind, name in kinds.items())}, expected one "
            "kind.",
            "Give a folder of each.",
        )
    return next(iter(kinds))


def _of_kind(path: Path, folder: Path, suffixes: Sequence[str]) -> bool:
    inside = path.relative_to(folder).parts
    return (
        path.suffix.lower() in suffixes and path.name != LABELS and not any(p.startswith(".") for p in inside)
    ) and path.is_file()


def read_source(
    config: DataConfig, path: Path, held_out: bool = False, labelled: bool = True
) -> tuple[Examples, float | None]:
    """Read examples with the columns beside them, and the samples per second of recordings that state them.

    Parameters
    ----------
    held_out : bool
        It is the test data, whose labels are ``config.test_labels``.
    labelled : bool
        Whether labels are needed; without them nothing stands beside the examples.
    """
    kind = kind_of_source(path)
    _check_options(config, path, kind)
    labels = labels_of(config, path, held_out) if labelled else None
    if kind == "array":
        return read_tensors(path, labels), None
    if kind == "images":
        return _images(config, path, labels, labelled), None
    return _recordings(config, path, kind, labels, labelled)


def _check_options(config: DataConfig, path: Path, kind: str) -> None:
    if kind == "images" and config.window:
        raise DataError(f"'{path}' holds images, and window cuts recordings.", "Omit --window.")
    if kind == "array" and config.window:
        raise DataError(
            f"'{path}' is an array of examples, and window cuts recordings.",
            "Omit --window; give a long signal as CSV, Parquet or WAV.",
        )
    if kind not in ("images", "array") and not config.window:
        what = "a folder of recordings" if path.is_dir() else "a recording"
        raise DataError(f"'{path}' is {what}, and no window says what one example is.", "Add --window, such as 256.")
    if kind != "images" and (config.resize or config.color != "auto"):
        option = "resize" if config.resize else "color"
        raise DataError(f"{option} is about images, and '{path}' holds none.", f"Omit --{option}.")


def text_format(config: DataConfig) -> TextFormat:
    """How the text tables of a configuration are written."""
    return TextFormat(
        config.separator, config.decimal,
        thousands_by_column(config.thousands), Missing.of(config.missing), config.header
    )  # fmt: skip


def columns_aside(config: DataConfig) -> list[str]:
    return [name for name in (config.group, config.split_column) if name]


def labels_of(config: DataConfig, path: Path, held_out: bool) -> Frame | None:
    """The table with the labels, where there is one."""
    named = config.test_labels if held_out else config.labels
    if named is None:
        named = str(path / LABELS) if path.is_dir() and (path / LABELS).is_file() else None
    if named is None:
        return None
    file = Path(named)
    if file.suffix.lower() == ".npy":
        return read_label_array(file)
    names = set(read_frame(file, text_format(config)).names)
    texts = {name for name in names if name.lower() in FILE_COLUMNS}
    return read_frame(file, text_format(config), skip=set(config.drop) & names, texts=[*texts, *columns_aside(config)])


def _images(config: DataConfig, path: Path, labels: Frame | None, labelled: bool) -> Examples:
    files = files_in(path, IMAGES, "images")
    notes: list[str] = []
    if labels is not None:
        files, notes = matched(path, files, labels, config.blanks == "drop")
    elif labelled:
        raise DataError(
            f"no labels for the {len(files):,} images of '{path}'.",
            f"Give --labels FILE with a column 'file' and the target, or write '{path / LABELS}'.",
        )
    x, more = read_images(files, config.resize, config.color)
    names = [file.relative_to(path).as_posix() for file in files]
    return Examples(str(path), x, labels or Frame(str(path), [], np.empty((len(x), 0))), [*notes, *more], names=names)


def _recordings(
    config: DataConfig, path: Path, kind: str, labels: Frame | None, labelled: bool
) -> tuple[Examples, float | None]:
    notes: list[str] = []
    files = [path]
    if path.is_dir():
        aside = [Path(name) for name in (config.labels, config.test_labels, str(path / LABELS)) if name]
        files = files_in(path, SOUNDS if kind == "sounds" else TABLES, "recordings", aside)
    if labels is not None and path.is_dir():
        files, notes = matched(path, files, labels, config.blanks == "drop")
    elif labels is not None and len(labels.values) != 1:
        raise DataError(
            f"'{path}' is one recording and '{labels.source}' has {counted(len(labels.values), 'row')}, expected one.",
            "Give the folder of the recordings.",
        )
    names = [file.relative_to(path).as_posix() if path.is_dir() else file.name for file in files]
    if kind in ("sound", "sounds"):
        if labels is None and labelled:
            raise DataError(
                f"no labels for '{path}'.",
                "Give --labels FILE with a column 'file' and the target, a row per recording.",
            )
        recordings = read_sounds(files, names)
        notes += clipped_or_silent(recordings)
    else:
        recordings = _tables(config, files, names, labels, notes, labelled)
    if labels is not None:
        require = list(config.target) or only_column(config, labels, [])
        _check_labels(config, labels, [name for name in require if name in labels.names])
    examples = cut_windows(str(path), recordings, config, labels)
    examples.notes = [*notes, *examples.notes]
    return examples, recordings[0].rate


def _tables(
    config: DataConfig,
    files: Sequence[Path],
    names: Sequence[str],
    labels: Frame | None,
    notes: list[str],
    labelled: bool,
) -> list[Recording]:
    """Tables of samples: checked as any table is, then parted where the unit changes."""
    found: list[Recording] = []
    first: list[str] = []
    for file, name in zip(files, names):
        frame = read_frame(file, text_format(config), skip=config.drop, texts=columns_aside(config))
        if not labelled:
            for column in [name for name in (*config.target, *columns_aside(config)) if name in frame.names]:
                frame.without_column(column)
        of_labels = set(config.target) | set(columns_aside(config)) if not labelled else set()
        of_labels |= set() if labels is None else set(labels.names)
        targets = [target for target in config.target if target not in of_labels]
        for column in [*targets, *(a for a in columns_aside(config) if a not in of_labels)]:
            require_column(frame, "target" if column in targets else "group or --split-column", column)
        beside = {column: texts_of(frame, column) for column in columns_aside(config) if column in frame.names}
        for column in beside:
            frame.without_column(column)
        if not found:
            first = list(frame.names)
        elif frame.names != first:
            odd = next(iter(sorted(set(first) ^ set(frame.names))), "the same columns in another order")
            raise DataError(
                f"'{file}' and '{files[0]}' have other columns: {odd}.",
                "Give recordings of the same columns, in order.",
            )
        require_numbers(frame, targets, config.blanks)
        require_ranges(str(file), frame.names, frame.values)
        inputs = [column for column in frame.names if column not in targets]
        if not inputs:
            raise DataError(f"all columns of '{file}' are targets.", "Name fewer targets.")
        unit = config.group if config.group in beside else None
        if len(found) == 0:
            place = {name: j for j, name in enumerate(frame.names)}
            x, y = (frame.values[:, [place[name] for name in names]] for names in (inputs, targets))
            notes += [*frame.notes, *suspicious_values(frame.dotted, x, y, inputs, targets)]
        found += of_table(frame, name, targets, beside, unit)
    notes += clipped_or_silent(found)
    return found


def _check_labels(config: DataConfig, labels: Frame, targets: Sequence[str]) -> None:
    """Refuse labels that are not numbers, before each becomes that of many windows."""
    place = {name: j for j, name in enumerate(labels.names)}
    alone = Frame(labels.source, list(targets), labels.values[:, [place[name] for name in targets]], place=labels.place)
    alone.odd = {name: labels.odd[name] for name in targets if name in labels.odd}
    require_numbers(alone, targets, config.blanks)


def only_column(config: DataConfig, frame: Frame, aside: Sequence[str]) -> list[str]:
    """The target where none is named: the only column that may be one."""
    left = [name for name in frame.names if name not in (*aside, *columns_aside(config), *config.drop)]
    if len(left) == 1:
        return left
    shown_names = ", ".join(left[:12])
    raise DataError(
        f"no target named for '{frame.source}'.",
        f"Give --target with one or more of its columns: {shown_names}." if left else "Give --labels with the targets.",
    )


def require_column(frame: Frame, flag: str, name: str) -> None:
    if name in frame.names:
        return
    near = difflib.get_close_matches(name, frame.names, n=1)
    hint = f"Did you mean '{near[0]}'?" if near else f"Its columns are: {', '.join(frame.names[:12]) or 'none'}."
    raise DataError(f"'{frame.source}' has no column '{name}' (named by --{flag}).", hint)


def texts_of(frame: Frame, name: str) -> list[str]:
    """The cells of a column as labels; equal numbers give equal labels however they were written."""
    if name in frame.texts and (name in frame.odd or np.isnan(frame.values[:, frame.names.index(name)]).all()):
        return frame.texts[name]
    values = frame.values[:, frame.names.index(name)]
    return ["" if np.isnan(value) else f"{value:.17g}" for value in values]
