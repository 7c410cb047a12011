"""Teachers from a torch module in memory."""

from __future__ import annotations

import contextlib
import copy
import io
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ...data import Scalers
from ...errors import ModelError
from ..teacher import Teacher

__all__ = ["from_module"]

# Layers that behave differently in training mode.
_MODES = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._BatchNorm)


def from_module(
    module: nn.Module,
    scalers: Scalers | None = None,
    units: str = "raw",
    extra: dict[str, Any] | None = None,
    output: str | None = None,
) -> Teacher:
    """Return a copy of ``module`` as a teacher; the module itself is unchanged.

    Raises
    ------
    ModelError
        The module is in training mode and would behave differently in evaluation mode, or it has no weights.
    """
    away = {str(t.device) for t in (*module.parameters(), *module.buffers()) if t.device.type == "meta"}
    if away:
        raise ModelError(
            f"the weights of this {type(module).__name__} are on the device 'meta': they have shapes but no values.",
            "Load its weights first (module.to_empty and load_state_dict).",
        )
    moody = next((m for m in module.modules() if m.training and isinstance(m, _MODES) and getattr(m, "p", 1) > 0), None)
    if moody is not None:
        raise ModelError(
            f"this {type(module).__name__} is in training mode and has a {type(moody).__name__}, which behaves "
            "differently in evaluation mode.",
            "Call module.eval() first.",
        )
    module = unwrapped(module)
    teacher = Teacher(_copy(module), scalers, units, type(module).__name__, extra=extra, output=output)
    teacher.found = [("the module", module)]
    return teacher


def unwrapped(module: nn.Module) -> nn.Module:
    """Return the network inside the wrappers of ``torch.compile``, DataParallel, DDP and averaged weights."""
    wrappers = (nn.DataParallel, nn.parallel.DistributedDataParallel, torch.optim.swa_utils.AveragedModel)
    while isinstance(module, wrappers) or hasattr(module, "_orig_mod"):
        module = module.module if isinstance(module, wrappers) else module._orig_mod
    return module


def _copy(module: nn.Module) -> nn.Module:
    if isinstance(module, torch.jit.ScriptModule):  # its own copy has parameters that cannot be frozen
        stream = io.BytesIO()
        torch.jit.save(module, stream)
        stream.seek(0)
        return torch.jit.load(stream)
    with _computed_detached(module):
        return copy.deepcopy(module)


@contextlib.contextmanager
def _computed_detached(module: nn.Module) -> Iterator[None]:
    """Tensors that a hook computed from parameters, as ``torch.nn.utils.weight_norm`` does, cannot be copied with their
    history; the hook of the copy computes them again."""
    found = [
        (m, name, value)
        for m in module.modules()
        for name, value in vars(m).items()
        if isinstance(value, Tensor) and not value.is_leaf
    ]
    for m, name, value in found:
        vars(m)[name] = value.detach()
    try:
        yield
    finally:
        for m, name, value in found:
            vars(m)[name] = value
