"""One BLAS thread for the products of small networks.

NumPy's OpenBLAS divides even a product of 50 microseconds among its threads, which wait for each other by spinning. On
a busy machine that is most of the time: INT8 with ``qat`` of a student 5-32-32-2 took 50 s on two cores that other
programs used too (load 13), and 6 s with one thread; of CPU time, 14 s and 1.4 s.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from threadpoolctl import threadpool_limits

from ..graph.chain import Chain

__all__ = ["threads_for"]

_NARROW = 128  # inputs and outputs of a layer; the products of wider ones are worth several threads


def threads_for(chain: Chain) -> AbstractContextManager[Any]:
    """Return a context in which NumPy multiplies on one thread where every layer is narrow, else as it did before."""
    widest = max(max(layer.weight.shape) for layer in chain.layers)
    return threadpool_limits(1, "blas") if widest <= _NARROW else nullcontext()
