"""A provider of ``step.py`` that writes the step as a function of its parameters: ``torch.func`` gradients with the
whole step inside one ``torch.compile``. It differentiates twice without double backward."""

from __future__ import annotations

import torch

__all__ = ["FunctionalCompiled", "layers_of"]

RATE, DECAY, ALPHA, EPS = 1e-5, 1e-5, 0.99, 1e-8  # RMSprop as in the other providers


def layers_of(net) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """``[(W_1, b_1), ...]``, copied."""
    return [(layer.weight.detach().clone(), layer.bias.detach().clone()) for layer in net.layers]


class FunctionalCompiled:
    """torch.func.grad of the step's loss, the optimizer behind it, all of it in one torch.compile."""

    def __init__(self, case, student, teacher, x):
        if case.mode not in ("value", "gradient"):
            raise NotImplementedError("written for the modes value and gradient")
        if case.activation != "tanh":
            raise NotImplementedError("timed with tanh alone: compiling takes longer than all else")
        self.student, theirs = layers_of(student), layers_of(teacher)
        self.average = [tuple(torch.zeros_like(p) for p in layer) for layer in self.student]
        self.x = x

        def net(layers, x):  # [n, d] -> [n]
            for w, b in layers[:-1]:
                x = torch.tanh(x @ w.T + b)
            return (x @ layers[-1][0].T + layers[-1][1]).squeeze(-1)

        def loss(layers, x):
            if case.mode == "value":
                return (net(layers, x) - net(theirs, x)).square().mean()

            def total(layers, x):
                y = net(layers, x)
                return y.sum(), y

            slope_s, s = torch.func.grad(total, argnums=1, has_aux=True)(layers, x)
            slope_t, t = torch.func.grad(total, argnums=1, has_aux=True)(theirs, x)
            return (s - t).square().mean() + 0.1 * (slope_s - slope_t).square().sum(1).mean()

        def step(layers, average, x):
            gradient = torch.func.grad(loss)(layers, x + 0.1 * torch.randn_like(x))
            new, state = [], []
            for layer, seen, slopes in zip(layers, average, gradient):
                slopes = tuple(g + DECAY * p for g, p in zip(slopes, layer))
                seen = tuple(ALPHA * v + (1 - ALPHA) * g * g for v, g in zip(seen, slopes))
                state.append(seen)
                new.append(tuple(p - RATE * g / (v.sqrt() + EPS) for p, v, g in zip(layer, seen, slopes)))
            return new, state

        self.step = torch.compile(step, fullgraph=True)

    def run(self, n):
        for _ in range(n):
            self.student, self.average = self.step(self.student, self.average, self.x)
