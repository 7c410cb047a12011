"""Common parts of the reproduction scripts: resumable records, tables, a plot, and the conditions of a run."""

from __future__ import annotations

import argparse
import contextlib
import csv
import datetime
import math
import os
import platform
import shlex
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RESULTS = Path(__file__).resolve().parent / "results"
sys.path.insert(0, str(ROOT))  # the scripts run from a checkout, installed or not


class Records:
    """A CSV of one line per measurement, appended as soon as it is made; ``keys`` name a line:
    a second run skips it."""

    def __init__(self, path: Path, columns: Sequence[str], keys: Sequence[str]):
        self.path, self.columns, self.keys = path, list(columns), list(keys)
        self.rows: list[dict[str, str]] = []
        if path.is_file():
            with path.open(newline="", encoding="utf-8") as stream:
                self.rows = [
                    row for row in csv.DictReader(stream) if None not in row.values()
                ]  # a cut last line is dropped
            if self.rows and list(self.rows[0]) != self.columns:
                sys.exit(f"{path} has other columns; move it away or give another --out.")

    def has(self, **key: Any) -> bool:
        wanted = {k: as_text(v) for k, v in key.items()}
        return any(all(row[k] == v for k, v in wanted.items()) for row in self.rows)

    def add(self, rows: Iterable[Mapping[str, Any]]) -> None:
        rows = [{k: as_text(row[k]) for k in self.columns} for row in rows]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = not self.path.is_file() or not self.path.stat().st_size
        with self.path.open("a", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, self.columns, lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerows(rows)
        self.rows += rows

    def values(self, column: str, **key: Any) -> list[float]:
        wanted = {k: as_text(v) for k, v in key.items()}
        return [float(row[column]) for row in self.rows if all(row[k] == v for k, v in wanted.items())]


def as_text(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def sd(values: Sequence[float]) -> float:
    m = mean(values)
    return math.sqrt(sum((v - m) ** 2 for v in values) / (len(values) - 1)) if len(values) > 1 else math.nan


def with_sd(values: Sequence[float]) -> str:
    """``mean (sd)``, the mean alone of one value, a dash of none."""
    if not values:
        return "-"
    return f"{mean(values):.4f}" + (f" ({sd(values):.4f})" if len(values) > 1 else "")


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a Markdown table; numbers are formatted already."""
    lines = ["| " + " | ".join(header) + " |", "|" + "|".join("---" for _ in header) + "|"]
    return "\n".join(lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows])


def how_it_was_run(seconds: float | None = None) -> str:
    """Date, command, versions, machine and the time of this call so far (with ended children), as Markdown lines."""
    import numpy
    import torch

    import regkd_edge

    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError, StopIteration):
        model = next(
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        )
    command = shlex.join(["python", Path(sys.argv[0]).name, *_typed(sys.argv[1:])])
    lines = [
        f"- date: {datetime.date.today().isoformat()}",
        f"- command: `{command.replace(Path(sys.argv[0]).name, 'tools/reproduce/' + Path(sys.argv[0]).name, 1)}`",
        f"- versions: regkd-edge {regkd_edge.__version__}, Python {platform.python_version()}, "
        f"torch {torch.__version__}, numpy {numpy.__version__}",
        f"- machine: {model}",
    ]
    if seconds is not None:
        spent = os.times()
        cpu = spent.user + spent.system + spent.children_user + spent.children_system
        lines.append(
            f"- time of this call: {seconds / 60:.1f} min of wall clock, {cpu / 60:.1f} min of CPU; "
            "what lay in the CSV before was not measured again"
        )
    return "\n".join(lines)


def _typed(arguments: Sequence[str]) -> list[str]:
    """Arguments as others can give them: a folder outside by its option, ``--data DATA``, a file by its name."""
    shown = []
    for option, argument in zip(("", *arguments), arguments):
        outside = Path(argument).is_absolute() or Path(argument).parts[:1] == ("..",)
        is_folder = option.startswith("--") and not Path(argument).suffix
        named = option[2:].upper() if is_folder else Path(argument).name
        shown.append(named if outside else argument)
    return shown


def data_file(folder: str, name: str) -> Path:
    """The CSV of a data set, by path or by name in ``folder``."""
    for path in (Path(name), Path(folder) / f"{name}.csv"):
        if path.is_file():
            return path
    sys.exit(f"no data set '{name}': give a CSV file, or --data with the folder that holds {name}.csv.")


def run_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """The options that every script has: --data, --jobs, --minutes, --out."""
    parser.add_argument("--data", default="../shared/data", help="folder of the CSV files (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: %(default)s)")
    parser.add_argument("--minutes", type=float, help="start nothing new after this many minutes (run again to resume)")
    where = f"folder for {name}.csv, .md, .svg (default: tools/reproduce/results)"
    parser.add_argument("--out", type=Path, default=RESULTS, help=where)


def read_csv(path: Path) -> tuple[Any, Any]:
    """``(x [N, d], y [N, 1])`` float64; the last column is the target."""
    import numpy as np

    rows = np.loadtxt(path, delimiter=",", skiprows=1, ndmin=2)
    return rows[:, :-1], rows[:, -1:]


def in_processes(
    work: Callable[[Any], Any],
    tasks: Sequence[Any],
    jobs: int,
    done: Callable[[Any, Any], None],
    until: float | None = None,
) -> None:
    """``done(task, work(task))`` for every task, in order of completion, on ``jobs`` processes of one thread each.

    ``until`` (of ``time.monotonic``): nothing new is started after it."""
    late = lambda: until is not None and time.monotonic() > until
    if jobs <= 1 or len(tasks) <= 1:
        one_thread()
        for task in tasks:
            if not late():
                done(task, work(task))
        return
    if late():
        return
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor, as_completed

    with ProcessPoolExecutor(min(jobs, len(tasks)), multiprocessing.get_context("spawn"), one_thread) as pool:
        waiting = {pool.submit(work, task): task for task in tasks}
        try:
            for future in as_completed(waiting):
                if not future.cancelled():
                    done(waiting[future], future.result())
                if late():
                    for other in waiting:
                        other.cancel()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def one_thread() -> None:
    """The networks are small: one thread per process and one process per core is the fastest."""
    import torch

    torch.set_num_threads(1)


_COLOURS = ("#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951", "#9c6b4e", "#97bbf5", "#9498a0")


def dot_plot(
    path: Path,
    title: str,
    groups: Mapping[str, Mapping[str, tuple[float, float]]],
    unit: str,
    marks: Mapping[str, float] | None = None,
) -> None:
    """Return an SVG with a line per group and a dot per series: mean and a bar of one standard deviation each side.

    ``marks`` puts a grey tick on a group's line (a published value, for instance).
    """
    names = list(dict.fromkeys(s for g in groups.values() for s in g))
    bar = lambda s: s if s and math.isfinite(s) else 0.0  # one seed has no standard deviation
    finite = [
        v for g in groups.values() for m, s in g.values() for v in (m - bar(s), m + bar(s)) if math.isfinite(v)
    ] + list((marks or {}).values())
    if not finite:
        return
    low, high = min(finite), max(finite)
    low, high = low - 0.05 * (high - low or 1), high + 0.05 * (high - low or 1)
    left, right, top, step = 190, 800, 60 + 16 * ((len(names) + 2) // 3), 16 + 9 * len(names)
    height = top + step * len(groups) + 40
    at = lambda v: left + (right - left) * (v - low) / (high - low)
    text = lambda x, y, s, anchor="start", size=12: (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}">{s}</text>'
    )
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{right + 20}" height="{height}" font-family="sans-serif">',
        '<rect width="100%" height="100%" fill="white"/>',
        text(10, 22, title, size=15),
    ]
    for i, name in enumerate(names):
        x, y = 20 + 265 * (i % 3), 44 + 16 * (i // 3)
        out += [f'<circle cx="{x}" cy="{y - 4}" r="4" fill="{_COLOURS[i % len(_COLOURS)]}"/>', text(x + 9, y, name)]
    for k in range(6):
        v = low + (high - low) * k / 5
        out += [
            f'<line x1="{at(v):.1f}" x2="{at(v):.1f}" y1="{top - 8}" y2="{height - 32}" stroke="#e4e4e4"/>',
            text(at(v), height - 16, f"{v:.3g}", "middle", 11),
        ]
    out.append(text(right, height - 2, unit, "end", 11))
    for g, (group, series) in enumerate(groups.items()):
        y0 = top + step * g
        out.append(text(left - 10, y0 + step / 2, group, "end"))
        if marks and group in marks:
            out.append(
                f'<line x1="{at(marks[group]):.1f}" x2="{at(marks[group]):.1f}" y1="{y0}" y2="{y0 + step - 12}" '
                'stroke="#888" stroke-width="3"/>'
            )
        for name, (m, s) in series.items():
            if not math.isfinite(m):
                continue
            i, y = names.index(name), y0 + 4 + 9 * names.index(name)
            colour = _COLOURS[i % len(_COLOURS)]
            if bar(s):
                out.append(f'<line x1="{at(m - s):.1f}" x2="{at(m + s):.1f}" y1="{y}" y2="{y}" stroke="{colour}"/>')
            out.append(f'<circle cx="{at(m):.1f}" cy="{y}" r="4" fill="{colour}"/>')
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*out, "</svg>"]) + "\n", encoding="utf-8")
