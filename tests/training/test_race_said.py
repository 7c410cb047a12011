"""What a race says in words: who won by how much, and where a nearer student gains nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from regkd_edge.config import DistillConfig
from regkd_edge.recipes.candidates import BASE_ALONE, LABELS_ALONE, MIXTURE
from regkd_edge.training import ladder
from regkd_edge.training.loop import LoopState
from regkd_edge.training.race.halving import Race
from regkd_edge.training.race.last_heat import Heat
from regkd_edge.training.race.summary import notes, sentence
from regkd_edge.training.race.units import Pair, TargetUnits

from .test_race import figures


def test_a_base_that_diverged_is_not_said_to_be_infinitely_worse():
    won, base = figures(MIXTURE, np.full(9, 0.25)), figures(BASE_ALONE, np.full(9, np.inf))
    units = TargetUnits(("y",), (2.0,))
    race = Race(DistillConfig(), [base, won], won, "teacher", units, None, [10], 1, 9, 0.0, None)
    assert sentence(race) == f"{MIXTURE.title} won; the base alone diverged"
    base = figures(BASE_ALONE, np.full(9, 1.0))
    told = sentence(replace(race, entrants=[base, won]))
    assert (
        told == f"{MIXTURE.title} won; the base alone is 100% farther from the teacher on held-out rows: "
        "2.00 against 1.00 (y)"
    )
    rival = figures(LABELS_ALONE, np.full(9, 0.24))
    told = sentence(replace(race, entrants=[base, rival, won]))
    assert told.startswith(f"{MIXTURE.title} won ({LABELS_ALONE.title} is nearer, by too little to be sure;")


@pytest.mark.parametrize(
    ("of_base", "said"),
    [(1.003, "less than 1% farther from"), (1.12, "12% farther from"), (0.998, "less than 1% nearer to")],
)
def test_a_small_lead_is_not_said_to_be_nothing(of_base, said):
    won, base = figures(MIXTURE, np.full(9, 0.25)), figures(BASE_ALONE, np.full(9, 0.25 * of_base**2))
    race = Race(DistillConfig(), [base, won], won, "teacher", TargetUnits(("y",), (2.0,)), None, [10], 1, 9, 0.0, None)
    assert f"the base alone is {said} the teacher on held-out rows" in sentence(race)


def held(winner, base, heat=None):
    units, error = TargetUnits(("y",), (2.0,)), ([0.5], 0.5)
    fields = DistillConfig(recipe=None), [base, winner], winner, "teacher", units, error, [500], 1, 90, 1.0, None
    return Race(*fields, heat=heat)


def test_the_notes_say_where_a_nearer_student_gains_nothing_in_the_labels():
    base, mixture = figures(BASE_ALONE, [0.04, 0.04]), figures(MIXTURE, [0.01, 0.01])
    history = [{"base": 1e-4}]
    pair = lambda ours, theirs: Pair((ours, theirs), ([ours], [theirs]))
    units = TargetUnits(("y",), (2.0,))
    worse, better = (Heat(90, units, pair(0.1, 0.2), pair(ours, 0.46), None) for ours in (0.49, 0.4))
    (said,) = notes(held(mixture, base, worse), history)
    assert "90 validation rows it is not nearer than the base alone, 0.980 against 0.920 (y), a difference" in said
    assert said.endswith("error is 1.00 (y)")
    (said,) = notes(held(mixture, base, better), history)
    assert said.startswith("the teacher's own error on held-out labels, 1.00 (y), is far above")
    assert notes(held(base, base), history) == [], "the sentence has said that no term helped"
    hardly = Heat(90, units, pair(0.1, 0.2), pair(0.4577, 0.46), None)
    (said,) = notes(held(mixture, base, hardly), history)
    assert "it is less than 1% nearer than the base alone, 0.915 against 0.920 (y)" in said


def test_where_a_nearer_student_gains_nothing_no_note_advises_more_steps():
    base, mixture = figures(BASE_ALONE, [0.04, 0.04]), figures(MIXTURE, [0.01, 0.01])
    still, other = (
        ladder.still_improving(LoopState(history=[{"step": 1250}], gain=0.1, steps=1250)),
        "of something else",
    )
    assert still[0].startswith(ladder.STILL)
    (_, kept) = notes(held(mixture, base), [{"base": 1e-4}], [*still, other])
    assert kept == other
    far = figures(MIXTURE, [0.03, 0.03])  # 0.17 of the teacher's 0.5: there is something to gain
    assert notes(held(far, base), [{"base": 1e-4}], [*still, other])[-2:] == [*still, other]
