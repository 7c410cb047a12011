"""Weights as people keep them: inside checkpoints, behind the prefixes of wrappers, beside scalers."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file, save_model
from torch import nn

from regkd_edge.errors import ModelError
from regkd_edge.models.state_dict import fill, fit_names
from regkd_edge.models.weights import read_weights


def net():
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 1))


@pytest.fixture
def state():
    torch.manual_seed(0)
    return net().state_dict()


def loaded(path, state):
    weights = read_weights(path)
    module = net()
    notes = weights.notes + fill(module, weights.tensors, f"'{path}'")
    assert all(torch.equal(module.state_dict()[k], state[k]) for k in state)
    return notes


OPTIMIZER = {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 0.1}]}


@pytest.mark.parametrize(
    ("wrap", "named"),
    [
        (lambda s: {"state_dict": s, "epoch": 3}, "state_dict"),
        (lambda s: {"model": s, "optimizer": OPTIMIZER, "epoch": 3}, "model"),
        (lambda s: {"epoch": 3, "model_state_dict": s, "optimizer_state_dict": OPTIMIZER}, "model_state_dict"),
        (lambda s: {"model": {k: v + 1 for k, v in s.items()}, "ema": s}, "ema"),
        (lambda s: {"checkpoint": {"net": {"weights": s}}}, "checkpoint.net.weights"),
        (lambda s: {"my_network": s, "loss": torch.tensor(0.1)}, "my_network"),
    ],
)
def test_checkpoints_hold_their_weights_under_many_names(tmp_path, state, wrap, named):
    torch.save(wrap(state), tmp_path / "c.pt")
    notes = loaded(tmp_path / "c.pt", state)
    assert f"under '{named}'" in notes[0]


@pytest.mark.parametrize(
    ("prefix", "cause"),
    [
        ("module.", "DataParallel"),
        ("_orig_mod.", "torch.compile"),
        ("model.", "Lightning"),
        ("net.", "Lightning"),
        ("model.regressor.", "wrapping module"),
        ("module._orig_mod.", "torch.compile"),
        ("_fsdp_wrapped_module.", "FullyShardedDataParallel"),
    ],
)
def test_prefixes_of_wrappers_are_removed_and_named(tmp_path, state, prefix, cause):
    save_file({prefix + k: v.contiguous() for k, v in state.items()}, tmp_path / "w.safetensors")
    notes = loaded(tmp_path / "w.safetensors", state)
    assert cause in " ".join(notes)


def test_entries_of_other_parts_beside_the_network_are_left_out(tmp_path, state):
    lightning = {f"model.{k}": v for k, v in state.items()} | {"loss.weight": torch.ones(2)}
    torch.save({"state_dict": lightning, "hyper_parameters": {"lr": 0.1}}, tmp_path / "l.ckpt")
    loaded(tmp_path / "l.ckpt", state)
    averaged = {"n_averaged": torch.tensor(7)} | {f"module.{k}": v for k, v in state.items()}
    torch.save(averaged, tmp_path / "swa.pt")
    loaded(tmp_path / "swa.pt", state)


def test_a_network_that_wraps_what_the_file_holds(state):
    class Wrapper(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = net()

    module = Wrapper()
    assert "put before" in fill(module, state, "'w'")[0]
    assert torch.equal(module.body[0].weight, state["0.weight"])


def test_scalers_beside_the_weights_are_no_unexpected_keys(state):
    fill(net(), {**state, "x_mean": torch.zeros(3), "x_std": torch.ones(3)}, "'w'")
    with pytest.raises(ModelError, match=r"1 keys unexpected \(first: 'extra.weight'\)"):
        fill(net(), {**state, "extra.weight": torch.zeros(3)}, "'w'")


@pytest.mark.parametrize("codes", [torch.int8, torch.int64, torch.uint8, torch.bool])
def test_codes_of_quantized_weights_are_not_taken_for_the_weights(state, codes):
    with pytest.raises(ModelError, match=r"'0.weight' of 'w' has the type (int|uint|bool).*float32.*scale is missing"):
        fill(net(), {**state, "0.weight": (100 * state["0.weight"]).to(codes)}, "'w'")
    fill(net(), {**state, "1.num_batches_tracked": torch.tensor(7)}, "'w'")  # whole numbers in both


def test_weights_beyond_the_type_of_the_network_are_refused(state):
    with pytest.raises(ModelError, match=r"'0.bias' of 'w' holds 1e\+39, beyond the range of float32"):
        fill(net(), {**state, "0.bias": torch.full((4,), 1e39, dtype=torch.float64)}, "'w'")
    fill(net(), {key: t.double() if t.is_floating_point() else t for key, t in state.items()}, "'w'")


def test_names_that_no_prefix_explains_stay_as_they_are(state):
    other = {f"layer_{k}": v for k, v in state.items()}
    assert fit_names(other, net().state_dict())[0].keys() == other.keys()


def test_several_state_dicts_are_not_chosen_among(tmp_path, state):
    torch.save({"first": state, "second": state}, tmp_path / "c.pt")
    with pytest.raises(ModelError, match="several state dicts: 'first', 'second'"):
        read_weights(tmp_path / "c.pt")


class Pickled(nn.Linear):
    pass


def test_a_pickled_module_needs_trust(tmp_path):
    module = Pickled(3, 1)
    torch.save(module, tmp_path / "whole.pt")
    with pytest.raises(ModelError, match=r"holds a .*Pickled\).*run code of the file.*state_dict.*--trust"):
        read_weights(tmp_path / "whole.pt")
    weights = read_weights(tmp_path / "whole.pt", trust=True)
    assert torch.equal(weights.tensors["weight"], module.weight) and "Pickled" in weights.notes[0]


def test_programs_are_sent_to_the_flag_that_takes_them(tmp_path):
    torch.jit.script(net()).save(tmp_path / "m.pt")
    with pytest.raises(ModelError, match="a TorchScript program.*--teacher-from"):
        read_weights(tmp_path / "m.pt")


class Tied(nn.Module):
    """Two layers with one matrix."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)
        self.second.weight = self.first.weight


@pytest.mark.parametrize("left_out", ["first.weight", "second.weight"])
def test_tied_weights_that_are_stored_once(tmp_path, left_out):
    torch.manual_seed(0)
    trained, module = Tied(), Tied()
    save_model(trained, tmp_path / "tied.safetensors")
    assert len(read_weights(tmp_path / "tied.safetensors").tensors) == 3
    state = {f"module.{key}": t for key, t in trained.state_dict().items() if key != left_out}
    for tensors in (read_weights(tmp_path / "tied.safetensors").tensors, state):
        fill(module, tensors, "'tied'")
        assert module.second.weight is module.first.weight
        assert all(torch.equal(module.state_dict()[key], t) for key, t in trained.state_dict().items())
    with pytest.raises(ModelError, match="1 keys missing .first: 'second.bias'"):
        fill(module, {key: t for key, t in trained.state_dict().items() if key != "second.bias"}, "'w'")
