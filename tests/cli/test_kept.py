"""Options that an earlier call gave still apply, and are shown."""

from __future__ import annotations

from regkd_edge.cli.kept import kept_note
from regkd_edge.config import RunConfig


def note(before: dict, given: dict, *sections: str) -> list[str]:
    found = RunConfig().updated(before)
    return kept_note(found, found.updated(given), given, *sections)


def test_what_the_call_did_not_give_is_listed_as_it_is_typed():
    before = {"distill.sigma": 0.2, "distill.baseline": False, "distill.steps": 70, "quantize.precision": "int8,fp16"}
    assert note(before, {"distill.steps": 50}, "distill") == [
        "kept from earlier calls: --recipe none, --sigma 0.2, --no-baseline"
    ]
    assert note(before, {}, "quantize") == ["kept from earlier calls: --precision int8,fp16"]
    before = {"bench.sweep": False, "build.backend": "native", "build.c_header": "a b"}
    assert note(before, {}, "build", "bench") == [
        "kept from earlier calls: --backend native, --c-header 'a b', --no-sweep"
    ]


def test_defaults_other_sections_and_new_runs_have_no_note():
    assert note({"distill.sigma": 0.2}, {}, "quantize") == []
    assert note({}, {"distill.sigma": 0.2}, "distill") == []
    assert note({"distill.steps": 70}, {"distill.steps": 70}, "distill") == []
    assert kept_note(None, RunConfig(), {}, "distill") == []


def test_the_command_shows_it(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_text("a,b,y\n" + "".join(f"{i},{i % 7},{i * 0.5 + i % 3}\n" for i in range(60)))
    first = cli("train-teacher", "run", "--data", "t.csv", "--target", "y", "--teacher", "mlp:4:tanh", "--epochs", 1)
    assert first.code == 0 and "kept from" not in first.out
    again = cli("train-teacher", "run", "--epochs", 2)
    assert "kept from earlier calls: --data" in again.out and "--teacher mlp:4:tanh" in again.out
    assert "--epochs" not in again.out
    as_json = cli("train-teacher", "run", "--epochs", 2, "--json").json()
    assert any(note.startswith("kept from earlier calls: ") for note in as_json["notes"])


def test_options_of_a_finished_student_stay_when_its_export_is_refused(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [f"{i},{i % 7},{1e8 + i * 0.5 + i % 3}" for i in range(60)]  # float32 has steps of 8 there
    (tmp_path / "t.csv").write_text("a,b,y\n" + "\n".join(rows) + "\n")
    given = ("--data", "t.csv", "--target", "y", "--teacher", "mlp:4:tanh", "--epochs", 1)
    assert cli("train-teacher", "r", *given).code == 0
    options = ("--student", "mlp:3:tanh", "--steps", 20, "--recipe", "mimic", "--accept-teacher")
    refused = cli("distill", "r", *options, "--export-batch", 4)
    assert refused.code == 2 and "float32 is too coarse" in refused.err
    stages = {row["stage"]: row["state"] for row in cli("status", "r", "--json").json()["table"]}
    assert stages["distill"] == "done" and stages["export"] == "missing"
    student = (tmp_path / "r" / "student" / "model.json").read_bytes()
    again = cli("distill", "r")  # what 'quantize' proposes: the same student, and not one from other options
    assert again.code == 2 and "float32 is too coarse" in again.err
    assert (tmp_path / "r" / "student" / "model.json").read_bytes() == student
    config = RunConfig.from_yaml(tmp_path / "r" / "run.yaml")
    assert config.distill.steps == 20 and config.distill.student == "mlp:3:tanh"
    assert config.export_batch == "dynamic", "an option of the stage that was refused does not stay"
