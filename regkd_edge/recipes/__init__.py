"""The catalogue of recipes: names, and the configuration fields that each sets."""

from __future__ import annotations

from .catalogue import RECIPES

__all__ = ["RECIPES"]
