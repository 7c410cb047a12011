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
from .bench import BenchConfig
from .build import BuildConfig
from .contradictions.sections import across_sections
from .data import DataConfig
from .distill import BASES, SAMPLERS, TERMS, DistillConfig, begun_anew
from .fields import Section, as_list, none_for_nothing
from .flags import flag_of
from .problems import refuse
from .quantize import CORRECTIONS, QuantizeConfig
from .teacher import NAMES_OF_CODE, TeacherConfig

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
    "data.data",
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
# Fields by which the user allows code to run: for one call, never from a file and never into one.
CONSENTS = ("teacher.trust", "bench.run_code_of_plan")
PRECISIONS = ("fp32", "fp16", "bf16", "fp8", "int8", "int8-weights")


class RunConfig(Section):
    """One whole run. The YAML file of ``regkd-edge run`` has these sections; omitted fields have their defaults."""

    renamed: ClassVar[dict[str, str]] = {"batch_size": "export_batch"}

    seed: Annotated[int, Field(ge=0, lt=2**63)] = Field(
        0, description="Seed of the split, the initial weights and the noise."
    )
    export_batch: Literal["dynamic"] | Annotated[int, Field(ge=1)] = Field(
        "dynamic", description="Batch of the exported graph: dynamic, or a number."
    )
    log: Annotated[
        list[Literal["tensorboard", "mlflow"]],
        BeforeValidator(lambda value: [] if none_for_nothing(value) is None else as_list(value)),
    ] = Field(
        default_factory=list,
        description=(
            "Also write curves, figures and files of the finished run to tensorboard (in the run folder) or mlflow "
            "(MLFLOW_TRACKING_URI, else in the run folder), or both; or none."
        ),
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
        remedy: str = "Run 'regkd-edge init FILE' to write all fields with their meanings.",
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

        config = cls.from_dict({} if values is None else values, f"'{path}'", name)
        config.teacher.trust = config.bench.run_code_of_plan = False  # a file is not the user's consent
        config.teacher._unconfirmed = NAMES_OF_CODE
        return config

    def require_whole(self) -> None:
        """Raise :class:`UserError` if two sections contradict each other."""
        found = across_sections(self)
        if found:
            raise UserError(f"{'; '.join(found)}.")

    def to_yaml(self) -> str:
        """Return all fields, in order, as YAML, but for those that are for one call."""
        values = self.model_dump(mode="json")
        for section, field in (name.split(".") for name in CONSENTS):
            del values[section][field]
        return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)

    def updated(
        self,
        changes: dict[str, Any],
        where: str = "",
        remedy: str = "See --help of the command.",
        *,
        confirms: bool = True,
    ) -> RunConfig:
        """Return a copy with dotted fields replaced, e.g. ``{"distill.steps": 100}``; errors name flags.

        ``confirms``: the user gave these values himself, so that code which they name may run.
        """
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
        config = RunConfig.from_dict(values, where, flag_of, remedy)
        confirmed = {name.removeprefix("teacher.") for name in changes} if confirms else set()
        config.teacher._unconfirmed = self.teacher._unconfirmed - confirmed
        if confirms and config.teacher.trust:
            config.teacher._unconfirmed = frozenset()
        return config
