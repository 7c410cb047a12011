"""Teachers from ONNX files: ONNX Runtime answers, and a torch network beside it gives gradients where it can."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...errors import GraphError, ModelError
from ...io.words import counted
from ..outputs import Outputs
from .estimators import library
from .onnx_ops import OPERATORS, TYPES
from .onnx_sizes import most_values, require_values_beside
from .probe import crash_of

__all__ = ["OnnxNetwork", "OnnxValues", "read_onnx", "write_onnx"]

_NUMPY = {1: np.float32, 10: np.float16, 11: np.float64, 6: np.int32, 7: np.int64, 9: np.bool_, 2: np.uint8, 3: np.int8}
_LARGEST = 2**31 - 1  # bytes of a protobuf file
_NUMBERS = 1 << 26  # of all rows that a graph takes at once
_TRIED = 1 << 23  # of one row, beyond which the two are not compared
_ROWS = 16  # on which the two are compared
_FEW = 1e-4  # allowed difference of an output per unit of its answers, float32; half precision rounds to 1e-3


class _Inputs:
    """How a row [d] becomes the inputs of a graph: its columns in the order of the inputs,
    in their shapes and types."""

    def __init__(self, infos: list[Any], path: Path):
        self.names = [info.name for info in infos]
        self.types, self.shapes = [], []
        for info in infos:
            kind = info.type.tensor_type.elem_type
            if not info.type.HasField("tensor_type") or kind not in _NUMPY:
                raise ModelError(
                    f"the input '{info.name}' of '{path}' is not a tensor of numbers.", "Export it with number inputs."
                )
            self.types.append(kind)
            self.shapes.append(
                [d.dim_value if d.HasField("dim_value") else None for d in info.type.tensor_type.shape.dim]
            )
        self.widths = [_width(shape) for shape in self.shapes]
        if len(infos) != 1 and None in self.widths:
            unknown = self.names[self.widths.index(None)]
            raise ModelError(
                f"'{path}' has {counted(len(infos), 'input')}, and '{unknown}' does not say its number of columns.",
                "Export it with a fixed number of columns for each input.",
            )
        first = {shape[0] for shape in self.shapes if len(shape) > 1 and shape[0] is not None}
        self.batch = 1 if any(len(shape) == 1 and shape[0] not in (None, 1) for shape in self.shapes) else None
        self.batch = self.batch or (first.pop() if len(first) == 1 else None)
        taken = (self.batch or 1) * sum(width or 1 for width in self.widths)
        if not 0 < taken <= _NUMBERS:
            raise ModelError(
                f"'{path}' takes {taken:,} numbers at once, expected 1 to {_NUMBERS:,}.",
                "Export it with a free number of rows, or for smaller ones.",
            )

    @property
    def features(self) -> int | None:
        return None if None in self.widths else sum(self.widths)

    def split(self, x: Any, columns: Any) -> list[Any]:
        """Columns [n, d] -> one array per input; ``columns(x, begin, end)`` takes some of them."""
        if len(self.names) == 1:
            return [x]
        ends = np.cumsum(self.widths).tolist()
        return [columns(x, end - width, end) for end, width in zip(ends, self.widths)]

    def shaped(self, values: Any, k: int) -> Any:
        """Rows of input k in the shape that it has."""
        shape = self.shapes[k]
        if len(shape) == 1:
            return values.reshape(-1)
        return values.reshape(-1, *(-1 if s is None else s for s in shape[1:])) if len(shape) > 2 else values


def _width(shape: list[int | None]) -> int | None:
    inner = shape[1:] if len(shape) > 1 else ([1] if shape in ([None], [1]) else shape)
    return None if any(size is None for size in inner) else math.prod(inner)


class OnnxValues(nn.Module):
    """A graph in ONNX Runtime: values only."""

    differentiable = False
    dtype = torch.float64

    def __init__(self, session: Any, inputs: _Inputs, outputs: list[str]):
        super().__init__()
        self.session, self.inputs, self.names = session, inputs, outputs
        self.features = inputs.features
        self.input_names = inputs.names if len(inputs.names) > 1 and set(inputs.widths) == {1} else None

    def forward(self, x: Tensor) -> Any:  # [n, d] -> [n, o], or a dict of such
        rows, batch = x.detach().double().cpu().numpy(), self.inputs.batch
        if batch is None:
            return self._answer(rows)
        parts = []
        for start in range(0, len(rows), batch):
            part = rows[start : start + batch]
            full = np.concatenate([part, np.repeat(part[-1:], batch - len(part), 0)])
            answer = self._answer(full)
            if isinstance(answer, dict):
                whole = {k: v.ndim and len(v) == batch for k, v in answer.items()}
                parts.append({k: v[: len(part)] if whole[k] else v.reshape(1, -1) for k, v in answer.items()})
            elif answer.ndim and len(answer) == batch:
                parts.append(answer[: len(part)])
            else:
                parts.append(answer.reshape(1, -1))
        if isinstance(parts[0], dict):
            return {key: torch.cat([part[key] for part in parts]) for key in parts[0]}
        return torch.cat(parts)

    def _answer(self, rows: np.ndarray) -> Any:
        parts = self.inputs.split(rows, lambda v, begin, end: v[:, begin:end])
        fed = {
            name: np.ascontiguousarray(self.inputs.shaped(part, k).astype(_NUMPY[self.inputs.types[k]]))
            for k, (name, part) in enumerate(zip(self.inputs.names, parts))
        }
        try:
            given = self.session.run(self.names, fed)
        except Exception as error:  # the runtime's own errors: a width or a code that the graph does not take
            raise ModelError(
                f"the ONNX teacher fails on {counted(len(rows), 'row')} of {counted(rows[0].size, 'input')}: "
                f"{str(error).splitlines()[0]}.",
                "Give the data it was trained on.",
            ) from None
        found = {
            name: torch.from_numpy(np.asarray(value))
            for name, value in zip(self.names, given)
            if isinstance(value, np.ndarray) and np.issubdtype(value.dtype, np.number)
        }
        return next(iter(found.values())) if len(found) == 1 else found

    def narrow(self, name: str) -> None:
        """Leave all outputs but one out."""
        self.names = [name] if name in self.names else self.names


class OnnxNetwork(nn.Module):
    """The same graph in torch, node by node, so that gradients pass.

    Raises
    ------
    NotImplementedError
        The first operator that has no counterpart here, by name.
    """

    def __init__(self, graph: Any, inputs: _Inputs, output: str):
        super().__init__()
        from onnx import helper

        self.inputs, self.output = inputs, output
        self.features = inputs.features
        self.constants: dict[str, str] = {}
        self.tried = False
        known = {}
        for tensor in graph.initializer:
            known[tensor.name] = _array(tensor, tensor.name)
        self.nodes = []
        for node in _needed(graph, output):
            attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            if node.op_type == "Constant":
                known[node.output[0]] = _constant(attributes, node.name)
                continue
            if node.op_type not in OPERATORS:
                raise NotImplementedError(node.op_type)
            if "value" in attributes and node.op_type == "ConstantOfShape":
                attributes["value"] = _array(attributes["value"], node.name)
            if node.op_type == "Split":
                attributes["outputs"] = len(node.output)
            self.nodes.append((OPERATORS[node.op_type], list(node.input), list(node.output), attributes))
        used = {name for _, names, _, _ in self.nodes for name in names} | {output}
        for k, (name, value) in enumerate((n, v) for n, v in known.items() if n in used):
            tensor = torch.from_numpy(np.array(value))
            tensor = tensor.float() if tensor.dtype == torch.float16 else tensor
            self.constants[name] = f"c{k}"
            if tensor.is_floating_point() and tensor.ndim:
                self.register_parameter(f"c{k}", nn.Parameter(tensor, requires_grad=False))
            else:
                self.register_buffer(f"c{k}", tensor)

    @property
    def dtype(self) -> torch.dtype:
        """What it takes: codes come as numbers, and are converted where the graph wants whole ones."""
        return TYPES[self.inputs.types[0]] if TYPES[self.inputs.types[0]].is_floating_point else torch.float32

    def forward(self, x: Tensor) -> Tensor:  # [n, d] -> [n, o]
        parts = self.inputs.split(x, lambda v, begin, end: v[:, begin:end])
        values: dict[str, Any] = {}
        for k, (name, part) in enumerate(zip(self.inputs.names, parts)):
            kind = TYPES[self.inputs.types[k]]
            part = self.inputs.shaped(part, k)
            values[name] = part if kind.is_floating_point else part.to(kind)
        for name, buffer in self.constants.items():
            values[name] = getattr(self, buffer)
        most = None if self.tried else most_values(x.numel(), sum(v.numel() for v in values.values()))
        for operator, names, outputs, attributes in self.nodes:
            given = operator([values[n] if n else None for n in names], attributes)
            for output, value in zip(outputs, given if isinstance(given, tuple) else (given,)):
                values[output] = value
                if most is not None:
                    most -= value.numel()
                    if most < 0:
                        raise ValueError(f"at '{output[:60]}' its steps hold far more numbers than rows and weights")
        self.tried = True
        return values[self.output]


def _needed(graph: Any, output: str) -> list[Any]:
    """The nodes that the output depends on, in their order."""
    wanted, nodes = {output}, []
    for node in reversed(graph.node):
        if wanted & set(node.output):
            nodes.append(node)
            wanted |= set(node.input)
    return nodes[::-1]


def _array(tensor: Any, name: str) -> np.ndarray:
    from onnx import numpy_helper

    try:
        return numpy_helper.to_array(tensor)
    except (ValueError, TypeError, KeyError, OverflowError, MemoryError) as error:  # KeyError: a type that is none
        raise ModelError(
            f"the tensor '{name[:60]}' of the ONNX graph is not what its shape and type say: {error}.",
            "Export it again.",
        ) from None


def _constant(attributes: dict[str, Any], name: str) -> np.ndarray:
    (kind, value) = next(iter(attributes.items()), ("", None))
    if kind == "value":
        return _array(value, name)
    if not kind.startswith(("value_float", "value_int")):  # texts, sparse tensors
        raise NotImplementedError(f"Constant with a {kind or 'missing value'}")
    return np.array(value, dtype=np.float32 if "float" in kind else np.int64)


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
        The output that holds the predictions.

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
    inputs = _Inputs([info for info in model.graph.input if info.name not in stored], path)
    names = [info.name for info in model.graph.output if info.type.HasField("tensor_type")]
    if pick is not None and pick not in names and not (pick.isdigit() and int(pick) < len(names)):
        raise ModelError(
            f"'{path}' has no output '{pick}'; it has {', '.join(map(repr, names))}.", "Name one of these by --output."
        )
    names = names if pick is None else [pick if pick in names else names[int(pick)]]
    values, problem = _session(path, inputs, names)
    notes: list[str] = []
    if len(names) > 1 and values is not None and inputs.features:
        chosen = _only(values, inputs.features, str(path))
        if chosen:
            notes.append(f"of the outputs {', '.join(map(repr, names))} of the graph, '{chosen}' is taken")
            names = [chosen]
            values.narrow(chosen)
    network, why = _network(model, inputs, names)
    if values is None and network is None:
        raise ModelError(
            f"ONNX Runtime does not take '{path}': {problem}.", "Export it again for another operator set."
        )
    if values is None:
        return network, None, [f"ONNX Runtime does not take the graph ({problem}); torch answers in its place"]
    if network is not None:
        why = _difference(network, values, inputs)
        network = network if why is None else None
    if network is None and len(names) == 1 and inputs.batch is None:
        network, why = _by_library(model, path, values, inputs, why)
    if network is None:
        return values, None, [*notes, f"values only, without gradients: {why}"]
    return network, values, notes


def _session(path: Path, inputs: _Inputs, names: list[str]) -> tuple[OnnxValues | None, str]:
    runtime = library("onnxruntime", "an ONNX teacher")
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's own errors
        return None, str(error).splitlines()[0].rstrip(".")
    return OnnxValues(session, inputs, names), ""


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


def _network(model: Any, inputs: _Inputs, names: list[str]) -> tuple[OnnxNetwork | None, str]:
    if len(names) != 1:
        return None, "the graph has several outputs; name one by --output"
    if any(len(shape) == 1 and shape[0] not in (None, 1) for shape in inputs.shapes):
        return None, "the graph takes one row at a time"
    try:
        return OnnxNetwork(model.graph, inputs, names[0]).eval(), ""
    except NotImplementedError as error:
        return None, f"the operator {error} has no counterpart in torch here"


def _difference(network: nn.Module, values: OnnxValues, inputs: _Inputs) -> str | None:
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
            theirs = values(x).double().reshape(_ROWS, -1)
            ours = network(x.to(network.dtype if isinstance(network, OnnxNetwork) else torch.float32))
            ours = ours.double().reshape(_ROWS, -1)
            alone = network(x[:1].to(network.dtype if isinstance(network, OnnxNetwork) else torch.float32))
            alone = alone.double().reshape(1, -1)
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


def _by_library(model: Any, path: Path, values: OnnxValues, inputs: _Inputs, why: str) -> tuple[nn.Module | None, str]:
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
