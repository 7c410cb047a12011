"""What is refused, and where: the one room that decides it.

``sections``
    What a section of a configuration contradicts in itself, and two sections in each other.
``objective``
    What an objective contradicts in itself, in a configuration and in a ``StepRecipe`` of Python alike.
``loaded``
    What only a loaded teacher, or the data, can tell.

The range of a single value is that of its field; ``config.step_values`` applies it to a ``StepRecipe``.
"""

from __future__ import annotations

__all__: list[str] = []
