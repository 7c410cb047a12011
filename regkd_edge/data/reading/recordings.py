"""Recordings: WAV files by SciPy, text or other tables of samples, one file or a folder of them."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ...errors import DataError, NotAvailable
from ...io.limits import TABLE_BYTES
from ...io.memory import require_memory
from ...io.progress import tick
from ...io.regular import file_problem
from .frame import Frame
from .listed import shown

__all__ = ["SOUNDS", "TABLES", "Recording", "clipped_or_silent", "of_table", "read_sounds"]

SOUNDS = (".wav", ".wave")
TABLES = (".csv", ".tsv", ".txt", ".dat", ".gz", ".parquet", ".pq")
_RUN = 3  # samples in a row at full scale that a sound does not reach by chance
_AT_ONCE = 1 << 20


@dataclass(eq=False)
class Recording:
    """Samples in the order of time.

    Parameters
    ----------
    name : str
    values : array [L, C]
        Float64 of a table; the type of the file of a sound.
    channels : list of str, length C
    rate : float or None
        Samples per second, where the file says it.
    columns : dict of str to float64 array [L]
        Targets of every sample.
    aside : dict of str to list of str, length L
        The unit, or the part of the split, of every sample.
    full_scale : float or None
        What a sample is divided by, so that full scale is 1.
    """

    name: str
    values: np.ndarray
    channels: list[str]
    rate: float | None = None
    columns: dict[str, np.ndarray] = field(default_factory=dict)
    aside: dict[str, list[str]] = field(default_factory=dict)
    full_scale: float | None = None

    def __len__(self) -> int:
        return len(self.values)

    def span(self, start: int, stop: int) -> np.ndarray:  # [stop - start, C] float64
        """Samples in the unit of the recording: as the table has them, or with full scale 1."""
        values = self.values[start:stop]
        if self.full_scale is None:
            return values.astype(np.float64)
        zero = 128.0 if values.dtype == np.uint8 else 0.0
        return (values.astype(np.float64) - zero) / self.full_scale


def read_sounds(files: Sequence[Path], names: Sequence[str]) -> list[Recording]:
    """Read WAV files (PCM of 8 to 32 bits, or floats) of one rate and one number of channels.

    Full scale is 1, as librosa, soundfile and torchaudio have it: every value is exact in float32 up to 24 bits.

    Raises
    ------
    DataError
        A file that cannot be read; other rates or channels than those of the others, with counts and names.
    NotAvailable
        SciPy is not installed.
    """
    try:
        from scipy.io import wavfile
    except ImportError:
        raise NotAvailable(
            "WAV files are read by SciPy, which is not installed.", "Run: pip install 'regkd-edge[data]'."
        ) from None
    sizes = [path.stat().st_size for path in files]
    require_memory(sum(sizes), f"reading {len(files):,} recordings", "Give fewer of them.", DataError)
    found = []
    for i, (path, name) in enumerate(zip(files, names)):
        if i % 64 == 0:
            tick("recordings", i, len(files))
        found.append(_sound(wavfile, path, name))
    _alike(found, "sample rate", [f"{one.rate:g} Hz" for one in found], "Resample them to one rate.")
    _alike(found, "number of channels", [str(one.values.shape[1]) for one in found], "Give all the same channels.")
    return found


def _sound(wavfile, path: Path, name: str) -> Recording:  # type: ignore[no-untyped-def]
    problem = file_problem(path, TABLE_BYTES)
    if problem is not None:
        raise DataError(f"'{path}' cannot be read: {problem}.", "Remove it, or replace it.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", wavfile.WavFileWarning)  # chunks of cameras and editors
            warnings.filterwarnings("error", ".*prematurely.*", wavfile.WavFileWarning)
            rate, values = wavfile.read(path)
    except wavfile.WavFileWarning:
        raise DataError(f"'{path}' ends before the samples that it announces.", "Copy it again.") from None
    except Exception as error:  # SciPy raises one of a dozen kinds for a damaged file
        reason = " ".join(str(error).split()).strip(".") or type(error).__name__
        reason = "it holds no samples" if isinstance(error, UnboundLocalError) else reason
        raise DataError(f"'{path}' is not a readable WAV file: {reason}.", "Save it again as PCM.") from None
    if not len(values) or rate <= 0:
        raise DataError(f"'{path}' holds {len(values)} samples at {rate} Hz.", "Remove it, or replace it.")
    values = values[:, None] if values.ndim == 1 else values
    scales = {"uint8": 128.0, "int16": 2.0**15, "int32": 2.0**31, "int64": 2.0**63}
    channels = [f"channel{j}" for j in range(values.shape[1])] if values.shape[1] > 1 else ["sound"]
    return Recording(name, values, channels, float(rate), full_scale=scales.get(values.dtype.name))


def _alike(found: Sequence[Recording], what: str, values: Sequence[str], remedy: str) -> None:
    counts = Counter(values)
    if len(counts) < 2:
        return
    usual = counts.most_common(1)[0][0]
    odd = [f"{one.name} ({value})" for one, value in zip(found, values) if value != usual]
    raise DataError(
        f"{len(odd):,} of {len(found):,} recordings differ from the {what} {usual} of the others: {shown(odd)}.",
        remedy,
    )


def of_table(
    frame: Frame, name: str, targets: Collection[str], aside: dict[str, list[str]], unit: str | None = None
) -> list[Recording]:
    """The rows of a table as samples; where ``unit`` names a column of ``aside``,
    every run of one unit is a recording."""
    channels = [column for column in frame.names if column not in targets and column not in aside]
    place = {column: j for j, column in enumerate(frame.names)}
    values = frame.values[:, [place[column] for column in channels]]
    labels = np.array(aside[unit]) if unit is not None else np.zeros(len(values))
    ends = [0, *(np.flatnonzero(labels[1:] != labels[:-1]) + 1).tolist(), len(values)]
    found = []
    for begin, end in zip(ends, ends[1:]):
        own = {key: cells[begin:end] for key, cells in aside.items()}
        columns = {column: frame.values[begin:end, place[column]] for column in targets}
        called = name if unit is None else f"{unit} {aside[unit][begin]}"
        found.append(Recording(called, values[begin:end], channels, None, columns, own))
    return found


def clipped_or_silent(recordings: Sequence[Recording]) -> list[str]:
    """Say which recordings are constant throughout, and which sounds reach full scale in several samples in a row."""
    silent, clipped = [], []
    for one in recordings:
        low, high = one.values.min(axis=0), one.values.max(axis=0)
        if (low == high).all():
            silent.append(one.name)
        elif _clipped(one):
            clipped.append(one.name)
    notes = [f"{len(silent):,} of {len(recordings):,} recordings are silent: {shown(silent)}"] if silent else []
    if clipped:
        notes.append(
            f"{len(clipped):,} of {len(recordings):,} recordings are clipped ({_RUN} or more samples in a row at full "
            f"scale): {shown(clipped)}"
        )
    return notes


def _clipped(one: Recording) -> bool:
    kind = one.values.dtype
    if one.full_scale is None and kind.kind != "f":
        return False
    if kind.kind == "f":  # a float sound; the values of a table have no full scale
        if one.rate is None:
            return False
        low, high = -1.0, 1.0
    else:
        low, high = np.iinfo(kind).min, np.iinfo(kind).max
        if kind == np.int32:  # 24 bits stand in the upper ones
            high -= 255
    for begin in range(0, len(one.values), _AT_ONCE):
        part = one.values[begin : begin + _AT_ONCE + _RUN]
        for full in (part >= high, part <= low):
            runs = full.copy()
            for back in range(1, _RUN):
                runs[back:] &= full[:-back]
                runs[:back] = False
            if runs.any():
                return True
    return False
