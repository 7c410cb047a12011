#!/usr/bin/env python
"""Time per training step: eager PyTorch, torch.compile, CUDA graphs and the fused core, side by side.

    python tools/bench/step.py                 # everything, about 12 minutes on 2 cores that do nothing else
    python tools/bench/step.py --quick         # two configurations, tanh, few repetitions

Every provider does the same work a step: fresh perturbations of the rows, both networks, the losses, the gradient of
every parameter of the student, the optimizer. Repetitions of all providers are interleaved in one run; a figure is the
median over them, a ratio compares medians of that run. The floor is CORE's FLOP count of the step divided by the rate
that this machine reaches on a large float32 matrix product in this very run.

What is measured is written down after every line of the table: an interrupted run goes on where it was when the same
command is given again.
"""

from __future__ import annotations

import argparse
import copy
import datetime
import json
import os
import platform
import statistics
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from step_providers import DIRECT, MODES, OURS, PEERS, RULE_ONLY, SHAPES, Case, cases, providers  # noqa: E402

from regkd_edge.fused import Member, Optimizer, advance  # noqa: E402
from regkd_edge.models.mlp import MLP  # noqa: E402
from regkd_edge.objectives import StepRecipe  # noqa: E402

LONGEST_CALL = 3.0  # [s] a provider whose one call must take longer (by its FLOP) is left out
clock = time.perf_counter


def synchronise(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def timed(run, n: int, device: str) -> float:
    """Seconds of ``run(n)``, the device's work included."""
    synchronise(device)
    start = clock()
    run(n)
    synchronise(device)
    return clock() - start


def time_case(
    case: Case, device: str, repetitions: int, budget: float, cap: float, rate: float, known: dict[str, type]
) -> dict[str, dict]:
    """Median and all repetitions, microseconds per step, for each provider; or the reason why there is no figure."""
    g = torch.Generator().manual_seed(0)
    teacher = MLP(case.teacher, case.activation, generator=g).to(device).requires_grad_(False)
    student = MLP(case.student, case.activation, generator=g).to(device)
    x = torch.randn(case.rows, case.teacher[0], generator=g).to(device)
    running, result = {}, {}
    for name, make in known.items():
        try:
            least = case.flop * getattr(make, "members", 1) / rate
            if least > LONGEST_CALL:
                raise NotImplementedError(f"one call would take more than {LONGEST_CALL:g} s")
            provider = make(case, copy.deepcopy(student), teacher, x)
            timed(provider.run, 1, device)  # compiles, loads code, makes threads
            # A call has a fixed cost: grow it until that cost is small in it, never extrapolate from a short one.
            n, took, fixed = 1, 0.0, None
            while n == 1 or (took < budget / 2 + 9 * fixed and n < 20000 and took < 5 * budget):
                took = timed(provider.run, n, device)
                fixed = took if fixed is None else fixed
                n *= 2
            running[name] = (provider, n if took < 2 * budget else n // 2, took)
        except Exception as cause:  # noqa: BLE001 - a provider that cannot run is a reason in the table
            result[name] = {"reason": f"{type(cause).__name__}: {cause}".splitlines()[0]}
    samples: dict[str, list[float]] = {name: [] for name in running}
    # Every provider is repeated as often as the others; slow lines have fewer repetitions, never fewer than two.
    round_takes = sum(took for _, _, took in running.values())
    for _ in range(max(2, min(repetitions, int(cap / max(round_takes, 1e-9))))):
        for name, (provider, n, _) in running.items():
            samples[name].append(timed(provider.run, n, device) / n * 1e6)
    for name, values in samples.items():
        result[name] = {"us": statistics.median(values), "all": values, "steps": running[name][1]}
    return result


def whole_run(device: str) -> dict:
    """20,000 direct steps of 100 points (50 drawn and 50 searched, d = 12) in one call: seconds of each of three."""
    seconds = []
    for seed in range(3):
        g = torch.Generator().manual_seed(seed)
        teacher = MLP(DIRECT[0], "tanh", generator=g).to(device).requires_grad_(False)
        student = MLP(DIRECT[1], "tanh", generator=g).to(device)
        optimizer = Optimizer("rmsprop", lr=1e-3, weight_decay=1e-5)
        member = Member(student, teacher, None, None, StepRecipe.direct2023(), optimizer, 20000, DIRECT[2], seed=seed)
        compute = []
        seconds.append(timed(lambda n, m=member: compute.append(advance([m], n)[0].choice.compute), 20000, device))
    return {"seconds": seconds, "compute": compute[0]}


def peak(device: str) -> float:
    """FLOP/s of a 2048^3 float32 matrix product, the best of five."""
    a = torch.randn(2048, 2048, device=device)
    return 2 * 2048**3 / min(timed(lambda _: a @ a, 1, device) for _ in range(6))


def device_name(device: str) -> str:
    if device == "cuda":
        return torch.cuda.get_device_name()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor() or platform.machine()
    return f"{model}, {torch.get_num_threads()} threads"


def table(results: list[dict], known: dict[str, type]) -> str:
    """Return Markdown: a line per case; providers without any figure have no column.
    The best peer computes in float32."""
    names = [n for n in known if any("us" in r["providers"].get(n, {}) for r in results)]
    base = next(iter(known))
    columns = ["networks", "rows", "terms", "activation", "floor us", *[f"{n} us" for n in names]]
    ours = [n for n in names if n in OURS]
    head = [*columns, *[f"{base} / {n}" for n in ours], "best peer", *[f"best peer / {n}" for n in ours]]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for r in results:
        case = r["case"]
        us = {n: r["providers"].get(n, {}).get("us") for n in names}
        cells = [f"{case['teacher']} -> {case['student']}", str(case["rows"]), case["mode"], case["activation"]]
        cells += [f"{r['floor_us']:.1f}", *[f"{us[n]:.1f}" if us[n] else "-" for n in names]]
        # An ensemble's step advances all members: its ratio is to as many of a peer, or to as large an ensemble.
        each = {n: getattr(known[n], "members", 1) for n in names}
        cells += [f"{us[base] * each[n] / us[n]:.1f}" if us[n] and us.get(base) else "-" for n in ours]
        peers = {n: us[n] for n in names if us[n] and n in PEERS and each[n] == 1}
        best = min(peers, key=peers.get, default=None)
        cells.append(best or "-")
        for n in ours:
            together = [us[p] for p in names if us[p] and p in PEERS and each[p] == each[n] > 1]
            rival = min([*together, *(value * each[n] for value in peers.values())], default=None)
            cells.append(f"{rival / us[n]:.1f}" if us[n] and rival else "-")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def page(about: dict, results: list[dict], known: dict[str, type], run: dict | None, left: list[str]) -> str:
    """The whole file: the machine, the reasons for what has no figure, the table."""
    reasons: dict[str, set[str]] = {}
    for r in results:
        for n, p in r["providers"].items():
            if "reason" in p:
                reasons.setdefault(n, set()).add(p["reason"])
    lines = ["# One training step, microseconds", "", *[f"- {k}: {v}" for k, v in about.items()]]
    lines += [f"- {n}: no figure in some rows ({'; '.join(sorted(why))})" for n, why in reasons.items()]
    lines += [
        "- medians; the optimizer (RMSprop) is included everywhere; `value` matches outputs on perturbed rows,"
        " `gradient` adds input gradients, `ascent` adds 5 search steps and their points, `direct` is the data-free"
        " step with 2 search steps.",
        "- an ensemble's microseconds are for all its members, its ratio is against as many eager steps, or against the"
        " best peer, alone as often or as an ensemble.",
        "- matrix products are float32 everywhere (jax: precision `highest`) but in `jax default`, which may be TF32 "
        "on a GPU and is not counted as a peer.",
    ]
    if run is not None:
        lines.append(
            f"- 20,000 direct steps of 100 points (d = 12, teacher 500, student 50) in one call, back end"
            f" '{run['compute']}': {statistics.median(run['seconds']):.2f} s"
            f" (of {', '.join(f'{s:.2f}' for s in run['seconds'])})"
        )
    lines += [f"- NOT MEASURED, the time was up: {key}" for key in left]
    return "\n".join([*lines, "", table(results, known), ""])


class Notebook:
    """What is measured so far, in a file beside the tables, for a run that is continued by the same command."""

    def __init__(self, path: Path, settings: dict):
        self.path, self.settings, self.found = path, settings, {}
        if path.exists():
            stored = json.loads(path.read_text())
            if stored["settings"] == settings:
                self.found = stored["found"]

    def get(self, key: str, measure):
        if key not in self.found:
            self.found[key] = measure()
            self.path.write_text(json.dumps({"settings": self.settings, "found": self.found}))
        return self.found[key]


def arguments_of(given: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=["cpu", "cuda"])
    parser.add_argument("--quick", action="store_true", help="two configurations, tanh, few repetitions")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads of PyTorch and of the core")
    parser.add_argument("--activations", default="tanh,relu,silu")
    parser.add_argument("--modes", default=",".join(MODES))
    parser.add_argument("--providers", default=None, help=f"of {', '.join(providers('cpu'))}; all of them if not given")
    parser.add_argument("--repetitions", type=int, default=None, help="default 5, quick 3")
    usual = ",".join([*(name for name in SHAPES if name not in RULE_ONLY), "direct"])
    parser.add_argument("--shapes", default=usual, help=f"default {usual}; also {', '.join(RULE_ONLY)}")
    parser.add_argument("--cap", type=float, default=15.0, help="maximum seconds of repetitions per line [%(default)s]")
    parser.add_argument("--limit", type=float, default=float("inf"), help="seconds after which no new line is started")
    parser.add_argument("--cpu-time", action="store_true", help="CPU time on one thread: for a machine with other work")
    parser.add_argument("--name", default="", help="added to the names of the files")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results", help="folder of the tables")
    arguments = parser.parse_args(given)
    if arguments.quick:
        arguments.shapes, arguments.activations, arguments.name = "small,wide,direct", "tanh", arguments.name or "quick"
    return arguments


def main(given: list[str] | None = None) -> None:
    started, arguments = time.monotonic(), arguments_of(given)
    if arguments.cpu_time:
        global clock
        clock, arguments.threads = time.process_time, 1
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # XLA makes a thread for each CPU that it may use
    torch.set_num_threads(arguments.threads)
    repetitions = arguments.repetitions or (3 if arguments.quick else 5)
    chosen = cases(*(value.split(",") for value in (arguments.shapes, arguments.modes, arguments.activations)))
    from regkd_edge import _core  # without the core there is nothing to measure

    about = {
        "device": device_name(arguments.device),
        "date": datetime.date.today().isoformat(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "clock": "CPU time of one thread" if arguments.cpu_time else "wall",
        "core": f"SIMD {_core.simd_level()}, CUDA {_core.cuda_architectures if _core.has_cuda else 'none'}",
        "command": "python tools/bench/step.py " + " ".join(sys.argv[1:] if given is None else given),
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    stem = arguments.out / f"step-{arguments.device}{'-' + arguments.name if arguments.name else ''}"
    built = Path(_core.__file__).stat().st_mtime
    notebook = Notebook(Path(f"{stem}.partial"), {**about, "repetitions": repetitions, "core built": built})
    rate = notebook.get("peak", lambda: peak(arguments.device))
    about["peak"] = f"{rate / 1e9:.1f} GFLOP/s, a float32 matrix product of 2048 in this run"
    known, results, left = providers(arguments.device), [], []
    if arguments.providers:
        known = {name: make for name, make in known.items() if name in arguments.providers.split(",")}
    for case in chosen:
        if case.key not in notebook.found and time.monotonic() - started > arguments.limit:
            left.append(case.key)
            continue
        how = (arguments.device, repetitions, 0.15, arguments.cap, rate, known)
        by = notebook.get(case.key, lambda c=case, h=how: time_case(c, *h))
        words = {n: "-".join(map(str, getattr(case, n))) for n in ("teacher", "student")}
        described = {**case.__dict__, **words}
        results.append({"case": described, "flop": case.flop, "floor_us": case.flop / rate * 1e6, "providers": by})
        line = "  ".join(f"{n} {p['us']:.1f}" if "us" in p else f"{n} -" for n, p in by.items())
        print(f"{time.monotonic() - started:6.0f} s  {case.key} @{case.rows}: {line}", file=sys.stderr)
    run = notebook.get("whole run", lambda: whole_run(arguments.device)) if "direct" in arguments.shapes else None
    text = page(about, results, known, run, left)
    stem.with_suffix(".md").write_text(text)
    stem.with_suffix(".json").write_text(
        json.dumps({"about": about, "results": results, "whole_run": run, "not_measured": left}, indent=1)
    )
    if not left:
        notebook.path.unlink()
    print(text)


if __name__ == "__main__":
    main()
