"""The file of the native back end: operations in order <-> bytes. The layout is defined in csrc/runtime/format.h.

The C++ library checks a file before it runs it; the reader here serves inspection and the C header.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator

import numpy as np

from ...errors import GraphError
from ...graph.network import Window
from .operations import ACTIVATIONS, CONSTANT, KINDS, Operation, Program, window_words

__all__ = ["ACTIVATIONS", "CONSTANT", "KINDS", "Operation", "Program", "from_bytes", "to_bytes"]

MAGIC = b"\x89RKDN\r\n\x1a"
VERSION = 2  # the newest
_FIRST_OF_2 = KINDS.index("channels_last")
_BIAS, _LOW_DATA, _LOW_CODES, _INT8, _SEQUENCE = 1, 2, 4, 8, 16  # of the detail
_HEADER = struct.Struct("<8sIIIIIIII")
_OPERATION = struct.Struct("<IIIf")
_WINDOW = struct.Struct("<11I")


def _floats(values: np.ndarray) -> bytes:
    return np.ascontiguousarray(values, dtype="<f4").tobytes()


def _padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % 4)


def _codes(values: np.ndarray) -> bytes:
    return _padded(np.ascontiguousarray(values, dtype=np.int8).tobytes())


def _detail(op: Operation, before: int) -> int:
    if op.kind == "activation":
        return ACTIVATIONS.index(op.activation)
    if op.kind in CONSTANT:
        return 0 if op.values.size == before else op.values.size
    if op.kind == "channels_last":
        return op.channels
    parts = op.low_data * _LOW_DATA | (op.low_codes is not None) * _LOW_CODES
    if op.kind == "gru":
        return parts | (op.codes is not None) * _INT8 | op.sequence * _SEQUENCE
    whole = op.kind == "depthwise" and op.codes is not None
    return parts | (op.bias is not None) * _BIAS | whole * _INT8


def _payload(op: Operation) -> Iterator[bytes]:
    if op.window is not None:
        yield _WINDOW.pack(*window_words(op.window))
    if op.kind == "gru":
        yield struct.pack("<II", (op.values if op.codes is None else op.codes).shape[1], op.steps)
        for matrix in (op, op.recurrence):
            yield from (
                [_floats(matrix.values)]
                if matrix.codes is None
                else [
                    _floats(matrix.scale), _codes(matrix.codes),
                    b"" if matrix.low_codes is None else _codes(matrix.low_codes),
                ]
            )  # fmt: skip
        yield _floats(op.bias) + _floats(op.recurrence.bias)
        return
    if op.codes is not None:
        yield _floats(op.scale)
    elif op.values is not None:
        yield _floats(op.values)
    if op.bias is not None:
        yield _floats(op.bias)
    for codes in (op.codes, op.low_codes):
        if codes is not None:
            yield _codes(codes)


def to_bytes(program: Program) -> bytes:
    """Return the bytes of the file of a program."""
    names = "\n".join(program.names).encode()
    parts, version = [_padded(names)], 1
    for op, before, _ in program.sized():
        detail, kind = _detail(op, before), KINDS.index(op.kind)
        if kind >= _FIRST_OF_2 or (op.kind in CONSTANT and detail) or (op.kind == "quantize" and detail):
            version = 2
        parts.append(_OPERATION.pack(kind, op.width, detail, op.number))
        parts += _payload(op)
    body = b"".join(parts)
    size = _HEADER.size + len(body)
    rest = struct.pack("<IIIIII", size, program.inputs, program.outputs, len(program.operations), len(names), 0) + body
    return struct.pack("<8sII", MAGIC, version, zlib.crc32(rest)) + rest


def from_bytes(content: bytes) -> Program:
    """Return the program of a file; one that is damaged or of another version is a :class:`GraphError`."""
    remedy = "Build the engine again: regkd-edge build RUN --force."
    if len(content) < _HEADER.size or content[:8] != MAGIC:
        raise GraphError("the file does not start like a native engine.", remedy)
    _, version, checksum, size, inputs, outputs, count, names, _ = _HEADER.unpack_from(content)
    if not 1 <= version <= VERSION:
        raise GraphError(f"the engine has format version {version}, expected 1 to {VERSION}.", remedy)
    if size != len(content) or checksum != zlib.crc32(content[16:]):
        raise GraphError("the engine is damaged: its size or its checksum differs from its header.", remedy)
    try:
        return _Reader(content).program(inputs, outputs, count, names)
    except (struct.error, IndexError, ValueError) as error:  # UnicodeDecodeError is a ValueError
        raise GraphError(f"the engine is damaged: {error}.", remedy) from None


class _Reader:
    """A place in the file behind its header."""

    def __init__(self, content: bytes) -> None:
        self.content, self.at = content, _HEADER.size

    def take(self, dtype: str, *shape: int) -> np.ndarray:
        count = math.prod(shape)
        size = count * np.dtype(dtype).itemsize
        if self.at + size > len(self.content):
            raise ValueError("the numbers extend beyond the end of the file")
        values = np.frombuffer(self.content, dtype, count, self.at).reshape(shape)
        self.at += size + -size % 4
        return values

    def words(self, form: struct.Struct) -> tuple:
        values = form.unpack_from(self.content, self.at)
        self.at += form.size
        return values

    def program(self, inputs: int, outputs: int, count: int, names: int) -> Program:
        text = self.take("u1", names).tobytes().decode()
        program = Program(inputs, outputs, [], text.split("\n") if text else [])
        width, places = inputs, 0
        for _ in range(count):
            op = self.operation(width)
            program.operations.append(op)
            width = op.width * (places or 1)
            places = 0 if op.window is None or op.kind != "windows" else op.window.places
        if width != outputs or self.at != len(self.content):
            raise ValueError(f"it ends with {width} values for {outputs} outputs")
        return program

    def operation(self, width: int) -> Operation:
        kind, n, detail, number = self.words(_OPERATION)
        if not 1 <= kind < len(KINDS):
            raise ValueError(f"an operation has the unknown kind {kind}")
        op = Operation(KINDS[kind], n, number=number)
        if op.kind == "activation":
            op.activation = ACTIVATIONS[detail]
        elif op.kind in CONSTANT:
            op.values = self.take("<f4", detail or n)
        elif op.kind == "clip":
            op.values = self.take("<f4", 2)
        elif op.kind == "quantize":
            op.low_data = bool(detail & _LOW_DATA)
        elif op.kind == "channels_last":
            op.channels = detail
        elif op.kind in ("windows", "depthwise"):
            op.window = Window(*self.words(_WINDOW))
        if op.kind in ("dense", "dense_int8", "depthwise"):
            channels = op.window.channels if op.window is not None else n
            shape = (op.window.taps, channels) if op.window is not None else (n, width)
            whole = op.kind == "dense_int8" or (op.kind == "depthwise" and bool(detail & _INT8))
            self.layer(op, detail, channels, shape, whole=whole)
        elif op.kind == "gru":
            self.recurrent(op, detail)
        return op

    def layer(self, op: Operation, detail: int, outputs: int, shape: tuple[int, int], *, whole: bool) -> None:
        if whole:
            op.scale = self.take("<f4", outputs)
        else:
            op.values = self.take("<f4", *shape)
        op.bias = self.take("<f4", outputs) if detail & _BIAS else None
        if whole:
            op.codes = self.take("i1", *shape)
            op.low_data = bool(detail & _LOW_DATA)
            op.low_codes = self.take("i1", *shape) if detail & _LOW_CODES else None

    def recurrent(self, op: Operation, detail: int) -> None:
        features, op.steps = self.words(struct.Struct("<II"))
        op.sequence = bool(detail & _SEQUENCE)
        if op.steps < 1:
            raise ValueError("a gru has no steps")
        gates = 3 * op.units
        op.recurrence = Operation("dense", gates)
        low = detail & _LOW_CODES if detail & _INT8 else 0
        for matrix, n in ((op, features), (op.recurrence, op.units)):
            self.layer(matrix, low, gates, (gates, n), whole=bool(detail & _INT8))
        op.bias, op.recurrence.bias = self.take("<f4", gates), self.take("<f4", gates)
