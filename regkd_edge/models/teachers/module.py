"""Teachers from a torch module that is at hand."""

from __future__ import annotations

import copy
from typing import Any

from torch import nn

from ...data import Scalers
from ...errors import ModelError
from ..teacher import Teacher

__all__ = ["from_module"]

# Layers that answer otherwise while they train.
_MODES = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._BatchNorm)


def from_module(
    module: nn.Module, scalers: Scalers | None = None, units: str = "raw", extra: dict[str, Any] | None = None
) -> Teacher:
    """A copy of ``module`` as a teacher; the module itself is left as it is.

    Raises
    ------
    ModelError
        The module is in training mode and would answer otherwise in evaluation mode, or its weights are not there.
    """
    away = {str(t.device) for t in (*module.parameters(), *module.buffers()) if t.device.type == "meta"}
    if away:
        raise ModelError(
            f"the weights of this {type(module).__name__} are on the device 'meta': they have shapes and no values.",
            "Load its weights first (module.to_empty and load_state_dict).",
        )
    moody = next((m for m in module.modules() if m.training and isinstance(m, _MODES) and getattr(m, "p", 1) > 0), None)
    if moody is not None:
        raise ModelError(
            f"this {type(module).__name__} is in training mode and has a {type(moody).__name__}, which answers "
            "otherwise in evaluation mode.",
            "Call module.eval() first.",
        )
    return Teacher(copy.deepcopy(module), scalers, units, type(module).__name__, extra=extra)
