"""Convolutions over one or two axes: the spec, the network and the nodes that ``conv1d`` and ``conv2d`` share."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from ...errors import ModelError
from ..mlp import ACTIVATIONS
from .family import WIDEST, Cost, Family, GraphWriter, LayerCost, Spec, checked_activation, flat_shape

__all__ = ["Block", "ConvFamily", "ConvNet", "ConvSpec"]

_ELEMENT = re.compile(r"([0-9]{1,5})([xd])([0-9]{1,3})(?:/([0-9]{1,2}))?")
_POOLS = ("gap", "flat")
_KERNEL, _STRIDE, _CHANNELS = 255, 16, 4096
LAST = "channels-last"


@dataclass(frozen=True)
class Block:
    """``16x5/2``: channels out, kernel, stride; ``separable`` (``16d5/2``): depthwise, then 1x1."""

    channels: int
    kernel: int
    stride: int = 1
    separable: bool = False

    def __str__(self) -> str:
        stride = "" if self.stride == 1 else f"/{self.stride}"
        return f"{self.channels}{'d' if self.separable else 'x'}{self.kernel}{stride}"


@dataclass(frozen=True)
class ConvSpec:
    """Blocks, pooling, hidden linear layers and activation; ``str()`` gives the spec back."""

    family: str
    blocks: tuple[Block, ...]
    pool: str
    hidden: tuple[int, ...]
    activation: str
    channels_last: bool = False

    def __str__(self) -> str:
        parts = [*map(str, self.blocks), self.pool, *map(str, self.hidden)]
        return f"{self.family}:{','.join(parts)}:{self.activation}" + (f":{LAST}" if self.channels_last else "")


class ConvNet(nn.Module):
    """Convolutions with zero padding of half a kernel, pooling, linear layers: [n, d] flat -> [n, o].

    A block of stride s makes ``ceil(size / s)`` places of ``size``.
    Nothing mixes rows: there is no batch normalization.

    Parameters
    ----------
    spec : ConvSpec
    shape : tuple of int
        Of a row, as it is given: channels first, or last with ``spec.channels_last``.
    o : int
        Outputs.
    generator : torch.Generator
        Source of the initial weights: uniform in +-sqrt(3 gain / fan_in), gain 2 in front of an activation (He et al.
        2015), 1 in front of the output.
    """

    def __init__(self, spec: ConvSpec, shape: tuple[int, ...], o: int, generator: torch.Generator):
        super().__init__()
        self.spec, self.shape, self.outputs = spec, tuple(shape), o
        layer = nn.Conv1d if spec.family == "conv1d" else nn.Conv2d
        channels, *places = (shape[-1], *shape[:-1]) if spec.channels_last else shape
        self.convolutions = nn.ModuleList()
        for block in spec.blocks:
            half = block.kernel // 2
            if block.separable:
                self.convolutions.append(layer(channels, channels, block.kernel, block.stride, half, groups=channels))
                self.convolutions.append(layer(channels, block.channels, 1))
            else:
                self.convolutions.append(layer(channels, block.channels, block.kernel, block.stride, half))
            channels, places = block.channels, [-(-n // block.stride) for n in places]
        widths = [channels * (math.prod(places) if spec.pool == "flat" else 1), *spec.hidden, o]
        self.layers = nn.ModuleList(nn.Linear(m, n) for m, n in zip(widths[:-1], widths[1:]))
        with torch.no_grad():
            for one in (*self.convolutions, *self.layers):
                gain = 1.0 if one is self.layers[-1] or spec.activation == "identity" else 2.0
                bound = (3.0 * gain / one.weight[0].numel()) ** 0.5
                one.weight.uniform_(-bound, bound, generator=generator)
                one.bias.zero_()

    def forward(
        self,
        x: Tensor,  # [n, d] or [n, *shape]
    ) -> Tensor:  # [n, o]
        act = ACTIVATIONS[self.spec.activation]
        x = x.reshape(len(x), *self.shape)
        if self.spec.channels_last:
            x = x.movedim(-1, 1)
        for convolution in self.convolutions:
            x = act(convolution(x))
        x = x.flatten(2).mean(2) if self.spec.pool == "gap" else x.flatten(1)
        for linear in self.layers[:-1]:
            x = act(linear(x))
        return self.layers[-1](x)

    def extra_repr(self) -> str:
        return f"{self.spec}, shape={'x'.join(map(str, self.shape))}"


class ConvFamily(Family):
    """Convolutions over ``axes`` axes behind the channels.

    Exported form, in order: ``layout/transpose`` (Transpose, only with channels-last); per block ``block{i}/conv``, or
    ``block{i}/depthwise`` (group = channels), its activation, and ``block{i}/pointwise``, each a Conv with
    ``kernel_shape``, ``strides``, ``pads`` (half a kernel at both ends of every axis), ``group`` and a bias, then an
    activation; ``pool/average`` (GlobalAveragePool) with ``gap``; ``pool/flatten`` (Flatten, axis 1); per linear layer
    ``layer{i}/gemm`` (Gemm, transB 1) with an activation between them.
    """

    axes = 0
    words = ""

    def parse(self, text: str) -> ConvSpec:
        _, *rest = text.split(":")
        last = len(rest) == 3 and rest[2].strip() == LAST
        if len(rest) != 2 and not last:
            met = f"the layout '{rest[2].strip()}', expected {LAST}" if len(rest) == 3 else f"{len(rest)} parts"
            raise self.wrong(text, f"has {met}" + ("" if len(rest) == 3 else f" after '{self.name}', expected 2"))
        blocks: list[Block] = []
        pool, hidden = "", []
        for element in (part.strip() for part in rest[0].split(",")):
            match = _ELEMENT.fullmatch(element)
            if match and not pool and not hidden:
                blocks.append(self._block(text, element, *match.groups()))
            elif element in _POOLS and not pool and not hidden:
                pool = element
            elif element.isascii() and element.isdigit() and len(element) < 10 and 1 <= int(element) <= WIDEST:
                hidden.append(int(element))
            elif match or element in _POOLS:
                raise self.wrong(text, f"has '{element}' behind the pooling or a linear layer: convolutions come first")
            else:
                raise self.wrong(
                    text,
                    f"has the element '{element[:20]}', expected a block (16x3, 16x3/2, or 16d3/2 for a separable "
                    f"one), gap, flat, or a width from 1 to {WIDEST}",
                )
        if not blocks:
            raise self.wrong(text, "has no convolution")
        activation = checked_activation(text, rest[1])
        return ConvSpec(self.name, tuple(blocks), pool or "gap", tuple(hidden), activation, last)

    def _block(self, text: str, element: str, channels: str, kind: str, kernel: str, stride: str | None) -> Block:
        block = Block(int(channels), int(kernel), int(stride or 1), kind == "d")
        if not 1 <= block.channels <= _CHANNELS:
            raise self.wrong(text, f"has {block.channels} channels in '{element}', expected 1 to {_CHANNELS}")
        if block.kernel % 2 == 0 or block.kernel > _KERNEL:
            raise self.wrong(text, f"has the kernel {block.kernel} in '{element}', expected an odd one up to {_KERNEL}")
        if not 1 <= block.stride <= _STRIDE:
            raise self.wrong(text, f"has the stride {block.stride} in '{element}', expected 1 to {_STRIDE}")
        return block

    def shape(self, spec: Spec, shape: tuple[int, ...] | None, d: int) -> tuple[int, ...]:
        shape = flat_shape(shape, d)
        if len(shape) != self.axes + 1:
            ones = ",".join(["1", *["N"] * self.axes]) if self.axes == 2 else f"1,{d}"
            raise ModelError(
                f"network '{spec}' reads rows of shape {self.words}, and a row here has shape "
                f"{'x'.join(map(str, shape))}.",
                f"Declare the shape with --input-shape (input_shape= in Python), such as {ones} for one channel.",
            )
        return shape

    def channel_axis(self, spec: Spec) -> int:
        return -1 if cast(ConvSpec, spec).channels_last else 0

    def cost(self, spec: Spec, shape: tuple[int, ...], o: int) -> Cost:
        spec = cast(ConvSpec, spec)
        channels, *places = (shape[-1], *shape[:-1]) if spec.channels_last else shape
        layers = []

        def layer(name: str, fan_in: int, out: int, inputs: int, outputs: int) -> None:
            layers.append(LayerCost(name, (fan_in + 1) * out, fan_in * outputs, inputs, outputs))

        for i, block in enumerate(spec.blocks):
            before, taps = math.prod(places), block.kernel**self.axes
            places = [-(-n // block.stride) for n in places]
            after = math.prod(places)
            if block.separable:
                layer(f"block{i}/depthwise", taps, channels, channels * before, channels * after)
                layer(f"block{i}/pointwise", channels, block.channels, channels * after, block.channels * after)
            else:
                layer(f"block{i}/conv", taps * channels, block.channels, channels * before, block.channels * after)
            channels = block.channels
        widths = [channels * (math.prod(places) if spec.pool == "flat" else 1), *spec.hidden, o]
        for i, (m, n) in enumerate(zip(widths[:-1], widths[1:])):
            layer(f"layer{i}/gemm", m, n, m, n)
        return Cost(tuple(layers))

    def build(self, spec: Spec, shape: tuple[int, ...], o: int, generator: torch.Generator) -> ConvNet:
        return ConvNet(cast(ConvSpec, spec), shape, o, generator)

    def write(self, graph: GraphWriter, module: nn.Module, value: str) -> str:
        module = cast(ConvNet, module)
        spec, act = module.spec, module.spec.activation
        if spec.channels_last:
            order = [0, self.axes + 1, *range(1, self.axes + 1)]
            value = graph.node("Transpose", "layout/transpose", [value], perm=order)
        convolutions = iter(module.convolutions)
        for i, block in enumerate(spec.blocks):
            for part in ("depthwise", "pointwise") if block.separable else ("conv",):
                value = _convolve(graph, f"block{i}/{part}", next(convolutions), value)
                value = graph.activation(act, f"block{i}/{part}/{act}", value)
        if spec.pool == "gap":
            value = graph.node("GlobalAveragePool", "pool/average", [value])
        value = graph.node("Flatten", "pool/flatten", [value], axis=1)
        for i, linear in enumerate(module.layers):
            weight = graph.constant(f"layer{i}/weight", linear.weight.detach().cpu().numpy())
            bias = graph.constant(f"layer{i}/bias", linear.bias.detach().cpu().numpy())
            value = graph.node("Gemm", f"layer{i}/gemm", [value, weight, bias], transB=1)
            if i < len(module.layers) - 1:
                value = graph.activation(act, f"layer{i}/{act}", value)
        return value


def _convolve(graph: GraphWriter, name: str, layer: Any, value: str) -> str:
    weight = graph.constant(f"{name}/weight", layer.weight.detach().cpu().numpy())
    bias = graph.constant(f"{name}/bias", layer.bias.detach().cpu().numpy())
    return graph.node(
        "Conv",
        name,
        [value, weight, bias],
        kernel_shape=list(layer.kernel_size),
        strides=list(layer.stride),
        pads=[*layer.padding, *layer.padding],
        dilations=[1] * len(layer.kernel_size),
        group=layer.groups,
    )
