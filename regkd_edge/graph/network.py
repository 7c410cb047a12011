"""What an ONNX graph of a student is: a chain of steps from raw inputs to raw outputs.

The one structure that quantization, the native engines and the C header work on. :mod:`~regkd_edge.graph.reader` makes
it from a graph.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np

__all__ = [
    "Activation", "Average", "ChannelsLast", "Clip", "Layer", "Network", "Recurrent", "Rounding", "Scaling", "Step",
    "Window", "column_names",
]  # fmt: skip


@dataclass(frozen=True)
class Window:
    """Which values each place of a convolution reads. A signal is an image of height 1; beyond the edges lie zeros.

    Attributes
    ----------
    height, width, channels : int
        Of the values, channels last.
    rows, columns : int
        Of the kernel.
    stride_y, stride_x : int
    above, left : int
        Places that the first window reaches beyond the edge.
    places_y, places_x : int
        Of the result.
    """

    height: int
    width: int
    channels: int
    rows: int
    columns: int
    stride_y: int
    stride_x: int
    above: int
    left: int
    places_y: int
    places_x: int

    @property
    def places(self) -> int:
        return self.places_y * self.places_x

    @property
    def taps(self) -> int:
        return self.rows * self.columns


@dataclass(frozen=True, eq=False)
class Step:
    """One step from a vector of values to the next.

    Attributes
    ----------
    nodes : tuple of onnx.NodeProto
        The nodes it was read from, in order; the last one names it in messages.
    source, target : str
        The tensors before and behind it.
    width : int
        Values that come out.
    """

    nodes: tuple[Any, ...]
    source: str
    target: str
    width: int


@dataclass(frozen=True, eq=False)
class Scaling(Step):
    """``value (operator) row`` with one constant per value: what scalers consist of.

    Attributes
    ----------
    operator : "add", "subtract", "multiply" or "divide"
    row : float32 [width]
    """

    operator: str
    row: np.ndarray


@dataclass(frozen=True, eq=False)
class Activation(Step):
    """An elementwise function.

    Attributes
    ----------
    name : str or None
        One of :data:`~regkd_edge.graph.activations.ACTIVATIONS`; None for a function without a name, which ``nodes``
        define.
    parameter : float
        Alpha of leaky_relu and elu.
    why : str
        Why there is no name.
    """

    name: str | None
    parameter: float = 0.0
    why: str = ""


@dataclass(frozen=True, eq=False)
class Clip(Step):
    """``min(max(value, low), high)``."""

    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Rounding(Step):
    """A symmetric INT8 Q/DQ pair that does not feed a layer with INT8 weights; with ``low`` what it leaves over is
    added, rounded in steps 254 times finer.
    """

    scale: float
    low: bool = False


@dataclass(frozen=True, eq=False)
class ChannelsLast(Step):
    """The values [channels, places] in the order [places, channels]."""

    channels: int


@dataclass(frozen=True, eq=False)
class Average(Step):
    """The mean over all places: [places, width] -> [width]."""


@dataclass(frozen=True, eq=False)
class Layer(Step):
    """``values W^T + b``, in float32 or in INT8 between Q/DQ pairs.

    Attributes
    ----------
    name : str
    weight : float32 [width, n]
        The weights that it multiplies by (for INT8: codes times scale, of the high part).
    bias : float32 [width] or None
    codes : int8 [width, n] or None, scale : float32 [width]
        INT8 weights and the size of their step.
    data_scale : float or None
        Step of the INT8 data; None when the data are float32. With it and ``codes`` the product is one of integers.
    low_data : bool
        Whether what the rounding of the data leaves over is multiplied too, in steps 254 times finer.
    low_codes : int8 [width, n] or None
        What the codes leave over of the weights, in steps 254 times finer.
    window : Window or None
        Of a convolution, whose ``weight`` is [m, rows x columns x channels] and whose result is [places, m]; with
        ``depthwise`` it is [channels, rows x columns], each channel with its own.
    """

    name: str
    weight: np.ndarray
    bias: np.ndarray | None = None
    codes: np.ndarray | None = None
    scale: np.ndarray | None = None
    data_scale: float | None = None
    low_data: bool = False
    low_codes: np.ndarray | None = None
    window: Window | None = None
    depthwise: bool = False

    @property
    def integer(self) -> bool:
        """Whether data and weights are INT8."""
        return self.codes is not None and self.data_scale is not None


@dataclass(frozen=True, eq=False)
class Recurrent(Step):
    """A GRU from 0 over [steps, features], linear_before_reset 1, gates in the order z, r, n.

    Attributes
    ----------
    inputs, state : Layer
        Weights and bias [3 units, features] and [3 units, units]; codes in INT8 multiply floats.
    steps : int
    sequence : bool
        The state of every step is the result, [steps, units]; else the last.
    """

    inputs: Layer
    state: Layer
    steps: int
    sequence: bool


@dataclass(frozen=True, eq=False)
class Network:
    """A student's graph as steps in order.

    Attributes
    ----------
    model : onnx.ModelProto
    inputs, outputs : int
        Numbers of features and targets.
    steps : list of Step
    names : list of str
        Of the columns [inputs + outputs], from the metadata that the exporter writes; empty where they are unknown.
    constants : dict of str to array
        Values of the graph's constants by the names of their tensors.
    """

    model: Any
    inputs: int
    outputs: int
    steps: list[Step]
    names: list[str] = field(default_factory=list)
    constants: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def layers(self) -> list[Layer]:
        return [step for step in self.steps if isinstance(step, Layer)]


def column_names(model: Any, count: int) -> list[str]:
    """Return the names of features and targets from a graph's metadata, if they are complete and fit in lines."""
    kept = {item.key: item.value for item in model.metadata_props}
    try:
        found = [*json.loads(kept["regkd.feature_names"]), *json.loads(kept["regkd.target_names"])]
    except (KeyError, ValueError, TypeError):
        return []
    usable = all(isinstance(name, str) and name and not set(name) & set("\n\0") for name in found)
    return found if usable and len(found) == count else []
