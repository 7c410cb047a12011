"""The one catalogue of recipes: a name, and the fields of the configuration that it stands for."""

from __future__ import annotations

from .catalogue import RECIPES

__all__ = ["RECIPES"]
