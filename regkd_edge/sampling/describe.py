"""Description of a teacher's inputs without rows: mean and spread, or range, integer and constant columns.

Everything here is in raw units and needs no torch; :class:`~regkd_edge.sampling.gaussian.DescribedInputs` draws from
it. A feature with mean, standard deviation and a range meets all three (``marginals``), with values near one
end if necessary.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..data import Scaler
from ..errors import DataError
from ..io.reading import read_yaml
from .correlations import given_correlation
from .covariance import shrunk_covariance
from .marginals import Marginals

__all__ = ["InputDescription"]

_FIELDS = ("name", "mean", "sd", "low", "high", "integer", "constant")
_DIGITS = 1e-6  # float32 keeps about so many
_REMEDY = "Describe each input by mean and sd, by low and high, or by constant; integer: true for whole numbers."


@dataclass(frozen=True, eq=False)
class InputDescription:
    """One entry per feature, in the teacher's column order, raw units.

    Parameters
    ----------
    names : list of d str
    mean, sd : float64 [d]
        Mean and standard deviation of the values; sd 0 is a constant column.
    low, high : float64 [d]
        Range; -inf and inf if unknown. Values lie inside it and still have the mean and the deviation.
    uniform : bool [d]
        The feature is spread evenly over its range (only the range was given).
    integer : bool [d]
        Values are whole numbers.
    correlation : float64 [d, d] or None
        Correlation of the normal scores, from real rows or given pairs; None for independent features.
    """

    names: list[str]
    mean: np.ndarray
    sd: np.ndarray
    low: np.ndarray
    high: np.ndarray
    uniform: np.ndarray
    integer: np.ndarray
    correlation: np.ndarray | None = field(default=None)

    @property
    def d(self) -> int:
        return len(self.names)

    # Where a description comes from
    # --------------------------------------------------------------------------------------

    @classmethod
    def standard(cls, d: int, names: Sequence[str] | None = None) -> InputDescription:
        """Return N(0, 1) in every feature, for a teacher of standardised inputs."""
        return cls._plain(np.zeros(d), np.ones(d), names)

    @classmethod
    def from_scaler(cls, scaler: Scaler, names: Sequence[str] | None = None) -> InputDescription:
        """Return the mean and standard deviation from a teacher's stored scaler."""
        return cls._plain(np.asarray(scaler.mean, float), np.asarray(scaler.scale, float), names)

    def recognised(self) -> InputDescription:
        """Return the same with switches and constants, as far as mean m and standard deviation s give them away.

        A column of zeros and ones has s^2 = m (1 - m) to the last digits, one of ones and twos s^2 = (m - 1) (2 - m).
        A constant has the scale 1 in a scaler, which no fitted deviation meets exactly; it is one only beside columns
        with other scales, and with a mean other than 0, since a column that was passed on as it is has mean 0 and
        scale 1 too.
        """
        mean, sd = self.mean, self.sd
        unknown = np.isinf(self.low) & np.isinf(self.high)
        off = np.where(mean < 1, 0.0, 1.0)  # on is one more
        exact = np.abs(sd**2 - (mean - off) * (off + 1 - mean)) < _DIGITS * sd**2
        switch = unknown & (mean > 0) & (mean < 2) & exact
        alike = (sd != 1.0) & (np.abs(sd - 1.0) < _DIGITS)  # standardized columns, up to rounding
        constant = unknown & (sd == 1.0) & (np.abs(mean) > _DIGITS) & (not alike.any() and bool((sd != 1.0).any()))
        return replace(
            self,
            sd=np.where(constant, 0.0, sd),
            low=np.where(constant, mean, np.where(switch, off, self.low)),
            high=np.where(constant, mean, np.where(switch, off + 1, self.high)),
            integer=self.integer | switch,
        )

    @classmethod
    def _plain(cls, mean: np.ndarray, sd: np.ndarray, names: Sequence[str] | None) -> InputDescription:
        d = len(mean)
        names = list(names) if names is not None else [f"x{j}" for j in range(d)]
        no = np.zeros(d, bool)
        return cls(names, mean, sd, np.full(d, -np.inf), np.full(d, np.inf), no, no.copy())

    @classmethod
    def from_rows(cls, x: np.ndarray, names: Sequence[str] | None = None) -> InputDescription:
        """Estimate from a few real rows x [n, d] means, spreads, ranges, whole-number columns and (shrunk) correlation.

        The correlation is shrunk towards independence by Ledoit and Wolf's rule, so that it is positive definite with
        fewer rows than features; the range is widened by a tenth, since a few rows do not reach its ends.
        """
        x = np.asarray(x, float)
        if x.ndim != 2 or len(x) < 2:
            raise DataError(
                f"a description needs at least 2 rows, got an array of shape {x.shape}.",
                "Give more rows, or a YAML description.",
            )
        # Rounding gives a constant column such as 0.1 a tiny deviation, so compare the values themselves.
        varies = x.max(0) > x.min(0)
        mean, sd = np.where(varies, x.mean(0), x[0]), np.where(varies, x.std(0), 0.0)
        plain = cls._plain(mean, sd, names)
        z = (x - mean) / np.where(sd > 0, sd, 1.0)
        covariance = shrunk_covariance(z, centred=True)
        covariance += np.diag(sd == 0).astype(float)  # a constant column: independent, of any variance
        scale = np.sqrt(np.diag(covariance))
        integer = (x == np.round(x)).all(0)
        margin = np.where(integer, 0.0, 0.1 * (x.max(0) - x.min(0)))
        return cls(
            plain.names,
            mean,
            sd,
            x.min(0) - margin,
            x.max(0) + margin,
            plain.uniform,
            integer,
            covariance / np.outer(scale, scale),
        )

    @classmethod
    def from_yaml(cls, path: str | Path) -> InputDescription:
        """Read a file with ``inputs:`` and one entry per feature, in the teacher's order::

            inputs:
              - {name: temperature, mean: 21.5, sd: 8, low: -40, high: 85}
              - {name: gear, low: 1, high: 6, integer: true}
              - {name: gain, constant: 4.0}
            correlations:
              - [temperature, gear, -0.4]

        Units are the teacher's raw ones. ``correlations`` may be left out, and may hold some of the pairs.
        """
        content = read_yaml(path, DataError)
        entries = content.get("inputs") if isinstance(content, Mapping) else None
        if not isinstance(entries, list) or not entries:
            raise DataError(f"'{path}' holds no list 'inputs'.", _REMEDY)
        return cls.from_entries(entries, where=f"'{path}'", correlations=content.get("correlations"))

    @classmethod
    def from_entries(
        cls, entries: Sequence[Mapping[str, Any]], where: str = "the description", *, correlations: Any = None
    ) -> InputDescription:
        """Build from a list of mappings, and one of correlations, with the fields of :meth:`from_yaml`."""
        columns = [_column(entry, j, where) for j, entry in enumerate(entries)]
        names, *numbers = zip(*columns)
        if len(set(names)) < len(names):
            twice = next(n for n in names if names.count(n) > 1)
            raise DataError(f"{where} describes the input '{twice}' twice.", "Name each input once.")
        mean, sd, low, high, uniform, integer = (np.asarray(v) for v in numbers)
        described = cls(list(names), mean, sd, low, high, uniform, integer)
        values = lambda z: described.restrict(described.marginals(z))
        scores = given_correlation(correlations, names, sd > 0, values, where)
        return replace(described, correlation=scores)

    # What follows from it
    # -------------------------------------------------------------------------------------------------

    def scaler(self) -> Scaler:
        """The matching standardisation (scale 1 for a constant column)."""
        return Scaler(self.mean.astype(float), np.where(self.sd > 0, self.sd, 1.0))

    @cached_property
    def marginals(self) -> Marginals:
        """The map from scores to values of each feature."""
        return Marginals(self.mean, self.sd, self.low, self.high, self.uniform, self.integer)

    def inputs(self, z: np.ndarray) -> np.ndarray:  # [n, d] standard normal -> [n, d] raw units
        """Return raw inputs from independent N(0, 1) scores: correlated, in range, with the described moments."""
        return self.restrict(self.marginals(self.correlated(z)))

    def correlated(self, z: np.ndarray) -> np.ndarray:  # [n, d] -> [n, d]
        """Return scores with the known correlation, from independent ones."""
        return z if self.correlation is None else z @ np.linalg.cholesky(self.correlation).T

    def restrict(self, x: np.ndarray) -> np.ndarray:  # [n, d] raw -> [n, d] raw
        """Return the nearest valid inputs: inside the ranges, with whole numbers and constants."""
        x = np.clip(x, self.low, self.high)
        x = np.where(self.integer, np.clip(np.round(x), np.ceil(self.low), np.floor(self.high)), x)
        return np.where(self.sd > 0, x, self.mean)

    def box(self, scaler: Scaler, beyond: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
        """Return ``(low, high)`` [d] in standardised space; ``beyond`` standard deviations without a known range."""
        low = np.where(np.isfinite(self.low), self.low, self.mean - beyond * self.sd)
        high = np.where(np.isfinite(self.high), self.high, self.mean + beyond * self.sd)
        low, high = (np.where(self.sd > 0, v, self.mean) for v in (low, high))
        return scaler.standardize(low[None])[0], scaler.standardize(high[None])[0]


def _column(entry: Any, j: int, where: str) -> tuple:
    """Return ``(name, mean, sd, low, high, uniform, integer)`` of one entry, checked."""
    if not isinstance(entry, Mapping):
        raise DataError(f"{where}: input {j + 1} is {entry!r}, expected fields.", _REMEDY)
    name = str(entry.get("name", f"x{j}"))
    place = f"{where}: input {j + 1} ('{name}')"
    unknown = sorted(set(map(str, entry)) - set(_FIELDS))
    if unknown:
        raise DataError(f"{place} has the unknown field '{unknown[0]}'.", f"Known fields: {', '.join(_FIELDS)}.")
    number = {}
    for key in ("mean", "sd", "low", "high", "constant"):
        value = entry.get(key)
        if value is not None and (
            isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value)
        ):
            raise DataError(f"{place}: {key} is {value!r}, expected a finite number.", _REMEDY)
        number[key] = None if value is None else float(value)
    integer = entry.get("integer", False)
    if not isinstance(integer, bool):
        raise DataError(f"{place}: integer is {integer!r}, expected true or false.", _REMEDY)
    mean, sd, low, high, constant = number.values()
    if constant is not None:
        if any(v is not None for v in (mean, sd, low, high)):
            raise DataError(f"{place} is constant but also has a spread.", "Give constant alone.")
        return name, constant, 0.0, constant, constant, False, False
    if (low is None) != (high is None) and mean is None:
        raise DataError(f"{place} has only one end of its range.", _REMEDY)
    if low is not None and high is not None and low >= high:
        raise DataError(f"{place}: low {low:g} is not below high {high:g}.", "Swap them, or use constant.")
    if integer and low is not None and high is not None and math.ceil(low) > math.floor(high):
        raise DataError(
            f"{place}: no whole number lies between low {low:g} and high {high:g}, expected at least one.",
            "Widen the range, or omit integer.",
        )
    if mean is None and sd is None and low is not None and high is not None:
        # A uniform value's mean and standard deviation; whole numbers get half a unit more on each side.
        width = high - low + (1.0 if integer else 0.0)
        return name, (low + high) / 2, width / math.sqrt(12.0), low, high, True, integer
    if mean is None or sd is None or sd <= 0:
        raise DataError(f"{place} has neither mean and sd (above 0), nor low and high, nor constant.", _REMEDY)
    if not (low is None or low < mean) or not (high is None or mean < high):
        raise DataError(f"{place}: the mean {mean:g} is not inside the range.", "Check mean, low and high.")
    # A hundredth more is rounding on a data sheet; the nearest possible value is used.
    if low is not None and high is not None and sd > 1.01 * (most := math.sqrt((mean - low) * (high - mean))):
        raise DataError(
            f"{place}: sd {sd:g} exceeds {most:.6g}, the maximum for values in this range with mean {mean:g}.",
            "Check sd, low and high.",
        )
    return name, mean, sd, -math.inf if low is None else low, math.inf if high is None else high, False, integer
