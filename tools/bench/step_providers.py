"""What ``step.py`` times: the cases of its table, and the providers that all do the same work per step."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from step_functional import FunctionalCompiled
from step_jax import Jax, JaxDefault, JaxEnsemble, JaxLargeEnsemble

from regkd_edge.fused import Member, Optimizer, advance, distill_step, native
from regkd_edge.objectives import StepRecipe

TOTAL = 10**9  # schedules stand still

# Teacher, student, rows per step. Those of RULE_ONLY lie around the size from which `auto` leaves a step to PyTorch.
SHAPES = {
    "small": ((8, 64, 64, 1), (8, 32, 32, 1), 128),
    "wide": ((13, 500, 1), (13, 50, 1), 200),
    "medium": ((16, 128, 128, 1), (16, 64, 64, 1), 1024),
    "large": ((64, 256, 256, 256, 1), (64, 64, 64, 1), 8192),
    "teacher": ((512, 1024, 1024, 1), (512, 8, 1), 256),
    "both": ((256, 1024, 1024, 1), (256, 512, 512, 1), 256),
    "student-768": ((256, 8, 1), (256, 768, 768, 1), 256),
    "student-1024": ((256, 8, 1), (256, 1024, 1024, 1), 256),
    "student-1024-few": ((256, 8, 1), (256, 1024, 1024, 1), 64),
    "widest": ((512, 1024, 1024, 1), (512, 1024, 1024, 1), 128),
}
RULE_ONLY = ("teacher", "both", "student-768", "student-1024", "student-1024-few", "widest")
DIRECT = ((12, 500, 1), (12, 50, 1), 50)
MODES = ("value", "gradient", "ascent")
OURS = ("fused 1 step", "fused many", "ensemble of 16", "ensemble of 100")
# What else a user could write, in float32.
PEERS = ("eager", "compile", "CUDA graph", "torch.func compiled", "jax", "jax vmap of 16", "jax vmap of 100")


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
    def key(self) -> str:
        return f"{self.name} {self.mode} {self.activation}"

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


def cases(shapes: list[str], modes: list[str], activations: list[str]) -> list[Case]:
    """Those of the table, in its order; ``direct`` is a shape with a mode of its own."""
    found = []
    for name, shape in SHAPES.items():
        if name in shapes:
            found += [Case(name, *shape, mode, a) for mode in MODES if mode in modes for a in activations]
    return found + ([Case("direct", *DIRECT, "direct", "tanh")] if "direct" in shapes else [])


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
    """The loss compiled whole; only where no second derivative is needed."""

    def __init__(self, *args):
        super().__init__(*args)
        if self.case.mode != "value":
            raise NotImplementedError("torch.compile has no double backward")
        if self.case.activation != "tanh":
            raise NotImplementedError("timed with tanh alone: compiling takes longer than all else")
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
        recipe = self.case.recipe  # once: a plan belongs to this object
        for step in range(n):
            self.optimizer.zero_grad(set_to_none=True)
            x = torch.randn_like(self.x) if self.case.mode == "direct" else self.x
            loss, _ = distill_step(self.student, self.teacher, x, None, recipe, seed=1, step=step, total=TOTAL)
            loss.backward()
            self.optimizer.step()


class ManySteps:
    """Many steps per call, with the optimizer inside; ``members`` students advance together."""

    members, compute = 1, None  # None: that of the rows

    def __init__(self, case: Case, student, teacher, x):
        if self.compute == "cpu":
            student, teacher, x = copy.deepcopy(student).cpu(), copy.deepcopy(teacher).cpu(), x.cpu()
        data = None if case.mode == "direct" else x
        optimizer = Optimizer("rmsprop", lr=1e-5, weight_decay=1e-5)
        self.all = [
            Member(copy.deepcopy(student), teacher, data, None, case.recipe, optimizer, TOTAL, case.rows, seed=i)
            for i in range(self.members)
        ]

    def run(self, n):
        advance(self.all, n, self.all[0].device.type)


class Ensemble(ManySteps):
    members = 16


class LargeEnsemble(ManySteps):
    members = 100


class ManyStepsOnCpu(ManySteps):
    """The core on the CPU of a machine with a GPU: whether ``auto`` is right to take the GPU."""

    compute = "cpu"


def providers(device: str) -> dict[str, type]:
    """By name, in the order of the table's columns; the first is what ratios are against."""
    shared = {"eager": Eager, "compile": Compiled, "CUDA graph": CudaGraph, "fused 1 step": OneStep}
    shared["fused many"] = ManySteps
    shared.update({"torch.func compiled": FunctionalCompiled, "jax": Jax})
    if device == "cuda":
        ensembles = {"ensemble of 100": LargeEnsemble, "jax vmap of 100": JaxLargeEnsemble}
        return {**shared, "jax default": JaxDefault, "fused many on its CPU": ManyStepsOnCpu, **ensembles}
    return {**shared, "ensemble of 16": Ensemble, "jax vmap of 16": JaxEnsemble}
