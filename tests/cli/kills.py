"""Commands that are killed at a random moment, and what must hold then: shared by the short test and tools/fuzz kills.

A process with all modules loaded forks one child per command, so that a kill meets the command's own work and not the
start of Python.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from regkd_edge.engines.manifest import MANIFEST
from regkd_edge.io.reading import read_json
from regkd_edge.run import RunFolder

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

_STEPS = "--recipe kang2024 --backend torch --steps 60 --batch 16 --no-baseline --student mlp:4:tanh --accept-teacher"
_YAML = """
data: {data: table.csv, target: y}
teacher: {teacher: "mlp:8:tanh", epochs: 3}
distill: {student: "mlp:4:tanh", steps: 40, compute: cpu, accept_teacher: true}
quantize: {precision: [int8]}
build: {backend: [native]}
bench: {samples: 20, warmup: 5, sweep: false, batches: [1]}
"""
#: Name -> the command, in the order in which each finds what the ones before it made.
COMMANDS = {
    "init": "init new.yaml",
    "run": "run whole.yaml whole",
    "train-teacher": "train-teacher run --data table.csv --target y --teacher mlp:8:tanh --epochs 3",
    "distill": f"distill run {_STEPS}",
    "quantize": "quantize run --precision int8,fp16",
    "build": "build run --backend native",
    "bench": "bench run --samples 20 --warmup 5 --batches 1 --no-sweep",
    "report": "report run",
    "bundle": "bundle run --target desktop",
    "deploy": "deploy run.desktop.tar.gz device --backend native --samples 20",
}

_SERVER = """
import json, os, signal, sys
import numpy, onnx, onnxruntime, safetensors.torch, sklearn, torch
import regkd_edge.api, regkd_edge.bundle, regkd_edge.cli.app, regkd_edge.models.teachers, regkd_edge.quantization
import regkd_edge.engines.native.backend, regkd_edge.report, regkd_edge.stages, regkd_edge.training
torch.set_num_threads(1)
print("ready", flush=True)
for line in sys.stdin:
    folder, arguments = json.loads(line)
    output = os.open(folder + "/output.txt", os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o644)
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.chdir(folder)
        os.dup2(output, 1)
        os.dup2(1, 2)
        sys.argv = ["regkd-edge", *arguments]
        code = 99
        try:
            from regkd_edge.cli import main
            main()
        except SystemExit as end:
            code = end.code or 0
        except KeyboardInterrupt:  # between two steps of this script
            code = 130
        except BaseException:
            import traceback
            traceback.print_exc()
        sys.stdout.flush()
        os._exit(code)
    os.close(output)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Lost(AssertionError):
    """A kill that lost something."""


@dataclass
class Server:
    """The process that forks commands."""

    process: subprocess.Popen = field(
        default_factory=lambda: subprocess.Popen(
            [sys.executable, "-c", _SERVER],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])},
        )
    )  # fmt: skip

    def __post_init__(self) -> None:
        self.process.stdout.readline()

    def call(self, folder: Path, command: str, kill: tuple[float, int] | None = None) -> tuple[int, float]:
        """Exit code and seconds of a command; ``kill``: after how many seconds which signal is sent."""
        self.process.stdin.write(json.dumps([str(folder), command.split()]) + "\n")
        self.process.stdin.flush()
        started = time.monotonic()
        child = int(self.process.stdout.readline())
        if kill is not None:
            time.sleep(max(0.0, kill[0] - (time.monotonic() - started)))
            with contextlib.suppress(ProcessLookupError):  # it ended before
                os.kill(child, kill[1])
        return int(self.process.stdout.readline()), time.monotonic() - started

    def close(self) -> None:
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(60)


@dataclass
class Bench:
    """The folder before each command, what the command makes of it undisturbed, and how long that takes."""

    root: Path
    server: Server = field(default_factory=Server)
    seconds: dict[str, float] = field(default_factory=dict)
    right: dict[str, dict[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        work = self.root / "work"
        work.mkdir()
        rng = random.Random(0)
        rows = [(rng.random(), rng.random()) for _ in range(80)]
        (work / "table.csv").write_text("a,b,y\n" + "".join(f"{a},{b},{a * a - b}\n" for a, b in rows))
        (work / "whole.yaml").write_text(_YAML)
        for name, command in COMMANDS.items():
            shutil.copytree(work, self.root / "before" / name)
            code, self.seconds[name] = self.server.call(work, command)
            if code:
                raise Lost(f"{name} undisturbed: exit code {code}: {(work / 'output.txt').read_text()[-2000:]}")
            self.right[name] = results(work)

    def kill(self, name: str, seed: int) -> str:
        """Kill a command once, check what it left, and let the same command complete; what the kill met."""
        rng = random.Random(f"{name} {seed}")
        work = self.root / "work"
        shutil.rmtree(work)
        shutil.copytree(self.root / "before" / name, work)
        number, after = rng.choice(SIGNALS), rng.uniform(0, 1.1 * self.seconds[name])
        what = f"{name}, seed {seed}, {signal.Signals(number).name} after {after:.2f} s"
        code, _ = self.server.call(work, COMMANDS[name], (after, number))
        if "Traceback" in (work / "output.txt").read_text():
            raise Lost(f"{what}: {(work / 'output.txt').read_text()[-2000:]}")
        require_sound(work, what)
        again, _ = self.server.call(work, COMMANDS[name] + (" --force" if name == "init" and code == 0 else ""))
        if again and not (name in ("init", "deploy") and _made_before(work)):
            raise Lost(f"{what}: then exit code {again}: {(work / 'output.txt').read_text()[-2000:]}")
        require_sound(work, what)
        found = results(work)
        wrong = [path for path in self.right[name].keys() | found if self.right[name].get(path) != found.get(path)]
        if wrong:
            raise Lost(f"{what}: other results than undisturbed: {', '.join(sorted(wrong)[:8])}")
        # A run's lock tells what a killed process left there; beside other files a hidden one may stay.
        left = [path for run in work.glob("*/run.yaml") for path in run.parent.rglob(".*.tmp*")]
        if left:
            raise Lost(f"{what}: left behind: {left[:4]}")
        return "ended before" if code == 0 else "interrupted"


def _made_before(work: Path) -> bool:
    """Whether the command refused to overwrite what it had finished before the kill."""
    return "--force" in (work / "output.txt").read_text()


def results(folder: Path) -> dict[str, str]:
    """Hashes of what is promised to be the same each time, and the names of the other files (measured, dated)."""
    same = (".safetensors", ".npz", ".onnx", ".rkdn", ".yaml")
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        if path.suffix in same and path.parent.name != "bench"  # times
        else ""
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".") and path.name not in ("output.txt", "run.log")
    }


def require_sound(folder: Path, what: str) -> None:
    """Every JSON file is whole; every output that a run records is the one it recorded."""
    for path in folder.rglob("*.json"):
        if not path.name.startswith("."):
            read_json(path, "")
    for path in folder.glob("*/run.yaml"):
        run = RunFolder.open(path.parent)
        run.config()
        for stage, record in run.state().items():
            for name, recorded in record["outputs"].items():
                if not run.is_as_recorded(name, recorded):
                    raise Lost(f"{what}: {stage} records '{name}', which is not that file")
        for manifest in path.parent.glob(f"engines/*/{MANIFEST}"):
            engine = manifest.parent / read_json(manifest, "")["engine"]
            if hashlib.sha256(engine.read_bytes()).hexdigest() != read_json(manifest, "")["engine_sha256"]:
                raise Lost(f"{what}: '{engine}' is not the engine that its manifest describes")
