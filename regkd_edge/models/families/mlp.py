"""``mlp:64,64:tanh``: linear layers on a flat row, the family that the fused core trains and the C header runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import nn

from ...io.words import counted
from ..mlp import MLP
from .family import WIDEST, Cost, Family, GraphWriter, LayerCost, Spec, checked_activation

__all__ = ["FAMILY", "MLPSpec"]


@dataclass(frozen=True)
class MLPSpec:
    """Hidden widths and activation of an MLP; ``str()`` gives the spec back."""

    hidden: tuple[int, ...]
    activation: str
    family = "mlp"

    def __str__(self) -> str:
        return f"mlp:{','.join(map(str, self.hidden))}:{self.activation}"


class _MLP(Family):
    """Rows of d numbers; an image or a signal is read flat.

    Exported form: ``layer{i}/gemm`` (Gemm, transB 1) and ``layer{i}/ACTIVATION`` between them.
    """

    name = "mlp"
    form = "mlp:WIDTHS:ACTIVATION, such as mlp:64,64:tanh"

    def parse(self, text: str) -> MLPSpec:
        _, *rest = text.split(":")
        if len(rest) != 2:
            raise self.wrong(text, f"has {counted(len(rest), 'part')} after 'mlp', expected 2 (widths and activation)")
        widths = [width.strip() for width in rest[0].split(",")]
        for width in widths:
            if not (width.isascii() and width.isdigit() and len(width) < 10 and 1 <= int(width) <= WIDEST):
                raise self.wrong(text, f"has the width '{width[:20]}', expected whole numbers from 1 to {WIDEST}")
        return MLPSpec(tuple(int(width) for width in widths), checked_activation(text, rest[1]))

    def shape(self, spec: Spec, shape: tuple[int, ...] | None, d: int) -> tuple[int, ...]:
        return (d,)

    def cost(self, spec: Spec, shape: tuple[int, ...], o: int) -> Cost:
        widths = [shape[0], *cast(MLPSpec, spec).hidden, o]
        pairs = enumerate(zip(widths[:-1], widths[1:]))
        return Cost(tuple(LayerCost(f"layer{i}/gemm", (m + 1) * n, m * n, m, n) for i, (m, n) in pairs))

    def build(self, spec: Spec, shape: tuple[int, ...], o: int, generator: torch.Generator) -> MLP:
        spec = cast(MLPSpec, spec)
        return MLP([shape[0], *spec.hidden, o], spec.activation, generator=generator)

    def write(self, graph: GraphWriter, module: nn.Module, value: str) -> str:
        module = cast(MLP, module)
        for i, layer in enumerate(module.layers):
            weight = graph.constant(f"layer{i}/weight", layer.weight.detach().cpu().numpy())
            bias = graph.constant(f"layer{i}/bias", layer.bias.detach().cpu().numpy())
            value = graph.node("Gemm", f"layer{i}/gemm", [value, weight, bias], transB=1)
            if i < len(module.layers) - 1:
                value = graph.activation(module.activation, f"layer{i}/{module.activation}", value)
        return value


FAMILY = _MLP()
