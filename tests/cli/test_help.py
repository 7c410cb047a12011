"""``--help`` at any width: every name whole, nothing cut,
and no line longer than the terminal that could be shorter."""

from __future__ import annotations

import pytest
import typer
from typer.main import get_command

from regkd_edge.cli.app import app, run_app

ROOT = get_command(app)
COMMANDS = ROOT.list_commands(typer.Context(ROOT))


def shown(monkeypatch, capsys, width, *arguments):
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr("sys.argv", ["regkd-edge", *arguments, "--help"])
    with pytest.raises(SystemExit) as ended:
        run_app()
    assert not ended.value.code
    return capsys.readouterr().out


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("name", COMMANDS)
def test_every_name_is_whole_at_every_width(name, width, monkeypatch, capsys):
    text = shown(monkeypatch, capsys, width, name)
    words = text.replace(",", " ").split()
    command = ROOT.get_command(typer.Context(ROOT), name)
    for parameter in command.params:
        if parameter.param_type_name == "option":
            for flag in [*parameter.opts, *parameter.secondary_opts]:
                assert flag in words
        else:
            assert parameter.metavar in text
        for word in (parameter.help or "").split():
            assert word in text
    assert "…" not in text and "\x1b" not in text
    # A line passes the width only where it is one name or word, or a line of a YAML file.
    long = [line for line in text.splitlines() if len(line) > width]
    assert all(line.lstrip().startswith("--") or len(line.split()) == 1 or name == "run" for line in long), long


def test_the_group_lists_all_commands_with_their_first_sentence(monkeypatch, capsys):
    text = " ".join(shown(monkeypatch, capsys, 60).split())
    for name in COMMANDS:
        first = " ".join(ROOT.get_command(typer.Context(ROOT), name).help.split("\n\n")[0].split())
        assert f"{name} {first}" in text


def test_help_texts_stand_beside_short_names_where_there_is_room(monkeypatch, capsys):
    wide = shown(monkeypatch, capsys, 120, "bench").splitlines()
    assert any(line.startswith("  --samples INT               Timed requests") for line in wide)
    narrow = shown(monkeypatch, capsys, 60, "bench").splitlines()
    assert narrow[narrow.index("  --samples INT") + 1].startswith("      Timed requests")


def test_choices_and_required_options_are_said(monkeypatch, capsys):
    text = " ".join(shown(monkeypatch, capsys, 80, "bundle").split())
    assert "--platform NAME The device to target. One of: jetson-orin, " in text and "(required)" in text
    assert "--max-rows INT" in text and "[default: 1000]" in text
    assert '    teacher: {teacher: "mlp:128,128:relu"}\n' in shown(monkeypatch, capsys, 80, "run")
    assert "  --w-pm W|FROM..TO\n" in shown(monkeypatch, capsys, 80, "distill")


def test_a_terminal_gets_bold_headings_and_one_that_refuses_gets_none(monkeypatch):
    from regkd_edge.cli import help

    monkeypatch.setattr(help, "styled", lambda stream: True)
    command = ROOT.get_command(typer.Context(ROOT), "bench")
    assert "\x1b[1mMeasuring\x1b[0m" in help.help_of(command, typer.Context(command, info_name="bench"))


@pytest.mark.parametrize(
    "given,read",
    [
        (["--quiet", "bench", "run"], ["bench", "--quiet", "run"]),
        (["-v", "--json", "bench", "run", "--wide"], ["bench", "-v", "--json", "run", "--wide"]),
        (["bench", "--quiet", "run"], ["bench", "--quiet", "run"]),
        (["--version"], ["--version"]), (["--quiet"], ["--quiet"]), ([], []),
    ],
)  # fmt: skip
def test_a_switch_before_the_command_is_that_of_the_command(given, read):
    from regkd_edge.cli.switches import behind_command

    assert behind_command(given) == read
