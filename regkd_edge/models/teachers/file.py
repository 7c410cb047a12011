"""Teachers from a file: its kind is told by its content where it can be, else by its suffix."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from ...errors import ModelError
from ...io.arrays import inflated_problem
from ...io.regular import file_problem
from ...io.words import counted
from ..outputs import Outputs
from ..teacher import Teacher
from ..weights import torch_archive, unpickled
from .callables import ArrayFunction
from .estimator_networks import with_network
from .estimators import PICKLES, booster_of, read_booster, read_estimator
from .exported import FixedBatch, read_program, read_torchscript
from .onnx import read_onnx

__all__ = ["from_file"]

_TORCH = (".pt", ".pth", ".ckpt", ".bin", ".tar", ".pt2", ".ts", ".jit", ".torchscript", ".model")
_FOREIGN = {
    ".h5": "Keras", ".hdf5": "Keras", ".keras": "Keras", ".pb": "TensorFlow", ".tflite": "TensorFlow Lite",
    ".mlmodel": "Core ML", ".mlpackage": "Core ML", ".pdmodel": "Paddle", ".pmml": "PMML", ".rds": "R",
    ".mat": "MATLAB", ".caffemodel": "Caffe",
}  # fmt: skip
_KINDS = "a run folder, ONNX, .pt2, TorchScript, XGBoost, LightGBM, CatBoost or skops file, or package.module:factory"


def from_file(path: str | Path, units: str = "raw", *, output: str | None = None, trust: bool = False) -> Teacher:
    """A teacher that a file holds whole.

    Parameters
    ----------
    path : path
        ONNX; a ``torch.export`` program; TorchScript; a model of XGBoost (.json, .ubj), LightGBM (.txt), CatBoost
        (.cbm) or skops; with ``trust`` a pickled estimator or torch module.
    units : ``"raw"`` or ``"standardized"``
        What it takes and gives.
    output : str, optional
        Which of several outputs holds the predictions.
    trust : bool
        Unpickle, which runs code of the file.

    Raises
    ------
    ModelError
        No file, another kind, a damaged one, or weights without their network.
    NotAvailable
        The library that reads this kind is not installed.
    """
    path = Path(path)
    if not path.exists():
        raise ModelError(f"no teacher '{path}'.", f"Give {_KINDS}.")
    problem = file_problem(path)
    if problem is not None:
        raise ModelError(f"the teacher '{path}' cannot be read: {problem}.", f"Give {_KINDS}.")
    suffix = path.suffix.lower()
    if suffix in _FOREIGN:
        raise ModelError(
            f"'{path}' is a {_FOREIGN[suffix]} file, which is not read here.",
            "Export it to ONNX (tf2onnx, paddle2onnx, skl2onnx), or give a factory whose function answers arrays.",
        )
    if suffix in (".engine", ".plan", ".trt"):
        raise ModelError(f"'{path}' is a TensorRT engine.", "Give the ONNX file that it was built from.")
    archive = torch_archive(path)
    if archive is not None or suffix in (".pt2", ".skops"):
        problem = inflated_problem(path)
        if problem is not None:
            raise ModelError(f"the teacher '{path}' cannot be read: {problem}.", "Save it again.")
    if suffix == ".onnx":
        return _onnx(path, units, output)
    if archive == "a torch.export program" or suffix == ".pt2":
        return _program(path, units, output, trust)
    if archive == "a TorchScript program":
        return _of("torchscript", read_torchscript(path, trust=trust), path, units, output)
    if suffix == ".safetensors":
        raise _weights_alone(path)
    if booster_of(path) is not None:
        booster = read_booster(path)
        teacher = _of(booster.kind.lower(), ArrayFunction(booster), path, units, output)
        if booster.names:
            teacher.extra["feature_names"] = list(booster.names)
        return teacher.ask_once()
    if suffix in _TORCH:
        module = unpickled(path, trust=trust)
        if not isinstance(module, nn.Module):
            raise _weights_alone(path)
        return _of("pickled module", module, path, units, output)
    if suffix in PICKLES or suffix == ".skops":
        return _estimator(path, units, output, trust)
    raise ModelError(
        f"'{path}' is not a teacher of a kind that is known here ({suffix or 'no suffix'}).", f"Give {_KINDS}."
    )


def _of(form: str, module: nn.Module, path: Path, units: str, output: str | None) -> Teacher:
    teacher = Teacher(module, None, units, f"{form} {path.name}", output=output)
    teacher.form, teacher.file = form, path
    teacher.found = [("the module", module)]
    return teacher


def _program(path: Path, units: str, output: str | None, trust: bool) -> Teacher:
    module = read_program(path, Outputs(str(path), output), trust=trust)
    teacher = _of("torch.export", module, path, units, output)
    if isinstance(module, FixedBatch):
        teacher.notes.append(
            f"the program takes {counted(module.batch, 'row')} at a time and is called once for each of these, by "
            "PyTorch; export it with a dynamic first dimension to ask it for many rows at once"
        )
    return teacher


def _onnx(path: Path, units: str, output: str | None) -> Teacher:
    module, values, notes = read_onnx(path, output)
    teacher = _of("ONNX", module, path, units, None)
    teacher.output, teacher.values = output, values
    teacher.notes += notes
    return teacher.ask_once()


def _estimator(path: Path, units: str, output: str | None, trust: bool) -> Teacher:
    content = read_estimator(path, trust=trust)
    module = content if isinstance(content, nn.Module) else ArrayFunction(content)
    kind = type(content).__name__
    teacher = _of("skops" if path.suffix.lower() == ".skops" else "pickle", module, path, units, output)
    teacher.source = f"{kind} of {path.name}"
    with_network(teacher)
    names = getattr(content, "feature_names_in_", None)
    if names is not None:
        teacher.extra["feature_names"] = [str(name) for name in names]
    return teacher.ask_once()


def _weights_alone(path: Path) -> ModelError:
    return ModelError(
        f"'{path}' holds weights without their network.",
        f"Name the function that makes the network too: --factory package.module:factory --weights {path}.",
    )
