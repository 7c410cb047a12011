"""Section ``data``: where the rows come from, how they are read, and how they are split."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from .fields import Names, OrNone, Section, as_list, none_for_nothing

__all__ = ["DataConfig", "thousands_by_column"]

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


def _decimal(value: Any) -> Any:
    return _MARKS.get(value, value) if isinstance(value, str) else value


class DataConfig(Section):
    """Where the rows come from, how they are read, and how they are split."""

    source: str | None = Field(
        None,
        description=(
            "Table: CSV or another text table (also .gz, .bz2, .xz, .zip), Excel, Parquet, NPZ, NPY or MAT file, or a "
            "bundled set: digits, diabetes."
        ),
    )
    target: Names = Field(
        default_factory=list,
        description="Name of the target column; several separated by commas, one that holds a comma in double quotes.",
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
        "auto", description="Decimal mark of a text table; auto: a comma where no cell leaves a doubt."
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
    group: Annotated[str | None, OrNone] = Field(
        None, description="Column that names the unit a row came from: a unit is never on both sides of the split."
    )
    split_column: Annotated[str | None, OrNone] = Field(
        None, description="Column that says train, validation or test in each row."
    )
    test_data: Annotated[str | None, OrNone] = Field(None, description="Table whose rows are the held-out ones.")
    validation: Annotated[float, Field(gt=0, lt=1)] = Field(0.15, description="Share of the rows for validation.")
    test: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.15, description="Share of the rows held out for the final figures."
    )

    @model_validator(mode="after")
    def _consistent(self) -> DataConfig:
        if self.validation + self.test >= 1:
            raise ValueError(f"validation {self.validation} + test {self.test} leave no rows to train on")
        if self.split_column and (self.group or self.test_data or self.split == "time"):
            other = "group" if self.group else "test_data" if self.test_data else "split time"
            raise ValueError(f"split_column and {other} exclude each other: the column says where each row belongs")
        for one, other in (("whole", "categorical"), ("drop", "target"), ("drop", "whole"), ("drop", "categorical")):
            both = [name for name in getattr(self, one) if name in getattr(self, other)]
            if both:
                raise ValueError(f"'{both[0]}' is in {one} and in {other}: name it in one of them")
        for field in ("group", "split_column"):
            name = getattr(self, field)
            if name is not None and (name in self.target or name in self.drop):
                raise ValueError(f"{field} '{name}' is in {'target' if name in self.target else 'drop'} too")
        return self
