"""Weights files: safetensors and ``torch.save`` archives, read without executing or believing anything in them."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import ModelError
from ..io.arrays import check_inflated
from ..io.limits import TABLE_BYTES
from ..io.reading import tensors_problem
from ..io.regular import file_problem

__all__ = ["read_tensors"]

_DENSE = "Save a dense state dict: {name: t.detach().cpu() for name, t in module.state_dict().items()}."


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file, or of a ``torch.save`` file read with ``weights_only``.

    A dictionary with one entry ``state_dict`` or ``model_state_dict`` of tensors (a usual checkpoint) is unwrapped.
    Float8 tensors become float32, which holds them exactly.

    Raises
    ------
    ModelError
        No such file, not readable, damaged, no state dict, or a tensor without values of its own (sparse, meta, nested,
        quantized), by its name.
    """
    path = Path(path)
    if not path.exists():
        raise ModelError(
            f"no weights file '{path}'.", "Give a .safetensors file, or a .pt that torch.save wrote of a state dict."
        )
    problem = file_problem(path, TABLE_BYTES)
    if problem is not None:
        raise ModelError(f"the weights file '{path}' cannot be read: {problem}.", "Give a readable file.")
    content = _safetensors(path) if path.suffix == ".safetensors" else _saved(path)
    return {name: _plain(name, tensor, path) for name, tensor in content.items()}


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


def _saved(path: Path) -> dict[str, Tensor]:
    try:
        with open(path, "rb") as stream:
            begin = stream.read(4)
        if not begin.startswith((b"PK", b"\x80")):  # the tar form of torch before 0.4 is not read
            raise ValueError(f"it begins with {begin!r}, expected a zip archive or a pickle of tensors")
        if begin.startswith(b"PK"):
            with zipfile.ZipFile(path) as archive:
                check_inflated(archive, path.stat().st_size)
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds here; a refused pickle is among them
        raise ModelError(
            f"'{path}' is not a state dict that loads with weights_only: {_first_line(error)}",
            "Save module.state_dict(), not the module, best as .safetensors.",
        ) from None
    for key in ("state_dict", "model_state_dict"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(isinstance(t, Tensor) for t in content.values()):
        raise ModelError(
            f"'{path}' holds {type(content).__name__}, expected a state dict (names to tensors).",
            "Save module.state_dict().",
        )
    return {str(name): tensor for name, tensor in content.items()}


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
        else None
    )
    if kind is not None:
        raise ModelError(f"'{name}' of '{path}' is {kind}, expected a dense tensor.", _DENSE)
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
