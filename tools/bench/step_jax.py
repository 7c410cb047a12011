"""The JAX providers of ``step.py``: all steps of a call in one ``jax.jit``, as a loop of XLA's; nothing goes back to
Python in between. JAX differentiates twice without double backward, and ``vmap`` advances an ensemble together."""

from __future__ import annotations

import os

from step_functional import layers_of

__all__ = ["Jax", "JaxDefault", "JaxEnsemble", "JaxLargeEnsemble"]

RATE, DECAY, ALPHA, EPS = 1e-5, 1e-5, 0.99, 1e-8  # RMSprop as in the other providers


def _jax(x):
    """The module, if it runs where the rows are."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # the other providers need memory too
    try:
        import jax
    except ImportError as cause:
        raise NotImplementedError(f"jax is not installed ({cause})") from None
    if x.is_cuda != (jax.default_backend() == "gpu"):
        raise NotImplementedError(f"jax runs on {jax.default_backend()} here")
    return jax


def step_of(jax, case, teacher, rows):
    """``(layers, average, key) -> the same after one step``; rows [B, d], a network is ``[(W_1, b_1), ...]``."""
    jnp, recipe = jax.numpy, case.recipe
    act = {"tanh": jnp.tanh, "relu": jax.nn.relu, "silu": jax.nn.silu}.get(case.activation)
    if act is None:
        raise NotImplementedError(f"written for tanh, relu and silu, not for {case.activation}")
    normal = lambda key: jax.random.normal(key, rows.shape)

    def net(layers, x):  # [d] -> scalar
        for w, b in layers[:-1]:
            x = act(w @ x + b)
        return (layers[-1][0] @ x + layers[-1][1])[0]

    def outputs(layers, points):  # [n, d] -> [n]
        return jax.vmap(lambda x: net(layers, x))(points)

    def with_slopes(layers, points):  # [n, d] -> [n], [n, d]
        return jax.vmap(jax.value_and_grad(lambda x: net(layers, x)))(points)

    def search(layers, points):
        def gain(points):
            s = outputs(layers, points)
            return jnp.mean(recipe.ascent_ridge * s**2 - (s - outputs(teacher, points)) ** 2)

        v = jnp.zeros_like(points)
        for _ in range(recipe.ascent_steps):
            g = jax.grad(gain)(points) + recipe.ascent_weight_decay * points
            v = 0.99 * v + 0.01 * g * g
            points = points - recipe.ascent_size * g / (jnp.sqrt(v) + 1e-8)
        return points

    def points_of(layers, key):
        one, two = jax.random.split(key)
        if case.mode == "direct":
            return jnp.concatenate([normal(one), search(layers, normal(two))])
        points = rows + 0.1 * normal(one)
        return jnp.concatenate([points, search(layers, rows + 0.1 * normal(two))]) if case.mode == "ascent" else points

    def loss(layers, points):
        if case.mode in ("value", "direct"):
            away = (outputs(layers, points) - outputs(teacher, points)) ** 2
            return jnp.mean(away)  # of both kinds of points, which are as many
        (s, slope_s), (t, slope_t) = with_slopes(layers, points), with_slopes(teacher, points)
        kinds = len(points) // len(rows)  # each kind is averaged by itself
        return kinds * jnp.mean((s - t) ** 2) + 0.1 * jnp.mean(jnp.sum((slope_s - slope_t) ** 2, 1))

    def step(carry):
        layers, average, key = carry
        key, now = jax.random.split(key)
        points = jax.lax.stop_gradient(points_of(layers, now))
        gradient = jax.grad(loss)(layers, points)
        gradient = jax.tree.map(lambda g, p: g + DECAY * p, gradient, layers)
        average = jax.tree.map(lambda v, g: ALPHA * v + (1 - ALPHA) * g * g, average, gradient)
        layers = jax.tree.map(lambda p, g, v: p - RATE * g / (jnp.sqrt(v) + EPS), layers, gradient, average)
        return layers, average, key

    return step


class Jax:
    """Matrix products in float32 (JAX's precision ``highest``), as the other providers compute them."""

    members, precision = 1, "highest"

    def __init__(self, case, student, teacher, x):
        self.jax = jax = _jax(x)
        as_jax = lambda net: [tuple(jax.numpy.asarray(p.cpu().numpy()) for p in layer) for layer in layers_of(net)]
        step = step_of(jax, case, as_jax(teacher), jax.numpy.asarray(x.cpu().numpy()))
        ours, keys = as_jax(student), jax.random.PRNGKey(0)
        if self.members > 1:
            ours = jax.tree.map(lambda p: jax.numpy.stack([p] * self.members), ours)
            step, keys = jax.vmap(step), jax.random.split(keys, self.members)

        def many(carry, n):
            with jax.default_matmul_precision(self.precision):
                return jax.lax.fori_loop(0, n, lambda _, carry: step(carry), carry)

        self.many = jax.jit(many)
        self.carry = (ours, jax.tree.map(jax.numpy.zeros_like, ours), keys)

    def run(self, n):
        self.carry = self.jax.block_until_ready(self.many(self.carry, n))


class JaxDefault(Jax):
    """JAX's default precision, which on a GPU is TF32 for matrix products: about three digits."""

    precision = "default"

    def __init__(self, case, student, teacher, x):
        if not x.is_cuda:
            raise NotImplementedError("on a CPU the default precision is float32 too")
        super().__init__(case, student, teacher, x)


class JaxEnsemble(Jax):
    """Members together by ``vmap``."""

    members = 16


class JaxLargeEnsemble(Jax):
    members = 100
