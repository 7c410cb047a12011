"""Is a GPU faster than the CPU core, and by how much? From this device's own measurements, else from an estimate.

``tools/gpu_check`` measures a few shapes on both and leaves a table, ``$XDG_CONFIG_HOME/regkd-edge/gpu/<device>.json``
(``~/.config`` by default). Without the table of this device the estimate by
instruction counts must promise a gain of 2.
"""

from __future__ import annotations

import json
import math
import os
import re
from pathlib import Path

__all__ = ["LEAST_ESTIMATED_GAIN", "estimated_gain", "measured_gain", "slower_than_cpu", "table_path"]

LEAST_ESTIMATED_GAIN = 2.0

# The chain of instructions of one tile, counted on the kernel's PTX (csrc/cuda/README.md): a part that every tile has
# and a part for each multiply-add of a warp. Cycles per instruction and clock: a chain of dependent instructions with
# few warps per scheduler, on a server GPU. Nothing of this was measured on a device.
_CHAIN, _CHAIN_PER_FMA = 8500.0, 1.6
_CYCLES, _CLOCK = 6.0, 1.7e9
_GRID_BARRIERS = 4e-6  # [s] two per step
_FEW_TILES, _WIDE_LAYER = 66, 64  # csrc/cuda/plan.h


def table_path(device: str) -> Path:
    """Where the table of a device lies, by the name that the driver gives it."""
    base = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return base / "regkd-edge" / "gpu" / f"{re.sub(r'[^A-Za-z0-9]+', '-', device).strip('-').lower()}.json"


def estimated_gain(cost: dict, widest: int, multiprocessors: int) -> float:
    """Step time of the CPU core over that of the GPU, both estimated.

    Parameters
    ----------
    cost : dict
        ``_core.cost(job)``: flops, activations, tiles (of 32 rows) and threads of one step.
    widest : int
        Units of the widest hidden layer.
    multiprocessors : int
        Of the device.
    """
    on_cpu = (cost["flops"] / 64 + cost["activations"]) * 1e-9 / max(1, cost["threads"])
    tiles = cost["tiles"] if 4 * cost["tiles"] > _FEW_TILES else 4 * cost["tiles"]
    warps = 4 if widest <= _WIDE_LAYER else 8
    chain = _CHAIN + _CHAIN_PER_FMA * cost["flops"] / 2 / 32 / tiles / warps
    on_gpu = math.ceil(tiles / multiprocessors) * chain * _CYCLES / _CLOCK + _GRID_BARRIERS
    return on_cpu / on_gpu


def measured_gain(rows: list[dict], flops: float) -> float:
    """The same ratio from a table's rows (``flops``, ``cpu_us``, ``cuda_us``), linear between logarithms; beyond the
    table's ends the nearest row's."""
    points = sorted((math.log(row["flops"]), math.log(row["cpu_us"] / row["cuda_us"])) for row in rows)
    at = math.log(max(flops, 1.0))
    if at <= points[0][0]:
        return math.exp(points[0][1])
    for (x0, y0), (x1, y1) in zip(points, points[1:]):
        if at <= x1:
            return math.exp(y0 + (y1 - y0) * (at - x0) / (x1 - x0) if x1 > x0 else y1)
    return math.exp(points[-1][1])


def _table(device: str) -> list[dict] | None:
    """The rows measured on this device, or None; a file that cannot be read counts as none."""
    try:
        rows = json.loads(table_path(device).read_text())["rows"]
        return [{key: float(row[key]) for key in ("flops", "cpu_us", "cuda_us")} for row in rows] or None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def slower_than_cpu(core, job, widest: int, index: int) -> str | None:
    """Why the CPU core is the better choice for this job although a GPU could run it, or None."""
    device, cost = core.cuda.device(index), core.cost(job)
    rows = _table(device["name"])
    if rows is not None:
        gain = measured_gain(rows, cost["flops"])
        if gain >= 1.0:
            return None
        return (
            f"the CPU core is faster on steps of this size (measured on {device['name']}: {gain:.1f} times its speed)"
        )
    gain = estimated_gain(cost, widest, device["multiprocessors"])
    if gain >= LEAST_ESTIMATED_GAIN:
        return None
    return (
        f"the estimate for {device['name']} is {gain:.1f} times the CPU core's speed, below {LEAST_ESTIMATED_GAIN:g}, "
        f"and nothing was measured on it yet; run tools/gpu_check to decide by measurement, or ask for device cuda"
    )
