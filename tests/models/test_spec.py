"""Network specs."""

from __future__ import annotations

import pytest
import torch

from regkd_edge.errors import ModelError
from regkd_edge.io import memory
from regkd_edge.models import ACTIVATIONS, build, parse_spec


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_a_spec_reads_and_prints_itself(activation):
    spec = parse_spec(f" mlp:64,32:{activation}")
    assert spec.hidden == (64, 32) and spec.activation == activation and str(spec) == f"mlp:64,32:{activation}"
    assert parse_spec(spec) is spec


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("conv3d:8:relu", "kind is 'conv3d', expected mlp, conv1d"),
        ("", "kind is ''"),
        ("mlp:64", "1 part after 'mlp', expected 2"),
        ("mlp:64:relu:1", "3 parts"),
        ("mlp::relu", "width ''"),
        ("mlp:64,-1:relu", "width '-1'"),
        ("mlp:64,0:relu", "width '0'"),
        ("mlp:6.5:relu", "width '6.5'"),
        ("mlp:99999999:relu", "from 1 to 65536"),
        ("mlp:64:rleu", "unknown activation 'rleu'. Did you mean 'mlp:64:relu'"),
        ("mlp:64:Sinus", "Use one of: identity, relu"),
    ],
)
def test_bad_specs_are_refused(text, message):
    with pytest.raises(ModelError, match=message):
        parse_spec(text)


def test_a_seed_fixes_the_initial_weights():
    a, b, c = build("mlp:8,4:tanh", 3, 2, 1), build("mlp:8,4:tanh", 3, 2, 1), build("mlp:8,4:tanh", 3, 2, 2)
    assert a.widths == [3, 8, 4, 2] and a(torch.zeros(5, 3)).shape == (5, 2)
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters()))
    assert not torch.equal(a.layers[0].weight, c.layers[0].weight)


@pytest.mark.parametrize("spec", ["mlp:65536,65536:relu", "mlp:65536,65536,65536:tanh"])
def test_memory_is_checked_before_it_is_taken(monkeypatch, spec):
    monkeypatch.setattr(memory, "available_memory", lambda: 8 * 2**30)
    monkeypatch.setattr(torch.Tensor, "uniform_", None)  # no weight is ever made
    with pytest.raises(ModelError, match="needs about .* GiB of memory, 8.0 GiB are available"):
        build(spec, 3, 1, 0)
    monkeypatch.undo()
    monkeypatch.setattr(memory, "available_memory", lambda: None)  # a system that does not say
    assert build("mlp:8:relu", 3, 1, 0).widths == [3, 8, 1]
