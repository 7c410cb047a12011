"""Command lines that are shown can be pasted into a shell, whatever the folder is called."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from regkd_edge.errors import UserError
from regkd_edge.io.command import command_line


@pytest.mark.parametrize(
    "folder", ["runs/plain", "a run's dir", 'with "quotes"', "two  spaces", "$HOME;ls *", "é [bold]"]
)
def test_a_shell_reads_back_the_words(folder):
    assert shlex.split(command_line("bench", Path(folder), "--force")) == ["regkd-edge", "bench", folder, "--force"]


def test_an_error_shows_what_a_terminal_would_act_on():
    assert UserError("met '\x1b[31m\0'").cause == r"met '\x1b[31m\x00'"


def test_a_plain_word_is_left_as_it_is():
    assert command_line("bench", Path("runs/pump")) == "regkd-edge bench runs/pump"


def test_a_folder_that_begins_with_a_dash_is_no_flag():
    assert command_line("bench", Path("-x"), "--force") == "regkd-edge bench ./-x --force"


def test_an_error_keeps_the_spaces_of_a_name():
    """It is one line whatever the cause was made of, and its command still names the folder."""
    error = UserError("met\n  two lines", f"Run: {command_line('bench', Path('two  spaces'))}")
    assert str(error) == "met two lines Run: regkd-edge bench 'two  spaces'"
