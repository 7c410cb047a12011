"""Numbers with their nouns, and shares in percent."""

from __future__ import annotations

import pytest

from regkd_edge.io.words import counted, in_percent


def test_a_noun_has_the_number_of_its_count():
    assert [counted(n, "row") for n in (0, 1, 2, 12000)] == ["0 rows", "1 row", "2 rows", "12,000 rows"]


@pytest.mark.parametrize(
    ("share", "said"),
    [(0.0, "0%"), (1e-9, "less than 1%"), (0.0049, "less than 1%"), (0.0051, "1%"), (0.124, "12%"), (2.5, "250%")],
)
def test_little_is_not_said_to_be_nothing(share, said):
    assert in_percent(share) == said
