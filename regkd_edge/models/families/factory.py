"""``factory:package.module:make``: a student of the user's own, a torch module that a factory returns.

The factory is called as ``make(input_shape, outputs)`` and returns a module from [n, *input_shape] to [n, outputs]
whose rows do not mix. Its graph is what PyTorch's exporter makes of it.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from ...config.sources import factory_of
from ...errors import ModelError, UserError
from .family import Cost, Family, GraphWriter, LayerCost, Spec, flat_shape

__all__ = ["FAMILY", "FactoryNet", "FactorySpec"]


@dataclass(frozen=True)
class FactorySpec:
    """Where the factory is; ``str()`` gives the spec back."""

    factory: str
    family = "factory"

    def __str__(self) -> str:
        return f"factory:{self.factory}"


class FactoryNet(nn.Module):
    """A module of the user's behind a reshape: [n, d] flat -> [n, o]."""

    def __init__(self, spec: FactorySpec, shape: tuple[int, ...], o: int, module: nn.Module):
        super().__init__()
        self.spec, self.shape, self.outputs, self.module = spec, tuple(shape), o, module

    def forward(
        self,
        x: Tensor,  # [n, d] or [n, *shape]
    ) -> Tensor:  # [n, o]
        return self.module(x.reshape(len(x), *self.shape))

    def extra_repr(self) -> str:
        return f"{self.spec}, shape={'x'.join(map(str, self.shape))}"


class _Factory(Family):
    """Rows of any shape. Exported form: the nodes of PyTorch's exporter, their names behind ``module/``."""

    name = "factory"
    form = "factory:package.module:make or factory:path/to/file.py:make"

    def parse(self, text: str) -> FactorySpec:
        rest = text.partition(":")[2].strip()
        if factory_of(rest) is None:
            raise self.wrong(text, "does not name a factory")
        return FactorySpec(rest)

    def shape(self, spec: Spec, shape: tuple[int, ...] | None, d: int) -> tuple[int, ...]:
        return flat_shape(shape, d)

    def cost(self, spec: Spec, shape: tuple[int, ...], o: int) -> Cost:
        """Parameters alone: what its layers do is the module's own business."""
        with torch.random.fork_rng(devices=[]):
            parameters = sum(p.numel() for p in _made(cast(FactorySpec, spec), shape, o).parameters())
        return Cost((LayerCost("module", parameters, 0, math.prod(shape), o),))

    def build(self, spec: Spec, shape: tuple[int, ...], o: int, generator: torch.Generator) -> FactoryNet:
        spec = cast(FactorySpec, spec)
        with torch.random.fork_rng(devices=[]):  # the module draws its weights from PyTorch's own generator
            torch.manual_seed(generator.initial_seed())
            module = _made(spec, shape, o)
        _require_answers(spec, module, shape, o)
        return FactoryNet(spec, shape, o, module)

    def write(self, graph: GraphWriter, module: nn.Module, value: str) -> str:
        module = cast(FactoryNet, module)
        return graph.traced(copy.deepcopy(module.module).cpu().eval(), module.shape, "module", value)


def _made(spec: FactorySpec, shape: tuple[int, ...], o: int) -> nn.Module:
    from ..teachers.factory import imported

    place, attribute = cast("tuple[str, str]", factory_of(spec.factory))
    make: Callable[..., Any] | None = getattr(imported(place), attribute, None)
    if make is None:
        raise ModelError(f"'{place}' has no '{attribute}'.", f"Write it as {FAMILY.form}.")
    try:
        module = make(tuple(shape), o)
    except UserError:
        raise
    except (Exception, SystemExit) as error:  # the user's own code
        raise ModelError(
            f"calling '{spec.factory}' failed: {type(error).__name__}: {error}.",
            "A student's factory takes (input_shape, outputs) and returns a torch module.",
        ) from error
    if not isinstance(module, nn.Module):
        raise ModelError(
            f"'{spec.factory}' returned {type(module).__name__}, expected a torch.nn.Module.", "Return the module."
        )
    return module


def _require_answers(spec: FactorySpec, module: nn.Module, shape: tuple[int, ...], o: int) -> None:
    """Refuse a module that does not take these rows, or whose rows mix."""
    x = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    try:
        with torch.no_grad():
            y = module.eval()(x)
            alone = module(x[:1])
    except (Exception, SystemExit) as error:  # the user's own code
        raise ModelError(
            f"the student of '{spec.factory}' fails on rows of shape {'x'.join(map(str, shape))}: "
            f"{str(error).splitlines()[0] if str(error) else type(error).__name__}.",
            "It takes [n, *input_shape] and returns [n, outputs].",
        ) from error
    if not isinstance(y, Tensor) or list(y.shape) != [3, o]:
        met = list(y.shape) if isinstance(y, Tensor) else type(y).__name__
        raise ModelError(f"the student of '{spec.factory}' returned {met}, expected [3, {o}].", "Return [n, outputs].")
    if not torch.allclose(y[:1], alone, rtol=1e-3, atol=1e-5):
        raise ModelError(
            f"the student of '{spec.factory}' answers a row otherwise among others.", "Leave out what mixes rows."
        )
    moody = next((m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)), None)
    if moody is not None:
        raise ModelError(
            f"the student of '{spec.factory}' has a {type(moody).__name__}, which mixes rows while it trains.",
            "Use GroupNorm or no normalization.",
        )


FAMILY = _Factory()
