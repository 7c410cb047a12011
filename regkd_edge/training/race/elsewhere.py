"""Whether a student's rows come from elsewhere than those that its teacher was trained on.

There the teacher extrapolates, and how well is unknown. What it keeps of its own rows (the quantiles of each input)
tells without a label: a column whose distribution is another one. The measure is Kolmogorov and Smirnov's distance, the
largest difference of the two shares of rows below a value. It is the same in every unit, and one wild row does not move
it. From the stored quantiles it is never found larger than it is, whole numbers and switches included, but for a row.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...sampling.synthetic import LEVELS

__all__ = ["apart", "from_elsewhere"]

_FAR = 0.2  # of the rows that would have to lie elsewhere: two normal distributions half a deviation apart
_CHANCE = 1e-3  # that one of the columns is found so far apart, of rows from the same place


def apart(summary: Mapping[str, Any], rows: np.ndarray) -> np.ndarray:
    """Return how far apart the distributions of each column are at least, between 0 and 1 [d].

    Parameters
    ----------
    summary : mapping
        Of the teacher's rows, by :func:`regkd_edge.sampling.synthetic.summary_of_inputs`.
    rows : [n, d]
        Of the student; raw units.
    """
    found = np.zeros(rows.shape[1])
    for j, at in enumerate(np.asarray(summary["quantiles"], float).T):
        values = np.sort(rows[:, j])
        below, up_to = (np.searchsorted(values, at, side) / len(values) for side in ("left", "right"))
        # At least LEVELS of the teacher's rows are not above a quantile, and at most LEVELS are below it.
        found[j] = max((LEVELS - up_to).max(), (below - LEVELS).max(), 0.0)
    return found


def from_elsewhere(known: Mapping[str, Any], rows: np.ndarray) -> bool:
    """Whether a column of ``rows`` [n, d] surely has another distribution than at the teacher.

    Parameters
    ----------
    known : mapping
        What is stored with the teacher: ``inputs``, the summary of its rows, and ``train_rows``, their number. False
        where there is no summary.
    """
    summary, d = known.get("inputs"), rows.shape[1]
    if not isinstance(summary, Mapping) or np.shape(summary.get("quantiles")) != (len(LEVELS), d):
        return False
    theirs = known.get("train_rows") or len(rows)
    n = len(rows) * theirs / (len(rows) + theirs)
    # Dvoretzky, Kiefer and Wolfowitz's bound (Massart 1990), for the worst of all columns.
    by_chance = math.sqrt(math.log(2 * d / _CHANCE) / (2 * n))
    return bool(apart(summary, rows).max() > max(_FAR, by_chance))
