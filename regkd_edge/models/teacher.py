"""The teacher: a frozen regressor that answers raw inputs exactly as it was trained to, and the space it lives in."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from ..data import Scalers, as_rows, as_targets
from ..data.scores import r2_score
from ..errors import ModelError
from .convert import InStandardizedSpace, as_mlp, folded
from .mlp import MLP
from .store import count_parameters

__all__ = ["Teacher"]

_CHUNK = 4096  # rows per call


class Teacher:
    """A frozen regressor: raw inputs [n, d] in, raw answers [n, o] out.

    Parameters
    ----------
    module : nn.Module
        The network; it is frozen and put into evaluation mode. :class:`~regkd_edge.models.teachers.ArrayFunction`
        stands for everything that is not a network.
    scalers : Scalers or None
        The scalers that it was trained with, where they are known: then its students use them too.
    units : ``"standardized"`` or ``"raw"``
        Whether the module takes and gives standardized values or raw units.
    source : str
        Where it came from, for messages and reports.
    factory : str, optional
        ``package.module:factory`` that makes the module again.
    extra : dict, optional
        ``feature_names``, ``target_names``, and whatever else is stored with it.
    """

    def __init__(
        self,
        module: nn.Module,
        scalers: Scalers | None,
        units: str,
        source: str,
        *,
        factory: str | None = None,
        extra: dict[str, Any] | None = None,
    ):
        for parameter in module.parameters():  # one by one: TorchScript has no requires_grad_ of its own
            parameter.requires_grad_(False)
        self.module = module.eval()
        self.scalers = scalers
        self.units = units
        self.source = source
        self.factory = factory
        self.extra = dict(extra or {})
        self.differentiable = bool(getattr(module, "differentiable", True))
        self._mlp: MLP | None | bool = False  # not looked for yet

    # What it is ------------------------------------------------------------------------------------------------

    @property
    def parameters_count(self) -> int:
        """Number of parameters of the network."""
        return count_parameters(self.module)

    @property
    def mlp(self) -> MLP | None:
        """The network as an :class:`MLP` if it is equivalent to one, so that the fused core supports it, else None."""
        if self._mlp is False:
            self._mlp = self.module if type(self.module) is MLP else as_mlp(self.module)
        return self._mlp  # type: ignore[return-value]

    @property
    def feature_names(self) -> list[str] | None:
        """Names of the inputs in their order, where they are known."""
        return list(self.extra["feature_names"]) if self.extra.get("feature_names") else None

    @property
    def target_names(self) -> list[str] | None:
        """Names of the outputs in their order, where they are known."""
        return list(self.extra["target_names"]) if self.extra.get("target_names") else None

    @property
    def widths(self) -> tuple[int | None, int | None]:
        """Numbers of inputs and outputs by the teacher's own word; None where only an answer would show them."""
        if self.scalers is not None:
            return self.scalers.x.width, self.scalers.y.width
        mlp = self.mlp
        if mlp is not None:
            return mlp.widths[0], mlp.widths[-1]
        features, targets = self.feature_names, self.target_names
        return (len(features) if features else None), (len(targets) if targets else None)

    # What it answers -------------------------------------------------------------------------------------------

    def predict(self, x: Any) -> np.ndarray:
        """Return the answers [n, o], float64, raw units, to raw inputs [n, d].

        The rows reach a teacher in raw units unchanged, in the module's own precision: nothing is standardized and
        restored on the way, so codes, counts and thresholds keep their values.

        Parameters
        ----------
        x : array-like, torch tensor or data frame, [n, d]
            A data frame is read by the names of the teacher's inputs.

        Raises
        ------
        DataError
            Rows of another rank or width, or not finite.
        ModelError
            The teacher fails on these rows, or its units are unknown.
        """
        frame = hasattr(x, "columns")
        rows, _ = as_rows(x, names=self.feature_names if frame else None, width=self.widths[0])
        if self.units == "standardized":
            if self.scalers is None:
                raise ModelError(
                    f"the teacher ({self.source}) takes and gives standardized values, and nothing says how they are "
                    "standardized.",
                    "Give its own scalers (scalers=), or a module in raw units.",
                )
            return self.scalers.y.restore(self._ask(self.scalers.x.standardize(rows)))
        return self._ask(rows)

    def score(self, x: Any, y: Any) -> float:
        """Return R2 of the answers to x against labels y [n, o], the mean over the outputs (as scikit-learn has it)."""
        answers = self.predict(x)
        truth, _ = as_targets(y, len(answers), width=answers.shape[1])
        return r2_score(truth, answers)

    def _ask(self, rows: np.ndarray) -> np.ndarray:  # [n, d] in its own units -> [n, o] float64
        own = next((p for p in (*self.module.parameters(), *self.module.buffers()) if p.is_floating_point()), None)
        if own is None:
            device, dtype = torch.device("cpu"), torch.float64 if hasattr(self.module, "function") else torch.float32
        else:
            device, dtype = own.device, own.dtype
        parts = []
        with torch.no_grad():
            for start in range(0, len(rows), _CHUNK):
                part = torch.from_numpy(rows[start : start + _CHUNK]).to(device, dtype)
                parts.append(answer_rows(self.module(part), len(part), self.source).double().cpu().numpy())
        return np.concatenate(parts)

    def standardized(self, scalers: Scalers) -> nn.Module:
        """The teacher between the standardized spaces of ``scalers``: an :class:`MLP` where that is exact, so that the
        fused core supports it, else a wrapper for autograd. Frozen; ``differentiable`` says whether gradients pass."""
        mlp = self.mlp
        if self.units == "raw":
            out = (
                folded(mlp, scalers)
                if mlp is not None
                else InStandardizedSpace(self.module, scalers, None, self.differentiable)
            )
        elif self.scalers is None or _same(self.scalers, scalers):
            out = mlp if mlp is not None else InStandardizedSpace(self.module, None, None, self.differentiable)
        else:
            out = InStandardizedSpace(self.module, scalers, self.scalers, self.differentiable)
        out.eval()
        for parameter in out.parameters():
            parameter.requires_grad_(False)
        return out

    def __repr__(self) -> str:
        inputs, outputs = ("?" if width is None else width for width in self.widths)
        how = "fused core" if self.mlp is not None else "autograd" if self.differentiable else "values only"
        return (
            f"Teacher({self.source}: {inputs} inputs, {outputs} output{'' if outputs == 1 else 's'}, "
            f"{self.parameters_count:,} parameters, {self.units} units, {how})"
        )


def answer_rows(y: Any, n: int, source: str) -> torch.Tensor:  # [n, o]
    """What a network gave for n rows as a tensor [n, o]; :class:`ModelError` names any other kind or shape."""
    if not isinstance(y, torch.Tensor):
        inner = f" of {', '.join(type(v).__name__ for v in y)}" if isinstance(y, (tuple, list)) else ""
        inner = f" with the keys {', '.join(map(repr, list(y)[:6]))}" if isinstance(y, dict) else inner
        raise ModelError(
            f"the teacher ({source}) returned a {type(y).__name__}{inner}, expected one tensor.",
            "Return the tensor of the predictions alone.",
        )
    if y.ndim == 0 and n == 1:
        return y.reshape(1, 1)
    if y.ndim == 1 and len(y) == n:
        return y[:, None]
    if y.ndim != 2 or len(y) != n:
        squeeze = y.ndim > 2 and len(y) == n and y[0].numel() == max(y.shape[1:])
        raise ModelError(
            f"the teacher ({source}) returned shape {list(y.shape)} for {n} rows, expected [{n}, outputs].",
            "Squeeze the dimensions of size 1." if squeeze else "Return one row of predictions for each row.",
        )
    return y


def _same(a: Scalers, b: Scalers) -> bool:
    return a is b or all(
        (getattr(p, k) == getattr(q, k)).all() for p, q in ((a.x, b.x), (a.y, b.y)) if p.width == q.width for k in ("mean", "scale")
    ) and (a.x.width, a.y.width) == (b.x.width, b.y.width)  # fmt: skip
