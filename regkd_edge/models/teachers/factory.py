"""Teachers from a Python factory: ``package.module:factory`` or ``path/to/file.py:factory``, weights in a file."""

from __future__ import annotations

import copy
import importlib
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from ...config.sources import factory_of
from ...errors import ModelError
from ..state_dict import FoundWeights, fill
from ..teacher import Teacher
from .callables import ArrayFunction
from .estimator_networks import with_network

__all__ = ["from_factory", "imported"]

_FORM = "Write it as package.module:factory, importable from the current folder, or path/to/file.py:factory."


def from_factory(
    name: str, units: str = "raw", weights: FoundWeights | None = None, where: str = "", output: str | None = None
) -> Teacher:
    """Import a factory, call it, and fill in its weights.

    Parameters
    ----------
    name : str
        ``package.module:factory`` (looked for in the current folder too) or ``path/to/file.py:factory``. It returns a
        module, a regressor with ``predict`` or a function on arrays; or a pair of one of these and its scaler.
    units : ``"raw"`` or ``"standardized"``
        What the module takes and gives.
    weights : FoundWeights, optional
        Its state dict, and ``where`` it came from.
    output : str, optional
        Which of several outputs holds the predictions.

    Returns
    -------
    Teacher
        ``found`` lists where its own scaler may be: returned beside the module, in the weights, the module, the file.

    Raises
    ------
    ModelError
        A factory that cannot be imported or called, or that returns neither a module nor a regressor; a state dict
        with different keys or shapes.
    """
    parts = factory_of(name)
    if parts is None:
        raise ModelError(f"'{name}' does not name a factory.", _FORM)
    place, attribute = parts
    package = imported(place)
    try:
        factory = getattr(package, attribute)
    except AttributeError as error:
        raise ModelError(f"the factory '{name}' was not found: {error}.", _FORM) from error
    module, beside = _parted(_made(factory, name))
    if not isinstance(module, nn.Module):
        if not callable(module) and not hasattr(module, "predict"):
            raise ModelError(
                f"'{name}' returned {type(module).__name__}, expected a torch.nn.Module.",
                "Return the module itself, or a regressor with predict(x), or a function on arrays.",
            )
        module = ArrayFunction(module)
    notes = [] if weights is None else [*weights.notes, *fill(module, weights.tensors, where)]
    shown = f"{Path(place).name}:{attribute}" if place.endswith(".py") else name
    teacher = Teacher(module, None, units, f"factory {shown}", factory=name, output=output)
    with_network(teacher)
    teacher.notes += notes
    teacher.found = [(f"what '{shown}' returns", part) for part in beside]
    if weights is not None:
        lacking = {k: t for k, t in weights.tensors.items() if k not in module.state_dict()}
        teacher.found += [(where, lacking), (where, weights.beside)]
    teacher.found += [("the module", module), (f"'{Path(place).name}'", _namespace(package))]
    return teacher


def _made(factory: Any, name: str) -> Any:
    """What the factory gives; an object that is a teacher already is taken as it is."""
    if isinstance(factory, nn.Module) or (hasattr(factory, "predict") and not isinstance(factory, type)):
        return copy.deepcopy(factory)
    try:
        return factory()
    except (Exception, SystemExit) as error:  # the user's own code
        raise ModelError(
            f"calling '{name}' failed: {type(error).__name__}: {error}.",
            "A factory takes no arguments and returns a torch module.",
        ) from error


def _parted(made: Any) -> tuple[Any, list[Any]]:
    """The network, and what was returned beside it: ``(module, scaler)``, ``(module, x_scaler,
    y_scaler)``, or a dict."""
    if isinstance(made, dict):
        keys = [key for key, value in made.items() if isinstance(value, nn.Module) or hasattr(value, "predict")]
        if len(keys) == 1:
            return made[keys[0]], [{k: v for k, v in made.items() if k != keys[0]}]
    if isinstance(made, (tuple, list)) and made and (isinstance(made[0], nn.Module) or hasattr(made[0], "predict")):
        rest = list(made[1:])
        return made[0], [rest[0] if len(rest) == 1 else tuple(rest)] if rest else []
    return made, []


def _namespace(package: ModuleType) -> dict[str, Any]:
    return {key: value for key, value in vars(package).items() if not key.startswith("_")}


def imported(place: str) -> ModuleType:
    """A module by its dotted name or by its file; :class:`ModelError` for what cannot be imported."""
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        if not place.endswith(".py"):
            return importlib.import_module(place)
        path = Path(place).expanduser()
        if not path.is_file():
            raise ModelError(f"no file '{place}'.", _FORM)
        folder = str(path.resolve().parent)
        if folder not in sys.path:  # what the file imports lies beside it
            sys.path.insert(0, folder)
        known = sys.modules.get(path.stem)
        if known is not None and getattr(known, "__file__", None) == str(path.resolve()):
            return known
        spec = importlib.util.spec_from_file_location(path.stem, path.resolve())
        module = importlib.util.module_from_spec(spec)
        if known is None:  # pickles and dataclasses look their module up
            sys.modules[path.stem] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            if sys.modules.get(path.stem) is module:
                del sys.modules[path.stem]
            raise
        return module
    except ModelError:
        raise
    except ModuleNotFoundError as error:
        raise ModelError(
            f"the factory's module '{place}' cannot be imported: no module named '{error.name}'.", _FORM
        ) from error
    except (Exception, SystemExit) as error:  # the user's own code: whatever it raises is the cause
        raise ModelError(f"importing '{place}' failed: {type(error).__name__}: {error}.", "Fix that module.") from error
