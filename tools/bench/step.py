#!/usr/bin/env python
"""How long is one training step? Eager PyTorch, torch.compile, CUDA graphs and the fused core, side by side.

    python tools/bench/step.py                 # everything, about 20 minutes on 2 cores
    python tools/bench/step.py --quick         # two configurations, tanh, few repetitions

Every provider does the same work a step: fresh perturbations of the rows, both networks, the losses, the gradient of
every parameter of the student, the optimizer. Repetitions of all providers are interleaved in one run; a figure is the
median over them, a ratio compares medians of that run. The floor is CORE's FLOP count of the step divided by the rate
that this machine reaches on a large float32 matrix product in this very run.
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
from dataclasses import dataclass
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from regkd_edge.fused import Member, Optimizer, advance, distill_step, native  # noqa: E402
from regkd_edge.models.mlp import MLP  # noqa: E402
from regkd_edge.objectives import StepRecipe  # noqa: E402

TOTAL = 10**9  # schedules stand still


@dataclass(frozen=True)
class Case:
    """One line of the table."""

    name: str
    teacher: tuple[int, ...]
    student: tuple[int, ...]
    rows: int
    mode: str  # value | gradient | ascent | direct
    activation: str

    @property
    def recipe(self) -> StepRecipe:
        if self.mode == "direct":
            return StepRecipe.direct2023()
        terms = {"base": "none", "w_pm": 1.0}
        if self.mode != "value":
            terms.update(w_gm=0.1, gm_on=("perturbed", "ascended"))
        if self.mode == "ascent":
            terms.update(w_abm=1.0, ascent_steps=5)
        return StepRecipe(**terms)

    @property
    def flop(self) -> float:
        """2 points [t P_T + s P_S] for each kind of point, plus a forward and a backward of both a step of the
        search."""
        p_t, p_s = (sum(a * b for a, b in zip(w[:-1], w[1:])) for w in (self.teacher, self.student))
        smooth = self.activation not in ("relu", "leaky_relu")
        t, s = (1, 3) if self.mode in ("value", "direct") else (2, 6 if smooth else 4)
        kinds = 1 if self.mode in ("value", "gradient") else 2
        searched = self.recipe.ascent_steps if self.mode in ("ascent", "direct") else 0
        return 2.0 * self.rows * (kinds * (t * p_t + s * p_s) + 2 * searched * (p_t + p_s))


SHAPES = {
    "small": ((8, 64, 64, 1), (8, 32, 32, 1), 128),
    "wide": ((13, 500, 1), (13, 50, 1), 200),
    "medium": ((16, 128, 128, 1), (16, 64, 64, 1), 1024),
    "large": ((64, 256, 256, 256, 1), (64, 64, 64, 1), 8192),
    "huge": ((256, 1024, 1024, 1), (256, 512, 512, 1), 1024),
}
DIRECT = ((12, 500, 1), (12, 50, 1), 50)


def shape_name(widths: tuple[int, ...]) -> str:
    return "-".join(map(str, widths))


def cases(quick: bool, activations: list[str]) -> list[Case]:
    found = []
    for name, (teacher, student, rows) in SHAPES.items():
        if quick and name not in ("small", "wide"):
            continue
        for mode in ("value", "gradient", "ascent"):
            found += [Case(name, teacher, student, rows, mode, a) for a in activations]
    return found + [Case("direct", *DIRECT, "direct", "tanh")]


class Eager:
    """The step as one writes it in PyTorch: torch.randn, autograd twice, torch.optim, one concatenated pass of each
    network."""

    def __init__(self, case: Case, student, teacher, x):
        self.case, self.student, self.teacher, self.x = case, student, teacher, x
        self.parameters = list(student.parameters())
        kwargs = {"capturable": True} if x.is_cuda else {}
        self.optimizer = torch.optim.RMSprop(self.parameters, lr=1e-5, weight_decay=1e-5, **kwargs)

    def search(self, x):
        recipe, v = self.case.recipe, torch.zeros_like(x)
        for _ in range(recipe.ascent_steps):
            x = x.detach().requires_grad_(True)
            s = self.student(x)
            loss = (recipe.ascent_ridge * s.square() - (s - self.teacher(x)).square()).sum(1).mean()
            (g,) = torch.autograd.grad(loss, x)
            with torch.no_grad():
                g = g + recipe.ascent_weight_decay * x
                v = 0.99 * v + 0.01 * g * g
                x = x - recipe.ascent_size * g / (v.sqrt() + 1e-8)
        return x.detach()

    def loss(self):
        mode, x = self.case.mode, self.x
        if mode == "direct":
            found = self.search(torch.randn_like(x))
            points = torch.cat([torch.randn_like(x), found])
        else:
            points = x + 0.1 * torch.randn_like(x)
            if mode == "ascent":
                points = torch.cat([points, self.search(x + 0.1 * torch.randn_like(x))])
        if mode in ("value", "direct"):
            with torch.no_grad():
                target = self.teacher(points)
            away = (self.student(points) - target).square().sum(1)
            return away.mean() if mode == "value" else 0.5 * (away[: len(x)].mean() + away[len(x) :].mean())
        points.requires_grad_(True)
        t = self.teacher(points)
        (g_t,) = torch.autograd.grad(t.sum(), points)
        s = self.student(points)
        (g_s,) = torch.autograd.grad(s.sum(), points, create_graph=True)
        away = (s - t.detach()).square().sum(1)
        value = away.mean() if mode == "gradient" else away[: len(x)].mean() + away[len(x) :].mean()
        return value + 0.1 * (g_s - g_t).square().sum(1).mean()

    def step(self):
        self.optimizer.zero_grad(set_to_none=True)
        self.loss().backward()
        self.optimizer.step()

    def run(self, n):
        for _ in range(n):
            self.step()


class Compiled(Eager):
    """The loss compiled whole; only where no second derivative is asked for."""

    def __init__(self, *args):
        super().__init__(*args)
        if self.case.mode != "value":
            raise NotImplementedError("torch.compile has no double backward")
        self.loss = torch.compile(self.loss, fullgraph=True)


class CudaGraph(Eager):
    """The eager step captured once and replayed."""

    def __init__(self, *args):
        super().__init__(*args)
        if not self.x.is_cuda:
            raise NotImplementedError("needs a GPU")
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            super().run(3)
        torch.cuda.current_stream().wait_stream(side)
        self.optimizer.zero_grad(set_to_none=True)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.step()

    def run(self, n):
        for _ in range(n):
            self.graph.replay()


class OneStep(Eager):
    """The fused operator for loss and gradients, torch.optim around it."""

    def __init__(self, *args):
        super().__init__(*args)
        why = native.unavailable(self.x.device.type)
        if why:
            raise NotImplementedError(why)  # else the operator's twin would be timed under this name

    def run(self, n):
        for step in range(n):
            self.optimizer.zero_grad(set_to_none=True)
            x = torch.randn_like(self.x) if self.case.mode == "direct" else self.x
            loss, _ = distill_step(
                self.student, self.teacher, x, None, self.case.recipe, seed=1, step=step, total=TOTAL
            )
            loss.backward()
            self.optimizer.step()


class ManySteps:
    """Many steps a call, the optimizer inside; ``members`` students advance together."""

    members = 1

    def __init__(self, case: Case, student, teacher, x):
        data = None if case.mode == "direct" else x
        optimizer = Optimizer("rmsprop", lr=1e-5, weight_decay=1e-5)
        self.all = [
            Member(copy.deepcopy(student), teacher, data, None, case.recipe, optimizer, TOTAL, case.rows, seed=i)
            for i in range(self.members)
        ]

    def run(self, n):
        backend = self.all[0].device.type
        advance(self.all, n, backend)


class Ensemble(ManySteps):
    members = 16


PROVIDERS = {
    "eager": Eager,
    "compile": Compiled,
    "CUDA graph": CudaGraph,
    "fused, 1 step": OneStep,
    "fused, many": ManySteps,
    "ensemble of 16": Ensemble,
}


def synchronise(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def time_case(case: Case, device: str, repetitions: int, budget: float) -> dict[str, dict]:
    """Median and all repetitions, microseconds a step, for each provider; or the reason why there is no figure."""
    g = torch.Generator().manual_seed(0)
    teacher = MLP(case.teacher, case.activation, generator=g).to(device).requires_grad_(False)
    student = MLP(case.student, case.activation, generator=g).to(device)
    x = torch.randn(case.rows, case.teacher[0], generator=g).to(device)
    running, result = {}, {}
    for name, make in PROVIDERS.items():
        try:
            provider = make(case, copy.deepcopy(student), teacher, x)
            # A call has a fixed cost: grow it until that cost is small in it, never extrapolate from a short one.
            n, took, fixed = 1, 0.0, None
            while n == 1 or (took < budget / 2 + 9 * fixed and n < 20000 and took < 10 * budget):
                synchronise(device)
                start = time.perf_counter()
                provider.run(n)
                synchronise(device)
                took = time.perf_counter() - start
                fixed = took if fixed is None else fixed
                n *= 2
            running[name] = (provider, n)
        except Exception as cause:  # noqa: BLE001 - a provider that cannot run is a line of the table, not the end of it
            result[name] = {"reason": f"{type(cause).__name__}: {cause}".splitlines()[0]}
    samples: dict[str, list[float]] = {name: [] for name in running}
    for _ in range(repetitions):
        for name, (provider, n) in running.items():
            synchronise(device)
            start = time.perf_counter()
            provider.run(n)
            synchronise(device)
            samples[name].append((time.perf_counter() - start) / n * 1e6)
    for name, values in samples.items():
        result[name] = {"us": statistics.median(values), "all": values, "steps": running[name][1]}
    return result


def peak(device: str) -> float:
    """FLOP/s of a 2048^3 float32 matrix product, the best of five."""
    a = torch.randn(2048, 2048, device=device)
    best = float("inf")
    for _ in range(6):
        synchronise(device)
        start = time.perf_counter()
        a @ a
        synchronise(device)
        best = min(best, time.perf_counter() - start)
    return 2 * 2048**3 / best


def device_name(device: str) -> str:
    if device == "cuda":
        return torch.cuda.get_device_name()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor() or platform.machine()
    return f"{model}, {torch.get_num_threads()} threads"


def table(results: list[dict], names: list[str]) -> str:
    head = [
        "networks",
        "rows",
        "terms",
        "activation",
        "floor us",
        *[f"{n} us" for n in names],
        *[f"eager / {n}" for n in names[1:]],
    ]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for r in results:
        case, by = r["case"], r["providers"]
        us = {n: by[n].get("us") for n in names}
        cells = [
            f"{case['teacher']} -> {case['student']}",
            str(case["rows"]),
            case["mode"],
            case["activation"],
            f"{r['floor_us']:.1f}",
        ]
        cells += [f"{us[n]:.1f}" if us[n] else "-" for n in names]
        # An ensemble's step advances all members: its ratio is to as many eager steps.
        times = {n: PROVIDERS[n].members if hasattr(PROVIDERS[n], "members") else 1 for n in names}
        cells += [f"{us['eager'] * times[n] / us[n]:.1f}" if us[n] and us["eager"] else "-" for n in names[1:]]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=["cpu", "cuda"])
    parser.add_argument("--quick", action="store_true", help="two configurations, tanh, few repetitions")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads of PyTorch and of the core")
    parser.add_argument("--activations", default="tanh,relu,silu")
    parser.add_argument("--repetitions", type=int, default=None)
    parser.add_argument("--shapes", default=None, help=f"of {', '.join([*SHAPES, 'direct'])}; all of them if not given")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results", help="folder of the tables")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    repetitions = arguments.repetitions or (3 if arguments.quick else 7)
    budget = 0.1 if arguments.quick else 0.25  # seconds a repetition
    rate = peak(arguments.device)
    chosen = cases(arguments.quick, ["tanh"] if arguments.quick else arguments.activations.split(","))
    if arguments.shapes:
        chosen = [case for case in chosen if case.name in arguments.shapes.split(",")]
    results, names = [], list(PROVIDERS)
    for case in chosen:
        providers = time_case(case, arguments.device, repetitions, budget)
        described = {**case.__dict__, "teacher": shape_name(case.teacher), "student": shape_name(case.student)}
        results.append(
            {"case": described, "flop": case.flop, "floor_us": case.flop / rate * 1e6, "providers": providers}
        )
        line = "  ".join(f"{n} {p['us']:.1f}" if "us" in p else f"{n} -" for n, p in providers.items())
        print(
            f"{described['teacher']} -> {described['student']} @{case.rows} {case.mode} {case.activation}: {line}",
            file=sys.stderr,
        )
    about = {
        "device": device_name(arguments.device),
        "date": datetime.date.today().isoformat(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "peak_gflops": rate / 1e9,
        "repetitions": repetitions,
        "command": "python tools/bench/step.py " + " ".join(sys.argv[1:]),
    }
    try:
        from regkd_edge import _core

        about["core"] = {"simd": _core.simd_level(), "cuda": bool(_core.has_cuda)}
    except ImportError as cause:
        about["core"] = f"absent: {cause}"
    reasons = {n: p["reason"] for r in results for n, p in r["providers"].items() if "reason" in p}
    shown = [n for n in names if any("us" in r["providers"][n] for r in results)]
    text = "\n".join(
        [
            "# One training step, microseconds",
            "",
            *[f"- {k}: {v}" for k, v in about.items()],
            *[f"- {n}: no figure in some rows ({why})" for n, why in reasons.items()],
            "- medians; the optimizer (RMSprop) is included everywhere; `value` matches outputs on perturbed rows,"
            " `gradient` adds input gradients,"
            " `ascent` adds 5 search steps and their points, `direct` is the data-free step with 2"
            " search steps.",
            "- an ensemble's microseconds are for all its members, its ratio is against as many eager steps.",
            "",
            table(results, shown),
            "",
        ]
    )
    arguments.out.mkdir(parents=True, exist_ok=True)
    stem = arguments.out / f"step-{arguments.device}{'-quick' if arguments.quick else ''}"
    stem.with_suffix(".md").write_text(text)
    stem.with_suffix(".json").write_text(json.dumps({"about": about, "results": results}, indent=1))
    print(text)


if __name__ == "__main__":
    main()
