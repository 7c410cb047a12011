"""Tables, splits, scaling, and the data files of a run. Works without torch."""

from __future__ import annotations

from .arrays import as_rows, as_targets, dataset_of
from .columns import Columns, Kind
from .places import Places
from .prepare import prepare
from .scaler import Scaler, Scalers
from .split import Split, split, subset
from .store import Dataset, load_dataset, load_predictions, save_dataset, save_predictions
from .table import BUNDLED, Table, load_table

__all__ = [
    "BUNDLED",
    "Columns",
    "Dataset",
    "Kind",
    "Places",
    "Scaler",
    "Scalers",
    "Split",
    "Table",
    "as_rows",
    "as_targets",
    "dataset_of",
    "load_dataset",
    "load_predictions",
    "load_table",
    "prepare",
    "save_dataset",
    "save_predictions",
    "split",
    "subset",
]
