"""A bundle: one archive with a student's graphs, what they must answer, and all that a device needs besides.

Made where the run is (:func:`make_bundle`), used on the device (:func:`deploy`): there the light half of the package is
enough, with TensorRT, ONNX Runtime or the native back end.
"""

from __future__ import annotations

from .archive import read_archive, unpack, write_archive
from .deploy import Deployed, deploy
from .make import make_bundle

__all__ = ["Deployed", "deploy", "make_bundle", "read_archive", "unpack", "write_archive"]
