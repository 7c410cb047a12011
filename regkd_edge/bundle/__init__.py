"""A bundle: one archive with a student's graphs, their expected outputs, and everything else a device needs.

:func:`make_bundle` writes it where the run is, and :func:`deploy` uses it on the device. There the light half of the
package is enough, with TensorRT, ONNX Runtime or the native back end.
"""

from __future__ import annotations

from .archive import read_archive, unpack, write_archive
from .deploy import Deployed, deploy
from .make import make_bundle

__all__ = ["Deployed", "deploy", "make_bundle", "read_archive", "unpack", "write_archive"]
