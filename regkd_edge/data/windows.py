"""Recordings cut into windows, and windows parted so that no sample is on both sides of a split."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..config import DataConfig
from ..config.data import samples_of
from ..errors import DataError
from ..io.words import counted
from .reading.examples import Cut, Examples
from .reading.frame import Frame
from .reading.listed import shown
from .reading.recordings import Recording
from .split import Split, split_by_column, split_units

__all__ = ["cut_windows", "split_windows"]

_MANY = 50_000_000  # windows


def cut_windows(source: str, recordings: Sequence[Recording], config: DataConfig, labels: Frame | None) -> Examples:
    """Cut every recording into windows [C, length], ``hop`` samples apart; samples left over at the end are not used.

    Parameters
    ----------
    labels : Frame, optional
        One row per recording: columns that each of its windows gets. Otherwise targets are the recordings' columns,
        and a window gets the value of its last, first or middle sample or the mean (``config.window_label``).

    Raises
    ------
    DataError
        A time without a rate, windows longer than a recording.
    """
    rate = recordings[0].rate
    length, hop = _samples(config, "window", rate), _samples(config, "hop" if config.hop else "window", rate)
    short = [one for one in recordings if len(one) < length]
    if short and (config.blanks != "drop" or len(short) == len(recordings)):
        longest = max(len(one) for one in recordings)
        drop = "" if len(short) == len(recordings) else ", or leave these recordings out: --blanks drop"
        raise DataError(
            f"{len(short):,} of {len(recordings):,} recordings of '{source}' are shorter than a window of {length:,} "
            f"samples: {shown([f'{one.name} ({len(one):,} samples)' for one in short])}.",
            f"Give a shorter --window (the longest recording has {longest:,} samples){drop}.",
        )
    notes = [f"{len(short):,} recordings shorter than a window are left out"] if short else []
    starts = [np.arange(0, max(0, len(one) - length + 1), hop) for one in recordings]
    counts = np.array([len(each) for each in starts])
    if counts.sum() > _MANY:
        raise DataError(
            f"'{source}' gives {counts.sum():,} windows, expected at most {_MANY:,}.", "Give a longer --hop."
        )
    cut = Cut(
        np.repeat(np.arange(len(recordings)), counts),
        np.concatenate(starts).astype(np.int64),
        length,
        [one.name for one in recordings],
        np.array([len(one) for one in recordings]),
    )
    x = np.empty((len(cut.start), recordings[0].values.shape[1], length), _kind(recordings))
    at = 0
    for one, each in zip(recordings, starts):
        if len(each):
            view = np.lib.stride_tricks.sliding_window_view(one.span(0, len(one)), length, axis=0)  # [L, C, length]
            x[at : at + len(each)] = view[each]
            at += len(each)
    beside = _by_sample(source, recordings, starts, length, config)
    if labels is not None:
        beside = _with_labels(beside, labels, cut)
    return Examples(source, x, beside, notes, cut)


def _kind(recordings: Sequence[Recording]) -> type:
    """Float32 holds sounds of up to 24 bits exactly."""
    narrow = all(one.values.dtype.itemsize <= 2 or one.values.dtype == np.float32 for one in recordings)
    return np.float32 if narrow else np.float64


def _samples(config: DataConfig, name: str, rate: float | None) -> int:
    span = getattr(config, name)
    samples = samples_of(span, rate)
    if samples is None:
        raise DataError(f"{name} is {span}, and a table states no samples per second.", "Give samples.")
    if samples < 1:
        raise DataError(f"{name} {span} is shorter than one sample at {rate:g} Hz.", "Give a longer one.")
    return samples


def _by_sample(
    source: str, recordings: Sequence[Recording], starts: Sequence[np.ndarray], length: int, config: DataConfig
) -> Frame:
    """Targets by the rule, and units and parts where all samples of a window agree; otherwise the cell is blank."""
    names = list(recordings[0].columns)
    beside = Frame(source, list(names), np.empty((sum(map(len, starts)), len(names))))
    for j, name in enumerate(names):
        beside.values[:, j] = np.concatenate(
            [_labels(one.columns[name], each, length, config.window_label) for one, each in zip(recordings, starts)]
        )
    for name in recordings[0].aside:
        cells: list[str] = []
        for one, each in zip(recordings, starts):
            own = np.array(one.aside[name])
            changes = np.concatenate([[0], np.cumsum(own[1:] != own[:-1])])
            cells += [str(own[i]) if changes[i] == changes[i + length - 1] else "" for i in each]
        beside.names.append(name)
        beside.values = np.column_stack([beside.values, np.full(len(cells), np.nan)])
        beside.texts[name] = cells
    return beside


def _labels(values: np.ndarray, starts: np.ndarray, length: int, rule: str) -> np.ndarray:
    if rule == "mean":
        return np.lib.stride_tricks.sliding_window_view(values, length)[starts].mean(axis=1) if len(starts) else starts
    return values[starts + {"first": 0, "middle": length // 2, "last": length - 1}[rule]]


def _with_labels(beside: Frame, labels: Frame, cut: Cut) -> Frame:
    """The row of each window's recording; columns of the samples stay where the labels do not have them."""
    labels.take(cut.recording.tolist())
    kept = [j for j, name in enumerate(beside.names) if name not in labels.names]
    labels.values = np.column_stack([labels.values, beside.values[:, kept]])
    labels.texts |= {name: cells for name, cells in beside.texts.items() if name not in labels.names}
    labels.names = [*labels.names, *(beside.names[j] for j in kept)]
    return labels


def split_windows(
    cut: Cut, config: DataConfig, seed: int, aside: dict[str, list[str]], held_out: np.ndarray
) -> tuple[Split, list[str]]:
    """Part windows: whole recordings (or whole units) into one part each, or every recording cut in time.

    Recordings are cut in time with ``split time``, and where there are too few of them: the last samples are held out,
    those before them are for validation, and a window that lies on both sides of a cut is left out.

    Parameters
    ----------
    aside : dict of str to list of str
        Units and parts of the windows; a blank cell: its samples do not agree.
    held_out : bool [N]
        Windows of ``test_data``.

    Returns
    -------
    parts : Split
        Rows of all windows; those that are in no part are left out.
    notes : list of str
    """
    rows = np.flatnonzero(~held_out)
    test = np.flatnonzero(held_out)
    share = 0.0 if len(test) else config.test
    if config.split_column:
        cells = aside[config.split_column]
        whole = np.array([i for i in rows if cells[i].strip()])
        parts = split_by_column([cells[i] for i in whole], config.split_column, config.validation, seed,
            cut.recording[whole])  # fmt: skip
        parts = Split(*(whole[part] for part in (parts.train, parts.validation, parts.test)))
        return parts, _left_out(len(rows) - len(whole))
    if config.group:
        cells = aside[config.group]
        whole = np.array([i for i in rows if cells[i].strip()], dtype=np.int64)
        units = np.unique([cells[i] for i in whole], return_inverse=True)[1].reshape(-1)
        what = f"values of '{config.group}'"
    else:
        whole, units, what = rows, np.unique(cut.recording[rows], return_inverse=True)[1].reshape(-1), "recordings"
    few = not config.group and int(units.max(initial=0)) + 1 < (2 if len(test) else 3)
    if not few and (config.group or config.split == "random"):
        parts = split_units(units, config.validation, share, seed, in_order=config.split == "time", what=what)
        found = [whole[part] for part in (parts.train, parts.validation, parts.test)]
        return Split(found[0], found[1], test if len(test) else found[2]), _left_out(len(rows) - len(whole))
    first, second = (cut.samples * (1 - config.validation - share)).round(), (cut.samples * (1 - share)).round()
    own, begin = cut.recording[rows], cut.start[rows]
    end = begin + cut.length
    train, last = rows[end <= first[own]], rows[begin >= second[own]]
    between = rows[(begin >= first[own]) & (end <= second[own])]
    kept = Split(train, between, test if len(test) else last)
    for part, least in (("train", 2), ("validation", 1), ("test", 1)):
        if len(getattr(kept, part)) < least:
            raise DataError(
                f"cut in time, {len(getattr(kept, part))} windows of {cut.length:,} samples are left for {part}, "
                f"expected at least {least}.",
                "Give longer or more recordings, a shorter --window or --hop, or larger shares.",
            )
    notes = _left_out(len(rows) - len(train) - len(between) - (0 if len(test) else len(last)))
    if few and config.split == "random":
        count = len(np.unique(own))
        notes.append(
            f"{counted(count, 'recording')} cannot be parted whole: the last samples of each are held out, as with "
            "--split time"
        )
    return kept, notes


def _left_out(count: int) -> list[str]:
    return [f"{count:,} windows lie on both sides of a cut and are left out"] if count else []
