"""Running a TensorRT engine: named tensors, pinned buffers, one synchronous request at a time."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...errors import DataError, GraphError, UserError
from ..gpu import Buffer, Driver, Stopwatch
from ..manifest import Manifest

__all__ = ["TensorRTRunner"]


class TensorRTRunner:
    """An engine on the first GPU. It belongs to the thread that loaded it.

    With ``cuda_graph`` the copies and kernels of a request are recorded once per batch size and launched by one call.
    Each recording has an execution context of its own: a graph holds addresses inside its context, which a later change
    of that context's shape would invalidate (TensorRT developer guide, "CUDA graphs").
    """

    def __init__(
        self, trt: Any, driver: Driver, runtime: Any, engine: Any, manifest: Manifest, *, cuda_graph: bool = False
    ):
        self.manifest = manifest
        self._driver, self._runtime, self._engine = driver, runtime, engine
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        inputs = [n for n in names if engine.get_tensor_mode(n) == trt.TensorIOMode.INPUT]
        outputs = [n for n in names if engine.get_tensor_mode(n) == trt.TensorIOMode.OUTPUT]
        types = {engine.get_tensor_dtype(n) for n in names}
        if len(inputs) != 1 or len(outputs) != 1 or types != {trt.DataType.FLOAT}:
            raise GraphError(
                f"the engine has inputs {inputs} and outputs {outputs} of types {types}, expected one float32 tensor "
                f"each.",
                "Build it from a graph of 'export'.",
            )
        self._input, self._output = inputs[0], outputs[0]
        self._shape = tuple(manifest.inputs[0]["shape"][1:])
        self._context = self._new_context()  # without graphs the only one; with them that of the latest batch size
        self._contexts = [self._context]
        self._stream = driver.stream()
        self._buffers: dict[int, tuple[Buffer, Buffer]] = {}
        self._batch = 0
        self._graphs: dict[int, int] | None = {} if cuda_graph else None
        self._stopwatch: Stopwatch | None = None

    def infer(
        self,
        x: np.ndarray,  # [b, d] float32
    ) -> np.ndarray:  # [b, o] float32
        """Copy in, run, copy out, wait: one synchronous request. A shape outside the profile: :class:`DataError`."""
        target = self._start(x)
        self._launch()
        self._driver.call("cuStreamSynchronize", self._stream)
        return target.host.copy()

    def gpu_nanoseconds(
        self,
        x: np.ndarray,  # [b, d] float32
    ) -> float:
        """Time that one request takes on the GPU's own clock: its copies and kernels, not the call and the wait."""
        self._start(x)
        if self._stopwatch is None:
            self._stopwatch = Stopwatch(self._driver, self._stream)
        self._stopwatch.mark(0)
        self._launch()
        self._stopwatch.mark(1)
        self._driver.call("cuStreamSynchronize", self._stream)
        return self._stopwatch.nanoseconds()

    def _start(self, x: np.ndarray) -> Buffer:
        """Put the rows where they are copied from; returns where the answer will be."""
        if self._context is None:
            raise UserError("the engine was closed.", "Load it again.")
        if x.ndim == 2 and len(self._shape) > 1 and x.shape[1] == math.prod(self._shape):
            x = x.reshape(len(x), *self._shape)
        if len(x) != self._batch:
            self._prepare(x)
        source, target = self._buffers[self._batch]
        if x.shape != source.host.shape:
            raise self._refusal(x)
        source.host[...] = x
        return target

    def _launch(self) -> None:
        if self._graphs is None:
            self._enqueue()
        else:
            self._driver.call("cuGraphLaunch", self._graphs[self._batch], self._stream)

    def _enqueue(self) -> None:
        source, target = self._buffers[self._batch]
        source.upload(self._stream)
        if not self._context.execute_async_v3(self._stream):
            raise GraphError("TensorRT could not run the engine.", "Build it again on this machine.")
        target.download(self._stream)

    def _prepare(self, x: np.ndarray) -> None:
        """Set shapes and addresses for the batch size of ``x``; buffers, graphs and their contexts are kept."""
        self._batch = 0
        if x.ndim != 1 + len(self._shape) or tuple(x.shape[1:]) != self._shape:
            raise self._refusal(x)
        if self._graphs is not None and len(x) in self._graphs:
            self._batch = len(x)
            return
        if self._graphs:  # some graph holds the context at hand
            self._context = self._new_context()
        if not self._context.set_input_shape(self._input, tuple(x.shape)):
            raise self._refusal(x)
        if self._context is not self._contexts[-1]:
            self._contexts.append(self._context)
        if len(x) not in self._buffers:
            output = tuple(self._context.get_tensor_shape(self._output))
            self._buffers[len(x)] = (Buffer(self._driver, tuple(x.shape)), Buffer(self._driver, output))
        source, target = self._buffers[len(x)]
        self._context.set_tensor_address(self._input, source.device)
        self._context.set_tensor_address(self._output, target.device)
        self._batch = len(x)
        if self._graphs is not None:
            self._enqueue()  # once outside: the first call for a shape may allocate, which a capture forbids
            self._driver.call("cuStreamSynchronize", self._stream)
            self._graphs[len(x)] = self._driver.capture(self._stream, self._enqueue)

    def _new_context(self) -> Any:
        context = self._engine.create_execution_context()
        if context is None:
            raise GraphError(
                "TensorRT could not make an execution context.", "Free GPU memory, or use fewer batch sizes at once."
            )
        return context

    def _refusal(self, x: np.ndarray) -> DataError:
        options = self.manifest.options
        low, high = options.get("min_batch"), options.get("max_batch")
        return DataError(
            f"the engine takes float32 [{low}..{high}, {', '.join(map(str, self._shape))}], got {x.dtype} "
            f"{list(x.shape)}.",
            "Build it with a larger max_batch, or give fewer rows.",
        )

    def close(self) -> None:
        if self._context is None:
            return
        for graph in (self._graphs or {}).values():
            self._driver.call("cuGraphExecDestroy", graph)
        if self._stopwatch is not None:
            self._stopwatch.free()
        for pair in self._buffers.values():
            for buffer in pair:
                buffer.free()
        self._buffers.clear()
        self._contexts.clear()
        self._context = self._engine = self._runtime = None  # in this order: each lives in the next
        self._driver.call("cuStreamDestroy_v2", self._stream)
        self._driver.release(0)

    def __enter__(self) -> TensorRTRunner:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
