"""A user's mistake ends with exit code 2 and one line: the cause, with what was met, and the remedy."""

from __future__ import annotations

import shlex
import sys

import pytest

CSV = "a,b,y\n" + "".join(f"{i},{i % 7},{i * 0.5 + i % 3}\n" for i in range(60))


@pytest.fixture
def csv(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text(CSV)
    return path


def check(outcome, *words):
    """Exit 2, one line on stderr that holds the words, nothing of Python's in it."""
    assert outcome.code == 2, outcome
    assert "Traceback" not in outcome.err
    lines = [line for line in outcome.err.splitlines() if line.strip()]
    assert len(lines) == 1, outcome.err
    assert lines[0].startswith("error: ")
    for word in words:
        assert word in lines[0], outcome.err


def test_an_unknown_command_and_an_unknown_flag(cli):
    check(cli("destill"), "destill", "--help")
    check(cli("distill", "somewhere", "--studnet", "mlp:4:relu"), "--studnet", "--help")
    check(cli("train-teacher", "somewhere", "--epochs", "many"), "many", "epochs", "--help")
    check(cli("distill"), "RUN", "--help")


def test_no_run_folder(cli, tmp_path):
    for command in ("distill", "quantize", "build", "bench", "report"):
        check(cli(command, tmp_path / "absent"), "no run folder", "train-teacher")


def test_ctrl_c_says_what_is_left(cli, monkeypatch, tmp_path):
    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("regkd_edge.run.RunFolder.open", stop)
    outcome = cli("report", tmp_path)
    assert outcome.code == 130
    assert "run the same command to resume" in outcome.err


def test_ctrl_c_while_the_modules_are_read(cli, monkeypatch):
    class Stopped:
        def __getattr__(self, name):
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "regkd_edge.cli.app", Stopped())
    outcome = cli("doctor")
    assert (outcome.code, outcome.err) == (130, "")


def test_no_data(cli, tmp_path):
    check(cli("train-teacher", tmp_path / "run"), "no data given", "--data")


def test_a_missing_file_leaves_nothing_behind(cli, tmp_path):
    check(cli("train-teacher", tmp_path / "run", "--data", tmp_path / "absent.csv", "--target", "y"), "absent.csv")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("content", "target", "words"),
    [
        (CSV, "z", ("z", "a, b, y")),
        (CSV.replace("7,0,", "7,hello,", 1), "y", ("hello", "'b'", "line 9")),
        (CSV.replace("7,0,", "7,nan,", 1), "y", ("nan", "'b'", "line 9")),
        (CSV.replace("7,0,", "7,,", 1), "y", ("'b'", "line 9")),
        ("a,y\n1,2\n2,3\n", "y", ("2",)),
        ("a,y\n" + "1,2\n" * 50, "y", ("constant",)),
        ("", "y", ("empty",)),
        ("a,y\n1,2\n", "y", ("one row",)),
        (CSV.replace("7,0,", "7,\0\x1b[2J,", 1), "y", (r"\x00\x1b[2J", "'b'", "line 9")),
        (CSV.replace("7,0,", f"7,{'x' * 9000},", 1), "y", ("'" + "x" * 60 + "...'",)),
    ],
    ids=[
        "no such column",
        "text",
        "not a number",
        "empty cell",
        "too few rows",
        "constant target",
        "empty file",
        "one row",
        "controls",
        "a long cell",
    ],
)
def test_a_bad_table(cli, tmp_path, content, target, words):
    path = tmp_path / "table.csv"
    path.write_text(content)
    check(cli("train-teacher", tmp_path / "runs" / "mine", "--data", path, "--target", target), *words)
    assert not (tmp_path / "runs").exists(), "nor is the folder left that was made for the run"


def test_a_folder_as_data_is_not_read_through(cli, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "dangling").symlink_to(tmp_path / "nothing")
    start = ("train-teacher", tmp_path / "run", "--target", "y", "--data")
    check(cli(*start, tmp_path / "data"), "holds neither images nor recordings", "files that end in")
    assert not (tmp_path / "run").exists()


def test_a_list_given_by_a_repeated_flag_is_whole(cli, tmp_path, csv):
    """Were the last one to win, the first target would become an input without a word."""
    run = tmp_path / "run"
    start = (
        "train-teacher",
        run,
        "--data",
        csv,
        "--target",
        "b",
        "--target",
        "y",
        "--teacher",
        "mlp:4:relu",
        "--epochs",
        "1",
    )
    assert cli(*start).code == 0
    from regkd_edge.run import RunFolder

    assert RunFolder.open(run).config().data.target == ["b", "y"]
    assert RunFolder.open(run).record("data")["summary"]["features"] == 1


def test_a_bad_spec_or_field(cli, tmp_path, csv):
    start = ("train-teacher", tmp_path / "run", "--data", csv, "--target", "y")
    check(cli(*start, "--teacher", "mlp:8:sigmoidal"), "sigmoidal", "tanh")
    check(cli(*start, "--teacher", "cnn:8"), "cnn")
    check(cli(*start, "--teacher", "mlp:0:relu"), "0")
    check(cli(*start, "--validation", "0.7", "--test", "0.5"), "leave no rows")
    check(cli(*start, "--epochs", "0"), "epochs", "0")
    check(cli(*start, "--optimizer", "sgdx"), "sgdx")


def test_a_flag_refused_after_the_data_were_read_leaves_nothing_behind(cli, tmp_path, csv):
    start = (
        "train-teacher",
        tmp_path / "run",
        "--data",
        csv,
        "--target",
        "y",
        "--teacher",
        "mlp:4:relu",
        "--epochs",
        "1",
    )
    import torch

    if torch.cuda.is_available():
        pytest.skip("here --device cuda is no mistake")
    check(cli(*start, "--device", "cuda"), "cuda")
    assert not (tmp_path / "run").exists()
    assert cli(*start).code == 0


def test_a_recipe_that_does_not_exist(cli, tmp_path, csv):
    run = tmp_path / "run"
    assert (
        cli("train-teacher", run, "--data", csv, "--target", "y", "--teacher", "mlp:4:relu", "--epochs", "1").code == 0
    )
    check(cli("distill", run, "--base", "mimik"), "mimik", "mimic")
    check(cli("distill", run, "--terms", "pm,zz"), "zz")
    check(cli("distill", run, "--student", "mlp:4:swish2"), "swish2")
    check(cli("distill", run, "--sigma", "0.1,0.2,0.3"), "3", "2")
    check(cli("distill", run, "--fraction", "0"), "fraction")
    # None of the refused flags has become part of the run, whether the configuration or the stage refused it.
    assert "mimik" not in (run / "run.yaml").read_text()
    assert "swish2" not in (run / "run.yaml").read_text()
    assert cli("distill", run, "--student", "mlp:4:relu", "--steps", "5").code == 0


def test_a_teacher_that_does_not_fit(cli, tmp_path, csv, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(
        "import torch\ndef wide():\n    return torch.nn.Linear(5, 1)\ndef narrow():\n    return torch.nn.Linear(2, 1)\n"
    )
    import torch

    torch.save(torch.nn.Linear(2, 1).state_dict(), tmp_path / "right.pt")
    torch.save({"other.weight": torch.zeros(1, 2)}, tmp_path / "other.pt")
    start = ("distill", tmp_path / "run", "--data", csv, "--target", "y")
    check(cli(*start), "no run folder")
    check(cli(*start, "--factory", "mine:wide"), "5", "2")
    check(cli(*start, "--factory", "mine:absent"), "absent")
    check(cli(*start, "--factory", "nosuchmodule:f"), "nosuchmodule")
    check(cli(*start, "--factory", "mine:narrow", "--weights", "absent.pt"), "absent.pt")
    check(cli(*start, "--factory", "mine:narrow", "--weights", "other.pt"), "other.weight")
    assert (
        cli(*start, "--factory", "mine:narrow", "--weights", "right.pt", "--steps", "5", "--student", "mlp:4:relu").code
        == 0
    )


def test_a_stage_out_of_order_names_the_command_to_type(cli, tmp_path, csv):
    run = tmp_path / "run"
    assert (
        cli("train-teacher", run, "--data", csv, "--target", "y", "--teacher", "mlp:4:relu", "--epochs", "1").code == 0
    )
    check(cli("quantize", run), f"regkd-edge distill {run}")
    check(cli("bench", run), f"regkd-edge distill {run}")
    check(cli("report", run), "regkd-edge")


@pytest.mark.parametrize("command", ["quantize", "build", "bench", "report"])
def test_the_first_stage_that_is_missing_is_named_not_the_next_one(cli, tmp_path, csv, command):
    run = tmp_path / "a run's dir"
    quoted = shlex.quote(str(run))
    run.mkdir()
    check(cli(command, run), "is empty", f"regkd-edge train-teacher {quoted} --data FILE.csv --target NAME")
    run.joinpath("run.yaml").write_text("seed: 3\n")  # by hand: no data named, nothing done
    check(cli(command, run), "'data'", f"regkd-edge train-teacher {quoted} --data FILE --target NAME")
    (run / "run.yaml").unlink()
    start = ("train-teacher", run, "--data", csv, "--target", "y", "--teacher", "mlp:4:relu", "--epochs", "1")
    begun = cli(*start)
    assert begun.out.endswith(f"next: regkd-edge distill {quoted}\n")
    check(cli(command, run), "'distill'", f"Run: regkd-edge distill {quoted}")


def test_check_and_bundle_name_the_first_stage_that_is_missing_too(cli, tmp_path, csv):
    run = tmp_path / "run"
    start = ("train-teacher", run, "--data", csv, "--target", "y", "--teacher", "mlp:4:relu", "--epochs", "1")
    assert cli(*start).code == 0
    for command in ("check", "bundle"):
        check(cli(command, run, "--target", "jetson-orin"), "'distill'", f"Run: regkd-edge distill {run}")


def test_a_refused_flag_takes_nothing_away(cli, tmp_path, csv):
    """A mistyped file must not cost the teacher that was trained."""
    run = tmp_path / "run"
    start = ("train-teacher", run, "--data", csv, "--target", "y", "--teacher", "mlp:4:relu", "--epochs", "1")
    assert cli(*start).code == 0
    student = ("distill", run, "--student", "mlp:4:relu", "--steps", "5", "--no-baseline")
    assert cli(*student).code == 0
    check(cli("train-teacher", run, "--data", tmp_path / "absent.csv"), "absent.csv")
    check(cli("distill", run, "--data", tmp_path / "absent.csv"), "absent.csv")
    check(cli("distill", run, "--from-run", run), "its own teacher", "--from-run")
    check(cli("distill", run, "--student", "mlp:4:swish2"), "swish2")
    for command in (start, student):
        assert cli(*command, "--json").json()["ran"] == []


def test_an_empty_value_of_a_list_flag_is_not_taken_for_none_given(cli, tmp_path, csv):
    run = tmp_path / "run"
    start = ("train-teacher", run, "--data", csv, "--target", "y", "--teacher", "mlp:4:relu", "--epochs", "1")
    assert cli(*start).code == 0
    check(cli("distill", run, "--sigma", ""), "sigma", "at least 1")
    check(cli("quantize", run, "--precision", ""), "precision", "at least 1")


def test_a_harmed_run_folder(cli, tmp_path, csv):
    run = tmp_path / "run"
    assert (
        cli("train-teacher", run, "--data", csv, "--target", "y", "--teacher", "mlp:4:relu", "--epochs", "1").code == 0
    )
    (run / "state.json").write_text('{"format": 1, "sta')
    check(cli("distill", run), "state.json", "corrupt")
    (run / "state.json").unlink()
    (run / "run.yaml").write_text("seed: [")
    check(cli("distill", run), "run.yaml")


def test_a_harmed_output_is_made_again(cli, tmp_path, csv):
    run = tmp_path / "run"
    start = ("train-teacher", run, "--data", csv, "--target", "y", "--teacher", "mlp:4:relu", "--epochs", "1", "--json")
    assert cli(*start).json()["ran"] == ["data", "teacher"]
    model = run / "teacher" / "model.safetensors"
    whole = model.read_bytes()
    model.write_bytes(whole[: len(whole) // 2])
    assert cli(*start).json()["ran"] == ["teacher"]
    assert model.read_bytes() == whole


def test_a_yaml_with_a_mistake(cli, tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("data: {data: digits}\ndistil: {steps: 3}\n")
    check(cli("run", path, tmp_path / "out"), "distil")
    check(cli("run", tmp_path / "absent.yaml", tmp_path / "out"), "absent.yaml")
    assert not (tmp_path / "out").exists()


def test_json_carries_the_mistake_too(cli, tmp_path):
    outcome = cli("distill", tmp_path / "absent", "--json")
    assert outcome.code == 2
    assert "no run folder" in outcome.json()["error"]
    assert outcome.json()["remedy"]


def test_tensorrt_is_refused_by_name_where_it_is_absent(cli, tmp_path, csv):
    from regkd_edge.engines import available

    if available()["tensorrt"] is None:
        pytest.skip("TensorRT and a GPU are here")
    run = tmp_path / "run"
    assert (
        cli("train-teacher", run, "--data", csv, "--target", "y", "--teacher", "mlp:4:relu", "--epochs", "1").code == 0
    )
    assert cli("distill", run, "--student", "mlp:4:relu", "--steps", "5", "--no-baseline").code == 0
    outcome = cli("build", run, "--backend", "tensorrt")
    check(outcome)
    assert "TensorRT" in outcome.err or "GPU" in outcome.err or "driver" in outcome.err


def test_on_a_terminal_an_error_is_folded_at_spaces_and_its_command_stays_whole(tmp_path):
    """A terminal would break it inside a number or a name; a file and a pipe get one line."""
    import os
    import pty
    import subprocess

    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "regkd_edge", "distill", "absent"]
    subprocess.run(command, stderr=theirs, cwd=tmp_path, env={**os.environ, "COLUMNS": "40"}, check=False)
    os.close(theirs)
    lines = os.read(ours, 4096).decode().splitlines()
    os.close(ours)
    assert lines == [
        "error: no run folder 'absent'. Create it",
        "with:",
        "regkd-edge train-teacher absent --data FILE.csv --target NAME",
    ]
