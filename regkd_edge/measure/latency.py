"""Latency of one request: by the host's clock, from the rows in host memory to the answer in host memory.

Requests are synchronous: each starts when the previous answer has arrived. Nothing overlaps and no outlier is
removed, so the figures are those of an application that waits for each answer. Pipelined throughput is not measured.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import OptionError

__all__ = ["latencies", "latency", "percentiles"]

#: A percentile is given when at least this many samples lie beyond it; p99 needs 1000 samples, p90 needs 100.
BEYOND = 10
_QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}


def latency(
    infer: Callable[[np.ndarray], np.ndarray],
    rows: np.ndarray,  # [n, d] float32
    batch: int = 1,
    samples: int = 3000,
    warmup: int = 300,
) -> tuple[dict[str, Any], np.ndarray]:
    """Time ``infer`` on batches of ``rows``.

    Parameters
    ----------
    infer : callable
        A runner's ``infer``: takes rows and returns when the answer is in host memory.
    rows : float32 [n, d]
        Requests are cut from them in turn, wrapping around, so that consecutive requests have different data.
    batch, samples, warmup : int
        Rows per request, timed requests, untimed requests before them.

    Returns
    -------
    record : dict
        ``batch``, ``samples``, ``warmup``, ``p50_ns`` ... ``p99_ns`` (None if the samples are too few), ``min_ns``,
        ``max_ns``, ``mean_ns``, ``rows_per_second`` (of one waiting client), ``overhead_ns`` (median of the same
        loop around an empty function; it is included in the figures, not subtracted).
    raw : int64 [samples]
        Nanoseconds of each request, in order.
    """
    [timed] = latencies([infer], [rows], batch, samples, warmup, rounds=1)
    return timed


def latencies(
    infers: Sequence[Callable[[np.ndarray], np.ndarray]],
    rows: Sequence[np.ndarray],  # of each function: [n, d] or [n, *shape] float32, as it takes them
    batch: int = 1,
    samples: int = 3000,
    warmup: int = 300,
    *,
    rounds: int = 10,
) -> list[tuple[dict[str, Any], np.ndarray]]:
    """Time several functions in turns: in each of ``rounds`` rounds, each takes its share of the samples.

    A machine's clock and background load change over seconds. Timed one after the other, one engine would get an idle
    moment and another a busy one. In turns they share both, so the figures compare engines, not moments.

    Returns
    -------
    list of (record, raw), one per function, as :func:`latency` describes them; ``rounds`` is in the record.
    """
    for name, value, least in (("batch", batch, 1), ("samples", samples, 1), ("warmup", warmup, 0)):
        if value < least:
            raise OptionError(f"{name} is {value}, expected at least {least}.", "Give a larger number.")
    rounds = max(1, min(rounds, samples // 20))
    requests = [_requests(own, batch) for own in rows]
    taken: list[list[np.ndarray]] = [[] for _ in infers]
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()  # a collection would add this process's time to the engine's
    try:
        overhead = _loop(_nothing, requests[0], max(200, min(samples, 2000)))
        for turn in range(rounds):
            for parts, infer, own in zip(taken, infers, requests):
                # a turn begins with cold caches, so warm up each; only the first in full
                _loop(infer, own, warmup if turn == 0 else min(warmup, 50))
                parts.append(
                    _loop(
                        infer,
                        own,
                        samples * (turn + 1) // rounds - samples * turn // rounds,
                        samples * turn // rounds,
                    )
                )
    finally:
        if enabled:
            gc.enable()
    found = []
    for parts in taken:
        raw = np.concatenate(parts)
        record = {
            "batch": batch,
            "samples": samples,
            "warmup": warmup,
            "rounds": rounds,
            **percentiles(raw),
            "rows_per_second": batch * samples / (float(raw.sum()) * 1e-9),
            "overhead_ns": float(np.median(overhead)),
        }
        found.append((record, raw))
    return found


def percentiles(
    raw: np.ndarray,  # [samples] nanoseconds
) -> dict[str, float | None]:
    """Return p50, p90, p95 and p99 (None with fewer than :data:`BEYOND` samples beyond), min, max and mean, in ns."""
    found: dict[str, float | None] = {}
    for name, q in _QUANTILES.items():
        # 1e-9: 1000 * (1 - 0.99) is 10.000000000000009 or 9.99..., and both mean 10
        found[f"{name}_ns"] = float(np.quantile(raw, q)) if len(raw) * (1 - q) >= BEYOND - 1e-9 else None
    return {**found, "min_ns": float(raw.min()), "max_ns": float(raw.max()), "mean_ns": float(raw.mean())}


def _requests(rows: np.ndarray, batch: int) -> list[np.ndarray]:
    """Return up to 256 contiguous batches, cut before the timing starts."""
    count = max(1, min(256, len(rows)))
    index = np.arange(count * batch) % len(rows)
    return [np.ascontiguousarray(rows[part], dtype=np.float32) for part in index.reshape(count, batch)]


def _loop(infer: Callable[[np.ndarray], Any], requests: list[np.ndarray], samples: int, first: int = 0) -> np.ndarray:
    clock = time.perf_counter_ns
    taken = [0] * samples
    count = len(requests)
    for i in range(samples):
        x = requests[(first + i) % count]
        start = clock()
        infer(x)
        taken[i] = clock() - start
    return np.asarray(taken, dtype=np.int64)


def _nothing(x: np.ndarray) -> np.ndarray:
    return x
