"""What a run is: one :class:`RunConfig`, read from a YAML file or from the flags of the command line.

Every flag of the command line is a field here, under the same name. Unknown and contradictory fields are errors.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BeforeValidator, Field, ValidationError, model_validator

from ..errors import UserError
from ..io.reading import read_yaml
from .distill import BASES, SAMPLERS, TERMS, DistillConfig, begun_anew
from .fields import MOST_STEPS, Count, Names, Optimizer, Section, as_list, none_for_nothing
from .quantize import CORRECTIONS, QuantizeConfig

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
PATHS = ("data.source", "teacher.from_run", "teacher.weights", "distill.describe", "distill.like", "quantize.inputs")
PRECISIONS = ("fp32", "fp16", "bf16", "fp8", "int8", "int8-weights")


class DataConfig(Section):
    """Where the rows come from and how they are split."""

    source: str | None = Field(None, description="CSV, Parquet or NPZ file, or a bundled set: digits, diabetes.")
    target: Names = Field(
        default_factory=list,
        description="Name of the target column; several separated by commas, one that holds a comma in double quotes.",
    )
    whole: Names = Field(
        default_factory=list, description="Inputs that are whole numbers: counts, steps. Detected where not named."
    )
    categorical: Names = Field(
        default_factory=list, description="Inputs that are codes or words, whose order means nothing."
    )
    validation: Annotated[float, Field(gt=0, lt=1)] = Field(0.15, description="Share of the rows for validation.")
    test: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.15, description="Share of the rows held out for the final figures."
    )

    @model_validator(mode="after")
    def _shares(self) -> DataConfig:
        if self.validation + self.test >= 1:
            raise ValueError(f"validation {self.validation} + test {self.test} leave no rows to train on")
        return self


class TeacherConfig(Section):
    """A teacher to train, or one that exists already."""

    teacher: str = Field("mlp:256,256:relu", description="Spec of the network to train: mlp:WIDTHS:ACTIVATION.")
    from_run: str | None = Field(None, description="Take the teacher of another run folder.")
    factory: str | None = Field(None, description="package.module:factory that returns a torch module.")
    weights: str | None = Field(None, description="State dict for --factory (.safetensors, or a weights_only .pt).")
    inputs: Literal["raw", "standardized"] = Field(
        "raw", description="What the factory's module takes and gives: raw units, or standardized values."
    )
    epochs: Annotated[int, Field(ge=1, le=MOST_STEPS)] = Field(300, description="Most passes over the training rows.")
    batch: Count = Field(64, description="Rows a step.")
    optimizer: Optimizer = Field("adamw", description="rmsprop, adam or adamw.")
    lr: Annotated[float, Field(gt=0)] = Field(1e-3, description="Learning rate, falling to 0 along a cosine.")
    weight_decay: Annotated[float, Field(ge=0)] = Field(1e-4, description="Weight decay.")
    patience: Annotated[int, Field(ge=1, le=MOST_STEPS)] = Field(
        60, description="Epochs without a better validation RMSE before stopping."
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto",
        description=(
            "Where the training runs; auto: on the GPU where one is there and the fused core covers the networks."
        ),
    )

    @model_validator(mode="after")
    def _one_source(self) -> TeacherConfig:
        if self.from_run and self.factory:
            raise ValueError("from_run and factory exclude each other: a teacher has one source")
        if self.weights and not self.factory:
            raise ValueError("weights needs factory: a state dict alone has no architecture")
        trained = [n for n in ("epochs", "patience") if getattr(self, n) != type(self).model_fields[n].default]
        if self.factory and trained:
            name, value = trained[0], getattr(self, trained[0])
            raise ValueError(
                f"{name} {value} is for a teacher to be trained here, factory brings one: give one of them"
            )
        return self


class BuildConfig(Section):
    """Which engines to make."""

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
        256, description="TensorRT: most scratch memory of a layer, MiB."
    )
    optimization_level: Annotated[int, Field(ge=0, le=5)] = Field(
        3, description="TensorRT: builder optimization level."
    )
    tf32: bool = Field(False, description="TensorRT: let FP32 layers multiply with 10 bits of mantissa.")
    version_compatible: bool = Field(
        False, description="TensorRT: load in later minor versions; loading then runs code of the plan."
    )
    hardware_compatible: bool = Field(False, description="TensorRT: run on any GPU from Ampere on.")
    refit: Literal["off", "refit", "strip"] = Field(
        "off", description="TensorRT: weights can be exchanged later; strip: they are not in the plan at all."
    )
    dla: Annotated[int, Field(ge=0, le=1)] | None = Field(
        None, description="TensorRT: DLA core of an Orin to use where it can, the GPU for the rest."
    )
    profile: Annotated[
        list[Annotated[int, Field(ge=1, le=65536)]] | None,
        BeforeValidator(lambda value: as_list(none_for_nothing(value))),
    ] = Field(
        None,
        description=(
            "TensorRT: least, best and largest batch of a dynamic graph (1,1,64), or one number for a static batch; "
            "none: a static batch of 1."
        ),
    )
    header: Annotated[str | None, BeforeValidator(none_for_nothing)] = Field(
        None,
        description=(
            "native: write each engine as one C99 header NAME.h too, every name in it begun by NAME, for a device "
            "without an operating system; or none."
        ),
    )

    @model_validator(mode="after")
    def _ordered_profile(self) -> BuildConfig:
        if self.profile is not None and (len(self.profile) not in (1, 3) or self.profile != sorted(self.profile)):
            raise ValueError(
                f"profile is {self.profile}: give one batch, or the least, the best and the largest in this order"
            )
        return self


class BenchConfig(Section):
    """How engines are measured."""

    batches: Annotated[list[Annotated[int, Field(ge=1, le=65536)]], BeforeValidator(as_list), Field(min_length=1)] = (
        Field(default_factory=lambda: [1, 64], description="Batch sizes to time.")
    )
    samples: Annotated[int, Field(ge=10)] = Field(3000, description="Timed requests a batch size.")
    warmup: Annotated[int, Field(ge=0)] = Field(300, description="Requests before the clock counts.")
    threads: Annotated[int, Field(ge=1, le=1024)] = Field(1, description="ONNX Runtime: threads of one request.")
    sweep: bool = Field(True, description="Time each engine's other settings too: threads and spinning, CUDA graph.")
    run_code_of_plan: bool = Field(
        False, description="TensorRT: load version-compatible plans, which executes code from them."
    )


class RunConfig(Section):
    """One run, whole. The YAML file of ``regkd-edge run`` has these sections; what it leaves out has its default."""

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

    @classmethod
    def from_dict(cls, values: Any, where: str = "the configuration") -> RunConfig:
        """Validated configuration; :class:`UserError` names the field, the value met and what is allowed."""
        if not isinstance(values, dict):
            raise UserError(
                f"{where} holds {type(values).__name__} {str(values)[:40]!r}, expected fields like 'data:'.",
                "Start from the example of 'regkd-edge run --help'.",
            )
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise UserError(
                f"{where}: {_first_problem(error)}", "See 'regkd-edge COMMAND --help' for the fields."
            ) from None

    @classmethod
    def from_yaml(cls, path: str | Path) -> RunConfig:
        """Read a YAML file; a missing or malformed one is a :class:`UserError`."""
        values = read_yaml(path)
        return cls.from_dict({} if values is None else values, where=f"'{path}'")

    def require_whole(self) -> None:
        """What contradicts between the sections, before the first of them is worked on; :class:`UserError`."""
        if self.distill.no_data and self.quantize.calibrate not in ("auto", "synthetic"):
            raise UserError(
                "distill.no_data keeps the student from the rows, and quantize.calibrate "
                f"'{self.quantize.calibrate}' reads them.",
                "Leave calibrate out, or set it to synthetic.",
            )
        if self.distill.base == "hint":
            to_train = None if self.teacher.from_run or self.teacher.factory else self.teacher.teacher
            for who, spec, layer in zip(
                ("student", "teacher"), (self.distill.student, to_train), self.distill.hint_layers
            ):
                count = len(spec.split(":")[1].split(",")) if spec is not None and spec.count(":") == 2 else layer + 1
                if layer >= count:
                    raise UserError(
                        f"the {who} {spec} has {count} hidden layers, hint_layers asks for {layer}.",
                        f"Use -1 (the last) or 0 to {count - 1}.",
                    )

    def to_yaml(self) -> str:
        """All fields, in their order, as YAML."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)

    def updated(self, changes: dict[str, Any]) -> RunConfig:
        """A copy with dotted fields replaced, e.g. ``{"distill.steps": 100}``; validated anew."""
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
        return RunConfig.from_dict(values, where="the given options")


def _first_problem(error: ValidationError) -> str:
    problem = error.errors()[0]
    place = (
        ".".join(str(part) for part in problem["loc"] if not str(part).startswith(("function-", "constrained-")))
        or "run"
    )
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        return f"unknown field '{place}'."
    met = problem.get("input")
    shown = "" if isinstance(met, dict) else f" (met: {met!r})"
    return f"{place}: {message}{shown}."
