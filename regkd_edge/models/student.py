"""The student: a small network with its scalers, from raw inputs to raw answers, ready to be exported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from torch import nn

from ..data import Scalers, as_rows, as_targets
from ..data.scores import r2_score
from ..io.text import per_target
from ..io.words import counted
from .families import Cost
from .predict import predict
from .spec import Spec, cost_of
from .store import count_parameters, load_model, save_model, shape_of_rows

if TYPE_CHECKING:
    from ..graph.file import Graph

__all__ = ["Student"]


@dataclass(eq=False)
class Student:
    """A distilled network: raw inputs [n, d] or [n, *shape] in, raw answers [n, o] out.

    Attributes
    ----------
    module : nn.Module
        The network, from flat standardized inputs to standardized outputs.
    scalers : Scalers
        From raw units to that space and back; an exported graph holds them.
    spec : Spec
        The spec it was built from; ``str()`` gives ``mlp:32,32:relu``.
    feature_names, target_names : list of str
        Names of the inputs and outputs in order; a data frame is read by them.
    record : dict
        How it was trained, as JSON-able facts: steps, best step, validation RMSE, rows, back end, notes.
    inputs : dict or None
        Summary of the rows that it was trained on (quantiles, whole-number columns, correlation); it calibrates a
        quantization without rows.
    extra : dict
        Further metadata stored with it.
    trained : Trained or None
        The training that it comes from, with the ``history`` of its losses and the ``race`` of its recipe; None if it
        was loaded from a file.
    """

    module: nn.Module
    scalers: Scalers
    spec: Spec
    feature_names: list[str]
    target_names: list[str]
    record: Mapping[str, Any] = field(default_factory=dict)
    inputs: dict[str, Any] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    trained: Any = field(default=None, repr=False)

    @property
    def d(self) -> int:
        """Number of inputs."""
        return self.scalers.x.width

    @property
    def o(self) -> int:
        """Number of outputs."""
        return self.scalers.y.width

    @property
    def input_shape(self) -> tuple[int, ...] | None:
        """Shape of a row that is an image or a signal, or None."""
        return shape_of_rows(self.module)

    @property
    def cost(self) -> Cost:
        """Parameters, multiply-adds and peak memory for one row, layer by layer."""
        return cost_of(self.spec, self.d, self.o, self.input_shape)

    @property
    def parameters_count(self) -> int:
        """Number of parameters of the network."""
        return count_parameters(self.module)

    def predict(self, x: Any) -> np.ndarray:
        """Return the answers [n, o], float64, raw units, to raw inputs [n, d].

        Parameters
        ----------
        x : array-like, torch tensor or data frame, [n, d]; [n, *input_shape] for images and signals
            A data frame is read by ``feature_names``.

        Raises
        ------
        DataError
            Rows of another rank or width, text, numbers that are not finite, or columns that are missing.
        """
        frame = hasattr(x, "columns")
        rows, _ = as_rows(x, names=self.feature_names if frame else None, width=self.d, shape=self.input_shape)
        return predict(self.module, self.scalers, rows)

    def score(self, x: Any, y: Any) -> float:
        """Return R2 of the answers to x [n, d] against y [n, o], the mean over the outputs (as in scikit-learn)."""
        answers = self.predict(x)
        truth, _ = as_targets(y, len(answers), width=self.o)
        return r2_score(truth, answers)

    def export(
        self,
        path: str | Path,
        *,
        batch: Literal["dynamic"] | int = "dynamic",
        check: Any = None,
    ) -> Graph:
        """Write the student as ONNX with its scalers inside: raw units in, raw units out, float32.

        Parameters
        ----------
        path : path
            The file, usually ``*.onnx``; written atomically.
        batch : ``"dynamic"`` or int
            A free first dimension, or a fixed one.
        check : [n, d], optional
            Rows in raw units on which the graph is compared with the network, besides random ones.

        Raises
        ------
        GraphError
            A number does not fit into float32, or the graph differs from the network.
        """
        from ..export import check_onnx, export_onnx
        from ..graph.file import Graph

        export_onnx(
            self.module,
            self.scalers,
            path,
            batch=batch,
            feature_names=self.feature_names,
            target_names=self.target_names,
            spec=str(self.spec),
        )
        rows = (
            np.empty((0, self.d))
            if check is None
            else as_rows(check, width=self.d, shape=self.input_shape, what="check")[0]
        )
        differences = check_onnx(path, self.module, self.scalers, rows, self.target_names)
        targets = [{"name": name, "max_abs": float(most)} for name, most in zip(self.target_names, differences)]
        return Graph(
            Path(path),
            {"precision": "fp32", "check": {"rows": len(rows), "targets": targets} if len(rows) else None},
            feature_names=self.feature_names,
            target_names=self.target_names,
        )

    def save(self, folder: str | Path) -> list[Path]:
        """Write ``model.safetensors`` and ``model.json`` into a folder; :meth:`load` reads them."""
        extra = {
            **self.extra,
            **self.record,
            "feature_names": self.feature_names,
            "target_names": self.target_names,
            "inputs": self.inputs,
        }
        return save_model(folder, self.module, self.scalers, self.spec, extra)

    @classmethod
    def load(cls, folder: str | Path, *, factory: str | None = None) -> Student:
        """Read the files of :meth:`save`, or a run's folder ``student``; errors as in ``load_model``.

        ``factory``: the spec ``factory:...`` of a student of your own, whose code is run only where it is named here.
        """
        saved = load_model(folder, factory=factory)
        extra = dict(saved.extra)
        names = [extra.pop(key, None) for key in ("feature_names", "target_names")]
        return cls(
            saved.module,
            saved.scalers,
            saved.spec,
            _names(names[0], "x", saved.scalers.x.width),
            _names(names[1], "y", saved.scalers.y.width),
            record={key: value for key, value in extra.items() if key in _RECORDED},
            inputs=extra.pop("inputs", None),
            extra={key: value for key, value in extra.items() if key not in _RECORDED},
        )

    def __repr__(self) -> str:
        facts = [
            counted(self.d, "input"),
            counted(self.o, "output"),
            counted(self.parameters_count, "parameter"),
        ]
        if self.input_shape is not None:
            facts[0] = f"inputs {'x'.join(map(str, self.input_shape))}"
        if self.record.get("validation_rmse") is not None:
            facts.append(f"validation RMSE {self._validation()} at step {self.record['best_step']:,}")
        return f"Student({self.spec}: {', '.join(facts)})"

    def _repr_html_(self) -> str:
        from ..io.html import facts_table

        return facts_table(
            f"Student {self.spec}",
            {
                "inputs": ", ".join(self.feature_names[:12]) + (", ..." if self.d > 12 else ""),
                "outputs": ", ".join(self.target_names),
                "parameters": f"{self.parameters_count:,}",
                "multiply-adds": f"{n:,} per row" if (n := self.cost.multiply_adds) else "unknown",
                "validation RMSE": self._validation() or "not measured",
                "steps": f"{self.record.get('steps', 0):,}",
                "notes": "; ".join(self.record.get("notes", [])) or "none",
            },
        )

    def _validation(self) -> str:
        """The RMSE on the validation rows, of each target in its unit; pooled where that alone is known."""
        pooled, targets = self.record.get("validation_rmse"), self.record.get("target_rmse")
        if pooled is None:
            return ""
        return per_target(targets or ([pooled] if self.o == 1 else []), self.target_names, pooled)


# Record of a training (Trained.summary).
_RECORDED = (
    "steps",
    "best_step",
    "validation_rmse",
    "target_rmse",
    "unit",
    "train_rows",
    "validation_rows",
    "compute",
    "compute_reason",
    "notes",
    "seconds",
)


def _names(stored: Sequence[str] | None, letter: str, width: int) -> list[str]:
    if stored is not None and len(stored) == width:
        return [str(name) for name in stored]
    return [f"{letter}{j}" for j in range(width)]
