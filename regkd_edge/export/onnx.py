"""The ONNX graph of a student with its scalers, written node by node.

The graph is written out rather than traced, so that it holds only what it computes, its nodes have readable
names that later stages rely on (a quantizer lists ``layer0/gemm``), and the same student gives the same bytes with
any version of PyTorch. The middle is the family's (:mod:`regkd_edge.models.families`):

    x [batch, *shape] -> scale_x/sub -> scale_x/mul -> the nodes of the
    family -> scale_y/mul -> scale_y/add -> y [batch, o]

The shape of an MLP's row is [d]; that of an image or a signal is as it was declared, and its scaler is one number per
channel where the columns of a channel share it.

Standardisation subtracts first and multiplies afterwards. The other order, ``x * (1/s) - m/s`` or folding both into the
first layer, subtracts two rounded numbers of size m/s; with raw values of 1.8e6 +- 4e5 that costs the last digits of
every input, while the difference of two nearby float32 numbers is exact.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from torch import nn

from .. import __version__
from ..data import Scalers
from ..errors import GraphError
from ..io.files import write_atomic
from ..models import MLP, MLPSpec, Spec
from ..models.families import FAMILIES, Family
from .writer import Writer

__all__ = ["export_onnx"]


def export_onnx(
    module: nn.Module,
    scalers: Scalers,
    path: str | Path,
    *,
    batch: Literal["dynamic"] | int = "dynamic",
    feature_names: Sequence[str] = (),
    target_names: Sequence[str] = (),
    spec: str = "",
) -> Path:
    """Write the graph: input ``x`` [batch, *shape] float32 and output ``y`` [batch, o] float32, both in raw units.

    Parameters
    ----------
    module : nn.Module
        A student's network, in standardised space.
    scalers : Scalers
        Folded in as four nodes.
    batch : ``"dynamic"`` or int
        A free first dimension, or a fixed one.
    feature_names, target_names, spec
        Kept in the model's metadata (``regkd.*``) with the version of this package.

    Raises
    ------
    GraphError
        The network is of no family, its widths differ from the scalers', or a number does not fit into float32.
    """
    import onnx

    found = _found(module)
    if found is None:
        raise GraphError(
            f"a {type(module).__name__} cannot be exported: it was not built from a spec.",
            f"Distil a student of one of: {', '.join(FAMILIES)}.",
        )
    family, own, shape, o = found
    if (scalers.x.width, scalers.y.width) != (math.prod(shape), o):
        raise GraphError(
            f"the network has {math.prod(shape)} inputs and {o} outputs, and its scalers {scalers.x.width} and "
            f"{scalers.y.width}.",
            "Give the scalers it was trained with.",
        )
    if batch != "dynamic" and (isinstance(batch, bool) or not isinstance(batch, int) or batch < 1):
        raise GraphError(
            f"batch is {batch!r}, expected 'dynamic' or a whole number of at least 1.", "Change the batch."
        )
    graph = Writer()
    axis = family.channel_axis(own)
    mean, inverse = (_per_channel(v, shape, axis) for v in (scalers.x.mean, 1.0 / scalers.x.scale))
    value = graph.node("Sub", "scale_x/sub", ["x", graph.constant("scale_x/mean", mean)])
    value = graph.node("Mul", "scale_x/mul", [value, graph.constant("scale_x/inverse", inverse)])
    value = family.write(graph, module, value)
    value = graph.node("Mul", "scale_y/mul", [value, graph.constant("scale_y/scale", scalers.y.scale)])
    graph.node("Add", "scale_y/add", [value, graph.constant("scale_y/mean", scalers.y.mean)], ["y"])
    metadata = {
        "regkd.version": __version__,
        "regkd.spec": spec or str(own),
        "regkd.units": "raw",
        "regkd.feature_names": json.dumps(list(feature_names), ensure_ascii=False),
        "regkd.target_names": json.dumps(list(target_names), ensure_ascii=False),
        **({"regkd.input_shape": json.dumps(list(shape))} if len(shape) > 1 else {}),
    }
    model = graph.model("batch" if batch == "dynamic" else batch, shape, o, metadata)
    path = Path(path)
    with write_atomic(path) as temporary:
        onnx.save_model(model, temporary)
    return path


def _found(module: nn.Module) -> tuple[Family, Spec, tuple[int, ...], int] | None:
    """Family, spec, shape of a row and outputs of a student's network."""
    if type(module) is MLP:
        own = MLPSpec(tuple(module.widths[1:-1]), module.activation)
        return FAMILIES["mlp"], own, (module.widths[0],), module.widths[-1]
    spec = getattr(module, "spec", None)
    family = FAMILIES.get(getattr(spec, "family", ""))
    return None if family is None else (family, spec, module.shape, module.outputs)


def _per_channel(values: np.ndarray, shape: tuple[int, ...], axis: int | None) -> np.ndarray:
    """The numbers of a scaler in the shape of a row, one per channel where those of a channel are equal."""
    whole = values.reshape(shape)
    if axis is None or len(shape) == 1:
        return whole
    places = tuple(i for i in range(len(shape)) if i != axis % len(shape))
    first = whole[tuple(slice(None) if i == axis % len(shape) else slice(1) for i in range(len(shape)))]
    return first if (whole.min(places, keepdims=True) == whole.max(places, keepdims=True)).all() else whole
