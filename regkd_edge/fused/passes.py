"""The four passes of the fused step for an MLP in torch (row vectors; verified in float64 against autograd).

    pass 1  a_0 = x; z_l = a_{l-1} W_l^T + b_l; a_l = s(z_l); y = a_L
    pass 2  u_L = v; d_l = s'(z_l) * u_l; u_{l-1} = d_l W_l;  g = u_0 = J^T v
    pass 3  t_0 = r; zt_l = t_{l-1} W_l^T; t_l = s'(z_l) * zt_l                              r = dloss/dg
    pass 4  p_L = c; q_l = s'(z_l) * p_l + s''(z_l) * u_l * zt_l; p_{l-1} = q_l W_l          c = dloss/dy
    dW_l = q_l^T a_{l-1} + d_l^T t_{l-1};   db_l = sum q_l;   dx = p_0

The last layer is linear: s' = 1, s'' = 0 there. No autograd is used, so that the passes can live inside an operator.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import ModelError

__all__ = ["Net", "activation", "forward", "pull_back", "second_order", "value_gradient"]

_SQRT_2_OVER_PI = math.sqrt(2.0 / math.pi)


@dataclass(frozen=True)
class Net:
    """An MLP as plain tensors: weights [n_l, n_{l-1}], biases [n_l], and the name of its activation."""

    weights: Sequence[Tensor]
    biases: Sequence[Tensor]
    activation: str

    @classmethod
    def of(cls, model, dtype: torch.dtype | None = None) -> Net:
        """Build from a :class:`regkd_edge.models.mlp.MLP`, detached."""
        pick = (lambda p: p.detach()) if dtype is None else (lambda p: p.detach().to(dtype))
        layers = list(model.layers)
        return cls([pick(layer.weight) for layer in layers], [pick(layer.bias) for layer in layers], model.activation)


def activation(name: str, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return s, s', s'' at z. At a kink the derivative is that of PyTorch: 0 for ReLU, the slope for leaky ReLU."""
    one, zero = torch.ones_like(z), torch.zeros_like(z)
    if name == "identity":
        return z, one, zero
    if name in ("relu", "leaky_relu"):
        slope = torch.where(z > 0, one, zero if name == "relu" else 0.01 * one)
        return slope * z, slope, zero
    if name == "elu":
        e = torch.exp(z.clamp(max=0))
        return (
            torch.where(z > 0, z, torch.expm1(z.clamp(max=0))),
            torch.where(z > 0, one, e),
            torch.where(z > 0, zero, e),
        )
    if name == "tanh":
        a = torch.tanh(z)
        s1 = 1 - a * a
        return a, s1, -2 * a * s1
    if name == "softplus":
        s1 = torch.sigmoid(z)
        return torch.nn.functional.softplus(z), s1, s1 * (1 - s1)
    if name == "silu":
        p = torch.sigmoid(z)
        p1 = p * (1 - p)
        return z * p, p + z * p1, p1 * (2 + z * (1 - 2 * p))
    if name == "gelu":
        density = torch.exp(-0.5 * z * z) * (1.0 / math.sqrt(2.0 * math.pi))
        share = 0.5 * (1 + torch.erf(z * math.sqrt(0.5)))
        return z * share, share + z * density, density * (2 - z * z)
    if name == "gelu_tanh":
        k, c = _SQRT_2_OVER_PI, 0.044715
        h = torch.tanh(k * (z + c * z**3))
        i1, i2 = k * (1 + 3 * c * z * z), 6 * k * c * z
        h1 = (1 - h * h) * i1
        h2 = (1 - h * h) * i2 - 2 * h * h1 * i1
        return 0.5 * z * (1 + h), 0.5 * (1 + h) + 0.5 * z * h1, h1 + 0.5 * z * h2
    raise ModelError(f"unknown activation '{name}'.", "See regkd_edge.models.mlp.ACTIVATIONS.")


@dataclass
class Trace:
    """Results of pass 1 for the later passes: inputs a_{l-1} and s'(z_l), s''(z_l) of every layer, and the output."""

    inputs: list[Tensor]  # a_0 .. a_{L-1}
    slopes: list[Tensor | None]  # s'(z_l); None at the linear last layer
    curves: list[Tensor | None]  # s''(z_l)
    out: Tensor  # [P, o]


def forward(net: Net, x: Tensor) -> Trace:  # x [P, d]
    """Run pass 1."""
    trace = Trace([], [], [], x)
    a = x
    for i, (w, b) in enumerate(zip(net.weights, net.biases)):
        trace.inputs.append(a)
        z = a @ w.T + b
        last = i + 1 == len(net.weights)
        a, s1, s2 = (z, None, None) if last else activation(net.activation, z)
        trace.slopes.append(s1)
        trace.curves.append(s2)
    trace.out = a
    return trace


def pull_back(net: Net, trace: Trace, v: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:  # v [P, o]
    """Run pass 2: return ``(J^T v [P, d], d_1..d_L, u_1..u_L)``."""
    u, ds, us = v, [], []
    for w, slope in zip(reversed(net.weights), reversed(trace.slopes)):
        us.append(u)
        d = u if slope is None else slope * u
        ds.append(d)
        u = d @ w
    return u, ds[::-1], us[::-1]


def value_gradient(net: Net, trace: Trace, c: Tensor) -> tuple[list[Tensor], list[Tensor]]:  # c [P, o]
    """Run pass 4 without the second-order part: return dW and db of a loss whose derivative by the output is c."""
    _, qs, _ = pull_back(net, trace, c)
    return [q.T @ a for q, a in zip(qs, trace.inputs)], [q.sum(0) for q in qs]


def second_order(
    net: Net, trace: Trace, ds: list[Tensor], us: list[Tensor], r: Tensor
) -> tuple[list[Tensor], list[Tensor]]:  # r [P, d]
    """Run passes 3 and 4 with c = 0: return dW and db of a loss whose derivative by g = J^T v is r."""
    ts, zts, t = [], [], r
    for w, slope in zip(net.weights, trace.slopes):
        ts.append(t)
        zt = t @ w.T
        zts.append(zt)
        t = zt if slope is None else slope * zt
    dw, db, p = [], [], torch.zeros_like(us[-1])
    for i in reversed(range(len(net.weights))):
        slope, curve = trace.slopes[i], trace.curves[i]
        q = p if slope is None else slope * p + curve * us[i] * zts[i]
        dw.append(q.T @ trace.inputs[i] + ds[i].T @ ts[i])
        db.append(q.sum(0))
        p = q @ net.weights[i]
    return dw[::-1], db[::-1]
