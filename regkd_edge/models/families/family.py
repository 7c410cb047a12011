"""What a family of students provides, and what a network of it costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from ...errors import ModelError
from ..mlp import ACTIVATIONS

__all__ = ["WIDEST", "Cost", "Family", "GraphWriter", "LayerCost", "Spec", "checked_activation", "flat_shape"]

WIDEST = 65536
"""Units of a layer at most."""


class Spec(Protocol):
    """A spec that was read; ``str()`` gives the text back."""

    @property
    def family(self) -> str:
        """Name of its family."""


@dataclass(frozen=True)
class LayerCost:
    """One layer for one row.

    Attributes
    ----------
    name : str
        That of its node in the exported graph.
    parameters : int
        Weights and biases.
    multiply_adds : int
    inputs, outputs : int
        Numbers that must exist at once while it runs: what it reads and what it writes.
    """

    name: str
    parameters: int
    multiply_adds: int
    inputs: int
    outputs: int


@dataclass(frozen=True)
class Cost:
    """What a network costs for one row, known before anything is allocated."""

    layers: tuple[LayerCost, ...]

    @property
    def parameters(self) -> int:
        """Weights and biases."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of one row."""
        return sum(layer.multiply_adds for layer in self.layers)

    @property
    def peak_numbers(self) -> int:
        """Most numbers between layers that exist at once: times 4 bytes in FP32, 1 byte in INT8."""
        return max((layer.inputs + layer.outputs for layer in self.layers), default=0)

    @property
    def activations(self) -> int:
        """Numbers that training keeps for the backward pass of one row."""
        return sum(layer.outputs for layer in self.layers)


class GraphWriter(Protocol):
    """What the exporter gives a family to write its nodes with (:class:`regkd_edge.export.writer.Writer`)."""

    def constant(self, name: str, value: Any) -> str:
        """Store float32 numbers; return the name of the tensor."""

    def node(self, operator: str, name: str, inputs: list[str], outputs: Sequence[str] = (), **attributes: Any) -> str:
        """Append a node; return the name of its (first) output, ``name_out`` where none is given."""

    def whole_numbers(self, name: str, values: list[int]) -> str:
        """Store int64 numbers; return the name of the tensor."""

    def traced(self, module: nn.Module, shape: tuple[int, ...], name: str, value: str) -> str:
        """Append the graph that PyTorch's exporter makes of a module."""

    def activation(self, kind: str, name: str, value: str) -> str:
        """Append an activation of :data:`regkd_edge.models.ACTIVATIONS`."""


class Family:
    """A family of students. Networks take rows flat, [n, d] in C order, and give [n, o], both standardized.

    Attributes
    ----------
    name : str
        What its specs begin with.
    form : str
        How a spec is written, with an example, for messages.
    """

    name = ""
    form = ""

    def parse(self, text: str) -> Spec:
        """Read a spec; :class:`ModelError` names what is wrong and the form that is right."""
        raise NotImplementedError

    def shape(self, spec: Spec, shape: tuple[int, ...] | None, d: int) -> tuple[int, ...]:
        """Return the shape in which a row of d numbers is read.

        Raises
        ------
        ModelError
            The family cannot read rows of this shape; the message says which it can and how to declare it.
        """
        raise NotImplementedError

    def cost(self, spec: Spec, shape: tuple[int, ...], o: int) -> Cost:
        """Return what the network costs; nothing is allocated."""
        raise NotImplementedError

    def build(self, spec: Spec, shape: tuple[int, ...], o: int, generator: torch.Generator) -> nn.Module:
        """Return a fresh network whose initial weights the generator fixes."""
        raise NotImplementedError

    def channel_axis(self, spec: Spec) -> int | None:
        """Axis of a row's shape along which the channels lie; None where every column is one of its own."""
        return None

    def write(self, graph: GraphWriter, module: nn.Module, value: str) -> str:
        """Append the nodes from standardized inputs [batch, *shape] to standardized outputs [batch, o]."""
        raise NotImplementedError

    def channels(self, spec: Spec, shape: tuple[int, ...]) -> np.ndarray | None:  # [d] whole numbers
        """Return the channel that each column of a row belongs to: they share a scaler, a range and a sigma."""
        axis = self.channel_axis(spec)
        if axis is None:
            return None
        index = np.arange(shape[axis]).reshape([-1 if i == axis % len(shape) else 1 for i in range(len(shape))])
        return np.broadcast_to(index, shape).reshape(-1)

    def wrong(self, text: object, why: str) -> ModelError:
        """The error of a spec."""
        return ModelError(f"network '{text}' {why}.", f"Write it as {self.form}.")


def checked_activation(text: object, name: str) -> str:
    """Return the name of an activation, or raise :class:`ModelError`."""
    name = name.strip()
    if name not in ACTIVATIONS:
        raise ModelError(
            f"network '{text}' has the unknown activation '{name}'.", f"Use one of: {', '.join(ACTIVATIONS)}."
        )
    return name


def flat_shape(shape: tuple[int, ...] | None, d: int) -> tuple[int, ...]:
    """The shape of a row, one axis of d where none was declared."""
    return (d,) if shape is None or math.prod(shape) != d else tuple(shape)
