"""Teachers from a torch module in memory."""

from __future__ import annotations

import copy
from typing import Any

from torch import nn

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
    teacher = Teacher(copy.deepcopy(module), scalers, units, type(module).__name__, extra=extra, output=output)
    teacher.found = [("the module", module)]
    return teacher
