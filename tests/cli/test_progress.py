"""Progress: what is said, when, and where nothing is said."""

from __future__ import annotations

import io
import time

import pytest

from regkd_edge.cli import progress, screen
from regkd_edge.cli.progress import Watch, progress_bar
from regkd_edge.io.progress import listening, tick

VALIDATION = {"validation_rmse": 1.5, "target_rmse": [1.5]}


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def watch():
    watch = Watch(clock=Clock())
    watch.stage("distill")
    return watch


def test_before_the_first_step_the_stage_and_its_time_are_told(watch):
    watch.clock.now += 7
    assert watch.line() == "student  0:07 so far"


def test_step_rate_and_time_left(watch):
    watch.clock.now += 10
    watch("student", 100, 400, {"total": 0.5, "pm": 0.25, "gm": 0.0}, VALIDATION)
    watch.clock.now += 10
    watch("student", 200, 400, {"total": 0.5, "pm": 0.25, "gm": 0.0}, VALIDATION)
    assert watch.line() == "student  step 200 of 400  10.0 steps/s  0:20 left"


def test_after_the_last_step_no_time_is_promised(watch):
    """The best state is restored and scored then: "0:00 left" for half a minute is not true."""
    watch.clock.now += 10
    watch("student", 400, 400, {}, VALIDATION)
    watch.clock.now += 30
    assert "step 400 of 400" in watch.line() and watch.line().endswith("finishing")


def test_losses_are_in_words_with_the_unit_of_the_error(watch):
    watch.targets = ["power"]
    watch("student", 1, 2, {"total": 0.5, "base": 0.1, "pm": 0.2, "abm": 0.3, "gm": 0.0}, VALIDATION)
    assert watch.figures == (
        "loss 0.500, base loss 0.100, perturbation matching 0.200, adversarial belief matching 0.300, "
        "validation RMSE 1.500 (power)"
    )


def test_errors_are_per_target_in_its_unit_and_the_pooled_one_comes_second(watch):
    watch.targets = ["life [cycles]", "capacity [mAh]"]
    watch("student", 1, 2, {"total": 0.5}, {"validation_rmse": 0.1276, "target_rmse": [72.79, 23.424]})
    assert watch.figures == (
        "loss 0.500, validation RMSE 72.79 (life [cycles]), 23.42 (capacity [mAh]), 0.1276 standard deviations (pooled)"
    )
    watch.targets = [f"y{j}" for j in range(9)]
    watch("student", 2, 2, {}, {"validation_rmse": 0.5, "target_rmse": [float(j) for j in range(9)]})
    assert watch.figures.endswith("2.000 (y2), 3.000 (y3), 5 more targets, 0.5000 standard deviations (pooled)")
    watch("student", 3, 3, {}, {"validation_rmse": 0.5, "target_rmse": [1.0] * 5})
    assert ", 1 more target, 0.5000 standard" in watch.figures


def test_a_race_before_the_first_step_is_told_under_the_name_of_its_training(watch):
    watch("baseline", 400, 400, {"total": 0.5}, VALIDATION)
    watch("student", 0, 0, {}, None)
    watch.tick("race of the recipes", 0, None)
    watch.tick("19 candidates, rung", 1, 3)
    watch.clock.now += 4
    assert watch.line() == "student  race of the recipes  19 candidates, rung 1 of 3  0:04 so far"
    assert watch.figures == ""


def test_every_training_of_a_race_has_its_name_and_its_own_count(watch):
    watch.tick("base alone, before the race", 0, None)
    watch.clock.now += 10
    watch("student", 1000, 40000, {"total": 0.5}, VALIDATION)
    assert watch.line() == "student  base alone, before the race  step 1,000 of 40,000  100 steps/s  6:30 left"
    watch.tick("winner of the race: PM", 0, None)
    assert watch.line() == "student  winner of the race: PM  0:00 so far" and watch.figures == ""
    watch.clock.now += 10
    watch("student", 500, 40000, {}, None)
    assert "step 500 of 40,000  50.0 steps/s" in watch.line()


def test_the_time_before_the_first_step_does_not_slow_the_rate(watch):
    """A minute of reading libraries and rows before 300 steps of 10 s: 9 minutes would be promised."""
    watch.clock.now += 60
    watch("student", 30, 300, {}, None)
    watch.clock.now += 1
    watch("student", 60, 300, {}, None)
    assert "30.0 steps/s" in watch.line() and "0:08 left" in watch.line()


def test_a_resumed_training_counts_its_rate_from_where_it_resumed(watch):
    watch.clock.now += 1
    watch("student", 900, 1000, {}, None)
    watch.clock.now += 10
    watch("student", 950, 1000, {}, None)
    assert "5.00 steps/s" in watch.line() and "0:10 left" in watch.line()


def test_steps_and_answers_between_two_validations_are_told(watch):
    with listening(watch.tick):
        watch("student", 100, 400, {}, None)
        tick("steps", 7)
        assert "step 107 of 400" in watch.line()
        tick("answers of the teacher", 4096, 10000)
        assert "answers of the teacher 4,096 of 10,000" in watch.line()
    tick("steps", 9)  # nobody listens any more
    assert "step 107 of 400" in watch.line()


def test_without_a_terminal_a_line_comes_though_the_work_reports_nothing(monkeypatch):
    monkeypatch.setattr(progress, "LINE_EVERY", 0.02)
    out = io.StringIO()
    monkeypatch.setattr(progress.console, "_file", out)
    with progress_bar() as watch:
        watch.stage("teacher")
        for _ in range(200):
            time.sleep(0.02)
            if "teacher" in out.getvalue():
                break
    assert out.getvalue().startswith("teacher  0:0")


def test_a_result_goes_to_stdout_after_the_bar_is_gone(monkeypatch, capsys):
    """Rich sends what is printed beside its bar to the bar's own stream, stderr: a result would miss its file."""
    from regkd_edge.cli.output import show

    bar = Terminal()
    monkeypatch.setattr(progress, "is_live", lambda: True)
    monkeypatch.setattr(progress.console, "_file", bar)
    with progress_bar() as watch:
        watch.stage("bench")
        show("Results", [{"name": "a", "figure": 1.5}], as_json=False)
        shown = bar.getvalue()
        assert "1.5" not in shown
        watch.stage("report")
        time.sleep(0.6)  # more than two refreshes
        assert bar.getvalue() == shown
    assert "1.5" in capsys.readouterr().out


def test_quiet_says_nothing(monkeypatch):
    monkeypatch.setattr(progress, "LINE_EVERY", 0.005)
    monkeypatch.setattr(screen.settings, "quiet", True)
    out = io.StringIO()
    monkeypatch.setattr(progress.console, "_file", out)
    with progress_bar() as watch:
        watch.stage("teacher")
        time.sleep(0.05)
    assert out.getvalue() == ""


@pytest.mark.parametrize(("term", "live"), [("xterm-256color", True), ("dumb", False)])
def test_a_dumb_terminal_gets_lines_and_no_bar(monkeypatch, term, live):
    monkeypatch.setattr("sys.stderr", Terminal())
    monkeypatch.setenv("TERM", term)
    assert screen.is_live() is live


@pytest.mark.parametrize(("no_color", "escapes"), [("", True), ("1", False)])
def test_no_color_is_respected(monkeypatch, no_color, escapes):
    out = Terminal()
    monkeypatch.setattr("sys.stdout", out)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", no_color)
    screen.put([("title", True), ("text", False)])
    assert ("\x1b" in out.getvalue()) is escapes
