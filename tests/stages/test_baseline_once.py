"""The baseline of a run is the base alone of the last heat: it is trained once, and nothing else changes by that."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

pytest.importorskip("torch")

from regkd_edge.config import RunConfig
from regkd_edge.recipes.candidates import BASE_ALONE, MIXTURE
from regkd_edge.run import RunFolder
from regkd_edge.stages import distill as stage
from regkd_edge.stages import perform
from regkd_edge.training import ladder, loop
from regkd_edge.training.race import halving, last_heat


def quiet(*figures):
    """A progress callback that shows nothing."""


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """A run with its teacher."""
    folder = tmp_path_factory.mktemp("taught")
    x = np.random.default_rng(0).normal(size=(160, 2))
    y = np.sin(x[:, :1]) + x[:, 1:]
    np.savetxt(folder / "t.csv", np.column_stack([x, y]), delimiter=",", header="a,b,y", comments="")
    config = RunConfig.from_dict(
        {
            "data": {"data": str(folder / "t.csv"), "target": ["y"]},
            "teacher": {"teacher": "mlp:8:tanh", "epochs": 20, "batch": 16, "lr": 5e-3},
            "distill": {"student": "mlp:4:tanh", "steps": 80, "evaluate_every": 20, "accept_teacher": True},
        }
    )
    run = RunFolder.create(folder / "run", config)
    for name in ("data", "teacher"):
        perform(run, config, name, quiet)
    return run, config


@pytest.fixture
def lost(monkeypatch):
    """A race that the mixture wins, and a last heat that it loses;
    returns the steps that were trained after the race."""
    monkeypatch.setattr(halving, "candidates", lambda **known: [BASE_ALONE, MIXTURE])
    monkeypatch.setattr(
        halving, "winner_of", lambda running, measure, rungs: next(e for e in running if e.candidate is MIXTURE)
    )
    monkeypatch.setattr(last_heat, "lost_to", lambda *given: "teacher")
    taken = []
    for module in (loop, ladder):
        advance = module.advance_rows

        def counted(member, n, *rest, advance=advance):
            taken.append(n)
            return advance(member, n, *rest)

        monkeypatch.setattr(module, "advance_rows", counted)
    return taken


def distilled(taught, path, change):
    run, config = taught
    config = config.updated(change)
    run = RunFolder.open(shutil.copytree(run.path, path))
    perform(run, config, "distill", quiet)
    return run


@pytest.mark.parametrize("steps", [80, "auto"])
def test_the_last_heat_takes_the_baseline_as_it_is(taught, lost, tmp_path, monkeypatch, steps):
    once = distilled(taught, tmp_path / "once", {"distill.steps": steps})
    trained = sum(lost)
    lost.clear()
    monkeypatch.setattr(stage, "_heat_may_need_it", lambda config: False)
    twice = distilled(taught, tmp_path / "twice", {"distill.steps": steps})
    saved = sum(lost) - trained
    assert saved == 80 if steps == 80 else saved >= 1000, "the base alone was trained again, or nothing was"
    for name in ("student/model.safetensors", "student/race.json", "student/history.json", "student/predictions.npz"):
        assert once.file(name).read_bytes() == twice.file(name).read_bytes(), name
    assert once.file("student/model.safetensors").read_bytes() == once.file("baseline/model.safetensors").read_bytes()
    assert not once.file("checkpoint").exists()


def test_nothing_is_handed_on_within_a_budget_or_without_a_race(taught, lost, tmp_path, monkeypatch):
    import regkd_edge.training as training

    def stop(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "distill", stop)
    changes = {
        "race": {},
        "budget": {"distill.steps": "auto", "distill.budget": 30.0},
        "none": {"distill.recipe": "kang2024"},
    }
    for name, change in changes.items():
        with pytest.raises(KeyboardInterrupt):
            distilled(taught, tmp_path / name, change)
        handed = list((tmp_path / name / "checkpoint").glob("**/state.safetensors"))
        assert [str(path.relative_to(tmp_path)) for path in handed] == (
            ["race/checkpoint/student/base/state.safetensors"] if name == "race" else []
        )
