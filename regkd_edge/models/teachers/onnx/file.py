"""Teachers from ONNX files: ONNX Runtime answers, and a torch network beside it gives gradients where it can."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ....errors import GraphError, ModelError
from ...asking import reason_of
from ...outputs import Outputs
from ..estimators import library
from ..forest_size import size_of_graph
from ..probe import crash_of
from .inputs import OnnxInputs
from .network import OnnxNetwork
from .ops import TYPES
from .sizes import require_values_beside
from .values import OnnxValues

__all__ = ["read_onnx", "write_onnx"]

_LARGEST = 2**31 - 1  # bytes of a protobuf file
_TRIED = 1 << 23  # of one row, beyond which the two are not compared
_ROWS = 16  # on which the two are compared
_FEW = 1e-4  # allowed difference of an output per unit of its answers, float32; half precision rounds to 1e-3


def load_graph(path: Path) -> tuple[Any, int]:
    """Return a graph with its weights, and how many bytes of them were in other files."""
    onnx = library("onnx", "an ONNX file")
    try:
        model = onnx.load(str(path), load_external_data=False)
        beside = require_values_beside(model, path)
        onnx.load_external_data_for_model(model, str(path.parent))
    except ModelError:
        raise
    except FileNotFoundError as error:
        raise ModelError(
            f"'{path}' keeps its weights in another file, which is missing: {error}.", "Put both files into one folder."
        ) from None
    except Exception as error:  # protobuf, or external data that are absent or leave the folder
        stored = re.search(r"should be stored in (.+?), but", str(error))
        if stored is not None:
            raise ModelError(
                f"'{path}' keeps its weights in '{Path(stored.group(1)).name}', which is not a file beside it.",
                "Put both files into one folder.",
            ) from None
        raise ModelError(
            f"'{path}' is not a readable ONNX file: "
            f"{str(error).splitlines()[0] if str(error) else type(error).__name__}.",
            "Export it again.",
        ) from None
    if not model.graph.output:
        raise ModelError(f"'{path}' is not a readable ONNX file: it has no output.", "Export it again.")
    return model, beside


def read_onnx(path: str | Path, pick: str | None = None) -> tuple[nn.Module, nn.Module | None, list[str]]:
    """A teacher in an ONNX file.

    Parameters
    ----------
    path : path
    pick : str, optional
        The output that holds the predictions, or several with commas.

    Returns
    -------
    module : nn.Module
        A torch network, or what answers values only.
    values : OnnxValues or None
        What gives the answers beside a torch network.
    notes : list of str

    Raises
    ------
    ModelError
        Not readable, inputs that are no numbers, a graph that ONNX Runtime refuses, or that takes far more time or
        memory to answer one row than its size announces.
    """
    path = Path(path)
    model, beside = load_graph(path)
    problem = crash_of("onnxruntime", path, beside)
    if problem is not None:
        raise ModelError(f"ONNX Runtime cannot answer one row with '{path}': {problem}.", "Export it again.")
    stored = {tensor.name for tensor in model.graph.initializer}
    inputs = OnnxInputs([info for info in model.graph.input if info.name not in stored], path)
    names = [info.name for info in model.graph.output if info.type.HasField("tensor_type")]
    names = names if pick is None else _picked(names, pick, path)
    values, problem = _session(path, inputs, names)
    if values is not None:
        values.size = size_of_graph(model.graph)
    notes: list[str] = []
    network, why = _network(model, inputs, names, values)
    if network is None and pick is None and len(names) > 1 and values is not None and inputs.features:
        chosen = _only(values, inputs.features, str(path))
        if chosen:
            notes.append(f"of the outputs {', '.join(map(repr, names))} of the graph, '{chosen}' is taken")
            names = [chosen]
            values.narrow(chosen)
            network, why = _network(model, inputs, names, values)
    fails = "" if network is None or values is not None else _failure(network, inputs)
    if values is None and (network is None or fails):
        raise ModelError(
            f"ONNX Runtime does not take '{path}': {problem}{fails}.", "Export it again for another operator set."
        )
    if values is None:
        return network, None, [f"ONNX Runtime does not take the graph ({problem}); torch answers in its place"]
    if network is None and len(names) == 1 and inputs.batch is None:
        network, why = _by_library(model, path, values, inputs, why)
    if network is None:
        return values, None, [*notes, f"values only, without gradients: {why}"]
    return network, values, notes


def _session(path: Path, inputs: OnnxInputs, names: list[str]) -> tuple[OnnxValues | None, str]:
    runtime = library("onnxruntime", "an ONNX teacher")
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"], enable_fallback=0)
    except Exception as error:  # the runtime's own errors
        return None, str(error).splitlines()[0].rstrip(".")
    return OnnxValues(session, inputs, names), ""


def _failure(network: OnnxNetwork, inputs: OnnxInputs) -> str:
    """Why the graph in torch does not answer one row, as the end of a sentence; a circle is noticed only then."""
    if inputs.features is None:
        return ""
    try:
        with torch.no_grad():
            network(torch.zeros(1, inputs.features, dtype=network.dtype))
    except KeyError as error:
        return f"; no node before it gives {error}"
    except Exception as error:  # whatever an operator raises
        return f"; nor does torch ({reason_of(error)})"
    return ""


def _only(values: OnnxValues, d: int, where: str) -> str | None:
    """The output that can only be the predictions, without looking at the number of targets."""
    try:
        answer = values(torch.zeros(3, d, dtype=torch.float64))
        if not isinstance(answer, dict):
            return None
        choose = Outputs(where)
        choose(answer, 3)
        return next((name for name in answer if f"'{name}'" in choose.note), None)
    except ModelError:
        return None


def _picked(names: list[str], pick: str, path: Path) -> list[str]:
    """The outputs that are named, or given by their number."""
    wanted = [pick] if pick in names else [one.strip() for one in pick.split(",")]
    for one in wanted:
        if one not in names and not (one.isdigit() and int(one) < len(names)):
            raise ModelError(
                f"'{path}' has no output '{one}'; it has {', '.join(map(repr, names))}.",
                "Name one of these by --output, or several with commas.",
            )
    return [one if one in names else names[int(one)] for one in wanted]


def _network(
    model: Any, inputs: OnnxInputs, names: list[str], values: OnnxValues | None
) -> tuple[OnnxNetwork | None, str | None]:
    """The graph in torch, where it answers as ONNX Runtime does; else why not."""
    if any(len(shape) == 1 and shape[0] not in (None, 1) for shape in inputs.shapes):
        return None, "the graph takes one row at a time"
    try:
        network = OnnxNetwork(model.graph, inputs, names).eval()
    except NotImplementedError as error:
        return None, f"the operator {error} has no counterpart in torch here"
    why = None if values is None else _difference(network, values, inputs)
    return (network, None) if why is None else (None, why)


def _joined(answer: Any, n: int) -> Tensor:  # [n, o]: every number of every output
    parts = answer.values() if isinstance(answer, dict) else [answer]
    return torch.cat([part.double().reshape(n, -1) for part in parts], 1)


def _difference(network: nn.Module, values: OnnxValues, inputs: OnnxInputs) -> str | None:
    """Why the torch network does not answer as the graph, or None."""
    d = inputs.features
    if d is None:
        return "the graph does not say its number of inputs"
    if d > _TRIED:
        return f"a row of {d:,} numbers is too large to compare with its counterpart in torch"
    x = torch.randn(_ROWS, d, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x[_ROWS // 2 :] *= 10
    whole = [k for k, kind in enumerate(inputs.types) if not TYPES[kind].is_floating_point]
    ends = np.cumsum(inputs.widths).tolist()
    for k in whole:  # codes: any non-negative whole number may be one, the smallest are the likeliest
        x[:, ends[k] - inputs.widths[k] : ends[k]] = 0
    try:
        values(x)
    except ModelError:  # codes among the numbers: 0 and 1 are the likeliest
        x = (x > 0).double()
    try:
        with torch.no_grad():
            theirs = _joined(values(x), _ROWS)
            kind = network.dtype if isinstance(network, OnnxNetwork) else torch.float32
            ours, alone = _joined(network(x.to(kind)), _ROWS), _joined(network(x[:1].to(kind)), 1)
    except Exception as error:  # an attribute or a shape that the counterpart does not handle
        return f"its counterpart in torch fails ({str(error).splitlines()[0] if str(error) else type(error).__name__})"
    if ours.shape != theirs.shape:
        return "its counterpart in torch answers another shape"
    half = any(kind == 10 for kind in inputs.types)
    allowed = (1e-2 if half else _FEW) * theirs.abs().max(0).values  # [o]: one output may be tiny beside another
    off = torch.maximum((ours - theirs).abs().max(0).values, (alone - ours[:1]).abs()[0])
    if bool((off <= allowed).all()):
        return None
    return f"its counterpart in torch answers differently (by {float(off.max()):.1e})"


def _by_library(
    model: Any, path: Path, values: OnnxValues, inputs: OnnxInputs, why: str | None
) -> tuple[nn.Module | None, str | None]:
    """onnx2torch for what is not covered here, where it is installed and can be imported."""
    try:
        import onnx2torch
    except Exception as error:  # it needs torchvision, which may not fit the torch at hand
        missing = isinstance(error, ImportError) and "onnx2torch" in str(error)
        return None, why if missing else f"{why}; onnx2torch cannot be imported ({error})"
    if len(inputs.names) != 1 or len(values.names) != 1 or len(model.graph.output) != 1:
        return None, why
    try:
        network = onnx2torch.convert(model).eval()
    except Exception as error:  # it raises for what it does not know
        return None, f"{why}; nor in onnx2torch ({str(error).splitlines()[0] if str(error) else type(error).__name__})"
    network.features = inputs.features
    problem = _difference(network, values, inputs)
    return (network, "") if problem is None else (None, problem)


def write_onnx(source: Path, target: Path) -> None:
    """Copy an ONNX file with its external data inside."""
    onnx = library("onnx", "an ONNX file")
    model, _ = load_graph(source)
    if model.ByteSize() > _LARGEST:
        raise GraphError(
            f"'{source}' has {model.ByteSize() / 2**30:.1f} GiB of weights, and one file holds 2 GiB at most.",
            "Give a smaller teacher, or a factory.",
        )
    onnx.save(model, str(target))
