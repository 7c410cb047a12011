"""NVIDIA's driver through its C interface: presence of a GPU, memory and copies on it.

``libcuda.so.1`` is on every machine with a GPU, so device memory needs neither torch nor cuda-python; a Jetson may
have neither. If one of them is used in the same process, both work in the device's primary context. Querying
devices is safe without a GPU (a TensorRT Runtime created without one ends the process). Numbers and signatures
are those of ``cuda.h``; the ``_v2`` names are the ABI since CUDA 4.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import NotAvailable

__all__ = ["Buffer", "Driver", "Stopwatch", "missing_gpu"]

_LIBRARY = "libcuda.so.1"
_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_*
_handle, _size, _int = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
_SIGNATURES: dict[str, tuple[Any, ...]] = {
    "cuInit": (ctypes.c_uint,),
    "cuDriverGetVersion": (ctypes.POINTER(_int),),
    "cuDeviceGetCount": (ctypes.POINTER(_int),),
    "cuDeviceGet": (ctypes.POINTER(_int), _int),
    "cuDeviceGetName": (ctypes.c_char_p, _int, _int),
    "cuDeviceGetAttribute": (ctypes.POINTER(_int), _int, _int),
    "cuGetErrorString": (_int, ctypes.POINTER(ctypes.c_char_p)),
    "cuDevicePrimaryCtxRetain": (ctypes.POINTER(_handle), _int),
    "cuDevicePrimaryCtxRelease_v2": (_int,),
    "cuCtxSetCurrent": (_handle,),
    "cuStreamCreate": (ctypes.POINTER(_handle), ctypes.c_uint),
    "cuStreamSynchronize": (_handle,),
    "cuStreamDestroy_v2": (_handle,),
    "cuMemAlloc_v2": (ctypes.POINTER(_handle), _size),
    "cuMemFree_v2": (_handle,),
    "cuMemAllocHost_v2": (ctypes.POINTER(_handle), _size),
    "cuMemFreeHost": (_handle,),
    "cuMemcpyHtoDAsync_v2": (_handle, _handle, _size, _handle),
    "cuMemcpyDtoHAsync_v2": (_handle, _handle, _size, _handle),
    "cuStreamBeginCapture_v2": (_handle, _int),
    "cuStreamEndCapture": (_handle, ctypes.POINTER(_handle)),
    "cuGraphInstantiateWithFlags": (ctypes.POINTER(_handle), _handle, ctypes.c_ulonglong),
    "cuGraphLaunch": (_handle, _handle),
    "cuGraphExecDestroy": (_handle,),
    "cuGraphDestroy": (_handle,),
    "cuEventCreate": (ctypes.POINTER(_handle), ctypes.c_uint),
    "cuEventRecord": (_handle, _handle),
    "cuEventElapsedTime": (ctypes.POINTER(ctypes.c_float), _handle, _handle),
    "cuEventDestroy_v2": (_handle,),
}


def missing_gpu() -> str | None:
    """Return None if a GPU can be used, else the missing part. Creates no context and no runtime."""
    try:
        Driver().device(0)
    except NotAvailable as error:
        return error.cause
    return None


class Driver:
    """Calls of libcuda that an engine needs.

    Raises
    ------
    NotAvailable
        The library is absent, or a call fails; the cause names it.
    """

    def __init__(self) -> None:
        try:
            self._library = ctypes.CDLL(_LIBRARY)
        except OSError:
            raise NotAvailable(
                f"there is no NVIDIA driver: {_LIBRARY} cannot be loaded.",
                "Run on a machine with an NVIDIA GPU, or use the back end 'onnxruntime'.",
            ) from None
        for name, types in _SIGNATURES.items():
            function = getattr(self._library, name)
            function.argtypes, function.restype = types, _int
        self.call("cuInit", 0)

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function and turn an error code into :class:`NotAvailable`."""
        code = getattr(self._library, name)(*arguments)
        if code:
            text = ctypes.c_char_p()
            self._library.cuGetErrorString(code, ctypes.byref(text))
            said = text.value.decode() if text.value else "unknown error"
            raise NotAvailable(
                f"the NVIDIA driver returned error {code} ({said}) from {name}.",
                "Check the GPU with nvidia-smi, or use the back end 'onnxruntime'.",
            )

    def device(self, index: int) -> dict[str, Any]:
        """Return the name, compute capability ("8.7") and driver version of a GPU."""
        count, device, value = _int(), _int(), _int()
        self.call("cuDeviceGetCount", ctypes.byref(count))
        if count.value <= index:
            raise NotAvailable(
                f"an NVIDIA driver is installed but there is no GPU: it counts {count.value} devices.",
                "Run on a machine with an NVIDIA GPU, or use the back end 'onnxruntime'.",
            )
        self.call("cuDeviceGet", ctypes.byref(device), index)
        name = ctypes.create_string_buffer(256)
        self.call("cuDeviceGetName", name, 256, device)
        capability = []
        for attribute in (_MAJOR, _MINOR):
            self.call("cuDeviceGetAttribute", ctypes.byref(value), attribute, device)
            capability.append(str(value.value))
        self.call("cuDriverGetVersion", ctypes.byref(value))
        driver = f"{value.value // 1000}.{value.value % 1000 // 10}"
        return {
            "gpu": name.value.decode(errors="replace"),
            "compute_capability": ".".join(capability),
            "driver_cuda": driver,
        }

    def make_current(self, index: int) -> None:
        """Use the device's primary context, the one that the CUDA runtime inside TensorRT uses too."""
        device, context = _int(), _handle()
        self.call("cuDeviceGet", ctypes.byref(device), index)
        self.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self.call("cuCtxSetCurrent", context)

    def release(self, index: int) -> None:
        """Release one reference to the primary context."""
        device = _int()
        self.call("cuDeviceGet", ctypes.byref(device), index)
        self.call("cuDevicePrimaryCtxRelease_v2", device)

    def stream(self) -> int:
        """Return a new stream that does not wait for the default one."""
        stream = _handle()
        self.call("cuStreamCreate", ctypes.byref(stream), 1)  # CU_STREAM_NON_BLOCKING
        return stream.value or 0

    def capture(self, stream: int, work: Callable[[], None]) -> int:
        """Record the work that ``work`` enqueues, without running it, as a graph that one call launches."""
        graph, executable = _handle(), _handle()
        self.call("cuStreamBeginCapture_v2", stream, 1)  # CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        try:
            work()
        finally:  # a stream that is left capturing would refuse everything after
            self.call("cuStreamEndCapture", stream, ctypes.byref(graph))
        try:
            self.call("cuGraphInstantiateWithFlags", ctypes.byref(executable), graph, 0)
        finally:
            self.call("cuGraphDestroy", graph)
        return executable.value or 0


class Stopwatch:
    """Timer of GPU time between two points of a stream, by events."""

    def __init__(self, driver: Driver, stream: int):
        self._driver, self._stream = driver, stream
        self._events = []
        for _ in range(2):
            event = _handle()
            driver.call("cuEventCreate", ctypes.byref(event), 0)  # CU_EVENT_DEFAULT: with times
            self._events.append(event)

    def mark(self, index: int) -> None:
        """Record the first (0) or second (1) point on the stream."""
        self._driver.call("cuEventRecord", self._events[index], self._stream)

    def nanoseconds(self) -> float:
        """Return the time between the points; the stream must be synchronized first."""
        elapsed = ctypes.c_float()
        self._driver.call("cuEventElapsedTime", ctypes.byref(elapsed), *self._events)
        return float(elapsed.value) * 1e6  # milliseconds

    def free(self) -> None:
        for event in self._events:
            self._driver.call("cuEventDestroy_v2", event)
        self._events = []


class Buffer:
    """A pinned array in host memory and its twin on the device.

    Attributes
    ----------
    host : numpy array of the given shape, float32
    device : int
        Address on the device.
    """

    def __init__(self, driver: Driver, shape: tuple[int, ...]):
        self._driver = driver
        self.nbytes = 4 * int(np.prod(shape))
        host, device = _handle(), _handle()
        driver.call("cuMemAllocHost_v2", ctypes.byref(host), self.nbytes)
        self._host = host.value
        driver.call("cuMemAlloc_v2", ctypes.byref(device), self.nbytes)
        self.device = device.value or 0
        self.host = np.ctypeslib.as_array(ctypes.cast(host, ctypes.POINTER(ctypes.c_float)), shape=shape)
        self.host[...] = 0  # the first run, before a graph is recorded, must not read uninitialized memory

    def upload(self, stream: int) -> None:
        self._driver.call("cuMemcpyHtoDAsync_v2", self.device, self._host, self.nbytes, stream)

    def download(self, stream: int) -> None:
        self._driver.call("cuMemcpyDtoHAsync_v2", self._host, self.device, self.nbytes, stream)

    def free(self) -> None:
        self.host = np.empty(0, np.float32)  # drop the view of memory that is about to be freed
        self._driver.call("cuMemFree_v2", self.device)
        self._driver.call("cuMemFreeHost", self._host)
