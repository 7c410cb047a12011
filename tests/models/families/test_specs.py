"""Specs of every family: how they are read and printed, what is refused, what a network costs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from regkd_edge.errors import ModelError
from regkd_edge.io import memory
from regkd_edge.models import FAMILIES, build, cost_of, family_of, parse_spec, shape_for

# spec, shape of a row: one of every form
NETWORKS = [
    ("conv1d:6x5/2:relu", (2, 31)),
    ("conv1d:6x5/3,8d7/2,gap,12:gelu", (2, 50)),
    ("conv1d:4x3,flat:tanh:channels-last", (20, 3)),
    ("conv2d:4x3,8d3/2,flat,16:silu", (2, 9, 7)),
    ("conv2d:4x1,gap:elu", (1, 8, 8)),
    ("conv2d:4x5/4:softplus:channels-last", (9, 7, 3)),
    ("gru:7", (20, 3)),
    ("gru:5,7:channels-first", (3, 20)),
    ("mlp:8:relu", (2, 5)),
]


@pytest.mark.parametrize(("text", "shape"), NETWORKS)
def test_a_spec_reads_prints_and_builds_what_it_says(text, shape):
    spec = parse_spec(f" {text} ")
    assert parse_spec(str(spec)) == spec and parse_spec(spec) is spec
    d = int(np.prod(shape))
    network = build(text, d, 2, 3, shape=shape)
    again, other = build(text, d, 2, 3, shape=shape), build(text, d, 2, 4, shape=shape)
    x = torch.randn(5, d, generator=torch.Generator().manual_seed(0))
    assert network(x).shape == (5, 2)
    if spec.family != "mlp":
        assert torch.equal(network(x), network(x.reshape(5, *shape)))
    assert torch.allclose(network(x)[2:3], network(x[2:3]), atol=1e-6)  # rows do not mix
    assert torch.equal(network(x), again(x)) and not torch.equal(network(x), other(x))
    assert cost_of(text, d, 2, shape).parameters == sum(p.numel() for p in network.parameters())


def test_multiply_adds_and_memory_are_those_of_the_layers():
    """By hand: 8x8 -> 4 channels 8x8 -> depthwise 4x4 -> 6 channels 4x4 -> 6 numbers -> 1."""
    cost = cost_of("conv2d:4x3,6d3/2,gap:relu", 64, 1, (1, 8, 8))
    assert [layer.multiply_adds for layer in cost.layers] == [9 * 4 * 64, 9 * 4 * 16, 4 * 6 * 16, 6]
    assert cost.parameters == (9 + 1) * 4 + (9 + 1) * 4 + (4 + 1) * 6 + 7
    assert cost.peak_numbers == max(64 + 256, 256 + 64, 64 + 96)
    gru = cost_of("gru:8", 60, 1, (20, 3))
    assert gru.multiply_adds == 20 * 3 * 8 * (3 + 8) + 8 and gru.parameters == 3 * 8 * 11 + 6 * 8 + 9


def test_the_gru_follows_its_equations():
    network = build("gru:4", 15, 1, 0, shape=(5, 3))
    layer = network.recurrent[0]
    x = torch.randn(6, 5, 3)
    (wr, wz, wn), (rr, rz, rn) = layer.weight_ih_l0.chunk(3), layer.weight_hh_l0.chunk(3)
    (br, bz, bn), (cr, cz, cn) = layer.bias_ih_l0.chunk(3), layer.bias_hh_l0.chunk(3)
    h = torch.zeros(6, 4)
    for t in range(5):
        r = torch.sigmoid(x[:, t] @ wr.T + br + h @ rr.T + cr)
        z = torch.sigmoid(x[:, t] @ wz.T + bz + h @ rz.T + cz)
        n = torch.tanh(x[:, t] @ wn.T + bn + r * (h @ rn.T + cn))
        h = (1 - z) * n + z * h
    assert torch.allclose(network(x.flatten(1)), network.layers[-1](h), atol=1e-6)


def test_channels_last_reads_the_same_image_turned():
    first, last = (
        build(f"conv2d:3x3:relu{end}", 126, 1, 0, shape=shape)
        for end, shape in (("", (2, 9, 7)), (":channels-last", (9, 7, 2)))
    )
    x = torch.randn(4, 2, 9, 7)
    assert torch.allclose(first(x.flatten(1)), last(x.movedim(1, -1).flatten(1)), atol=1e-6)


def test_columns_of_a_channel_are_known():
    channels = lambda text, shape: family_of(text).channels(parse_spec(text), shape)
    assert channels("mlp:4:relu", (6,)) is None
    assert channels("conv1d:4x3:relu", (2, 3)).tolist() == [0, 0, 0, 1, 1, 1]
    assert channels("conv1d:4x3:relu:channels-last", (3, 2)).tolist() == [0, 1, 0, 1, 0, 1]
    assert channels("gru:4", (3, 2)).tolist() == [0, 1, 0, 1, 0, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("conv3d:8x3:relu", "kind is 'conv3d', expected mlp, conv1d, conv2d, gru, factory. Did you mean 'conv"),
        ("conv1d:16x5", "1 parts after 'conv1d', expected 2. Did you mean 'conv1d:16x5:relu'? Write it as conv1d:"),
        ("conv1d:16x4:relu", "kernel 4 in '16x4', expected an odd one"),
        ("conv1d:16x5/0:relu", "stride 0 in '16x5/0'"),
        ("conv1d:0x5:relu", "0 channels in '0x5'"),
        ("conv1d:16:relu", "has no convolution"),
        ("conv1d:gap,16:relu", "has no convolution"),
        ("conv2d:16x3,32,8x3:relu", "'8x3' behind the pooling or a linear layer"),
        ("conv2d:16x3,gap,flat:relu", "'flat' behind the pooling"),
        ("conv2d:16x3,big:relu", "element 'big', expected a block"),
        ("conv2d:16x3:rleu", "unknown activation 'rleu'. Did you mean 'conv2d:16x3:relu'? Use one of: "),
        ("conv2d:16x3:relu:rows", "layout 'rows', expected channels-last"),
        ("gru:", "has '' units"),
        ("gru:8:relu", "'relu' behind its units"),
        ("gru:8,8,8,8,8", "5 layers, expected at most 4"),
        ("factory:nothing", "does not name a factory"),
    ],
)
def test_bad_specs_are_refused(text, message):
    with pytest.raises(ModelError) as refused:
        parse_spec(text)
    assert message in str(refused.value)
    assert all(family.form for family in FAMILIES.values())


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("mlp:64,64", "mlp:64,64:relu"),
        ("mpl:64,64:rleu", "mlp:64,64:relu"),
        ("MLP:64,64:ReLU", "mlp:64,64:relu"),
        ("mlp:64-64:gelu", "mlp:64,64:gelu"),
        ("mlp:64x64:gelu_tan", "mlp:64,64:gelu_tanh"),
        ("mlp:relu:64,64", "mlp:64,64:relu"),
        ("mlp:64,64,relu", "mlp:64,64:relu"),
        ("64,64:tanh", "mlp:64,64:tanh"),
        ("conv1d:16x4/2,gap:silu", "conv1d:16x5/2,gap:silu"),
        ("conv2d:16*3,32x3/2,flaten,32:relu", "conv2d:16x3,32x3/2,flat,32:relu"),
        ("conv2d:gap,16x3,32:relu", "conv2d:16x3,gap,32:relu"),
        ("conv1d:16:relu", "conv1d:16x3:relu"),
        ("conv2d:8x3:relu:channel_last", "conv2d:8x3:relu:channels-last"),
        ("gru:32:tanh", "gru:32"),
        ("lstm:32", "gru:32"),
        ("gru:32:channels-frist", "gru:32:channels-first"),
        ("factory:nothing", None),
        ("transformer:8", None),
        ("gru:8,8,8,8,8", None),
    ],
)
def test_the_nearest_spec_that_can_be_read_is_named(text, meant):
    with pytest.raises(ModelError) as refused:
        parse_spec(text)
    said = str(refused.value)
    assert (f"Did you mean '{meant}'? " in said) if meant else ("Did you mean" not in said), said
    assert meant is None or str(parse_spec(meant))


@pytest.mark.parametrize(
    ("text", "shape", "message"),
    [
        ("conv2d:8x3:relu", None, "reads rows of shape channels x height x width, and a row here has shape 64"),
        ("conv2d:8x3:relu", (8, 8), "such as 1,N,N for one channel"),
        ("conv1d:8x3:relu", None, "such as 1,64 for one channel"),
        ("gru:8", None, "time x features, and a row here has shape 64"),
        ("gru:8", (1, 64), "a row of 1x64 has one time step. Use gru:8:channels-first"),
        ("gru:8:channels-first", (64, 1), "Use gru:8 if time is its other axis"),
    ],
)
def test_rows_that_do_not_fit_are_refused_with_the_way_to_declare_them(text, shape, message):
    with pytest.raises(ModelError) as refused:
        shape_for(text, 64, shape)
    assert message in str(refused.value)


def test_memory_counts_the_activations_of_a_training(monkeypatch):
    monkeypatch.setattr(memory, "available_memory", lambda: 2**30)
    with pytest.raises(ModelError, match="training conv2d:.* needs about .* GiB of memory"):
        build("conv2d:64x3,64x3:relu", 3 * 512 * 512, 1, 0, copies=5, shape=(3, 512, 512))
    assert build("conv2d:64x3,64x3:relu", 3 * 512 * 512, 1, 0, shape=(3, 512, 512)).outputs == 1
