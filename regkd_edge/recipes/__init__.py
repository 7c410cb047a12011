"""The one catalogue of recipes and the one table of matching terms; plain data without torch."""

from __future__ import annotations

from .catalogue import RECIPES
from .terms import TERMS, Term

__all__ = ["RECIPES", "TERMS", "Term"]
