"""The commands one after another as a user types them, on real data: the examples of ``--help`` themselves."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

COMMANDS = ("train-teacher", "distill", "quantize", "build", "bench", "report")


def example(command: str) -> str:
    """The command line that ``--help`` gives as an example."""
    from regkd_edge.cli.app import app

    for info in app.registered_commands:
        if info.name == command:
            return re.search(r"Example: `([^`]+)`", info.callback.__doc__).group(1)
    raise LookupError(command)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(autouse=True)
def there(home, monkeypatch):
    monkeypatch.chdir(home)


def test_every_command_has_an_example():
    from regkd_edge.cli.app import app

    for info in app.registered_commands:
        words = shlex.split(example(info.name))
        assert words[:2] == ["regkd-edge", info.name]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_example_of_each_command_runs(cli, command):
    outcome = cli(*shlex.split(example(command))[1:])
    assert outcome.code == 0, outcome.err
    if command != "report":
        following = COMMANDS[COMMANDS.index(command) + 1]
        assert f"next: regkd-edge {following} runs/diabetes" in outcome.out


def test_the_reason_for_a_dash_is_below_the_table(cli):
    outcome = cli("bench", "runs/diabetes", "--samples", 20, "--wide")
    assert outcome.code == 0, outcome.err
    said = " ".join(outcome.out.split())  # a narrow terminal breaks lines
    assert "20 requests are too few, 1,000 are needed (bench --samples 1000)." in said
    assert re.search(r"Each latency includes [\d,]+( to [\d,]+)? ns of the timing loop\.", said)
    report = cli("report", "runs/diabetes", "--json").json()
    assert any("20 requests are too few" in note for note in report["notes"])


def test_a_second_call_finds_everything_done(cli):
    for command in COMMANDS:
        outcome = cli(command, "runs/diabetes", "--json").json()
        assert outcome["ran"] == [], command
        assert outcome["table"]


def test_force_does_it_again(cli):
    assert cli("quantize", "runs/diabetes", "--force", "--json").json()["ran"] == ["quantize"]


def test_the_table_has_a_row_for_each_model_and_engine(cli):
    rows = cli("report", "runs/diabetes", "--json")
    assert rows.code == 0, rows.err  # quantize was forced: the same graphs again leave the engines in place
    names = [row["name"] for row in rows.json()["table"]]
    assert names == ["teacher", "baseline", "student", "onnxruntime.fp32", "onnxruntime.fp16", "onnxruntime.int8"]


def test_the_page_fetches_nothing_and_links_only_to_files_of_the_run():
    page = Path("runs/diabetes/report.html").read_text()
    assert re.findall(r"""src\s*=\s*["']?(?!data:)([^"'\s>]+)""", page) == []
    links = re.findall(r"""href\s*=\s*["']?(?!#|data:)([^"'\s>]+)""", page)
    assert links and all(Path("runs/diabetes", link).is_file() for link in links)
    assert "@import" not in page
    assert not re.search(r"url\(\s*['\"]?(?!data:|#)", page)
    assert not re.search(r"\b(fetch|XMLHttpRequest|WebSocket|importScripts)\b", page)


def test_a_new_student_takes_the_graphs_and_engines_of_the_old_one_away(cli):
    done = cli("distill", "runs/diabetes", "--steps", 50, "--json")
    assert done.json()["ran"] == ["distill", "export"]
    [removed] = [line for line in done.err.splitlines() if line.startswith("removed, made from what changed: ")]
    gone = removed.partition(": ")[2].split(", ")
    assert "onnx/student.int8.onnx" in gone and "engines/onnxruntime.int8" in gone
    assert not [name for name in gone if Path("runs/diabetes", name).exists()], "it was written again"
    assert [row["name"] for row in cli("distill", "runs/diabetes", "--json").json()["table"]] == [
        "teacher",
        "baseline",
        "student",
    ]
    stale = cli("bench", "runs/diabetes")
    assert stale.code == 2
    assert "regkd-edge build runs/diabetes" in stale.err


def test_distill_goes_on_to_train_through_the_quantizers(cli):
    done = cli("distill", "runs/diabetes", "--steps", 50, "--qat", "--json")
    assert done.code == 0, done.err
    assert done.json()["ran"] == ["quantize"]  # the student of the test before is taken
    int8 = next(row for row in done.json()["table"] if row["graph"].endswith("int8.onnx"))
    assert "int8" in str(int8)
    record = json.loads(Path("runs/diabetes/state.json").read_text())
    assert '"rise_before"' in json.dumps(record)  # the training was done and judged


def test_the_example_of_run_gives_the_whole_table_and_repeats_nothing(cli):
    from regkd_edge.cli.app import app

    (info,) = [info for info in app.registered_commands if info.name == "run"]
    block = re.search(r"holds\n\n((?:    .*\n)+)", info.callback.__doc__).group(1)
    words = shlex.split(example("run"))[1:]
    Path(words[1]).write_text("\n".join(line[4:] for line in block.splitlines()))
    outcome = cli(*words, "--json")
    assert outcome.code == 0, outcome.err
    assert len(outcome.json()["table"]) == 6
    assert cli(*words, "--json").json()["ran"] == []


def test_doctor_says_what_is_there(cli):
    outcome = cli("doctor", "--json")
    assert outcome.code == 0
    whats = {row["what"]: row["state"] for row in outcome.json()["table"]}
    assert whats["back end onnxruntime"] == "ready"
    assert whats["extension, CUDA half"] in ("ready", "not needed", "absent", "mismatched")
    assert cli(*shlex.split(example("doctor"))[1:]).code == 0
