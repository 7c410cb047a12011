#!/usr/bin/env python
"""Latency of one request: the native back end and ONNX Runtime with one thread, compared in one run.

    .venv/bin/python tools/bench/native.py                  # about two minutes; wants an otherwise idle machine

Callers, timed in turns so that all share the machine's quiet and busy moments:

    onnxruntime     Python, session.run, as the back end of `regkd-edge bench` calls it
    ort-bound       Python, run_with_iobinding on preallocated buffers: nearest to a call from C++ that the wheel has
    native          Python, NativeRunner.infer
    native-c++      C++, Engine::infer inside `regkd-run --time` (built here from csrc/runtime, or given by --regkd-run)

Students have random weights: the time does not depend on their values. Writes native.json (all figures and the state of
the machine) and native.md into --output.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
SPECS = ("mlp:32,32:relu", "mlp:64,64:relu", "mlp:64,64:tanh", "mlp:64,64:silu", "mlp:256,256:relu")
SIGNALS = ("conv1d:8x5/2,16x3/2,gap:relu@1x64", "conv1d:16d5/2,32d3/2,gap,16:tanh@3x128",
    "conv2d:8x3/2,16d3/2,gap:relu@1x16x16",
           "gru:16@32x3", "gru:32@50x6")  # fmt: skip
CALLERS = ("onnxruntime", "ort-bound", "native", "native-c++")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--specs",
        nargs="+",
        default=SPECS,
        help="students, STUDENT or STUDENT@SHAPE such as conv1d:8x3:relu@1x64 (default: %(default)s)",
    )
    parser.add_argument(
        "--signals", action="store_true", help=f"the students of signals and images: {' '.join(SIGNALS)}"
    )
    parser.add_argument("--name", default="native", help="of the files that are written (default: %(default)s)")
    parser.add_argument("--features", type=int, default=13, help="inputs of the student (default: %(default)s)")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 64], help="rows per request (default: 1 64)")
    parser.add_argument("--samples", type=int, default=10000, help="timed requests per caller (default: %(default)s)")
    parser.add_argument(
        "--rounds", type=int, default=10, help="turns that the samples are divided into (default: %(default)s)"
    )
    parser.add_argument(
        "--regkd-run", type=Path, help="an existing regkd-run; by default it is built from csrc/runtime"
    )
    parser.add_argument("--output", type=Path, default=ROOT / "tools" / "bench" / "results")
    arguments = parser.parse_args()
    if arguments.signals:
        arguments.specs, arguments.name = SIGNALS, "native-signals"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        program = arguments.regkd_run or build_regkd_run(folder / "build")
        record = measure(arguments, folder, program)
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / f"{arguments.name}.json").write_text(json.dumps(record, indent=1) + "\n")
    text = as_markdown(record)
    (arguments.output / f"{arguments.name}.md").write_text(text)
    print(text)


def build_regkd_run(folder: Path) -> Path:
    for command in (
        ["cmake", "-S", ROOT / "csrc" / "runtime", "-B", folder, "-DREGKD_RUNTIME_TENSORRT=OFF"],
        ["cmake", "--build", folder],
    ):
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
        if done.returncode:
            sys.exit(
                f"'{' '.join(map(str, command))}' failed; give an existing program by "
                f"--regkd-run.\n{done.stderr[-2000:]}"
            )
    return folder / "regkd-run"


def measure(arguments: argparse.Namespace, folder: Path, program: Path) -> dict[str, Any]:
    from regkd_edge.measure import machine_state

    before = machine_state()
    rows = []
    for spec in arguments.specs:
        network, _, given = spec.partition("@")
        shape = tuple(map(int, given.split("x"))) if given else (arguments.features,)
        x = np.random.default_rng(1).standard_normal((256, math.prod(shape))).astype(np.float32)
        csv = folder / "rows.csv"
        np.savetxt(csv, x, delimiter=",", fmt="%.9g")
        for precision, graph in graphs(network, shape, x, folder).items():
            engines = build_engines(graph, folder / f"{spec.replace(':', '_').replace('/', '_')}.{precision}")
            for batch in arguments.batches:
                for caller, (raw, level) in timed(
                    engines, program, csv, x, batch, arguments.samples, arguments.rounds
                ).items():
                    rows.append(
                        {
                            "student": spec,
                            "precision": precision,
                            "batch": batch,
                            "caller": caller,
                            "level": level,
                            **summary(raw),
                        }
                    )
                print(
                    f"{spec} {precision} batch {batch}: "
                    + ", ".join(f"{r['caller']} {r['p50_us']:.2f} us" for r in rows[-len(CALLERS) :]),
                    file=sys.stderr,
                )
    return {
        "command": " ".join(["python tools/bench/native.py", *sys.argv[1:]]),
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "features": arguments.features,
        "samples": arguments.samples,
        "rounds": arguments.rounds,
        "machine": {"before": before, "after": machine_state()},
        "overhead_us": {"python": python_overhead()},
        "rows": rows,
    }


def graphs(network: str, shape: tuple[int, ...], x: np.ndarray, folder: Path) -> dict[str, Path]:
    from regkd_edge.data import Scalers
    from regkd_edge.models import Student, build, parse_spec
    from regkd_edge.quantization import quantize_int8

    fp32, int8, d = folder / "s.fp32.onnx", folder / "s.int8.onnx", x.shape[1]
    scalers = Scalers.fit(x.astype(np.float64), np.random.default_rng(2).standard_normal((256, 1)))
    module = build(network, d, 1, 0, shape=shape)
    Student(module, scalers, parse_spec(network), [f"x{i}" for i in range(d)], ["y"]).export(fp32)
    quantize_int8(fp32, int8, x)
    return {"fp32": fp32, "int8": int8}


def build_engines(graph: Path, folder: Path) -> dict[str, Path]:
    from regkd_edge.engines import get_backend

    for backend in ("onnxruntime", "native"):
        (folder / backend).mkdir(parents=True, exist_ok=True)
        get_backend(backend).build(graph, folder / backend)
    return {backend: folder / backend for backend in ("onnxruntime", "native")}


def timed(
    engines: dict[str, Path], program: Path, csv: Path, x: np.ndarray, batch: int, samples: int, rounds: int
) -> dict[str, tuple[np.ndarray, str]]:
    """Caller -> (nanoseconds of its requests, instruction set where it is known)."""
    from regkd_edge.engines import load_runner

    taken: dict[str, list[np.ndarray]] = {caller: [] for caller in CALLERS}
    requests = [np.ascontiguousarray(np.take(x, range(i, i + batch), axis=0, mode="wrap")) for i in range(256)]
    part = -(-samples // rounds)
    with load_runner(engines["onnxruntime"], threads=1) as ort, load_runner(engines["native"]) as native:
        assert np.allclose(ort.infer(requests[0]), native.infer(requests[0]), atol=0.2), "the engines disagree"
        calls = {"onnxruntime": ort.infer, "ort-bound": bound(engines["onnxruntime"], batch), "native": native.infer}
        for _ in range(rounds):
            for caller, call in calls.items():
                taken[caller].append(loop(call, requests, part))
            raw = csv.with_name("raw.txt")
            command = [
                program,
                engines["native"],
                csv,
                "--time",
                "--batch",
                batch,
                "--samples",
                part,
                "--warmup",
                1000,
                "--raw",
                raw,
            ]
            subprocess.run([str(word) for word in command], check=True, capture_output=True)
            taken["native-c++"].append(np.loadtxt(raw, dtype=np.int64))
        level = native.level
    return {
        caller: (np.concatenate(parts), level if caller.startswith("native") else "") for caller, parts in taken.items()
    }


def bound(folder: Path, batch: int) -> Any:
    """ONNX Runtime's session with inputs and outputs bound to memory that is reused: infer(x) copies x in and runs."""
    import onnxruntime as ort

    settings = ort.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL  # the file is optimised already
    session = ort.InferenceSession(str(folder / "engine.onnx"), settings, providers=["CPUExecutionProvider"])
    x = np.zeros((batch, *session.get_inputs()[0].shape[1:]), np.float32)
    y = np.zeros((batch, 1), np.float32)
    binding = session.io_binding()
    binding.bind_input("x", "cpu", 0, np.float32, x.shape, x.ctypes.data)
    binding.bind_output("y", "cpu", 0, np.float32, y.shape, y.ctypes.data)

    def infer(row: np.ndarray) -> np.ndarray:
        x[:] = row.reshape(x.shape)
        session.run_with_iobinding(binding)
        return y

    return infer


def loop(call: Any, requests: list[np.ndarray], samples: int) -> np.ndarray:
    clock, count = time.perf_counter_ns, len(requests)
    for i in range(200):
        call(requests[i % count])
    taken = np.empty(samples, np.int64)
    for i in range(samples):
        x = requests[i % count]
        start = clock()
        call(x)
        taken[i] = clock() - start
    return taken


def python_overhead() -> float:
    """Median of the same loop around a function that does nothing, microseconds; contained in every Python figure."""
    return float(np.median(loop(lambda x: x, [np.zeros(1, np.float32)], 5000))) * 1e-3


def summary(raw: np.ndarray) -> dict[str, float]:
    return {"n": len(raw), **{f"p{q}_us": round(float(np.percentile(raw, q)) * 1e-3, 3) for q in (50, 90, 99)}}


def _inputs(record: dict[str, Any]) -> str:
    shaped = all("@" in row["student"] for row in record["rows"])
    return "Inputs of the shape behind @" if shaped else f"{record['features']} inputs"


def as_markdown(record: dict[str, Any]) -> str:
    machine, versions = record["machine"]["before"], record["machine"]["before"]["versions"]
    lines = [
        "# Native back end against ONNX Runtime, one thread",
        "",
        f"`{record['command']}`, {record['date']}. {machine['cpu']}, {machine['cores']} cores; load before "
        f"{machine.get('load')}, after {record['machine']['after'].get('load')};",
        f"Python {machine['python']}, onnxruntime {versions.get('onnxruntime')}, numpy {versions.get('numpy')}. "
        f"{_inputs(record)}, one output, "
        f"{record['samples']} synchronous requests per caller in {record['rounds']} turns.",
        f"Microseconds; the Python loop's own {record['overhead_us']['python']:.2f} us are contained in the Python "
        "figures. `ratio`: p50 of `onnxruntime` over the row's.",
        "",
        "| student | precision | batch | caller | level | n | p50 | p90 | p99 | ratio |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in record["rows"]:
        same = [
            r
            for r in record["rows"]
            if r["caller"] == "onnxruntime" and all(r[k] == row[k] for k in ("student", "precision", "batch"))
        ]
        ratio = same[0]["p50_us"] / row["p50_us"]
        lines.append(
            f"| {row['student']} | {row['precision']} | {row['batch']} | {row['caller']} | {row['level']} | {row['n']} "
            f"| {row['p50_us']:.2f} | {row['p90_us']:.2f} | {row['p99_us']:.2f} | {ratio:.1f} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
