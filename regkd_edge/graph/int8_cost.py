"""Why an INT8 graph can be larger or slower than the FP32 graph of the same network, and what can be done about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

__all__ = ["SAME_SIZE", "int8_cost"]

SAME_SIZE = 0.05  # relative: names and shapes alone make a file a little larger or smaller


def int8_cost(two_parts: Mapping[str, Sequence[str]]) -> str:
    """Return cause and remedy in two or three sentences, without a full stop at the end.

    Parameters
    ----------
    two_parts : mapping
        Layer -> what of it is in two INT8 parts (``data``, ``weights``); empty for plain INT8.
    """
    if not two_parts:
        return (
            "rounding to INT8 and back takes operators and scales in every layer, and in a network of this size they "
            "outweigh what its smaller numbers save. Use FP32 or FP16 on such a machine, or measure on hardware with "
            "INT8 units"
        )
    named = ", ".join(f"{name} ({' and '.join(what)})" for name, what in two_parts.items())
    return (
        f"one INT8 number is too coarse in {named}, so there are two, and each pair takes a product more. With a "
        "larger allowance (--max-increase 5%) fewer layers take two, with plain INT8 (--corrections without split) "
        "none does. Or measure on hardware with INT8 units"
    )
