"""Teachers from programs of torch: ``torch.export`` (.pt2), TorchScript, and pickled modules that are trusted."""

from __future__ import annotations

import contextlib
import logging
import pickle
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import ModelError
from ...io.words import counted
from ..outputs import Outputs
from .program_code import UnsafeProgram, safe_program, safe_script

__all__ = ["FixedBatch", "read_program", "read_torchscript"]


class FixedBatch(nn.Module):
    """A program that takes batches of one size only: rows are handed over in such pieces, the last one filled up."""

    def __init__(self, module: nn.Module, batch: int, outputs: Outputs):
        super().__init__()
        self.module, self.batch, self.outputs = module, batch, outputs

    def forward(self, x: Tensor) -> Tensor:  # [n, d] -> [n, o]
        parts = []
        for part in x.split(self.batch):
            short = self.batch - len(part)
            full = torch.cat([part, part[-1:].expand(short, *part.shape[1:])]) if short else part
            parts.append(self.outputs(self.module(full), self.batch)[: len(part)])
        return torch.cat(parts)


def read_program(path: str | Path, outputs: Outputs, *, trust: bool = False) -> nn.Module:
    """The module of a ``torch.export`` program.

    Raises
    ------
    ModelError
        Not one, made by an incompatible version of torch, or with several inputs.
    """
    try:
        # It logs a traceback for a damaged file before it raises.
        with _silent("torch.export"), contextlib.nullcontext() if trust else _without_pickles():
            program = torch.export.load(str(path) if trust else safe_program(Path(path)))
        module = program.module()
        module.train = lambda mode=True: module  # it was exported in one mode, and refuses to switch
        module.eval = lambda: module
    except (_Pickle, UnsafeProgram) as error:
        raise ModelError(
            f"the program '{path}' holds {error}, and loading it could run code of the file.",
            "Export it again without that; or add --trust if you made that file yourself.",
        ) from None
    except Exception as error:  # a damaged archive, operators of a library that is absent, another version
        raise ModelError(
            f"'{path}' is not a torch.export program that torch {torch.__version__} reads: {_first_line(error)}.",
            "Save it again with torch.export.save, or give ONNX.",
        ) from None
    values = [node.meta["val"] for node in program.graph.nodes if node.op == "placeholder" and _is_input(program, node)]
    tensors = [value for value in values if isinstance(value, Tensor)]
    if len(tensors) != 1 or tensors[0].ndim < 2:
        shapes = ", ".join(str(list(v.shape)) for v in tensors)
        raise ModelError(
            f"the program '{path}' takes {counted(len(tensors), 'input')} ({shapes}), "
            "expected one of shape [n, inputs].",
            "Export a module that takes one tensor of rows.",
        )
    module.features = tensors[0].shape[1] if isinstance(tensors[0].shape[1], int) else None
    module.dtype = tensors[0].dtype
    batch = tensors[0].shape[0]
    if isinstance(batch, int):
        fixed = FixedBatch(module, batch, outputs)
        fixed.features, fixed.dtype = module.features, module.dtype
        return fixed
    return module


class _Pickle(Exception):
    """A pickle in a program, of what is neither plain data nor a tensor."""


_LOADING = threading.Lock()


@contextlib.contextmanager
def _without_pickles() -> Iterator[None]:
    """``torch.export.load`` unpickles weights, constants and sample inputs whatever they hold: here only tensors."""
    load, loads, load_object = torch.load, pickle.loads, torch._C._pickle_load_obj
    found: list[_Pickle] = []

    def tensors(*arguments: Any, **options: Any) -> Any:
        try:
            return load(*arguments, **{**options, "weights_only": True})
        except pickle.UnpicklingError:
            found.append(_Pickle("a pickle of more than tensors"))
            raise found[-1] from None

    def refuse(*arguments: Any, **options: Any) -> Any:
        found.append(_Pickle("a pickled object"))
        raise found[-1]

    with _LOADING:
        torch.load, pickle.loads, torch._C._pickle_load_obj = tensors, refuse, refuse
        try:
            yield
        except Exception:
            if found:  # whatever became of it on its way out
                raise found[0] from None
            raise
        finally:
            torch.load, pickle.loads, torch._C._pickle_load_obj = load, loads, load_object


@contextlib.contextmanager
def _silent(name: str) -> Iterator[None]:
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


def _is_input(program: Any, node: Any) -> bool:
    return node.name in program.graph_signature.user_inputs


def read_torchscript(path: str | Path, *, trust: bool = False) -> nn.Module:
    """A TorchScript program on the CPU; :class:`ModelError` for a damaged one, or one whose code touches files."""
    try:
        return torch.jit.load(str(path) if trust else safe_script(Path(path)), map_location="cpu")
    except UnsafeProgram as error:
        raise ModelError(
            f"the program '{path}' holds {error}, which can read and write files.",
            "Save it again without that; or add --trust if you made that file yourself.",
        ) from None
    except Exception as error:  # a damaged archive, custom operators that are absent
        raise ModelError(
            f"'{path}' is not a TorchScript program that loads here: {_first_line(error)}.",
            "Save it again with torch.jit.save, or export it with torch.export or to ONNX.",
        ) from None


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__
