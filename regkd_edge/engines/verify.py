"""Does an engine answer as its graph? Every engine is compared with what its graph means, on rows it was not made from.

An optimizer that removes an activation, a kernel that saturates, a format that a runtime emulates wrongly: none of them
fails loudly, and all of them show up as a difference to the graph run without any optimization.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..data.scores import spread_of
from ..errors import GraphError, NotAvailable
from ..graph.unoptimized import reference_outputs
from ..io.files import write_json
from . import get_backend, load_runner, read_manifest
from .base import Backend
from .batches import predict
from .manifest import MANIFEST, Manifest

__all__ = [
    "DIFFERS",
    "Oracle",
    "Verified",
    "allowed_difference",
    "build_verified",
    "compare_answers",
    "probe_oracle",
    "verify_engine",
]

# Limits on the RMS difference to the graph over the rows, of each target.
# FP32 differs in the last bits only (sums in another order, another tanh, a fused scaler): 1e-4 of the target's
# standard deviation is ample.
_EXACT = 1e-4
# A lower precision has rounding boundaries, and those last bits push a value near one to its other side. How much that
# costs is bounded by what the precision itself costs, that is by the distance of the graph from the FP32 graph. Codes
# of INT8 and FP8 are fixed by the graph, so only few values are near a boundary: half of that distance. FP16 and BF16
# round every intermediate result, and a kernel may keep some of them wider: twice that distance.
_OWN = {"int8": 0.5, "int8-weights": 0.5, "fp8": 0.5}
_OWN_HALF = 2.0
_UNKNOWN = 0.01  # of the standard deviation, where the FP32 graph is not at hand
_PROBES = 256
DIFFERS = "it does not answer as its graph"
_MAXIMUM = 0.25  # of the standard deviation, whatever the graph's own distance is


@dataclass(frozen=True)
class Verified:
    """The result of one comparison.

    Attributes
    ----------
    passed : bool
    rows : int
        Rows that were compared.
    difference, allowed : float
        RMS difference to the graph and its limit, of the target that comes nearest to its limit, in that target's unit;
        ``difference`` is None when an answer is not finite.
    target : int
        Index of that target.
    largest : float or None
        Largest difference of a single answer to that target.
    """

    passed: bool
    rows: int
    difference: float | None
    allowed: float
    target: int
    largest: float | None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able record."""
        return asdict(self)

    def reason(self) -> str:
        """What is wrong, as the end of a sentence."""
        met = (
            "answers that are not finite"
            if self.difference is None
            else f"an RMS difference of {self.difference:.3g} in target {self.target}"
        )
        return f"{DIFFERS}: {met} on {self.rows} rows, at most {self.allowed:.3g} is allowed"


def allowed_difference(
    exact: np.ndarray,  # [n, o] answers of the FP32 graph
    answers: np.ndarray,  # [n, o] answers of the graph that the engine is built from
    precision: str = "fp16",
) -> np.ndarray:  # [o]
    """Return the RMS difference to ``answers`` up to which an engine counts as that graph, in target units.

    Parameters
    ----------
    precision : str
        Label of the graph, e.g. ``"int8+fp16"``; a part in half precision, or an unknown one, gets the wider limit.
    """
    spread = spread_of(exact)
    spread = np.where(spread > 0, spread, np.maximum(np.abs(exact).max(axis=0), 1e-6))  # one row, or a dead output
    # The distance of nine rows in ten: rows beyond the calibrated range carry no information about rounding.
    own = np.quantile(np.abs(answers - exact), 0.9, axis=0)
    factor = max(_OWN.get(part, 0.0 if part == "fp32" else _OWN_HALF) for part in precision.split("+"))
    return np.minimum(_EXACT * spread + factor * own, _MAXIMUM * spread)


def compare_answers(
    answers: np.ndarray,  # [n, o] of the engine
    expected: np.ndarray,  # [n, o] of its graph
    allowed: Sequence[float] | np.ndarray,  # [o]
) -> Verified:
    """Compare an engine's answers with those of its graph."""
    with np.errstate(over="ignore", invalid="ignore"):
        error = np.abs(answers - expected)
        rms = np.sqrt(np.mean(error**2, axis=0))
    limit = np.asarray(allowed, dtype=np.float64)
    finite = np.isfinite(rms)
    worst = int(np.argmax(rms / limit)) if finite.all() else int(np.argmin(finite))
    return Verified(
        bool(finite.all() and (rms <= limit).all()),
        len(answers),
        float(rms[worst]) if finite[worst] else None,
        float(limit[worst]),
        worst,
        float(error[:, worst].max()) if finite[worst] else None,
    )


class Oracle:
    """What the graphs of one student mean on given rows: ONNX Runtime on the CPU without any optimization.

    Parameters
    ----------
    rows : [n, d]
        Held-out inputs in raw units.
    exact : path, optional
        The FP32 graph, from which the distance of the others is measured. Without it a graph in a lower precision may
        be answered to 1 % of the deviation, and FP16 to twice what its own rounding costs where that is more.
    """

    def __init__(self, rows: np.ndarray, exact: str | os.PathLike[str] | None = None):
        self.rows = np.ascontiguousarray(rows, dtype=np.float32)
        self._exact = None if exact is None else Path(exact)
        self._answers: dict[Path, np.ndarray] = {}

    def answers(self, graph: str | os.PathLike[str]) -> np.ndarray:  # [n, o] float64
        """Return the answers of a graph; each is computed once."""
        graph = Path(graph)
        if graph not in self._answers:
            self._answers[graph] = reference_outputs(graph, self.rows)
        return self._answers[graph]

    def verify(self, folder: str | Path, graph: str | os.PathLike[str], **settings: Any) -> Verified:
        """Run the engine of a folder on the rows and compare it with its graph.

        ``settings`` are what the back end's own ``load`` takes besides the folder.
        """
        manifest = read_manifest(folder)
        expected = self.answers(graph)
        # On a GPU it is the builder that chooses where a value is rounded: the wider limit.
        precision = "unknown" if manifest.backend.startswith("tensorrt") else manifest.precision
        if self._exact is not None:
            exact = self.answers(self._exact)
        else:
            own = np.broadcast_to(
                0.0 if precision == "fp32" else _UNKNOWN / _OWN_HALF * spread_of(expected), expected.shape
            )
            if "fp16" in manifest.precision.split("+"):  # answers far from 0 for their spread round by more than that
                own = np.maximum(own, np.abs(reference_outputs(graph, self.rows, wide=True) - expected))
            exact = expected + own
        with load_runner(folder, **settings) as runner:
            found = predict(runner, self.rows)
        return compare_answers(found, expected, allowed_difference(exact, expected, precision))


def probe_oracle(graph: str | Path) -> Oracle | None:
    """Return an oracle on Gaussian inputs with the mean and the deviation of a graph's own scaler; None where that
    cannot be read (no onnx package, or more than one input)."""
    from ..graph.chain import input_scaler
    from ..graph.reader import read_scalers

    try:
        scaler = input_scaler(read_scalers(graph))
    except (GraphError, NotAvailable):
        return None
    if scaler is None:
        return None
    shift, rate = scaler
    return Oracle(shift + np.random.default_rng(0).standard_normal((_PROBES, len(rate))) / rate)


def build_verified(
    backend: Backend, graph: str | Path, folder: str | Path, options: Mapping[str, Any] | None, oracle: Oracle
) -> tuple[Manifest, str | None]:
    """Build an engine that answers as its graph: ``(manifest, note or None)``.

    An engine that answers otherwise is built again with fewer optimizations, and the note says so. If that does not
    help, the folder is removed, so that nothing measures it.

    Raises
    ------
    GraphError
        The back end refuses the graph, or every engine of it answers otherwise.
    """
    folder = Path(folder)
    backend.build(graph, folder, options)
    trusted = {"run_code_of_plan": True} if (options or {}).get("version_compatible") else {}  # it was built right here
    try:
        return verify_engine(folder, graph, oracle, **trusted), None
    except GraphError as error:
        refusal = error
    for plainer in backend.plainer(options) if hasattr(backend, "plainer") else ():
        backend.build(graph, folder, plainer)
        try:
            manifest = verify_engine(folder, graph, oracle)
        except GraphError:
            continue
        return manifest, f"{folder.name}: built with optimization '{plainer['optimization']}': {refusal.cause}"
    shutil.rmtree(folder, ignore_errors=True)
    raise refusal


def verify_engine(folder: str | Path, graph: str | os.PathLike[str], oracle: Oracle, **settings: Any) -> Manifest:
    """Compare the engine of a folder with its graph and store the result in its manifest.

    Returns
    -------
    Manifest
        ``verified`` is the comparison as a dict. It is None when the engine cannot be run on this machine, or when
        there is nothing to run the graph with; a note then says why.

    Raises
    ------
    GraphError
        The engine does not answer as its graph. The manifest is not touched.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    backend = get_backend(manifest.backend)
    reason = backend.cannot_run() if hasattr(backend, "cannot_run") else None
    verified: dict[str, Any] | None = None
    if reason is None:
        try:
            found = oracle.verify(folder, graph, **settings)
        except NotAvailable as error:
            reason = error.cause
        else:
            if not found.passed:
                raise GraphError(f"{folder.name}: {found.reason()}.", "Use another back end or precision.")
            verified = found.to_dict()
    notes = [note for note in manifest.notes if not note.startswith(_UNCHECKED)]
    if verified is None:
        notes.append(f"{_UNCHECKED}: {reason}")
    manifest = dataclasses.replace(manifest, verified=verified, notes=notes)
    write_json(folder / MANIFEST, manifest.to_dict())
    return manifest


_UNCHECKED = "the engine was not compared with its graph"
