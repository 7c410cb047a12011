"""Models on disk: no pickles, and nothing that does not fit loads."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from regkd_edge.data import Scaler, Scalers
from regkd_edge.errors import ModelError, RunFolderError
from regkd_edge.io.files import file_hash
from regkd_edge.models import build, load_model, predict, save_model
from regkd_edge.models.store import read_tensors, write_tensors

SCALERS = Scalers(Scaler([1.0, 2.0, 3.0], [0.1, 1 / 3, 7.0]), Scaler([5.0, -5.0], [2.0, 3.0]))


@pytest.fixture
def folder(tmp_path):
    save_model(tmp_path / "m", build("mlp:4,5:silu", 3, 2, 0), SCALERS, extra={"why": "test"})
    return tmp_path / "m"


def test_round_trip(folder):
    saved = load_model(folder)
    module = build("mlp:4,5:silu", 3, 2, 0)
    assert str(saved.spec) == "mlp:4,5:silu" and saved.extra == {"why": "test"}
    assert all(torch.equal(p, q) for p, q in zip(saved.module.parameters(), module.parameters()))
    assert np.array_equal(saved.scalers.x.scale, SCALERS.x.scale)
    card = json.loads((folder / "model.json").read_text())
    assert (card["d"], card["o"], card["parameters"]) == (3, 2, 3 * 4 + 4 + 4 * 5 + 5 + 5 * 2 + 2)


def _rewrite(folder, change):
    """Damage the weights and keep the hash right, so that only the content is wrong."""
    tensors = read_tensors(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")
    card = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**card, "weights_sha256": file_hash(folder / "model.safetensors")}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("layers.1.bias"), r"1 keys missing \(first: 'layers.1.bias'\)"),
        (lambda t: t.update(extra=torch.zeros(1)), r"1 keys unexpected \(first: 'extra'\)"),
        (
            lambda t: t.update({"layers.0.weight": torch.zeros(4, 9)}),
            r"'layers.0.weight' .* has shape \[4, 9\], expected \[4, 3\]",
        ),
        (lambda t: t["layers.2.bias"].fill_(float("nan")), "'layers.2.bias' .* not finite"),
    ],
)
def test_weights_that_do_not_fit_are_named(folder, change, message):
    _rewrite(folder, change)
    with pytest.raises(ModelError, match=message):
        load_model(folder)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "model.json").unlink(), "'model.json' is missing"),
        (lambda f: (f / "model.safetensors").unlink(), "is missing"),
        (lambda f: (f / "model.json").write_text("{"), "corrupt"),
        (lambda f: (f / "model.json").write_text("[]"), "format None"),
        (lambda f: (f / "model.safetensors").write_bytes(b"abc"), "it has 3 bytes, too few for a header"),
        (lambda f: save_file({}, f / "model.safetensors"), "a different hash"),
    ],
)
def test_damaged_folders_are_refused(folder, damage, message):
    damage(folder)
    with pytest.raises(RunFolderError, match=message):
        load_model(folder)


def test_a_full_disk_is_a_users_error(tmp_path, monkeypatch):
    def full(tensors, path, metadata=None):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(RunFolderError, match="No space left"):
        write_tensors(tmp_path / "model.safetensors", {"a": torch.ones(1)})
    assert not list(tmp_path.iterdir())


def test_state_dicts_load_without_executing_anything(tmp_path):
    module = build("mlp:4:relu", 3, 1, 0)
    torch.save({"state_dict": module.state_dict(), "epoch": 3}, tmp_path / "a.pt")
    assert torch.equal(read_tensors(tmp_path / "a.pt")["layers.0.bias"], module.layers[0].bias)
    torch.save(module, tmp_path / "whole.pt")
    with pytest.raises(ModelError, match="weights_only"):
        read_tensors(tmp_path / "whole.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(ModelError, match="holds list, expected a state dict"):
        read_tensors(tmp_path / "list.pt")
    (tmp_path / "b.safetensors").write_bytes(b"\0" * 20)
    with pytest.raises(ModelError, match="not a readable safetensors"):
        read_tensors(tmp_path / "b.safetensors")
    with pytest.raises(ModelError, match="no weights file"):
        read_tensors(tmp_path / "none.pt")


def test_predictions_are_in_raw_units_and_chunks_do_not_matter():
    module = build("mlp:4,5:silu", 3, 2, 0)
    x = np.random.default_rng(0).normal([1, 2, 3], [0.1, 0.3, 7], (11, 3))
    y = predict(module, SCALERS, x)
    with torch.no_grad():
        expected = SCALERS.y.restore(module.double()(torch.from_numpy(SCALERS.x.standardize(x))).numpy())
    module.float()
    # float32 network against its float64 copy: a few ulp of values around 5
    assert y.dtype == np.float64 and np.allclose(y, expected, atol=5e-6)
    assert np.allclose(predict(module, SCALERS, x, chunk=4), y, atol=1e-6)  # another blocking of the sums
    with pytest.raises(ModelError, match=r"rows of shape \(11, 2\) for a network of 3 inputs"):
        predict(module, SCALERS, x[:, :2])
