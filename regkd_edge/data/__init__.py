"""Tables, splits, scaling, and the data files of a run. Works without torch."""

from __future__ import annotations

from .scaler import Scaler, Scalers
from .split import Split, split, subset
from .store import Dataset, load_dataset, load_predictions, save_dataset, save_predictions
from .table import BUNDLED, Table, load_table

__all__ = [
    "BUNDLED",
    "Dataset",
    "Scaler",
    "Scalers",
    "Split",
    "Table",
    "load_dataset",
    "load_predictions",
    "load_table",
    "save_dataset",
    "save_predictions",
    "split",
    "subset",
]
