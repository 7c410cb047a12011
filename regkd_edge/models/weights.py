"""Weights files: safetensors and ``torch.save`` archives, read without executing or believing anything in them."""

from __future__ import annotations

import sys
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import ModelError
from ..io.arrays import check_inflated, opened_archive
from ..io.limits import TABLE_BYTES
from ..io.reading import tensors_problem
from ..io.regular import file_problem
from .state_dict import FoundWeights, state_in

__all__ = ["read_tensors", "read_weights", "torch_archive", "unpickled"]

_DENSE = "Save a dense state dict: {name: t.detach().cpu() for name, t in module.state_dict().items()}."


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """Return the tensors of a weights file; see :func:`read_weights`."""
    return read_weights(path).tensors


def read_weights(path: str | Path, *, trust: bool = False) -> FoundWeights:
    """Read a safetensors file, or a ``torch.save`` file with ``weights_only``; nothing in it is executed.

    In a checkpoint the one state dict is taken (``state_dict``, ``model``, ``model_state_dict``, ``ema`` and their
    like, nested too); prefixes that wrappers leave are removed later, by :func:`fit_names`. Float8 tensors become
    float32, which holds them exactly.

    Parameters
    ----------
    path : path
    trust : bool
        Unpickle whatever it holds, which runs code of the file; a whole module's state dict is taken then.

    Raises
    ------
    ModelError
        No such file, not readable, damaged, no state dict, or a tensor without values of its own (sparse, meta, nested,
        quantized, complex), by its name.
    """
    path = Path(path)
    _require_file(path)
    if path.suffix == ".safetensors":
        weights = FoundWeights(_safetensors(path))
    else:
        weights = state_in(unpickled(path, trust=trust), str(path))
    weights.tensors = {name: _plain(name, tensor, path) for name, tensor in weights.tensors.items()}
    return weights


def _require_file(path: Path) -> None:
    if not path.exists() and not path.is_symlink():
        raise ModelError(
            f"no weights file '{path}'.", "Give a .safetensors file, or a .pt that torch.save wrote of a state dict."
        )
    problem = file_problem(path, TABLE_BYTES)
    if problem is not None:
        raise ModelError(f"the weights file '{path}' cannot be read: {problem}.", "Give a readable file.")


def _safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    problem = tensors_problem(path)
    try:
        if problem is None:
            return load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError, RuntimeError, AttributeError) as error:
        problem = _first_line(error)
    raise ModelError(
        f"'{path}' is not a readable safetensors file: {problem}.",
        "Save it again with safetensors.torch.save_file.",
    )


def unpickled(path: Path, *, trust: bool = False) -> Any:
    """What ``torch.save`` wrote; anything but plain data and tensors only with ``trust``."""
    _require_file(path)
    kind = torch_archive(path)
    if kind is not None:
        raise ModelError(
            f"'{path}' is {kind}, which holds the whole network and not a state dict alone.",
            f"Give it as the teacher itself: --teacher-from {path}.",
        )
    try:
        with open(path, "rb") as stream:
            begin = stream.read(4)
        if not begin.startswith((b"PK", b"\x80")):  # the tar form of torch before 0.4 is not read
            raise ValueError(f"it begins with {begin!r}, expected a zip archive or a pickle of tensors")
        if begin.startswith(b"PK"):
            with opened_archive(path) as archive:
                check_inflated(archive, path.stat().st_size)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of kinds of tensors that are refused by their name
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds here; a refused pickle is among them
        refused = "weights_only" in str(error) or "Unsupported global" in str(error)
        if refused and not trust:
            held = _refused_global(str(error))
            raise ModelError(
                f"'{path}' does not load with weights_only{held}: loading it would run code of the file.",
                "Save module.state_dict() best as .safetensors; or add --trust if you made that file yourself.",
            ) from None
        if not refused:
            raise ModelError(
                f"'{path}' is not a state dict that loads with weights_only: {_first_line(error).rstrip('.')}.",
                "Save module.state_dict(), not the module, best as .safetensors.",
            ) from None
    here = str(Path.cwd())
    if here not in sys.path:  # the classes of a pickled module are looked for in the current folder too
        sys.path.insert(0, here)
    try:
        return torch.load(path, map_location="cpu", weights_only=False)
    except Exception as error:  # whatever unpickling of foreign classes raises
        raise ModelError(
            f"unpickling '{path}' failed: {type(error).__name__}: {error}.",
            "Run it where its classes can be imported, or save module.state_dict().",
        ) from None


def torch_archive(path: Path) -> str | None:
    """``"a TorchScript program"`` or ``"a torch.export program"`` for such a file, else None."""
    try:
        if not zipfile.is_zipfile(path):
            return None
        with opened_archive(path) as archive:
            names = [name.split("/", 1)[-1] for name in archive.namelist()[:4096]]
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):  # ValueError: names that are no text
        return None
    if any(name.startswith("code/") for name in names) and "constants.pkl" in names:
        return "a TorchScript program"
    if any(name.endswith(("serialized_exported_program.json", "archive_format")) for name in names):
        return "a torch.export program"
    return None


def _refused_global(message: str) -> str:
    """Which class the file asks for, out of torch's message."""
    for mark in ("GLOBAL ", "global "):
        if mark in message:
            name = message.split(mark, 1)[1].split()[0].strip("`'\",.")
            if name and name != "was":
                return f" (it holds a {name})"
    return ""


def _plain(name: str, tensor: Tensor, path: Path) -> Tensor:
    """Return a dense tensor of a type that torch computes with."""
    kind = (
        "a meta tensor, which has a shape and no values"
        if tensor.is_meta
        else "a nested tensor"
        if tensor.is_nested
        else "a quantized tensor"
        if tensor.is_quantized
        else f"a sparse tensor ({tensor.layout})"
        if tensor.layout != torch.strided
        else "a tensor of complex numbers"
        if tensor.is_complex()
        else f"a tensor of {str(tensor.dtype).removeprefix('torch.')}, which are no numbers"
        if "bits" in str(tensor.dtype)
        else None
    )
    if kind is not None:
        raise ModelError(f"'{name}' of '{path}' is {kind}, expected a dense tensor of real numbers.", _DENSE)
    if tensor.is_floating_point() and tensor.element_size() == 1:
        try:
            return tensor.to(torch.float32)
        except (RuntimeError, NotImplementedError) as error:
            raise ModelError(
                f"'{name}' of '{path}' has the type {tensor.dtype}, which cannot be read: {_first_line(error)}.",
                "Save it as float32.",
            ) from None
    return tensor


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
