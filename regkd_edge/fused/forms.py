"""Networks in the form that the fused core takes, where they are MLPs in disguise."""

from __future__ import annotations

import torch
from torch import nn

from ..models.mlp import is_plain
from ..objectives import is_differentiable
from ..objectives.networks import Network

__all__ = ["core_forms"]

# Layers that answer differently while they train.
_MODES = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._BatchNorm)


def core_forms(
    student: nn.Module, teacher: Network | None, inputs: int | None = None
) -> tuple[nn.Module, Network | None]:
    """Return student and teacher as MLPs where they are equal to one, else as they are.

    A student (``nn.Sequential`` of linear layers and one activation) shares its weights with the result, so that
    training one trains the other. A teacher is folded: normalization and scaling go into its linear layers, and the
    result was compared with it on random rows.

    Parameters
    ----------
    inputs : int, optional
        Number of features, where the rows tell it.
    """
    if is_plain(student) and (is_plain(teacher) or not isinstance(teacher, nn.Module)):
        return student, teacher
    # Late: what converts needs more packages than the core, which
    # tools/gpu_check runs with torch, NumPy and pydantic alone.
    from ..models.convert import shared_mlp

    return shared_mlp(student) or student, _folded(teacher, inputs)


def _folded(teacher: Network | None, inputs: int | None) -> Network | None:
    if not isinstance(teacher, nn.Module) or is_plain(teacher) or not is_differentiable(teacher):
        return teacher
    from ..models.convert import as_mlp, shared_mlp
    from ..models.space import InStandardizedSpace

    if isinstance(teacher, InStandardizedSpace):  # a Teacher looked for an MLP in it already, with its rows
        return teacher
    modules = list(teacher.modules())
    if any(m._forward_hooks or m._forward_pre_hooks for m in modules):
        return teacher
    if any(m.training and isinstance(m, _MODES) for m in modules):
        return teacher
    plain = shared_mlp(teacher)
    if plain is not None:
        return plain
    parameter = next(teacher.parameters(), None)
    if parameter is None or parameter.dtype != torch.float32:
        return teacher
    mlp = as_mlp(teacher, inputs)
    return teacher if mlp is None else mlp.to(parameter.device).requires_grad_(False)
