#!/usr/bin/env python
"""One request from C++: the native back end and RTNeural's compile-time models with Eigen, in turns in one process.

    git clone https://github.com/jatinchowdhury18/RTNeural
    python tools/bench/rtneural.py --rtneural RTNeural      # about two minutes; wants an otherwise idle machine

Both have the same random weights, and their answers are compared first. RTNeural is compiled for this very processor
(-O3 -march=native) and knows all sizes when it is compiled; ours reads them from the engine file. RTNeural has no
scalers, so the comparison is without; what ours takes with them, from raw units to raw units, is beside it.
A request to a GRU is a window: RTNeural is reset and takes its time steps one after the other. A ``conv1d`` has no
counterpart there: its convolutions are causal and take one sample per call, without strides over a window, padding at
both ends or a mean over time. Writes rtneural.md into --output.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn

ROOT = Path(__file__).resolve().parents[2]
LAYERS = {"relu": "ReLuActivationT", "tanh": "TanhActivationT"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rtneural", type=Path, required=True, help="a checkout of RTNeural; it is not part of ours")
    parser.add_argument("--widths", type=int, nargs="+", default=[32, 64], help="of both hidden layers")
    parser.add_argument("--features", type=int, default=13, help="inputs (default: %(default)s)")
    parser.add_argument("--grus", nargs="*", default=["16@32x3", "32@50x6"], metavar="UNITS@STEPSxFEATURES")
    parser.add_argument("--rounds", type=int, default=200, help="turns (default: %(default)s)")
    parser.add_argument("--calls", type=int, default=2000, help="requests per turn (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=ROOT / "tools" / "bench" / "results")
    arguments = parser.parse_args()
    from regkd_edge.measure import machine_state

    before = machine_state()
    lines = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        runtime = built_runtime(folder / "runtime")
        mlps = [(width, activation) for width in arguments.widths for activation in LAYERS]
        cases = [mlp(arguments.features, *one) for one in mlps] + [gru(one) for one in arguments.grus]
        for case in cases:
            times, level = measured(arguments, folder, runtime, case)
            ours, theirs, scaled = (
                f"{np.median(t):.0f} ({t.min():.0f} to {np.percentile(t, 90):.0f})" for t in times.T
            )
            ratio = np.median(times[:, 0] / times[:, 1])
            lines.append(f"| {case.title} | {level} | {ours} | {theirs} | {ratio:.2f} | {scaled} |")
            print(lines[-1], file=sys.stderr)
    text = "\n".join(
        [
            "# The native back end against RTNeural, from C++",
            "",
            f"`python tools/bench/rtneural.py`, {time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime())}. {before['cpu']}, "
            f"{before['cores']} cores; load before {before.get('load')}, after {machine_state().get('load')}. RTNeural "
            f"{revision(arguments.rtneural)}, Eigen, -O3 -march=native.",
            f"An mlp has {arguments.features} inputs; a GRU a window of so many time steps and features. One output, "
            f"one row per request; {arguments.rounds} turns of {arguments.calls} requests, of a GRU a tenth. "
            "Nanoseconds per request: median of the turns (fastest to 90 %). `ratio`: "
            "median of ours over theirs in the same turn. The last column is ours with scalers of inputs and output, "
            "which RTNeural has none of.",
            "",
            "| student | level | native | RTNeural | ratio | native, with scalers |",
            "|---|---|---|---|---|---|",
            *lines,
        ]
    )
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "rtneural.md").write_text(text + "\n")
    print(text)


def built_runtime(folder: Path) -> Path:
    run(
        "cmake",
        "-S",
        ROOT / "csrc" / "runtime",
        "-B",
        folder,
        "-DREGKD_RUNTIME_TENSORRT=OFF",
        "-DREGKD_RUNTIME_TOOL=OFF",
    )
    run("cmake", "--build", folder)
    return folder / "libregkd_runtime.a"


@dataclass(frozen=True)
class Case:
    """A student that both can express: its spec, the shape of a row, the program and the sizes it is compiled for."""

    title: str
    spec: str
    shape: tuple[int, ...]
    program: str
    sizes: dict[str, object]
    share: int = 1  # of the requests


def mlp(features: int, width: int, activation: str) -> Case:
    spec = f"mlp:{width},{width}:{activation}"
    sizes = {"FEATURES": features, "WIDTH": width, "ACTIVATION": LAYERS[activation]}
    return Case(spec, spec, (features,), "rtneural.cpp", sizes)


def gru(text: str) -> Case:
    units, _, window = text.partition("@")
    steps, features = (int(size) for size in window.split("x"))
    sizes = {"STEPS": steps, "FEATURES": features, "UNITS": int(units)}
    return Case(f"gru:{units}, {window}", f"gru:{units}", (steps, features), "rtneural_gru.cpp", sizes, 10)


def weights_of(module: nn.Module) -> list[np.ndarray]:
    """The arrays that the programs read: of a GRU the gates in RTNeural's order z, r, c, inputs first."""
    arrays = []
    for layer in getattr(module, "recurrent", ()):
        for values in (layer.weight_ih_l0, layer.weight_hh_l0, layer.bias_ih_l0, layer.bias_hh_l0):
            r, z, c = values.detach().numpy().reshape(3, layer.hidden_size, -1)
            arrays.append(np.concatenate([z, r, c]).T)
    return arrays + [v.detach().numpy() for layer in module.layers for v in (layer.weight, layer.bias)]


def measured(
    arguments: argparse.Namespace, folder: Path, runtime: Path, case: Case
) -> tuple[np.ndarray, str]:  # [rounds, 3] nanoseconds
    """Write one student for both, compile the comparison and run it."""
    from regkd_edge.data import Scaler, Scalers
    from regkd_edge.engines import get_backend
    from regkd_edge.models import Student, build, parse_spec

    d, shape = int(np.prod(case.shape)), case.shape if len(case.shape) > 1 else None
    module = build(case.spec, d, 1, 0, shape=shape)
    channels = case.shape[-1]
    x = [np.tile(v, d // channels) for v in (np.linspace(-1, 1, channels), np.linspace(0.5, 2, channels))]
    real = Scalers(Scaler(*x), Scaler(np.array([3.0]), np.array([2.0])))
    engines, stem = [], case.title.replace(":", "-").replace(", ", "-").replace(",", "-")
    for scalers, name in ((Scalers.identity(d, 1), "engine"), (real, "scaled")):
        names = [f"x{i}" for i in range(d)]
        student = Student(module, scalers, parse_spec(case.spec), names, ["y"])
        student.export(folder / "s.onnx")
        engines.append(folder / f"{name}.{stem}")
        engines[-1].mkdir()
        get_backend("native").build(folder / "s.onnx", engines[-1])
    with open(folder / "weights.txt", "w") as file:
        for values in weights_of(module):
            np.savetxt(file, values.reshape(1, -1), fmt="%.9g")
    program = folder / f"compare.{stem}"
    include = [ROOT / "csrc" / "runtime" / "include", arguments.rtneural, arguments.rtneural / "modules" / "Eigen"]
    run(
        "c++", "-std=c++17", "-O3", "-march=native", "-DNDEBUG", "-DRTNEURAL_USE_EIGEN=1",
        "-DRTNEURAL_DEFAULT_ALIGNMENT=32", *(f"-D{name}={value}" for name, value in case.sizes.items()),
        *(f"-I{path}" for path in include), ROOT / "tools" / "bench" / case.program, runtime, "-ldl", "-o", program,
    )  # fmt: skip
    calls = max(arguments.calls // case.share, 1)
    done = run(program, engines[0], folder / "weights.txt", arguments.rounds, calls, engines[1])
    return np.array([line.split() for line in done.stdout.splitlines()], dtype=float), done.stderr.strip()


def revision(folder: Path) -> str:
    done = subprocess.run(["git", "-C", str(folder), "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    return done.stdout.strip() or "of unknown revision"


def run(*command: object) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"'{' '.join(map(str, command))[:300]}' failed:\n{done.stderr[-3000:]}")
    return done


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
