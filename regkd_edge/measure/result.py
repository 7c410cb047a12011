"""What a bench found, as a table that prints well."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..io.files import write_atomic, write_json
from ..io.html import rows_table

__all__ = ["BenchResult"]


class BenchResult(Sequence):  # type: ignore[type-arg]
    """Records of engines that were measured together, one per engine; see
    :func:`~regkd_edge.measure.measure_engines` for their fields. ``print`` and a notebook show them as a table.
    """

    def __init__(self, records: Sequence[dict[str, Any]], arrays: Sequence[Mapping[str, np.ndarray]] = ()):
        self.records = list(records)
        self.arrays = list(arrays)  # per engine: its answers as "predictions", nanoseconds per batch size and setting

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: Any) -> Any:
        return self.records[index]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.records)

    def save(self, folder: str | Path) -> list[list[Path]]:
        """Write ``NAME.json`` and ``NAME.npz`` of each engine into a folder; return the two files of each."""
        written = []
        for record, arrays in zip(self.records, self.arrays):
            figures, raw = (Path(folder, f"{record['name']}{suffix}") for suffix in (".json", ".npz"))
            with write_atomic(raw) as temporary, open(temporary, "wb") as stream:
                np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]
            write_json(figures, record)
            written.append([figures, raw])
        return written

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Headings, and a row of texts per engine and target: errors in the target's unit, latency in microseconds."""
        batches = list(dict.fromkeys(entry["batch"] for record in self.records for entry in record["latency"]))
        headings = ["engine", "target", "RMSE", "MAE", "largest error", "R2"]
        headings += [f"{q} µs, batch {b}" for b in batches for q in ("p50", "p99")]
        in_cpp = [b for b in batches if any(e["batch"] == b and "cpp" in e for r in self.records for e in r["latency"])]
        headings += [f"p50 µs in C++, batch {b}" for b in in_cpp]  # without the call from Python
        rows = []
        for record in self.records:
            judged = record["accuracy"] or record["against_teacher"]
            timed = {entry["batch"]: entry for entry in record["latency"]}
            times = [_micro(timed.get(b, {}).get(f"{q}_ns")) for b in batches for q in ("p50", "p99")]
            times += [_micro(timed.get(b, {}).get("cpp", {}).get("p50_ns")) for b in in_cpp]
            for number, target in enumerate(judged["targets"]):
                figures = [_figure(target[key]) for key in ("rmse", "mae", "max_error", "r2")]
                name = target["name"] + ("" if record["accuracy"] else " (teacher)")
                rows.append(
                    [
                        record["name"] if number == 0 else "",
                        name,
                        *figures,
                        *(times if number == 0 else [""] * len(times)),
                    ]
                )
        return headings, rows

    def __repr__(self) -> str:
        headings, rows = self.table()
        widths = [max(len(row[i]) for row in (headings, *rows)) for i in range(len(headings))]
        lines = ["  ".join(cell.ljust(w) if i < 2 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths)))
                 for row in (headings, *rows)]  # fmt: skip
        return "\n".join(line.rstrip() for line in lines)

    def _repr_html_(self) -> str:
        return rows_table("Measured on held-out rows", *self.table())


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _micro(nanoseconds: float | None) -> str:
    return "-" if nanoseconds is None else f"{nanoseconds / 1000:.3g}"
