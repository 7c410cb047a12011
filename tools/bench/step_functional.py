"""Providers of ``step.py`` that write the step as a function of its parameters: ``jax.jit`` over a loop of whole
steps, and ``torch.func`` gradients with the whole step inside one ``torch.compile``. Both differentiate twice without
double backward."""

from __future__ import annotations

import os

import torch

__all__ = ["FunctionalCompiled", "Jax"]

RATE, DECAY, ALPHA, EPS = 1e-5, 1e-5, 0.99, 1e-8  # RMSprop as in the other providers


def _layers(net) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [(layer.weight.detach().clone(), layer.bias.detach().clone()) for layer in net.layers]


def _only_gradient_matching(case) -> None:
    if case.mode not in ("value", "gradient"):
        raise NotImplementedError("written for the modes value and gradient")
    if case.activation not in ("tanh", "relu", "silu"):
        raise NotImplementedError(f"written for tanh, relu and silu, not for {case.activation}")


class FunctionalCompiled:
    """torch.func.grad of the step's loss, the optimizer behind it, all of it in one torch.compile."""

    def __init__(self, case, student, teacher, x):
        _only_gradient_matching(case)
        if case.activation != "tanh":
            raise NotImplementedError("timed with tanh alone: compiling takes longer than all else")
        act = {"tanh": torch.tanh, "relu": torch.relu, "silu": torch.nn.functional.silu}[case.activation]
        self.student, theirs = _layers(student), _layers(teacher)
        self.average = [tuple(torch.zeros_like(p) for p in layer) for layer in self.student]
        self.x = x

        def net(layers, x):  # [n, d] -> [n]
            for w, b in layers[:-1]:
                x = act(x @ w.T + b)
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


class Jax:
    """All steps of a call in one jax.jit, as a loop of XLA's; nothing goes back to Python in between."""

    def __init__(self, case, student, teacher, x):
        _only_gradient_matching(case)
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # the other providers need memory too
        try:
            import jax
            import jax.numpy as jnp
        except ImportError as cause:
            raise NotImplementedError(f"jax is not installed ({cause})") from None
        if x.is_cuda != (jax.default_backend() == "gpu"):
            raise NotImplementedError(f"jax runs on {jax.default_backend()} here")
        self.jax = jax
        act = {"tanh": jnp.tanh, "relu": jax.nn.relu, "silu": jax.nn.silu}[case.activation]
        ours, theirs = (
            [tuple(jnp.asarray(p.cpu().numpy()) for p in layer) for layer in _layers(net)] for net in (student, teacher)
        )
        rows = jnp.asarray(x.cpu().numpy())

        def net(layers, x):  # [d] -> scalar
            for w, b in layers[:-1]:
                x = act(w @ x + b)
            return (layers[-1][0] @ x + layers[-1][1])[0]

        def loss(layers, points):
            if case.mode == "value":
                s, t = (jax.vmap(lambda x, n=n: net(n, x))(points) for n in (layers, theirs))
                return jnp.mean((s - t) ** 2)
            (s, slope_s), (t, slope_t) = (
                jax.vmap(jax.value_and_grad(lambda x, n=n: net(n, x)))(points) for n in (layers, theirs)
            )
            return jnp.mean((s - t) ** 2) + 0.1 * jnp.mean(jnp.sum((slope_s - slope_t) ** 2, 1))

        def step(carry, _):
            layers, average, key = carry
            key, now = jax.random.split(key)
            gradient = jax.grad(loss)(layers, rows + 0.1 * jax.random.normal(now, rows.shape))
            gradient = jax.tree.map(lambda g, p: g + DECAY * p, gradient, layers)
            average = jax.tree.map(lambda v, g: ALPHA * v + (1 - ALPHA) * g * g, average, gradient)
            layers = jax.tree.map(lambda p, g, v: p - RATE * g / (jnp.sqrt(v) + EPS), layers, gradient, average)
            return (layers, average, key), None

        self.many = jax.jit(lambda carry, n: jax.lax.fori_loop(0, n, lambda _, c: step(c, None)[0], carry))
        self.carry = (ours, jax.tree.map(jnp.zeros_like, ours), jax.random.PRNGKey(0))

    def run(self, n):
        self.carry = self.jax.block_until_ready(self.many(self.carry, n))
