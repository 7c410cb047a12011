"""The table of matching terms: one row per term, which configuration, recipes, steps and reports read.

A new term is one row here and one function in :mod:`regkd_edge.objectives.matching`. Its weight then has a field
(``distill.w_NAME``), a flag (``--w-NAME``), a field of ``StepRecipe`` (``w_NAME``) and a column of losses. A term
without a kernel runs in torch; the fused core keeps running every recipe that does not use it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["TERMS", "Term"]


@dataclass(frozen=True)
class Term:
    """One matching term.

    Parameters
    ----------
    name : str
        As in ``--terms``.
    title : str
        As help and reports name it.
    function : str
        ``module:name`` of the torch definition, ``f(StepPoints) -> scalar Tensor``. Resolved on use, so that this
        table needs no torch.
    weight : float or str
        Default of ``--w-NAME``, as a configuration writes weights.
    points : str or None
        The kind of points that the term makes (``perturbed``, ``ascended``); None: it looks at points of others.
    teacher_gradient : bool
        Whether it needs the teacher's gradient.
    kernel : bool
        Whether the fused core has it under the same name (``_core.TERMS``).
    by_row : bool
        Whether it is a mean over rows of what each row gives alone, so that several processes can divide the rows.
    """

    name: str
    title: str
    function: str
    weight: float | str
    points: str | None = None
    teacher_gradient: bool = False
    kernel: bool = False
    by_row: bool = False

    def resolve(self) -> Callable:
        """Return the torch definition."""
        module, _, name = self.function.partition(":")
        return getattr(importlib.import_module(module), name)


_ROWS = (
    Term("pm", "perturbation matching", "regkd_edge.objectives.matching:perturbation", 1.0, "perturbed", kernel=True,
         by_row=True),
    Term("abm", "adversarial belief matching", "regkd_edge.objectives.matching:adversarial", "1..0", "ascended",
         kernel=True, by_row=True),
    Term("gm", "gradient matching", "regkd_edge.objectives.matching:gradient", 0.1, teacher_gradient=True,
         kernel=True, by_row=True),
)  # fmt: skip

TERMS: dict[str, Term] = {term.name: term for term in _ROWS}
"""Name -> term, in the order of the columns of losses. The weights of kang2024 are the defaults."""
