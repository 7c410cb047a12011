"""Made tables for zhou2023.py: constant, sparse, binary, whole, skewed and correlated columns, a nonlinear target.

``python tools/reproduce/made_tables.py FOLDER`` writes made8a.csv to made500b.csv, always the same. Each has its own
shares of the kinds of columns; a and b are two draws of everything.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

ROWS = {8: 2500, 30: 2500, 100: 4000, 500: 4000}
NORMAL, SKEWED, SWITCH, SPARSE, WHOLE, CONSTANT = range(6)


def made(d: int, seed: int, n: int) -> np.ndarray:  # [n, d + 1], the last column is the target
    """Return a table of d inputs; a quarter of the columns each has 0, 30, 90 and 99.9 % from common factors."""
    g = np.random.default_rng([seed, d])
    kinds = g.choice(6, d, p=g.dirichlet([2.0] * 6))
    kinds[g.permutation(d)[: max(2, d // 8)]] = NORMAL
    kinds[g.permutation(d)[0]] = CONSTANT
    kinds[g.permutation(d)[1]] = SWITCH
    factors = max(2, int(d * g.uniform(0.1, 0.4)))
    common = g.normal(size=(n, factors)) @ (g.normal(size=(factors, d)) * (g.random((factors, d)) < 0.5))
    common /= np.maximum(common.std(0), 1e-9)
    share = g.choice([0.0, 0.3, 0.9, 0.999], d, p=[0.25] * 4)
    z = np.sqrt(share) * common + np.sqrt(1 - share) * g.normal(size=(n, d))
    x = z.copy()
    of = lambda kind: kinds == kind
    x[:, of(SKEWED)] = np.exp(z[:, of(SKEWED)])
    x[:, of(SWITCH)] = z[:, of(SWITCH)] > g.uniform(-1, 1.8, of(SWITCH).sum())
    j = of(SPARSE)
    x[:, j] = np.where(z[:, j] > g.uniform(0.5, 2.0, j.sum()), np.abs(z[:, j]) * g.gamma(2.0, 1.0, (n, j.sum())), 0.0)
    x[:, of(WHOLE)] = np.round(np.exp(0.6 * z[:, of(WHOLE)] + 1))
    x[:, of(CONSTANT)] = g.normal(size=of(CONSTANT).sum()) * 5
    x *= np.where(of(SWITCH) | of(WHOLE), 1.0, np.exp(g.normal(size=d)))
    s = np.where(of(CONSTANT), 0, (x - x.mean(0)) / np.where(x.std(0) > 1e-9, x.std(0), 1))
    used = g.random((d, 5)) < max(4 / d, min(1, 12 / d))
    p = s @ (g.normal(size=(d, 5)) * used)
    p /= np.maximum(p.std(0), 1e-9)
    y = np.sin(1.5 * p[:, 0]) + 0.7 * p[:, 1] * np.tanh(p[:, 2]) + 0.5 * np.maximum(p[:, 3], 0) + 0.3 * p[:, 4]
    return np.c_[x, y + 0.1 * y.std() * g.normal(size=n)]


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: python tools/reproduce/made_tables.py FOLDER")
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for d, n in ROWS.items():
        for seed, letter in enumerate("ab"):
            header = ",".join([*(f"x{j}" for j in range(d)), "y"])
            table = made(d, seed, n)
            np.savetxt(folder / f"made{d}{letter}.csv", table, delimiter=",", header=header, comments="", fmt="%.9g")


if __name__ == "__main__":
    main()
