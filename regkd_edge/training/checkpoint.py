"""Checkpoint of a training: one safetensors file, written atomically, that only the same call resumes."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

from torch import Tensor

from ..io.reading import parse_json
from ..models.store import write_tensors
from .ranks import current

__all__ = ["Checkpoint"]

_log = logging.getLogger("regkd_edge.training")
_FORMAT = 1


class Checkpoint:
    """The file ``<folder>/state.safetensors``: tensors, with metadata as JSON in its header.

    Parameters
    ----------
    folder : path or None
        None disables checkpoints.
    fingerprint : str
        Of everything that decides the training. A checkpoint with a different fingerprint is ignored.
    """

    def __init__(self, folder: str | Path | None, fingerprint: str):
        self.folder = None if folder is None else Path(folder)
        self.fingerprint = fingerprint

    @property
    def path(self) -> Path | None:
        return None if self.folder is None else self.folder / "state.safetensors"

    def save(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Replace the state atomically: the old one stays valid until the new one is complete.

        Of several processes the first one writes.
        """
        if self.path is None or not current().first:
            return
        header = {
            "regkd_edge": json.dumps(
                {"format": _FORMAT, "fingerprint": self.fingerprint, "facts": facts}, allow_nan=False
            )
        }
        write_tensors(self.path, tensors, header)

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Return the state, or None if this training has none. A damaged or stale state is discarded."""
        return None if self.path is None else current().from_first(self._load)

    def _load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        if not self.path.is_file():
            return None
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self.path, framework="pt") as stored:
                header = parse_json((stored.metadata() or {})["regkd_edge"].encode())
                tensors = {key: stored.get_tensor(key) for key in stored.keys()}
            if not isinstance(header, dict) or not isinstance(header.get("facts"), dict):
                raise ValueError("it holds no facts")
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            _log.warning("the checkpoint '%s' is damaged (%s): training starts from the beginning", self.path, error)
            return None
        if header.get("format") != _FORMAT or header.get("fingerprint") != self.fingerprint:
            _log.info("the checkpoint '%s' belongs to a different training: it is discarded", self.path)
            return None
        return tensors, header["facts"]

    @staticmethod
    def remove(folder: str | Path | None) -> None:
        """Delete the state once the result of the training is saved."""
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
