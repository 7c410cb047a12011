"""Spoiled inputs for every reader of files: see tools/fuzz.

Each reader works in a child process, which tells its counts through shared memory: one that crashes or hangs costs its
own input, and the next child goes on behind it. Within a child thousands of inputs share the loaded libraries; so they
do in the children of that child, where the package would start a process for each file (``fuzz/warm.py``).
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
import warnings
from pathlib import Path

from fuzz import warm
from fuzz.readers import READERS, Reader, attack, sound_files
from fuzz_ledger import INPUTS, Ledger, add_inputs

from regkd_edge.errors import UserError

_PROCESSES = multiprocessing.get_context("fork")
_MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # small files, a hundred thousand times
_HANG, _HANG_BUSY = 900.0, 60.0  # seconds for one input: a busy machine may take long to begin; of processor time
_BATCH = 500  # inputs whose memory is measured together
_SEED, _READ, _REFUSED, _FAILED, _CLEAN, _SLOWEST_US, _MEMORY_MB, _SPENT_US, _STATE = range(9)
_WAITING, _WORKING, _ENDED, _ABSENT = range(4)
_stopping = threading.Event()  # by INT or TERM: what was counted so far is written


def processor_seconds() -> float:
    """Processor time of this process and of the children it has waited for: some readers work in a child."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages) + warm.processor_seconds()


def processor_seconds_of(pid: int) -> float:
    """Processor time of another process; 0 where Linux does not tell."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat") as line:
        return sum(map(int, line.read().rpartition(")")[2].split()[11:13])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def megabytes(what: str) -> int:
    """``VmHWM`` (since the last :func:`forget_highest`) or ``VmRSS`` of this process; 0 where Linux does not tell."""
    with contextlib.suppress(OSError), open("/proc/self/status") as lines:
        return next((int(line.split()[1]) // 1024 for line in lines if line.startswith(what)), 0)
    return 0


def forget_highest() -> None:
    """Let ``VmHWM`` begin again."""
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as command:
        command.write("5")


def work(reader: Reader, folder: str, first: int, end: int, seconds: float, megabytes_each: int, told) -> None:
    """Attack a reader with the seeds from ``first`` to before ``end``; counts and the current seed go to ``told``."""
    signal.signal(signal.SIGINT, signal.SIG_IGN), signal.signal(signal.SIGTERM, signal.SIG_DFL)
    report = os.fdopen(os.dup(2), "w", buffering=1)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1), os.dup2(null, 2)  # libraries write about each damaged file
    logging.disable()
    warnings.simplefilter("ignore")

    def failed(seed: int, what: str) -> None:
        told[_FAILED], told[_CLEAN] = told[_FAILED] + 1, 0
        print(f"{reader.name}, seed {seed}: {what}", file=report)

    place, before = Path(folder, "work"), Path(folder, "sound")
    try:
        sound = sound_files(reader, before)
        with contextlib.suppress(UserError):  # the pickle
            reader.read(before / reader.file)  # libraries are imported once, which is not an input's time
    except ImportError as error:
        print(f"{reader.name}: skipped, {error}", file=report)
        told[_STATE] = _ABSENT
        return
    except Exception:
        print(f"{reader.name}: {traceback.format_exc()}", file=report)
        raise
    told[_STATE] = _WORKING
    with warm.warm_children():
        for start in range(first, end, _BATCH):
            forget_highest()
            held = megabytes("VmRSS")
            for seed in range(start, min(end, start + _BATCH)):
                told[_SEED] = seed
                place.mkdir()
                started, problem = processor_seconds(), ""
                try:
                    told[_READ if attack(reader, place, seed, sound) == "read" else _REFUSED] += 1
                except Exception:  # what is looked for
                    problem = "\n" + traceback.format_exc()
                took = processor_seconds() - started
                told[_SPENT_US] += int(1e6 * took)
                told[_SLOWEST_US] = max(told[_SLOWEST_US], int(1e6 * took))
                if took > seconds:
                    problem += f"took {took:.1f} s"
                told[_CLEAN] += 1
                if problem:
                    failed(seed, problem)
                shutil.rmtree(place, ignore_errors=True)
            added = megabytes("VmHWM") - held
            told[_MEMORY_MB] = max(told[_MEMORY_MB], added)
            if added > megabytes_each:
                failed(start, f"{added} MB in the {_BATCH} inputs from here")
    told[_SEED], told[_STATE] = end, _ENDED


def stretch(reader: Reader, ledger: Ledger, given: argparse.Namespace) -> bool:
    """Go on with one reader for ``--minutes`` at most; whether it is done (or cannot be read here)."""
    end_at = time.monotonic() + 60 * given.minutes

    def over() -> bool:
        return time.monotonic() >= end_at or _stopping.is_set()

    while not over():
        done = ledger.rows().get(reader.name, {}).get("inputs", 0)
        if done >= given.count:
            return True
        first, end = given.seed + done, given.seed + given.count
        told = _PROCESSES.Array("q", 9, lock=False)
        told[_SEED] = first
        with tempfile.TemporaryDirectory(dir=_MEMORY) as folder:
            arguments = (reader, folder, first, end, given.seconds, given.megabytes, told)
            child = _PROCESSES.Process(target=work, args=arguments)
            child.start()
            seed, moved, busy, hangs = -1, 0.0, 0.0, False
            while child.is_alive() and not over() and not hangs:
                child.join(0.5)
                now, spent = time.monotonic(), processor_seconds_of(child.pid)
                if told[_SEED] != seed:
                    seed, moved, busy = told[_SEED], now, spent
                hangs = now - moved > _HANG or spent - busy > _HANG_BUSY
            stopped = child.is_alive() and not hangs  # its time is up, that is all
            child.kill()
            child.join()
        if told[_STATE] == _ABSENT:
            return True
        if told[_STATE] == _WAITING and not stopped:
            raise RuntimeError(f"{reader.name}: its sound file could not be made or read (exit code {child.exitcode})")
        if told[_SEED] == first and stopped:
            return False
        with ledger.row(reader.name) as row:
            counts = told[_SEED] - first, told[_READ], told[_REFUSED], told[_FAILED]
            if told[_STATE] != _ENDED and not stopped:
                counts, told[_CLEAN] = (counts[0] + 1, *counts[1:3], counts[3] + 1), 0
                print(
                    f"{reader.name}, seed {told[_SEED]}: crashed (exit code {child.exitcode}) or hung", file=sys.stderr
                )
            add_inputs(
                row, counts[0], read=counts[1], refused=counts[2], failed=counts[3], clean=told[_CLEAN],
                slowest=told[_SLOWEST_US] // 1000, memory=told[_MEMORY_MB], seconds=told[_SPENT_US] / 1e6,
            )  # fmt: skip
    return False


def main() -> int:
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=100_000, help="inputs per reader, those of the ledger included")
    parser.add_argument("--seed", type=int, default=0, help="first seed; a failure names the seed that repeats it")
    parser.add_argument("--only", default="", help="readers, separated by commas")
    parser.add_argument(
        "--seconds", type=float, default=5.0, help="an input that takes more processor time is a failure"
    )
    parser.add_argument("--megabytes", type=int, default=500, help="inputs that add more memory are a failure")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="for one reader at a time")
    parser.add_argument("--rounds", type=int, default=1, help="how often each reader gets its minutes")
    parser.add_argument(
        "--ledger", type=Path, help="table to which the counts are added; its rows say where each reader goes on"
    )
    given = parser.parse_args()
    ledger = Ledger(given.ledger, INPUTS)
    wanted = [reader for reader in READERS if not given.only or reader.name in given.only.split(",")]
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: _stopping.set())
    broken, before = False, sum(row["failed"] for row in ledger.rows().values())
    for _ in range(given.rounds):
        cost = {name: row["us each"] for name, row in ledger.rows().items()}
        wanted.sort(key=lambda reader: cost.get(reader.name, 0))  # cheap ones first
        for reader in list(wanted):
            if _stopping.is_set():
                break
            try:
                done = stretch(reader, ledger, given)
            except RuntimeError as error:  # the others go on
                print(error, file=sys.stderr)
                done, broken = True, True
            if done:
                wanted.remove(reader)
            row = ledger.rows().get(reader.name)
            if row is not None:
                print(
                    f"{reader.name}: {', '.join(f'{number:,} {column}' for column, number in row.items())}", flush=True
                )
    return 1 if broken or sum(row["failed"] for row in ledger.rows().values()) > before else 0


if __name__ == "__main__":
    sys.exit(main())
