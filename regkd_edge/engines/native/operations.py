"""What a native engine holds: operations in order, from inputs in raw units to outputs in raw units."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple, dataclass, field

import numpy as np

from ...graph.network import Window

__all__ = ["ACTIVATIONS", "CONSTANT", "KINDS", "Operation", "Program"]

KINDS = (
    "", "add", "subtract", "multiply", "divide", "activation", "dense", "dense_int8", "quantize", "clip",
    "channels_last", "windows", "depthwise", "average", "gru",
)  # fmt: skip
ACTIVATIONS = ("identity", "relu", "leaky_relu", "elu", "silu", "gelu", "gelu_tanh", "tanh", "softplus", "sigmoid")
CONSTANT = ("add", "subtract", "multiply", "divide")


@dataclass
class Operation:
    """One step from a vector of values to the next. Places of an image or a signal come before their channels.

    Attributes
    ----------
    kind : one of KINDS
        ``windows`` gives every window of an image to the next operation, a dense or dense_int8.
    width : int
        Number of output values; of ``windows`` those of one window, and of the layer behind it those of one place.
    activation : one of ACTIVATIONS, for kind ``activation``
    number : float
        Scale of the data (dense_int8, depthwise with codes, quantize), alpha (leaky_relu, elu).
    values : float32
        [width] constants, or [p] that are repeated; [width, n] weights of dense; [2] bounds of clip; [taps, channels]
        weights of depthwise; [3 units, features] of gru, gates in the order z, r, n.
    codes : int8, of the shape that ``values`` has, scale : float32 [width], [channels] or [3 units]
        INT8 weights and their scale.
    bias : float32 [width], [channels] or [3 units], or None
    low_data : bool, low_codes : int8 like ``codes``, or None
        Whether what the rounding of the data leaves over is multiplied too (of ``quantize``: added), and what the codes
        leave over of the weights; both in steps 254 times finer.
    window : Window or None
        Of windows and depthwise.
    channels : int
        Of channels_last.
    steps : int
        Of gru: its values are [steps, features].
    sequence : bool
        Of gru: the result is the state of every step, not of the last alone.
    recurrence : Operation or None
        Of gru: a dense with the weights and the bias of the state, float32 or INT8 as its own.
    """

    kind: str
    width: int
    activation: str = "identity"
    number: float = 0.0
    values: np.ndarray | None = None
    codes: np.ndarray | None = None
    scale: np.ndarray | None = None
    bias: np.ndarray | None = None
    low_data: bool = False
    low_codes: np.ndarray | None = None
    window: Window | None = None
    channels: int = 0
    steps: int = 0
    sequence: bool = False
    recurrence: Operation | None = None

    @property
    def units(self) -> int:
        """Values of the state of a gru."""
        return self.width // self.steps if self.sequence else self.width

    @property
    def parts(self) -> int:
        """Number of integer products that a layer in INT8 is the sum of."""
        return 1 + self.low_data + (self.low_codes is not None)

    @property
    def arrays(self) -> list[np.ndarray]:
        """Everything that is stored, each array as often as an engine keeps it."""
        own = [self.values, self.codes, self.bias, self.low_codes, *[self.scale] * self.parts]
        return [a for a in own if a is not None] + (self.recurrence.arrays if self.recurrence else [])


@dataclass
class Program:
    """A network as a chain of operations on ``inputs`` values in raw units."""

    inputs: int
    outputs: int
    operations: list[Operation] = field(default_factory=list)
    names: list[str] = field(default_factory=list)  # [inputs + outputs], or empty

    def sized(self) -> Iterator[tuple[Operation, int, int]]:
        """Yield every operation with the numbers of values before and behind it."""
        before, places = self.inputs, 0
        for op in self.operations:
            behind = op.width
            if op.kind == "windows":
                yield op, before, before
                places = op.window.places
                continue
            if places:
                behind, places = places * op.width, 0
            yield op, before, behind
            before = behind

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds per row."""
        return sum(count for count, _ in self._products())

    @property
    def constant_bytes(self) -> int:
        """Bytes of weights and other constants: what a microcontroller keeps in flash."""
        return sum(a.nbytes for op in self.operations for a in op.arrays)

    @property
    def widest(self) -> int:
        """Most values between two operations."""
        return max([self.inputs, *(behind for _, _, behind in self.sized())])

    @property
    def window_values(self) -> int:
        """Values of the largest window, 0 without windows."""
        return max([0, *(op.width for op in self.operations if op.kind == "windows")])

    @property
    def code_values(self) -> int:
        """Values that a layer rounds at once, at most."""
        widths = [op.codes.shape[1] for op in self.operations if op.codes is not None and op.kind == "dense_int8"]
        return max([0, *widths])

    @property
    def stack_bytes(self) -> int:
        """Bytes of working memory per row: two buffers of the widest layer, a window, the codes of a layer, and the
        gates and the state of a gru.
        """
        gates = max([0, *(7 * op.units for op in self.operations if op.kind == "gru")])
        return 4 * (2 * self.widest + self.window_values + gates) + self.code_values

    def share(self) -> dict[str, float]:
        """Return the share of the multiply-adds by the precision they are computed in, largest first."""
        sums: dict[str, int] = {}
        for count, precision in self._products():
            sums[precision] = sums.get(precision, 0) + count
        total = sum(sums.values())
        return {name: count / total for name, count in sorted(sums.items(), key=lambda item: -item[1])}

    def _products(self) -> Iterator[tuple[int, str]]:
        """Yield multiply-adds per row and the precision of each layer."""
        places = 1
        for op in self.operations:
            if op.kind == "windows":
                places = op.window.places
                continue
            weights = op.values if op.codes is None else op.codes
            if op.kind in ("dense", "dense_int8"):
                yield weights.size * op.parts * places, "fp32" if op.codes is None else "int8"
            elif op.kind == "depthwise":
                count = weights.size * op.parts * op.window.places
                yield count, "fp32" if op.codes is None else "int8"
            elif op.kind == "gru":
                own = op.recurrence.values if op.codes is None else op.recurrence.codes
                yield op.steps * (weights.size + own.size), "fp32" if op.codes is None else "int8-weights"
            places = 1


def window_words(window: Window) -> tuple[int, ...]:
    """The eleven numbers of a window, in the order of the file."""
    return astuple(window)
