"""The engine: a built graph that is loaded, from raw inputs to raw answers. Needs no torch."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..data import as_rows, as_targets
from ..data.scores import r2_score
from ..errors import DataError, GraphError, UserError
from ..io.files import write_json
from ..io.words import counted
from . import get_backend, load_runner, read_manifest
from .base import Runner
from .batches import predict
from .manifest import MANIFEST, Manifest
from .verify import Oracle, build_verified, probe_oracle

__all__ = ["Engine", "build_engine"]


class Engine:
    """A loaded engine: raw inputs [n, d] in, raw answers [n, o] out. It is a context manager that closes itself.

    Parameters
    ----------
    folder : path
        Where the engine file and its manifest are.
    threads : int, optional
        Threads per request, for back ends on the CPU; by default the number that it was built for.
    load : bool
        Load it now, so that what is wrong with it is said now; otherwise when it is first used.
    settings
        Further arguments of the back end's own ``load``.

    Attributes
    ----------
    note : str or None
        What had to be repaired when it was built.

    Raises
    ------
    RunFolderError
        The manifest is missing or corrupt, or the engine file is not the one that it describes.
    NotAvailable
        The runtime or the device is not on this machine.
    """

    def __init__(self, folder: str | Path, threads: int | None = None, *, load: bool = True, **settings: Any):
        self.folder = Path(folder)
        self.settings = {"threads": threads, **settings}
        self.manifest: Manifest = read_manifest(self.folder)  # of the engine file and its origin
        self.note: str | None = None
        self._runner: Runner | None = None
        self._kept: tempfile.TemporaryDirectory[str] | None = None  # holds an unnamed folder
        if load:
            self.manifest = self.runner.manifest

    @property
    def runner(self) -> Runner:
        """The loaded engine of the back end."""
        if self._runner is None:
            self._runner = load_runner(self.folder, **self.settings)
        return self._runner

    @property
    def name(self) -> str:
        """``<backend>.<precision>``."""
        return f"{self.manifest.backend}.{self.manifest.precision}"

    @property
    def d(self) -> int:
        """Number of inputs."""
        return self.manifest.d

    @property
    def input_shape(self) -> tuple[int, ...] | None:
        """Shape of a row that is an image or a signal, or None."""
        return self.manifest.input_shape

    @property
    def o(self) -> int:
        """Number of outputs."""
        return self.manifest.o

    def predict(self, x: Any) -> np.ndarray:
        """Return the answers [n, o], float64, to raw inputs [n, d] of any number of rows.

        Rows are converted to float32, split into batches that the engine supports, and checked. :meth:`infer` does none
        of that, and latencies are measured on it.

        Parameters
        ----------
        x : array-like, torch tensor or data frame, [n, d]; [n, *input_shape] for images and signals
            A data frame is read by the names of the inputs, if the manifest has them.

        Raises
        ------
        DataError
            Rows of another rank or width, numbers that are not finite or beyond float32, or columns that are missing.
        """
        names = list(self.manifest.feature_names) or None
        frame = hasattr(x, "columns")
        rows, _ = as_rows(x, names=names if frame else None, width=self.d, shape=self.input_shape)
        with np.errstate(over="ignore"):
            single = rows.astype(np.float32)
        if not np.isfinite(single).all():
            raise DataError(
                f"x holds {rows[~np.isfinite(single)][0]:g}, beyond the range of float32.",
                "Use another unit.",
            )
        return predict(self.runner, single)

    def score(self, x: Any, y: Any) -> float:
        """Return R2 of the answers to x [n, d] against y [n, o], the mean over the outputs (as in scikit-learn)."""
        answers = self.predict(x)
        truth, _ = as_targets(y, len(answers), width=answers.shape[1])
        return r2_score(truth, answers)

    def infer(
        self,
        x: np.ndarray,  # [b, d] float32, C-contiguous, raw units
    ) -> np.ndarray:  # [b, o] float32, raw units
        """Run one request of a batch size that the engine supports; inputs are checked, never converted."""
        return self.runner.infer(x)

    def save(self, folder: str | Path) -> Engine:
        """Copy the engine into a new or empty folder, and return the engine loaded from there."""
        target = Path(folder)
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise UserError(f"'{folder}' is not an empty folder.", "Choose a new folder for the engine.")
        target.mkdir(parents=True, exist_ok=True)
        for path in sorted(self.folder.iterdir(), key=lambda p: p.name == MANIFEST):  # the manifest comes last
            shutil.copyfile(path, target / path.name)
        return Engine(target, **self.settings)

    def close(self) -> None:
        """Free the engine's resources."""
        if self._runner is not None:
            self._runner.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        batch = "any batch" if self.manifest.batch is None else f"batch {self.manifest.batch}"
        return (
            f"Engine({self.name}: {counted(self.d, 'input')}, {counted(self.o, 'output')}, {batch}, "
            f"{self.manifest.size_bytes:,} bytes)"
        )


def build_engine(
    graph: Any,
    backend: str,
    folder: str | Path,
    options: Mapping[str, Any] | None = None,
    oracle: Oracle | None = None,
) -> tuple[Manifest, str | None]:
    """Build a graph for this machine, compare the engine with the graph, and return ``(manifest, note or None)``.

    Parameters
    ----------
    graph : Graph or path
        ONNX, as ``export`` and ``quantize`` write it; the names of a Graph's columns go into the manifest.
    backend : str
        A key of :data:`~regkd_edge.engines.BACKENDS`.
    folder : path
        Receives the engine file and ``manifest.json``.
    options : mapping, optional
        Options of the back end.
    oracle : Oracle, optional
        What the graph means on held-out rows; without it random rows within float32 are tried, where the graph can be
        run at all.

    Raises
    ------
    GraphError, NotAvailable
        As the back end's own ``build``; or the engine does not answer as its graph.
    """
    maker = get_backend(backend)
    maker.require()
    path, note = Path(graph), None
    reason = maker.refuses(path) if hasattr(maker, "refuses") else None
    if reason is not None:
        raise GraphError(f"{Path(folder).name}: {reason.rstrip('.')}.", "Use another back end or precision.")
    oracle = oracle or probe_oracle(path)
    if oracle is None:
        manifest = maker.build(path, folder, options)
    else:
        manifest, note = build_verified(maker, path, folder, options, oracle)
    names = {key: list(getattr(graph, key, ())) for key in ("feature_names", "target_names")}
    if any(names.values()):
        manifest = replace(manifest, feature_names=names["feature_names"], target_names=names["target_names"])
        write_json(Path(folder, MANIFEST), manifest.to_dict())
    return manifest, note
