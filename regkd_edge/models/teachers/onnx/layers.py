"""ONNX operators that are whole layers: recurrent ones, transposed convolutions, normalizations, sums of products."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["LAYERS"]

Inputs = list[Any]
Attributes = Mapping[str, Any]

_DEFAULTS = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}
_ACTS: dict[str, Callable[[Tensor], Tensor]] = {"Sigmoid": torch.sigmoid, "Tanh": torch.tanh, "Relu": torch.relu}


def _given(i: Inputs, k: int) -> Any:
    return i[k] if len(i) > k else None


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _recurrent(kind: str) -> Callable[[Inputs, Attributes], tuple[Tensor, ...]]:
    """LSTM, GRU and RNN: X [time, n, k] (layout 1: [n, time, k]), W [D, gates
    h, k], R [D, gates h, h], B [D, 2 gates h].

    Answers Y [time, D, n, h], Y_h [D, n, h] and, of an LSTM, Y_c.
    """

    def run(i: Inputs, a: Attributes) -> tuple[Tensor, ...]:
        x, w, r = i[:3]
        if _given(i, 4) is not None or _given(i, 7) is not None or a.get("clip") or a.get("input_forget", 0):
            raise NotImplementedError(f"{kind} with sequence_lens, peepholes, clip or input_forget")
        names = [_text(name) for name in a.get("activations", _DEFAULTS[kind] * len(w))]
        if any(name not in _ACTS for name in names) or a.get("activation_alpha") or a.get("activation_beta"):
            raise NotImplementedError(f"{kind} with activations {', '.join(names)}")
        layout = a.get("layout", 0)
        x = x.transpose(0, 1) if layout else x
        hidden, (steps, n), ways = r.shape[-1], x.shape[:2], len(w)
        bias = _given(i, 3)
        bias = torch.zeros(ways, 2 * w.shape[1], dtype=w.dtype) if bias is None else bias
        states = [_given(i, 5), _given(i, 6)]
        states = [
            [torch.zeros(n, hidden, dtype=w.dtype) for _ in range(ways)] if s is None else
            list(s.transpose(0, 1) if layout else s) for s in states
        ]  # fmt: skip
        ends, outputs = [], []
        backwards = {"reverse": [True], "bidirectional": [False, True]}.get(
            _text(a.get("direction", "forward")), [False]
        )
        for way, back in enumerate(backwards):
            acts = [_ACTS[name] for name in names[way * len(_DEFAULTS[kind]) :]]
            h, c, seen = states[0][way], states[1][way], []
            into, round_again = bias[way].chunk(2)
            for t in reversed(range(steps)) if back else range(steps):
                given = F.linear(x[t], w[way], into)
                h, c = _STEPS[kind](given, h, c, r[way], round_again, acts, a)
                seen.append(h)
            outputs.append(torch.stack(seen[::-1] if back else seen))
            ends.append((h, c))
        y = torch.stack(outputs, 1)  # [time, D, n, h]
        last = [torch.stack([end[k] for end in ends]) for k in range(2 if kind == "LSTM" else 1)]
        if layout:
            return (y.permute(2, 0, 1, 3), *(end.transpose(0, 1) for end in last))
        return (y, *last)

    return run


def _lstm(given: Tensor, h: Tensor, c: Tensor, r: Tensor, bias: Tensor, acts: list[Any], a: Attributes) -> Any:
    i, o, f, g = (given + F.linear(h, r, bias)).chunk(4, -1)
    c = acts[0](f) * c + acts[0](i) * acts[1](g)
    return acts[0](o) * acts[2](c), c


def _gru(given: Tensor, h: Tensor, c: Tensor, r: Tensor, bias: Tensor, acts: list[Any], a: Attributes) -> Any:
    size = h.shape[-1]
    gates = given[:, : 2 * size] + F.linear(h, r[: 2 * size], bias[: 2 * size])
    z, reset = acts[0](gates).chunk(2, -1)
    if a.get("linear_before_reset", 0):
        new = given[:, 2 * size :] + reset * F.linear(h, r[2 * size :], bias[2 * size :])
    else:
        new = given[:, 2 * size :] + F.linear(reset * h, r[2 * size :], bias[2 * size :])
    return (1 - z) * acts[1](new) + z * h, c


def _rnn(given: Tensor, h: Tensor, c: Tensor, r: Tensor, bias: Tensor, acts: list[Any], a: Attributes) -> Any:
    return acts[0](given + F.linear(h, r, bias)), c


_STEPS: dict[str, Callable[..., Any]] = {"LSTM": _lstm, "GRU": _gru, "RNN": _rnn}


def _conv_transpose(i: Inputs, a: Attributes) -> Tensor:
    kernel = i[1].shape[2:]
    pads = list(a.get("pads", [0] * 2 * len(kernel)))
    begin, end = pads[: len(kernel)], pads[len(kernel) :]
    if _text(a.get("auto_pad", "NOTSET")) != "NOTSET" or a.get("output_shape") or begin != end:
        raise NotImplementedError("ConvTranspose with auto_pad, output_shape or asymmetric pads")
    function = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[len(kernel) - 1]
    ones = [1] * len(kernel)
    extra = a.get("output_padding", [0] * len(kernel))
    return function(i[0], i[1], _given(i, 2), a.get("strides", ones), begin, extra, a.get("group", 1),
                    a.get("dilations", ones))  # fmt: skip


def _instance_norm(i: Inputs, a: Attributes) -> Tensor:
    return F.instance_norm(i[0], weight=i[1], bias=i[2], eps=a.get("epsilon", 1e-5))


def _group_norm(i: Inputs, a: Attributes) -> Tensor:
    x, groups = i[0], a["num_groups"]
    weight, bias = i[1], i[2]
    if len(weight) == groups != x.shape[1]:  # one per group, as operator sets 18 to 20 have it
        weight, bias = (v.repeat_interleave(x.shape[1] // groups) for v in (weight, bias))
    return F.group_norm(x, groups, weight, bias, a.get("epsilon", 1e-5))


def _rms_norm(i: Inputs, a: Attributes) -> Tensor:
    return F.rms_norm(i[0], i[0].shape[a.get("axis", -1) :], i[1], a.get("epsilon", 1e-5))


def _cumulated(i: Inputs, a: Attributes) -> Tensor:
    if a.get("exclusive", 0):
        raise NotImplementedError("CumSum that is exclusive")
    axis = int(i[1])
    return i[0].flip(axis).cumsum(axis).flip(axis) if a.get("reverse", 0) else i[0].cumsum(axis)


LAYERS: dict[str, Callable[[Inputs, Attributes], Any]] = {
    "LSTM": _recurrent("LSTM"), "GRU": _recurrent("GRU"), "RNN": _recurrent("RNN"), "ConvTranspose": _conv_transpose,
    "InstanceNormalization": _instance_norm, "GroupNormalization": _group_norm, "RMSNormalization": _rms_norm,
    "CumSum": _cumulated, "Einsum": lambda i, a: torch.einsum(_text(a["equation"]), *i),
}  # fmt: skip
