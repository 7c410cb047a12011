"""Elementwise ONNX operators in NumPy, and which activation a region of them is."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

__all__ = ["ACTIVATIONS", "Segment", "is_elementwise", "recognized"]

Array = np.ndarray


def _erf(x: Array) -> Array:
    # Abramowitz & Stegun 7.1.26 has an error up to 1.5e-7, about float32's rounding; NumPy has no erf.
    t = 1.0 / (1.0 + 0.3275911 * np.abs(x))
    poly = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    return np.sign(x) * (1.0 - poly * np.exp(-x * x))


def _sigmoid(x: Array) -> Array:
    return 0.5 * (np.tanh(0.5 * x) + 1.0)


def _gelu(x: Array, approximate: bytes = b"none") -> Array:
    if approximate == b"tanh":
        return 0.5 * x * (1.0 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    return 0.5 * x * (1.0 + _erf(x / np.sqrt(2.0)))


_OPERATORS: dict[str, Callable[..., Array]] = {
    "Identity": lambda x: x,
    "Relu": lambda x: np.maximum(x, 0.0),
    "LeakyRelu": lambda x, alpha=0.01: np.where(x < 0, alpha * x, x),
    "Elu": lambda x, alpha=1.0: np.where(x < 0, alpha * np.expm1(np.minimum(x, 0.0)), x),
    "Sigmoid": _sigmoid,
    "Tanh": np.tanh,
    "Softplus": lambda x: np.logaddexp(x, 0.0),
    "Swish": lambda x, alpha=1.0: x * _sigmoid(alpha * x),
    "Gelu": _gelu,
    "Erf": _erf,
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "Pow": np.power,
    "Neg": np.negative,
    "Exp": np.exp,
    "Log": np.log,
    "Sqrt": np.sqrt,
    "Abs": np.abs,
    "Dropout": lambda x, *rest, **options: x,
    "Clip": lambda x, low=None, high=None: np.clip(x, low, high),
}
# f(s x) = s f(x) for s > 0: a scale may be moved from one layer to the next.
_HOMOGENEOUS = {"Relu", "LeakyRelu", "Identity", "Dropout"}


def is_elementwise(node: Any) -> bool:
    """Return whether a node is one of the operators supported here."""
    return node.op_type in _OPERATORS and node.domain in ("", "ai.onnx")


def _exact_erf(x: Array) -> Array:
    return np.vectorize(math.erf)(x)


#: The activations that have a name, as functions of float64 and their parameter (0 where they have none).
ACTIVATIONS: dict[str, Callable[[Array, float], Array]] = {
    "identity": lambda z, a: z,
    "relu": lambda z, a: np.maximum(z, 0),
    "leaky_relu": lambda z, a: np.where(z < 0, a * z, z),
    "elu": lambda z, a: np.where(z < 0, a * np.expm1(np.minimum(z, 0)), z),
    "silu": lambda z, a: z / (1 + np.exp(-z)),
    "gelu": lambda z, a: z / 2 * (1 + _exact_erf(z / math.sqrt(2))),
    "gelu_tanh": lambda z, a: z / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3))),
    "tanh": lambda z, a: np.tanh(z),
    "softplus": lambda z, a: np.logaddexp(0, z),
    "sigmoid": lambda z, a: 1 / (1 + np.exp(-z)),
}
_SEVERAL_NODES = ("silu", "gelu", "gelu_tanh", "softplus", "relu")
_PROBES = np.linspace(-12, 12, 4801)


def recognized(function: Callable[[Array], Array]) -> str | None:
    """Return the name of the activation that ``function`` (of float64 [n]) computes, or None."""
    with np.errstate(all="ignore"):
        values = function(_PROBES)
    for name in _SEVERAL_NODES:
        # The constants in a graph are float32, hence 1e-6 of the value; GELU and its tanh form differ by 5e-4.
        want = ACTIVATIONS[name](_PROBES, 0.0)
        if np.all(np.abs(values - want) <= 1e-6 * (1e-3 + np.abs(want)) + 2e-7):
            return name
    return None


class Segment:
    """The elementwise nodes between one tensor and another, as a function.

    Parameters
    ----------
    nodes : sequence of onnx.NodeProto, in topological order
    source, target : str
        Input and output tensor (the same if there are no nodes).
    constants : dict of str to array
        Values of the other inputs.
    exact : bool
        Compute erf to float64's precision, which takes a Python call per value.
    """

    def __init__(
        self, nodes: Sequence[Any], source: str, target: str, constants: dict[str, Array], *, exact: bool = False
    ):
        from onnx import helper

        self.nodes = list(nodes)
        self._operators = {**_OPERATORS, "Erf": _exact_erf} if exact else _OPERATORS
        self.source, self.target = source, target
        self.constants = {name: constants[name] for node in nodes for name in node.input if name in constants}
        self._attributes = [{a.name: helper.get_attribute_value(a) for a in node.attribute} for node in nodes]

    @property
    def homogeneous(self) -> bool:
        """Return whether f(s x) = s f(x) holds for every s > 0 and every element."""
        return all(node.op_type in _HOMOGENEOUS for node in self.nodes)

    @property
    def affine(self) -> bool:
        """Return whether it only scales and shifts each element by constants."""
        return all(
            n.op_type in ("Add", "Sub", "Mul", "Identity") and any(i in self.constants for i in n.input)
            for n in self.nodes
        )

    def __call__(
        self,
        x: Array,  # [n, width]
    ) -> Array:  # [n, width], in the type of x
        values = {self.source: x}
        for node, attributes in zip(self.nodes, self._attributes):
            inputs = [
                values[name] if name in values else self.constants[name].astype(x.dtype) for name in node.input if name
            ]
            values[node.output[0]] = self._operators[node.op_type](*inputs, **attributes)
        return np.asarray(values[self.target], dtype=x.dtype)

    def slope(
        self,
        x: Array,  # [n, width]
    ) -> Array:  # [n, width], derivative by central differences
        half = 1e-3
        wide = np.asarray(x, dtype=np.float64)
        return (self(wide + half) - self(wide - half)) / (2 * half)
