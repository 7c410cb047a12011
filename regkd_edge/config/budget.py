"""The error that a user allows: ``--allow TARGET=RMSE``, in the target's own unit."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..errors import UserError
from ..io.words import name_and_unit

__all__ = ["allowances", "checked_allowance"]


def checked_allowance(text: str) -> str:
    """Return one ``TARGET=RMSE`` or ``RMSE`` without blanks around its parts;
    ValueError unless the RMSE is a number."""
    name, _, value = str(text).rpartition("=")
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number > 0):
        raise ValueError(f"'{text}' is not an allowance: give TARGET=RMSE with an RMSE above 0, for example power=2.5")
    return f"{name.strip()}={value.strip()}" if name.strip() else value.strip()


def allowances(given: Sequence[str], targets: Sequence[str]) -> dict[str, float]:
    """Return target -> largest RMSE allowed, in the target's own unit; an RMSE alone holds for the only target.

    A name may leave out the unit behind it, where one target alone has that name: ``leak`` of ``leak [mol/s]``.

    Raises
    ------
    UserError
        A name that is not among ``targets``, or an RMSE alone with several targets.
    """
    found: dict[str, float] = {}
    for text in given:
        name, _, value = text.rpartition("=")
        if not name and len(targets) > 1:
            raise UserError(
                f"--allow {text} names no target, and there are {len(targets)}: {', '.join(targets)}.",
                f"Give --allow {targets[0]}={text}.",
            )
        if name and name not in targets:
            short = [target for target in targets if name_and_unit(target)[0] == name]
            name = short[0] if len(short) == 1 else name
        if name and name not in targets:
            raise UserError(f"--allow names '{name}', and the targets are: {', '.join(targets)}.", "Give one of them.")
        found[name or targets[0]] = float(value)
    return found
