"""A training that diverges: what is said, what is kept, and that it is never done."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from regkd_edge.run import RunFolder
from regkd_edge.training import distill, loop, shards
from regkd_edge.training.divergence import Diverged, check_losses, check_validation

from .test_average import member
from .test_train import short


def spoilt_at(monkeypatch, step, value):
    """A weight of the student becomes ``value`` at a step, as a bad batch would leave it."""
    genuine = shards.advance

    def advance(members, n):
        one = members[0]
        if one.state.step <= step < one.state.step + n:
            with torch.no_grad():
                one.parameters()[0][0, 0] = value
        return genuine(members, n)

    monkeypatch.setattr(shards, "advance", advance)


@pytest.mark.parametrize(("value", "what"), [(float("nan"), "is not finite"), (float("inf"), "is not finite")])
def test_the_last_good_state_is_kept_and_named(data, teacher, tmp_path, monkeypatch, value, what):
    monkeypatch.setattr(loop, "SAVE_AFTER", 1e9)  # nothing would have been written without the divergence
    config = short(steps=200, compute="torch")
    whole = distill(data, teacher, config, 0)
    with monkeypatch.context() as patch:
        spoilt_at(patch, 100, value)
        with pytest.raises(Diverged) as caught:
            distill(data, teacher, config, 0, checkpoint=tmp_path / "c")
    assert f"diverged at step 100: the loss {what}, after " in caught.value.cause, caught.value
    assert f"the state of step 100 is kept in '{tmp_path / 'c' / 'state.safetensors'}'" in caught.value.cause
    assert "learning rate" in caught.value.cause and "--lr" in caught.value.remedy and "\n" not in str(caught.value)
    state = load_file(tmp_path / "c" / "state.safetensors")
    assert int(state["state.step"]) == 100 and all(torch.isfinite(t).all() for t in state.values())
    # What was good goes on: the cause is gone here, and the same call ends as if nothing had happened.
    again = distill(data, teacher, config, 0, checkpoint=tmp_path / "c")
    assert all(torch.equal(p, q) for p, q in zip(again.module.parameters(), whole.module.parameters()))


def test_a_loss_that_explodes_without_overflow_is_a_divergence(data, teacher):
    with pytest.raises(Diverged, match=r"the (loss|validation RMSE) is .*, after"):
        distill(data, teacher, short(steps=400, lr=3e3, student="mlp:8:relu", compute="torch"), 0)


def test_the_limits():
    one = member(0.0)
    one.state.step = 9
    spikes = torch.ones(9, 5)
    spikes[[1, 2, 5, 8], 0] = 1e12
    check_losses(spikes, one)  # points where the teacher's answer is huge
    spikes[4:, 0] = 1e12
    with pytest.raises(Diverged, match=r"at step 4: the loss is 1e\+12, after 1 "):
        check_losses(spikes, one)
    one.state.step = 3
    table = torch.ones(3, 5)
    check_losses(table, one)
    check_losses(table * 1e5, one, before=1e-9)  # a difficult beginning is no divergence
    table[1:, 0] = 2e6
    check_losses(table, one)  # two of three
    table[:, 0] = 2e6
    with pytest.raises(Diverged, match=r"at step 0: the loss is 2e\+06, after 1 "):
        check_losses(table, one, before=1.0)
    check_losses(table, one, before=100.0)
    check_validation(900.0, float("inf"), 1.0, one)  # nothing to compare with
    check_validation(900.0, 0.1, 1.0, one)
    check_validation(0.1, 1e-9, 1.0, one)  # from a perfect fit to a good one
    with pytest.raises(Diverged, match="the validation RMSE is 1.1e"):
        check_validation(1.1e3, 0.1, 1.0, one)
    with pytest.raises(Diverged, match="not finite"):
        check_validation(float("nan"), 0.1, 1.0, one)


def test_a_run_that_diverged_is_not_done(tmp_path, monkeypatch, capfd):
    from regkd_edge.cli import main

    def call(*arguments):
        monkeypatch.setattr("sys.argv", ["regkd-edge", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        return stop.value.code or 0, capfd.readouterr().err

    run = tmp_path / "run"
    assert call("train-teacher", run, "--data", "diabetes", "--teacher", "mlp:8:tanh", "--epochs", 3, "-q")[0] == 0
    code, err = call("distill", run, "--student", "mlp:8:relu", "--recipe", "mimic", "--steps", 300, "--lr", 1e6,
                     "--no-baseline", "-q")  # fmt: skip
    assert code == 2 and err.startswith("error: training diverged at step") and err.count("\n") == 1
    assert RunFolder.open(run).record("distill") is None and not (run / "student").exists()
    code, _ = call("distill", run, "--student", "mlp:8:relu", "--recipe", "mimic", "--steps", 60, "--lr", 0.01,
                   "--no-baseline", "-q")  # fmt: skip
    assert code == 0 and RunFolder.open(run).record("distill") is not None
