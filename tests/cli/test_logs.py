"""run.log, the switches of every command, completion."""

from __future__ import annotations

import logging

import typer
from typer.testing import CliRunner

from regkd_edge.cli.logs import log, logged
from regkd_edge.cli.screen import clear_screen_settings, settings
from regkd_edge.cli.switches import add_switches
from regkd_edge.errors import UserError


def test_the_log_has_the_call_what_was_done_and_the_error(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["regkd-edge", "distill", "my run", "--steps", "10"])
    try:
        with logged(tmp_path):
            log.info("stage data: done in 1.0 s")
            raise UserError("the cause.", "The remedy.")
    except UserError:
        pass
    with logged(tmp_path):  # appended, not replaced
        pass
    lines = (tmp_path / "run.log").read_text().splitlines()
    assert "distill 'my run' --steps 10" in lines[0] and lines[0][10] == "T" and "Z INFO" in lines[0]
    assert lines[1].endswith("INFO stage data: done in 1.0 s")
    assert lines[2].endswith("ERROR the cause. The remedy.")
    assert len(lines) == 4 and not any(isinstance(h, logging.FileHandler) for h in log.handlers)


def test_a_link_in_the_place_of_the_log_is_not_followed(tmp_path):
    outside = tmp_path / "outside"
    outside.write_text("mine")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.log").symlink_to(outside)
    with logged(tmp_path / "run"):
        log.info("not there")
    assert outside.read_text() == "mine"


def test_a_long_log_is_put_aside(tmp_path, monkeypatch):
    monkeypatch.setattr("regkd_edge.cli.logs._MOST", 10)
    (tmp_path / "run.log").write_text("x" * 11)
    with logged(tmp_path):
        pass
    assert (tmp_path / "run.log.1").read_text() == "x" * 11


def test_every_command_takes_the_switches():
    app = typer.Typer()
    seen = []

    @app.command("one")
    def one(name: str, wide: bool = False) -> None:
        """One.

        Example: none
        """
        seen.append((name, wide, settings.wide, settings.quiet, settings.verbose))

    @app.command("two")
    def two(name: str) -> None:
        seen.append((name, settings.wide, settings.quiet, settings.verbose))

    add_switches(app)
    for words in (["one", "a", "--wide", "-q"], ["two", "b", "--wide", "--verbose"], ["two", "c"]):
        clear_screen_settings()
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, done.output
    assert seen == [("a", True, False, True, False), ("b", True, False, True), ("c", False, False, False)]
    clear_screen_settings()


def test_the_shell_can_complete_commands(cli, monkeypatch):
    monkeypatch.setenv("_REGKD_EDGE_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "regkd-edge quan")
    monkeypatch.setenv("COMP_CWORD", "1")
    assert cli().out.split() == ["quantize"]
