"""Configuration of a run: one :class:`RunConfig`, read from a YAML file or from the flags of the command line.

Every flag of the command line is a field here, under the same name. Unknown and contradictory fields are errors.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import yaml
from pydantic import BeforeValidator, Field, ValidationError, model_validator

from ..errors import UserError
from ..io.reading import read_yaml, yaml_line
from .budget import checked_allowance
from .contradictions import across_sections
from .data import DataConfig
from .distill import BASES, SAMPLERS, TERMS, DistillConfig, begun_anew
from .fields import MOST_STEPS, Count, Optimizer, Section, as_list, none_for_nothing
from .flags import flag_of
from .problems import refuse
from .quantize import CORRECTIONS, QuantizeConfig
from .sources import factory_of

__all__ = [
    "BASES",
    "CORRECTIONS",
    "PATHS",
    "PRECISIONS",
    "SAMPLERS",
    "TERMS",
    "BenchConfig",
    "BuildConfig",
    "DataConfig",
    "DistillConfig",
    "QuantizeConfig",
    "RunConfig",
    "TeacherConfig",
]

# Fields that name a file or a folder.
PATHS = (
    "data.source",
    "data.test_data",
    "data.labels",
    "data.test_labels",
    "teacher.from_run",
    "teacher.weights",
    "teacher.teacher_from",
    "teacher.factory",
    "teacher.teacher_scaler",
    "distill.describe",
    "distill.like",
    "quantize.describe",
)
# Fields that a back end for GPUs takes.
_GPU_OPTIONS = {
    "tensorrt": (
        "workspace_mib",
        "optimization_level",
        "tf32",
        "version_compatible",
        "hardware_compatible",
        "refit",
        "dla",
    ),
    "tensorrt-rtx": ("tf32",),
}
PRECISIONS = ("fp32", "fp16", "bf16", "fp8", "int8", "int8-weights")


class TeacherConfig(Section):
    """A teacher to train, or an existing one."""

    renamed: ClassVar[dict[str, str]] = {"inputs": "units"}

    teacher: str = Field("mlp:256,256:relu", description="Spec of the network to train: mlp:WIDTHS:ACTIVATION.")
    from_run: str | None = Field(None, description="Take the teacher of another run folder.")
    teacher_from: str | None = Field(
        None,
        description=(
            "Take a teacher that exists: a run folder, an ONNX, .pt2, TorchScript, XGBoost, LightGBM, CatBoost or skops "
            "file, or package.module:factory."
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
        None, description="Name or index of the teacher's output that holds the predictions, where it gives several."
    )
    trust: bool = Field(
        False, description="Load pickles (.pkl, .joblib, whole torch modules), which runs code of those files."
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

    @model_validator(mode="after")
    def _one_source(self) -> TeacherConfig:
        named = [name for name in ("from_run", "factory", "teacher_from") if getattr(self, name)]
        if len(named) > 1:
            raise ValueError(f"{named[0]} and {named[1]} exclude each other: a teacher has one source")
        if self.weights and not self.factory_name:
            raise ValueError("weights needs factory: a state dict alone has no architecture")
        trained = [n for n in ("epochs", "patience") if getattr(self, n) != type(self).model_fields[n].default]
        if self.factory and trained:
            name, value = trained[0], getattr(self, trained[0])
            raise ValueError(
                f"{name} {value} is for a teacher to be trained here, factory brings one: give one of them"
            )
        return self

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


class BuildConfig(Section):
    """Which engines to build."""

    backend: Annotated[
        list[Literal["onnxruntime", "tensorrt", "native", "tensorrt-rtx"]],
        BeforeValidator(as_list),
        Field(min_length=1),
    ] = Field(
        default_factory=lambda: ["onnxruntime"],
        description=(
            "onnxruntime, native, tensorrt, tensorrt-rtx (ahead of time, no GPU), or several separated by commas."
        ),
    )
    workspace_mib: Annotated[int, Field(ge=1)] = Field(
        256, description="TensorRT: maximum workspace memory per layer, MiB."
    )
    optimization_level: Annotated[int, Field(ge=0, le=5)] = Field(
        3, description="TensorRT: builder optimization level."
    )
    tf32: bool = Field(False, description="TensorRT: let FP32 layers use TF32 (10 bits of mantissa).")
    version_compatible: bool = Field(
        False, description="TensorRT: allow loading in later minor versions; loading then runs code from the plan."
    )
    hardware_compatible: bool = Field(False, description="TensorRT: allow any GPU from Ampere on.")
    refit: Literal["off", "refit", "strip"] = Field(
        "off", description="TensorRT: weights can be replaced later; strip: they are left out of the plan."
    )
    dla: Annotated[int, Field(ge=0, le=1)] | None = Field(
        None, description="TensorRT: DLA core of an Orin for the layers it supports; the GPU runs the rest."
    )
    profile: Annotated[
        list[Annotated[int, Field(ge=1, le=65536)]] | None,
        BeforeValidator(lambda value: as_list(none_for_nothing(value))),
    ] = Field(
        None,
        description=(
            "TensorRT: minimum, optimal, maximum batch of a dynamic graph (1,1,64), or one number for a static batch; "
            "none: a static batch of 1."
        ),
    )
    header: Annotated[str | None, BeforeValidator(none_for_nothing)] = Field(
        None,
        description=(
            "native: also write each engine as one C99 header NAME.h, all symbols prefixed with NAME, for a device "
            "without an operating system; or none."
        ),
    )

    def options(self, backend: str) -> dict[str, Any]:
        """The options of one back end."""
        options: dict[str, Any] = {"header": self.header} if backend == "native" and self.header else {}
        if backend in _GPU_OPTIONS:
            options |= {field: getattr(self, field) for field in _GPU_OPTIONS[backend]}
            if self.profile is not None:
                options |= dict(zip(("min_batch", "opt_batch", "max_batch"), (self.profile * 3)[:3]))
        return options

    @model_validator(mode="after")
    def _ordered_profile(self) -> BuildConfig:
        if self.profile is not None and (len(self.profile) not in (1, 3) or self.profile != sorted(self.profile)):
            raise ValueError(
                f"profile is {self.profile}: give one batch, or minimum, optimal and maximum in this order"
            )
        return self


class BenchConfig(Section):
    """How engines are measured."""

    batches: Annotated[list[Annotated[int, Field(ge=1, le=65536)]], BeforeValidator(as_list), Field(min_length=1)] = (
        Field(default_factory=lambda: [1, 64], description="Batch sizes to time.")
    )
    samples: Annotated[int, Field(ge=10)] = Field(3000, description="Timed requests per batch size.")
    warmup: Annotated[int, Field(ge=0)] = Field(300, description="Untimed requests before the measurement.")
    threads: Annotated[int, Field(ge=1, le=1024)] = Field(1, description="ONNX Runtime: threads per request.")
    sweep: bool = Field(True, description="Also time other settings of each engine: threads and spinning, CUDA graph.")
    run_code_of_plan: bool = Field(
        False, description="TensorRT: load version-compatible plans; loading runs code from the plan."
    )
    allow: Annotated[
        list[Annotated[str, BeforeValidator(checked_allowance)]],
        BeforeValidator(lambda value: [] if none_for_nothing(value) is None else as_list(value)),
    ] = Field(
        default_factory=list,
        description=(
            "Error budget: the largest RMSE allowed per target in its own unit, TARGET=RMSE (or RMSE with one target), "
            "for pass or fail in tables and report; or none."
        ),
    )


class RunConfig(Section):
    """One whole run. The YAML file of ``regkd-edge run`` has these sections; omitted fields have their defaults."""

    seed: Annotated[int, Field(ge=0, lt=2**63)] = Field(
        0, description="Seed of the split, the initial weights and the noise."
    )
    batch_size: Literal["dynamic"] | Annotated[int, Field(ge=1)] = Field(
        "dynamic", description="Batch of the exported graph: dynamic, or a number."
    )
    data: DataConfig = Field(default_factory=DataConfig)
    teacher: TeacherConfig = Field(default_factory=TeacherConfig)
    distill: DistillConfig = Field(default_factory=DistillConfig)
    quantize: QuantizeConfig = Field(default_factory=QuantizeConfig)
    build: BuildConfig = Field(default_factory=BuildConfig)
    bench: BenchConfig = Field(default_factory=BenchConfig)

    @model_validator(mode="before")
    @classmethod
    def _empty_sections(cls, values: Any) -> Any:
        """A section whose fields are all commented out is empty in YAML."""
        return {key: v for key, v in values.items() if v is not None} if isinstance(values, dict) else values

    @classmethod
    def from_dict(
        cls,
        values: Any,
        where: str = "the configuration",
        name: Callable[[str], str] = lambda field: field,
        remedy: str = "See 'regkd-edge COMMAND --help' for the fields.",
    ) -> RunConfig:
        """Return the validated configuration; :class:`UserError` lists every wrong field, the value met and what is
        allowed. ``name`` says how the user knows a dotted field.
        """
        if not isinstance(values, dict):
            raise UserError(
                f"{where} holds {type(values).__name__} {str(values)[:40]!r}, expected fields like 'data:'.",
                "Start from the example of 'regkd-edge run --help'.",
            )
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise refuse(error, cls, where, name, remedy) from None

    @classmethod
    def from_yaml(cls, path: str | Path) -> RunConfig:
        """Read a YAML file; a missing or malformed one is a :class:`UserError` that names lines."""
        values = read_yaml(path)

        def name(field: str) -> str:
            line = yaml_line(path, field)
            return field + (f" (line {line})" if line else "")

        return cls.from_dict({} if values is None else values, f"'{path}'", name)

    def require_whole(self) -> None:
        """Raise :class:`UserError` if two sections contradict each other."""
        found = across_sections(self)
        if found:
            raise UserError(f"{'; '.join(found)}.")

    def to_yaml(self) -> str:
        """Return all fields, in order, as YAML."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)

    def updated(
        self, changes: dict[str, Any], where: str = "", remedy: str = "See --help of the command."
    ) -> RunConfig:
        """Return a copy with dotted fields replaced, e.g. ``{"distill.steps": 100}``; errors name flags."""
        values = self.model_dump(mode="json")
        given = {name.removeprefix("distill."): value for name, value in changes.items() if name.startswith("distill.")}
        values["distill"] = begun_anew(self.distill, given)
        if changes.get("teacher.factory"):  # what an earlier training was told does not concern it
            values["teacher"] |= {name: TeacherConfig.model_fields[name].default for name in ("epochs", "patience")}
        for dotted, value in changes.items():
            *sections, field = dotted.split(".")
            place = values
            for section in sections:
                place = place[section]
            place[field] = value
        return RunConfig.from_dict(values, where, flag_of, remedy)
