"""Teachers from a Python factory: ``package.module:factory``, with its weights in a file."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping

from torch import Tensor, nn

from ...errors import ModelError
from ..store import fill
from ..teacher import Teacher
from .callables import ArrayFunction

__all__ = ["from_factory"]


def from_factory(
    name: str, units: str = "raw", tensors: Mapping[str, Tensor] | None = None, where: str = ""
) -> Teacher:
    """Import ``package.module:factory``, call it, and fill in its weights.

    Parameters
    ----------
    name : str
        The factory; its module is looked up in the current folder too.
    units : ``"raw"`` or ``"standardized"``
        Units of the module's inputs and outputs.
    tensors : mapping of str to Tensor, optional
        Its state dict, and ``where`` it came from.

    Raises
    ------
    ModelError
        A factory that cannot be imported or called, or that returns neither a module nor a regressor; a state dict
        with different keys or shapes.
    """
    package, _, attribute = name.partition(":")
    form = "Write it as package.module:factory, importable from the current folder."
    if not package or not attribute.isidentifier():
        raise ModelError(f"'{name}' does not name a factory.", form)
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        factory = getattr(importlib.import_module(package), attribute)
    except ModuleNotFoundError as error:
        raise ModelError(
            f"the factory's module '{package}' cannot be imported: no module named '{error.name}'.", form
        ) from error
    except AttributeError as error:
        raise ModelError(f"the factory '{name}' was not found: {error}.", form) from error
    except Exception as error:  # the user's own code may raise anything
        raise ModelError(
            f"importing '{package}' failed: {type(error).__name__}: {error}.", "Fix that module."
        ) from error
    try:
        module = factory()
    except Exception as error:  # the user's own code
        raise ModelError(
            f"calling '{name}' failed: {type(error).__name__}: {error}.",
            "A factory takes no arguments and returns a torch module.",
        ) from error
    if not isinstance(module, nn.Module):
        if not callable(module) and not hasattr(module, "predict"):
            raise ModelError(
                f"'{name}' returned {type(module).__name__}, expected a torch.nn.Module.",
                "Return the module itself, or a regressor with predict(x), or a function on arrays.",
            )
        module = ArrayFunction(module)
    if tensors is not None:
        fill(module, tensors, where)
    return Teacher(module, None, units, f"factory {name}", factory=name)
