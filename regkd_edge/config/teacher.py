"""The section ``teacher`` of the configuration: a teacher to train, or one that exists."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, PrivateAttr

from .contradictions.sections import teacher_contradictions
from .fields import MOST_STEPS, Count, Optimizer, Section
from .sources import factory_of

__all__ = ["NAMES_OF_CODE", "TeacherConfig"]

# Fields that can name code: the teacher's, and the student's spec. Read from a file they are not consent to run it.
NAMES_OF_CODE = frozenset({"teacher_from", "from_run", "factory", "weights", "teacher_scaler", "distill.student"})


class TeacherConfig(Section):
    """A teacher to train, or an existing one."""

    renamed: ClassVar[dict[str, str]] = {"inputs": "units"}

    teacher: str = Field("mlp:256,256:relu", description="Spec of the network to train: mlp:WIDTHS:ACTIVATION.")
    from_run: str | None = Field(None, description="Take the teacher of another run folder.")
    teacher_from: str | None = Field(
        None,
        description=(
            "Take a teacher that exists: a run folder, an ONNX, .pt2, TorchScript, XGBoost, LightGBM, CatBoost or "
            "skops file, or package.module:factory."
        ),
    )
    factory: str | None = Field(
        None,
        description="package.module:factory or path/to/file.py:factory that returns a torch module or a regressor.",
    )
    weights: str | None = Field(
        None,
        description="State dict or checkpoint for --factory (.safetensors, or a .pt that loads with weights_only).",
    )
    units: Literal["raw", "standardized"] = Field(
        "raw", description="Units of the teacher's inputs and outputs: raw, or standardized."
    )
    teacher_scaler: str | None = Field(
        None,
        description=(
            "Scaler that a teacher on standardized values was trained with: a JSON, NPZ, safetensors or skops file, or "
            "file.py:NAME; table: the statistics of this table."
        ),
    )
    output: str | None = Field(
        None,
        description=(
            "Name or index of the teacher's output that holds the predictions, where it gives several; A,B joins "
            "outputs in this order."
        ),
    )
    trust: bool = Field(
        False,
        description=(
            "Run code of the teacher's files, which you know: pickles (.pkl, .joblib, whole torch modules), and a "
            "factory that a file names. Remembered on this machine for these very files; in "
            "a YAML file it has no effect."
        ),
    )
    epochs: Annotated[int, Field(ge=1, le=MOST_STEPS)] = Field(300, description="Maximum epochs.")
    batch: Count = Field(64, description="Rows per step.")
    optimizer: Optimizer = Field("adamw", description="rmsprop, adam or adamw.")
    lr: Annotated[float, Field(gt=0)] = Field(1e-3, description="Learning rate, with cosine decay to 0.")
    weight_decay: Annotated[float, Field(ge=0)] = Field(1e-4, description="Weight decay.")
    patience: Annotated[int, Field(ge=1, le=MOST_STEPS)] = Field(
        60, description="Epochs without a lower validation RMSE before training stops."
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto",
        description=("Where to train; auto: on the GPU if one is present and the fused core supports the networks."),
    )

    # Fields that were read from a file, and that the user did not give himself.
    _unconfirmed: frozenset[str] = PrivateAttr(frozenset())

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self.__dict__ == other.__dict__  # the fields alone, not who wrote them

    @property
    def unconfirmed(self) -> frozenset[str]:
        """Fields that may name code and stand in a file: the user is asked before that code is run."""
        return self._unconfirmed

    def contradictions(self) -> list[str]:
        return teacher_contradictions(self)

    @property
    def brought(self) -> bool:
        """Whether the teacher exists already, so that none is trained."""
        return bool(self.from_run or self.factory or self.teacher_from)

    @property
    def factory_name(self) -> str | None:
        """The factory that is named, by ``factory`` or by ``teacher_from``."""
        return self.factory or (self.teacher_from if factory_of(self.teacher_from) else None)

    @property
    def path(self) -> str | None:
        """The run folder or file that is named, by ``from_run`` or by ``teacher_from``."""
        return self.from_run or (None if self.factory_name else self.teacher_from)
