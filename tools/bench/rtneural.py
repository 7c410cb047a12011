#!/usr/bin/env python
"""One request from C++: the native back end and RTNeural's compile-time models with Eigen, in turns in one process.

    git clone https://github.com/jatinchowdhury18/RTNeural
    python tools/bench/rtneural.py --rtneural RTNeural      # about two minutes; wants an otherwise idle machine

Both have the same random weights, and their answers are compared first. RTNeural is compiled for this very processor
(-O3 -march=native) and knows all sizes when it is compiled; ours reads them from the engine file. RTNeural has no
scalers, so the comparison is without; what ours takes with them, from raw units to raw units, is beside it.
Writes rtneural.md into --output.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
LAYERS = {"relu": "ReLuActivationT", "tanh": "TanhActivationT"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rtneural", type=Path, required=True, help="a checkout of RTNeural; it is not part of ours")
    parser.add_argument("--widths", type=int, nargs="+", default=[32, 64], help="of both hidden layers")
    parser.add_argument("--features", type=int, default=13, help="inputs (default: %(default)s)")
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
        for width in arguments.widths:
            for activation in LAYERS:
                times, level = measured(arguments, folder, runtime, width, activation)
                ours, theirs, scaled = (
                    f"{np.median(t):.0f} ({t.min():.0f} to {np.percentile(t, 90):.0f})" for t in times.T
                )
                ratio = np.median(times[:, 0] / times[:, 1])
                lines.append(
                    f"| mlp:{width},{width}:{activation} | {level} | {ours} | {theirs} | {ratio:.2f} | {scaled} |"
                )
                print(lines[-1], file=sys.stderr)
    text = "\n".join(
        [
            "# The native back end against RTNeural, from C++",
            "",
            f"`python tools/bench/rtneural.py`, {time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime())}. {before['cpu']}, "
            f"{before['cores']} cores; load before {before.get('load')}, after {machine_state().get('load')}. RTNeural "
            f"{revision(arguments.rtneural)}, Eigen, -O3 -march=native.",
            f"{arguments.features} inputs, one output, one row per request; {arguments.rounds} turns of "
            f"{arguments.calls} requests. Nanoseconds per request: median of the turns (fastest to 90 %). `ratio`: "
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


def measured(
    arguments: argparse.Namespace, folder: Path, runtime: Path, width: int, activation: str
) -> tuple[np.ndarray, str]:  # [rounds, 3] nanoseconds
    """Write one student for both, compile the comparison and run it."""
    from regkd_edge.data import Scaler, Scalers
    from regkd_edge.engines import get_backend
    from regkd_edge.models import Student, build, parse_spec

    spec, d = f"mlp:{width},{width}:{activation}", arguments.features
    module = build(spec, d, 1, 0)
    real = Scalers(Scaler(np.linspace(-1, 1, d), np.linspace(0.5, 2, d)), Scaler(np.array([3.0]), np.array([2.0])))
    engines = []
    for scalers, name in ((Scalers.identity(d, 1), "engine"), (real, "scaled")):
        student = Student(module, scalers, parse_spec(spec), [f"x{i}" for i in range(d)], ["y"])
        student.export(folder / "s.onnx")
        engines.append(folder / f"{name}.{width}.{activation}")
        engines[-1].mkdir()
        get_backend("native").build(folder / "s.onnx", engines[-1])
    with open(folder / "weights.txt", "w") as file:
        for layer in module.layers:
            for values in (layer.weight, layer.bias):
                np.savetxt(file, values.detach().numpy().reshape(1, -1), fmt="%.9g")
    program = folder / f"compare.{width}.{activation}"
    include = [ROOT / "csrc" / "runtime" / "include", arguments.rtneural, arguments.rtneural / "modules" / "Eigen"]
    run(
        "c++", "-std=c++17", "-O3", "-march=native", "-DNDEBUG", "-DRTNEURAL_USE_EIGEN=1",
        "-DRTNEURAL_DEFAULT_ALIGNMENT=32", f"-DFEATURES={d}", f"-DWIDTH={width}", f"-DACTIVATION={LAYERS[activation]}",
        *(f"-I{path}" for path in include), ROOT / "tools" / "bench" / "rtneural.cpp", runtime, "-ldl", "-o", program,
    )  # fmt: skip
    done = run(program, engines[0], folder / "weights.txt", arguments.rounds, arguments.calls, engines[1])
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
