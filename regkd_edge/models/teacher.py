"""The teacher: a frozen regressor that answers raw inputs exactly as it was trained to, and the space it lives in."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ..data import Columns, Scalers, as_rows, as_targets
from ..data.arrays import shape_of
from ..data.scores import r2_score
from ..errors import ModelError, UserError
from .asked import Asked
from .asking import gradient_passes
from .convert import as_mlp, between
from .mlp import MLP, is_plain
from .outputs import Picked
from .space import InStandardizedSpace, same_scalers
from .store import count_parameters

__all__ = ["Teacher"]

_ASKED = 1 << 23  # inputs, beyond which it is asked with the data alone


class Teacher(Asked):
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
    output : str, optional
        Name or index of the module's output that holds the predictions, where it returns several.

    Attributes
    ----------
    differentiable : bool
        Whether gradients pass through the module.
    shape : tuple of int or None
        Shape in which a row reaches the module, where it takes images or signals; None: flat, [d].
    columns : Columns or None
        What its inputs are, once it has been checked against data: restored points keep codes and counts whole.
    form, file : str and Path, or None
        Kind and place of the file that it was read from, where a run keeps a copy of that file.
    notes : list of str
        What its user should know: what was chosen among several possibilities, and what does not fit.
    trained : Trained or None
        The training that it comes from, with the ``history`` of its losses; None if it was not trained here.
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
        output: str | None = None,
    ):
        super().__init__(module, source, output)
        self.scalers = scalers
        self.units = units
        self.factory = factory
        self.extra = dict(extra or {})
        self.differentiable = bool(getattr(module, "differentiable", True))
        self.output = output
        self.found: list[tuple[str, Any]] = []  # where its scaler may be
        self.trust = False
        self.columns: Columns | None = None
        self.form: str | None = None
        self.file: Path | None = None
        self.notes: list[str] = []
        self.trained: Any = None
        self.checked: tuple[int | None, int | None] = (None, None)
        self._mlp: MLP | bool | None = False  # not looked for yet

    # What it is ------------------------------------------------------------------------------------------------

    @property
    def parameters_count(self) -> int | None:
        """Number of parameters of the network; None of a forest, a function or a graph that gives values alone."""
        return count_parameters(self.module) or None

    @property
    def mlp(self) -> MLP | None:
        """The network as an :class:`MLP` if it is equivalent to one, so that the fused core supports it, else None."""
        if self._mlp is False:
            picked = self.outputs.chosen or (None if self.outputs.pick is None else {self.outputs.pick: 2})
            own = is_plain(self.module) and picked is None
            module = self.module if picked is None else Picked(self.module, picked)
            self._mlp = module if own else as_mlp(module, self.checked[0])  # type: ignore[assignment]
        return self._mlp  # type: ignore[return-value]

    def checked_on(self, inputs: int, outputs: int) -> None:
        """Remember the widths that it was found to have, and look again for an MLP where they tell more than before."""
        self.checked = (inputs, outputs)
        if self._mlp is None:
            self._mlp = False

    def not_an_mlp(self) -> None:
        """Leave the network to PyTorch: its folded form was compared on rows and differs."""
        self._mlp = None

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
        inputs = getattr(self.module, "features", None)  # an estimator or a graph may know it
        inputs = len(features) if features else inputs or self.checked[0]
        return inputs, len(targets) if targets else self.checked[1]

    # What it answers -------------------------------------------------------------------------------------------

    def predict(self, x: Any) -> np.ndarray:
        """Return the answers [n, o], float64, raw units, to raw inputs [n, d].

        The rows reach a teacher in raw units unchanged, in the module's own precision: nothing is standardized and
        restored on the way, so codes, counts and thresholds keep their values.

        Parameters
        ----------
        x : array-like, torch tensor or data frame, [n, d]; [n, *shape] for images and signals
            A data frame is read by the names of the teacher's inputs.

        Raises
        ------
        DataError
            Rows of another rank or width, or not finite.
        ModelError
            The teacher fails on these rows, or its units are unknown.
        """
        frame = hasattr(x, "columns")
        given = None if frame else shape_of(x)[1:]
        settled = self.shape
        shape = settled if settled is not None or given is None or len(given) < 2 else tuple(given)
        rows, _ = as_rows(x, names=self.feature_names if frame else None, width=self.widths[0], shape=shape)
        try:
            if shape is not None and settled is None:
                self.read_as(shape, rows)
            answers = self._answers_to(rows)
        except ModelError:
            self.shape = settled  # a failed call settles nothing
            raise
        if self.checked == (None, None) and len(rows):
            self.checked_on(rows.shape[1], answers.shape[1])
            self._try_gradient(rows[:2])
        return answers

    def ask_once(self) -> Teacher:
        """Let one that says its number of inputs answer two rows,
        so that its line knows the outputs; returns itself."""
        if self.widths[0] is not None and self.widths[0] <= _ASKED and self.units == "raw":
            with contextlib.suppress(UserError):  # one that does not take zeros is asked with the data
                self.predict(np.zeros((2, self.widths[0])))
        return self

    def _try_gradient(self, rows: np.ndarray) -> None:  # [n, d]
        """Tell whether gradients pass, on rows that the module has answered."""
        kind = self.dtype_for(rows) if self.values is None else getattr(self.module, "dtype", torch.float32)
        if self.mlp is None and self.differentiable and kind.is_floating_point:
            x = self._shaped(torch.from_numpy(rows)).to(self._device, kind)
            self.differentiable = gradient_passes(lambda x: self.outputs(self.module(x), len(x)), x)

    def _answers_to(self, rows: np.ndarray) -> np.ndarray:  # [n, d] -> [n, o], raw units
        if self.units == "standardized":
            if self.scalers is None:
                raise ModelError(
                    f"the teacher ({self.source}) takes and gives standardized values, and nothing says how they are "
                    "standardized.",
                    "Give its own scalers (scalers=), or a module in raw units.",
                )
            return self.scalers.y.restore(self._ask(self.scalers.x.standardize(rows)))
        return self._ask(rows)

    def answers_in(
        self,
        scalers: Scalers,
        x: np.ndarray,  # [n, d] raw units
    ) -> np.ndarray:  # [n, o] float64, standardized by ``scalers``
        """Return the answers to rows as they are, in the space of ``scalers``.

        This is what training has for real rows. The network of :meth:`standardized` gives the same to float32's
        precision for rows that went through that space, which a threshold or a code may not forgive.
        """
        if self.units == "raw":
            return scalers.y.standardize(self._ask(x))
        own = self.scalers or scalers
        given = self._ask(own.x.standardize(x))
        return given if own is scalers else scalers.y.standardize(own.y.restore(given))

    def score(self, x: Any, y: Any) -> float:
        """Return R2 of the answers to x against labels y [n, o], the mean over the outputs (as scikit-learn has it)."""
        answers = self.predict(x)
        truth, _ = as_targets(y, len(answers), width=answers.shape[1])
        return r2_score(truth, answers)

    def standardized(self, scalers: Scalers) -> nn.Module:
        """The teacher between the standardized spaces of ``scalers``: an :class:`MLP` where that is exact, so that the
        fused core can take it, else a wrapper for autograd. Frozen; ``differentiable`` says whether gradients pass."""
        own = None if self.units == "raw" else self.scalers or scalers
        mlp = self.mlp
        if mlp is None:
            out: nn.Module = InStandardizedSpace(
                self.module,
                scalers,
                own,
                self.differentiable,
                columns=self.columns,
                dtype=self._dtype if self.values is None else getattr(self.module, "dtype", None),
                outputs=self.outputs,
                shape=self.shape,
            )
        elif own is not None and same_scalers(own, scalers):
            out = mlp if mlp.layers[0].weight.dtype == torch.float32 else between(mlp, None, None)
        else:
            out = between(mlp, scalers, own)
        out.eval()
        for parameter in out.parameters():
            parameter.requires_grad_(False)
        return out

    def summary(self) -> str:
        """What it is, in one line: inputs, outputs, parameters, types, units, gradients, fused core or not."""
        inputs, outputs = self.widths
        some = lambda n, what: f"{'?' if n is None else n} {what}{'' if n == 1 else 's'}"
        own = next((str(p.dtype).removeprefix("torch.") for p in self.module.parameters()), None)
        kind = f"{self.parameters_count:,} parameters ({own})" if own and self.parameters_count else (
            getattr(self.module, "size", None) or "no torch parameters")  # fmt: skip
        how = "values only, no gradients"
        if self.mlp is not None:
            how = f"gradients, fused core (as {_spec(self.mlp)})"
        elif self.differentiable:
            tried = self.checked != (None, None)
            how = "gradients, by PyTorch" if tried else "by PyTorch, not asked yet"
        takes = f"inputs {'x'.join(map(str, self.shape))}" if self.shape is not None else some(inputs, "input")
        return f"{self.source}: {takes}, {some(outputs, 'output')}, {kind}, {self.units} units, {how}"

    def __repr__(self) -> str:
        return f"Teacher({self.summary()})"


def _spec(mlp: MLP) -> str:
    hidden = ",".join(map(str, mlp.widths[1:-1]))
    return f"mlp:{hidden}:{mlp.activation}" if hidden else "a linear map"
