"""Tensors of weights files: dense numbers of any type are read, what has no values of its own is named."""

from __future__ import annotations

import warnings

import pytest
import torch
from safetensors.torch import save_file

from regkd_edge.errors import ModelError
from regkd_edge.models.weights import read_tensors

W = torch.linspace(-3, 3, 12).reshape(3, 4)
FLOAT8 = [torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz]


@pytest.mark.parametrize("kind", FLOAT8, ids=str)
def test_float8_becomes_float32_of_the_same_values(tmp_path, kind):
    stored = W.to(kind)
    torch.save({"w": stored}, tmp_path / "w.pt")
    read = [read_tensors(tmp_path / "w.pt")["w"]]
    if kind in FLOAT8[:2]:  # the two that safetensors has
        save_file({"w": stored}, tmp_path / "w.safetensors")
        read.append(read_tensors(tmp_path / "w.safetensors")["w"])
    for w in read:
        assert w.dtype == torch.float32
        assert torch.equal(w.to(kind).view(torch.uint8), stored.view(torch.uint8))  # nothing was rounded
        assert (w - W).abs().max() <= 3 * 2.0**-3  # 2 or 3 bits of mantissa


def _without_values():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # these kinds are experimental in torch
        return {
            "sparse": W.to_sparse(),
            "sparse rows": W.to_sparse_csr(),
            "meta": torch.empty(3, 4, device="meta"),
            "nested": torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
            "nested, jagged": torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=torch.jagged),
            "quantized": torch.quantize_per_tensor(W, 0.1, 0, torch.qint8),
            "quantized by channel": torch.quantize_per_channel(W, torch.ones(3), torch.zeros(3), 0, torch.qint8),
            "complex": W.to(torch.complex64),
            "bits": W.to(torch.float8_e4m3fn).view(torch.bits8),
        }


@pytest.mark.parametrize("name", _without_values())
@pytest.mark.parametrize("checkpoint", [False, True], ids=["alone", "checkpoint"])
def test_what_is_no_dense_tensor_is_refused_by_its_name(tmp_path, name, checkpoint):
    state = {"0.weight": _without_values()[name], "0.bias": torch.zeros(3)}
    torch.save({"epoch": 3, "state_dict": state} if checkpoint else state, tmp_path / "w.pt")
    with pytest.raises(
        ModelError, match=f"'0.weight' of .* is a .*{name.split()[0].strip(',')}.*expected a dense"
    ) as refused:
        read_tensors(tmp_path / "w.pt")
    assert "state_dict().items()" in refused.value.remedy


@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
def test_a_file_that_may_not_be_read(tmp_path, permissions, name):
    path = tmp_path / name
    path.write_bytes(b"PK")
    path.chmod(0)
    with pytest.raises(ModelError, match="cannot be read: Permission denied"):
        read_tensors(path)
