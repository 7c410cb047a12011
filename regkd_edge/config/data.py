"""Section ``data``: where the rows come from, how they are read, and how they are split."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from .contradictions.sections import data_contradictions
from .fields import Names, OrNone, Section, as_list, none_for_nothing

__all__ = ["DataConfig", "pixels_of", "samples_of", "thousands_by_column"]

_MARKS = {"comma": ",", "point": ".", "dot": ".", "apostrophe": "'"}
_MARK = re.compile(r"\s*(?:([^=]+)=)?(comma|point|dot|apostrophe|space|[,.'])\s*(?:,|$)")


def thousands_by_column(marks: str) -> dict[str, str]:
    """``"."`` -> ``{"": "."}``, ``"flow=.,price=space"`` -> ``{"flow": ".", "price": "space"}``; ``ValueError``."""
    found, end = {}, 0
    while end < len(marks):
        match = _MARK.match(marks, end)
        if match is None:
            raise ValueError("expected one of , . ' space, or COLUMN=MARK, several separated by commas")
        found[(match[1] or "").strip()] = _MARKS.get(match[2], match[2])
        end = match.end()
    return found


def _thousands(value: Any) -> Any:
    if not isinstance(value, str) or value.strip().lower() in ("", "none"):
        return ""
    thousands_by_column(value)
    return value


_SPAN = re.compile(r"(\d+)|(\d+(?:\.\d+)?)\s*(ms|s)")
_SIZE = re.compile(r"(\d{1,5})x(\d{1,5})")


def samples_of(span: str, rate: float | None) -> int | None:
    """``"256"`` -> 256 samples; ``"20ms"`` and ``"0.5s"`` at ``rate`` samples per second; None without a rate."""
    match = _SPAN.fullmatch(span)
    if match is None or match[1]:
        return int(span)
    return None if rate is None else round(float(match[2]) * rate / (1000 if match[3] == "ms" else 1))


def pixels_of(size: str) -> tuple[int, int]:
    """``"48x64"`` -> 48 rows of 64 pixels."""
    height, width = size.split("x")
    return int(height), int(width)


def _span(value: Any) -> Any:
    if value is None or (isinstance(value, str) and value.strip().lower() == "none"):
        return None
    text = str(value).strip().lower() if not isinstance(value, bool) else ""
    match = _SPAN.fullmatch(text)
    if match is None or float(match[1] or match[2]) <= 0:
        raise ValueError("expected a number of samples (256) or a time (20ms, 0.5s), above 0")
    return text.replace(" ", "")


def _size(value: Any) -> Any:
    if value is None or (isinstance(value, str) and value.strip().lower() == "none"):
        return None
    match = _SIZE.fullmatch(str(value).strip().lower())
    if match is None or not int(match[1]) * int(match[2]):
        raise ValueError("expected HEIGHTxWIDTH in pixels, such as 48x64")
    return f"{int(match[1])}x{int(match[2])}"


def _decimal(value: Any) -> Any:
    return _MARKS.get(value, value) if isinstance(value, str) else value


class DataConfig(Section):
    """Where the rows come from, how they are read, and how they are split."""

    renamed: ClassVar[dict[str, str]] = {"source": "data"}

    data: str | None = Field(
        None,
        description=(
            "Table: CSV or another text table (also .gz, .bz2, .xz, .zip), Excel, Parquet, NPZ, NPY or MAT file; an "
            "NPZ or NPY array of any rank; a WAV file or a folder of WAV or CSV recordings, with --window; a folder of "
            "images; or a bundled set: digits, diabetes."
        ),
    )
    target: Names = Field(
        default_factory=list,
        description="Name of the target column; several separated by commas, one that holds a comma in double quotes.",
    )
    labels: Annotated[str | None, OrNone] = Field(
        None,
        description=(
            "Table with the targets of an array, of recordings or of images: a row per example in order, or a column "
            "'file' that names each file. [default: labels.csv in the folder]"
        ),
    )
    window: Annotated[str | None, BeforeValidator(_span)] = Field(
        None,
        description=(
            "Cut recordings, or a table whose rows are in time order, into windows of so many samples (256) or of a "
            "time (20ms, 0.5s)."
        ),
    )
    hop: Annotated[str | None, BeforeValidator(_span)] = Field(
        None, description="From the start of one window to that of the next. [default: the window, without overlap]"
    )
    window_label: Literal["last", "first", "middle", "mean"] = Field(
        "last",
        description=(
            "Target of a window where every sample has one: that of its last, first or middle sample, or the mean."
        ),
    )
    resize: Annotated[str | None, BeforeValidator(_size)] = Field(
        None, description="Bring images to HEIGHTxWIDTH pixels, such as 48x64."
    )
    color: Literal["auto", "grey", "rgb"] = Field(
        "auto", description="Channels of images; auto: one where every image is grey, else three."
    )
    drop: Names = Field(default_factory=list, description="Columns to leave out.")
    whole: Names = Field(
        default_factory=list, description="Inputs that are whole numbers: counts, steps. Detected where not named."
    )
    categorical: Names = Field(
        default_factory=list,
        description="Inputs that are codes or words, whose order means nothing. Words become one input each (0 or 1).",
    )
    missing: Names = Field(
        default_factory=list,
        description="Values that mean missing: -200,NA,? or, in one column alone, COLUMN=VALUE.",
    )
    blanks: Literal["refuse", "drop", "mean"] = Field(
        "refuse",
        description=(
            "Rows with a missing value: refuse the table, drop them, or fill inputs with the mean of the training rows "
            "(rows without a target are dropped)."
        ),
    )
    separator: str = Field(
        "auto", description="What parts the columns: auto, comma, semicolon, tab, bar, space, or a character."
    )
    decimal: Annotated[Literal["auto", ".", ","], BeforeValidator(_decimal)] = Field(
        "auto", description="Decimal mark of a text table, '.' or ','; auto: a comma where no cell leaves a doubt."
    )
    thousands: Annotated[str, BeforeValidator(_thousands)] = Field(
        "", description="Thousands mark of a text table: , . ' or space; in one column alone, COLUMN=MARK."
    )
    header: bool = Field(True, description="The first line names the columns; otherwise they are c1, c2, ...")
    input_shape: Annotated[
        list[Annotated[int, Field(ge=1)]] | None, BeforeValidator(lambda v: as_list(none_for_nothing(v)))
    ] = Field(
        None,
        description=(
            "Shape of a row that is an image or a signal, whose numbers are the input columns in C order: 1,8,8 "
            "(channels, height, width), 2,128 (channels, length) or 128,6 (time, features)."
        ),
    )
    split: Literal["random", "time"] = Field(
        "random", description="Held-out rows: at random, or the last ones of the table, whose rows are in time order."
    )
    time: Annotated[str | None, OrNone] = Field(
        None,
        description=(
            "Column of times (numbers or dates) that puts the rows in order for split time; it is not an input then."
        ),
    )
    group: Annotated[str | None, OrNone] = Field(
        None, description="Column that names the unit a row came from: a unit is never on both sides of the split."
    )
    split_column: Annotated[str | None, OrNone] = Field(
        None, description="Column that says train, validation or test in each row."
    )
    test_data: Annotated[str | None, OrNone] = Field(
        None, description="Table, array or folder, as --data is, whose rows are the held-out ones."
    )
    test_labels: Annotated[str | None, OrNone] = Field(
        None, description="Table with the targets of --test-data. [default: labels.csv in the folder]"
    )
    validation: Annotated[float, Field(gt=0, lt=1)] = Field(0.15, description="Share of the rows for validation.")
    test: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.15, description="Share of the rows held out for the final figures."
    )

    def contradictions(self) -> list[str]:
        return data_contradictions(self)
