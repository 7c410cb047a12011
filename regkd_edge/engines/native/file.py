"""The file of the native back end: operations in order <-> bytes. The layout is defined in csrc/runtime/format.h.

The C++ library checks a file before it runs it; the reader here serves inspection and the C header.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field

import numpy as np

from ...errors import GraphError

__all__ = ["ACTIVATIONS", "KINDS", "Operation", "Program", "from_bytes", "to_bytes"]

MAGIC = b"\x89RKDN\r\n\x1a"
VERSION = 1
KINDS = ("", "add", "subtract", "multiply", "divide", "activation", "dense", "dense_int8", "quantize", "clip")
ACTIVATIONS = ("identity", "relu", "leaky_relu", "elu", "silu", "gelu", "gelu_tanh", "tanh", "softplus", "sigmoid")
CONSTANT = ("add", "subtract", "multiply", "divide")
_LOW_DATA, _LOW_CODES = 2, 4  # of the detail of dense_int8, beside 1 for a bias
_HEADER = struct.Struct("<8sIIIIIIII")
_OPERATION = struct.Struct("<IIIf")


@dataclass
class Operation:
    """One step from a vector of values to the next.

    Attributes
    ----------
    kind : one of KINDS
    width : int
        Number of output values.
    activation : one of ACTIVATIONS, for kind ``activation``
    number : float
        Scale of the data (dense_int8, quantize), alpha (leaky_relu, elu).
    values : float32 [width] constants, [width, n] weights of dense, [2] bounds of clip
    codes : int8 [width, n], scale : float32 [width]
        Weights of dense_int8 and their scale.
    bias : float32 [width] or None
    low_data : bool, low_codes : int8 [width, n] or None
        Whether dense_int8 also multiplies what the rounding of its data leaves over, and what the codes leave over of
        its weights; both in steps 254 times finer.
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

    @property
    def parts(self) -> int:
        """Number of integer products that a dense_int8 is the sum of."""
        return 1 + self.low_data + (self.low_codes is not None)

    @property
    def multiply_adds(self) -> int:
        weights = self.values if self.kind == "dense" else self.codes if self.kind == "dense_int8" else None
        return 0 if weights is None else weights.size * self.parts


@dataclass
class Program:
    """A network as a chain of operations on ``inputs`` values in raw units."""

    inputs: int
    outputs: int
    operations: list[Operation] = field(default_factory=list)
    names: list[str] = field(default_factory=list)  # [inputs + outputs], or empty

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds per row."""
        return sum(op.multiply_adds for op in self.operations)

    @property
    def constant_bytes(self) -> int:
        """Bytes of weights and other constants: what a microcontroller keeps in flash."""
        return sum(
            a.nbytes
            for op in self.operations
            for a in (op.values, op.codes, op.bias, op.low_codes, *[op.scale] * op.parts)
            if a is not None
        )

    @property
    def stack_bytes(self) -> int:
        """Bytes of working memory per row: two buffers of the widest layer, and its input in int8."""
        widest = max([self.inputs, *(op.width for op in self.operations)])
        return 8 * widest + max([0, *(op.codes.shape[1] for op in self.operations if op.codes is not None)])

    def share(self) -> dict[str, float]:
        """Return the share of the multiply-adds by the precision they are computed in, largest first."""
        sums: dict[str, int] = {}
        for op in self.operations:
            if op.multiply_adds:
                precision = "int8" if op.kind == "dense_int8" else "fp32"
                sums[precision] = sums.get(precision, 0) + op.multiply_adds
        total = sum(sums.values())
        return {name: count / total for name, count in sorted(sums.items(), key=lambda item: -item[1])}


def _floats(values: np.ndarray) -> bytes:
    return np.ascontiguousarray(values, dtype="<f4").tobytes()


def _padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % 4)


def to_bytes(program: Program) -> bytes:
    """Return the bytes of the file of a program."""
    names = "\n".join(program.names).encode()
    parts = [_padded(names)]
    for op in program.operations:
        detail = ACTIVATIONS.index(op.activation) if op.kind == "activation" else int(op.bias is not None)
        detail |= op.low_data * _LOW_DATA | (op.low_codes is not None) * _LOW_CODES
        parts.append(_OPERATION.pack(KINDS.index(op.kind), op.width, detail, op.number))
        if op.kind == "dense_int8":
            parts.append(_floats(op.scale))
        elif op.values is not None:
            parts.append(_floats(op.values))
        if op.bias is not None:
            parts.append(_floats(op.bias))
        for codes in (op.codes, op.low_codes):
            if codes is not None:
                parts.append(_padded(np.ascontiguousarray(codes, dtype=np.int8).tobytes()))
    body = b"".join(parts)
    size = _HEADER.size + len(body)
    rest = struct.pack("<IIIIII", size, program.inputs, program.outputs, len(program.operations), len(names), 0) + body
    return struct.pack("<8sII", MAGIC, VERSION, zlib.crc32(rest)) + rest


def from_bytes(content: bytes) -> Program:
    """Return the program of a file; one that is damaged or of another version is a :class:`GraphError`."""
    remedy = "Build the engine again: regkd-edge build RUN --force."
    if len(content) < _HEADER.size or content[:8] != MAGIC:
        raise GraphError("the file does not start like a native engine.", remedy)
    _, version, checksum, size, inputs, outputs, count, names, _ = _HEADER.unpack_from(content)
    if version != VERSION:
        raise GraphError(f"the engine has format version {version}, expected {VERSION}.", remedy)
    if size != len(content) or checksum != zlib.crc32(content[16:]):
        raise GraphError("the engine is damaged: its size or its checksum differs from its header.", remedy)
    try:
        return _read(content, inputs, outputs, count, names)
    except (struct.error, IndexError, ValueError) as error:  # UnicodeDecodeError is a ValueError
        raise GraphError(f"the engine is damaged: {error}.", remedy) from None


def _read(content: bytes, inputs: int, outputs: int, count: int, names: int) -> Program:
    at = _HEADER.size

    def take(dtype: str, *shape: int) -> np.ndarray:
        nonlocal at
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        if at + size > len(content):
            raise ValueError("the numbers extend beyond the end of the file")
        values = np.frombuffer(content, dtype, int(np.prod(shape)), at).reshape(shape)
        at += size + -size % 4
        return values

    text = take("u1", names).tobytes().decode()
    program = Program(inputs, outputs, [], text.split("\n") if text else [])
    width = inputs
    for _ in range(count):
        kind, n, detail, number = _OPERATION.unpack_from(content, at)
        at += _OPERATION.size
        if not 1 <= kind < len(KINDS):
            raise ValueError(f"an operation has the unknown kind {kind}")
        op = Operation(KINDS[kind], n, number=number)
        if op.kind == "activation":
            op.activation = ACTIVATIONS[detail]
        elif op.kind in CONSTANT:
            op.values = take("<f4", n)
        elif op.kind == "clip":
            op.values = take("<f4", 2)
        elif op.kind in ("dense", "dense_int8"):
            if op.kind == "dense":
                op.values = take("<f4", n, width)
            else:
                op.scale = take("<f4", n)
            op.bias = take("<f4", n) if detail & 1 else None
            if op.kind == "dense_int8":
                op.codes = take("i1", n, width)
                op.low_data = bool(detail & _LOW_DATA)
                op.low_codes = take("i1", n, width) if detail & _LOW_CODES else None
        program.operations.append(op)
        width = n
    if width != outputs or at != len(content):
        raise ValueError(f"it ends with {width} values for {outputs} outputs")
    return program
