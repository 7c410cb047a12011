"""What does not go together in a configuration: refused before anything is trained or written.

Within a section it is refused when the section is read; across sections,
by :func:`across_sections`, before a whole run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import UserError
from ...recipes.samplers import KINDS
from ..objective import AUTO, OBJECTIVE, ROUND, WITHOUT_LABELS, active
from ..precisions import lacking
from .objective import Objective, objective_contradictions

if TYPE_CHECKING:
    from ..build import BuildConfig
    from ..data import DataConfig
    from ..distill import DistillConfig
    from ..quantize import QuantizeConfig
    from ..run import RunConfig
    from ..teacher import TeacherConfig

__all__ = [
    "across_sections",
    "build_contradictions",
    "data_contradictions",
    "distill_contradictions",
    "quantize_contradictions",
    "teacher_contradictions",
]


# Families whose graphs are not a chain of dense layers. That of a factory is known when it is loaded.
_NO_CHAIN = ("conv1d", "conv2d", "gru")


def distill_contradictions(c: DistillConfig) -> list[str]:
    """What does not go together, each with its reason and its remedy."""
    found, drawn, kind = [], c.drawn, c.kind
    changed = sorted(
        name
        for name in OBJECTIVE
        if getattr(c, name) != type(c).model_fields[name].get_default(call_default_factory=True)
    )
    if c.recipe == AUTO and changed:
        found.append(
            f"recipe auto chooses {changed[0]} itself, and {changed[0]} {getattr(c, changed[0])} is given: leave it "
            "out, or use recipe none"
        )
    if drawn == "neighbours" and any(isinstance(w, str) for w in (c.w_base, c.w_sampler)):
        found.append("sampler neighbours takes constant weights: give w_base and w_sampler one number each")
    if c.no_data and c.base not in WITHOUT_LABELS:
        found.append(
            f"no_data needs one of the bases {', '.join(WITHOUT_LABELS)}: base {c.base} reads labels, and synthetic "
            "inputs have none"
        )
    if c.no_data and c.fraction != 1.0:
        found.append("no_data and fraction exclude each other: the student sees no row")
    if c.no_data and c.bounds == "rows":
        found.append("bounds rows needs rows, and no_data has none: give describe or like, and leave bounds out")
    if c.heads == 1 and c.export_head != "label":
        found.append(
            f"export_head {c.export_head} needs heads 2, and the student has one head; use heads 2, or export_head "
            "label"
        )
    if drawn == "direct" and "abm" in c.terms:
        found.append(
            "sampler direct is abm from random starts, and both are one search: leave abm out of terms, or "
            "sampler direct"
        )
    if kind is not None and kind.needs_rows and c.no_data and c.like is None:
        found.append(
            f"sampler {drawn} learns how inputs are spread from rows, and no_data has none: "
            "give like, or another sampler"
        )
    for name in ("describe", "like"):
        if getattr(c, name) is None:
            continue
        if drawn == "gaussian":
            found.append(f"sampler gaussian draws N(0,1) and would not look at {name}: use sampler described")
        elif not c.no_data and not (kind is not None and kind.described):
            found.append(
                f"{name} needs no_data or one of the samplers "
                f"{', '.join(k.name for k in KINDS.values() if k.described)}: with rows alone the inputs "
                "are the rows'"
            )
    if c.searched and not active(c.w_sampler):
        found.append(
            f"with w_sampler 0 the sampler {drawn} has no effect: "
            + ("use sampler described or gaussian" if c.no_data else "omit the sampler")
        )
    if c.searched and c.batch < 2:
        found.append(f"batch 1 cannot hold both rows and points of sampler {drawn}: use at least 2")
    if kind is not None and kind.learns and c.evaluate_every % ROUND:
        found.append(
            f"sampler {drawn} learns every {ROUND} steps: evaluate_every {c.evaluate_every} must be a multiple of "
            f"{ROUND}"
        )
    learnt = Objective(
        base=c.base,
        base_learns=active(c.w_base),
        labels=c.base not in WITHOUT_LABELS,
        terms=c.active_terms,
        gm_on=c.gm_on,
        made={"original", "ascended"} if drawn == "direct" and active(c.w_sampler) else {"original"},
        points=c.searched,
        second_head="heads 2" if c.heads == 2 else "",
    )
    return found + [str(one) for one in objective_contradictions(learnt)]


def data_contradictions(c: DataConfig) -> list[str]:
    """Shares without a rest, several ways to split, columns with two meanings."""
    found = []
    if c.validation + c.test >= 1:
        found.append(f"validation {c.validation} + test {c.test} leave no rows to train on")
    if c.split_column and (c.group or c.test_data or c.split == "time"):
        other = "group" if c.group else "test_data" if c.test_data else "split time"
        found.append(f"split_column and {other} exclude each other: the column says where each row belongs")
    if c.time and c.split != "time":
        found.append(f"time '{c.time}' puts the rows in order for split time, and split is {c.split}: add split time")
    if c.time and c.window is not None:
        found.append("time puts the rows of a table in order, and samples of windows are in order: omit time")
    for name in ("hop", "window_label"):
        if c.window is None and getattr(c, name) != type(c).model_fields[name].default:
            found.append(f"{name} {getattr(c, name)} is about windows: give window too, or omit {name}")
    if c.window is not None and c.blanks == "mean":
        found.append("blanks mean cannot fill samples of a signal: use blanks drop, which leaves windows out")
    if c.test_labels and not c.test_data:
        found.append("test_labels are those of test_data: give test_data too, or omit test_labels")
    for one, other in (("whole", "categorical"), ("drop", "target"), ("drop", "whole"), ("drop", "categorical")):
        both = [name for name in getattr(c, one) if name in getattr(c, other)]
        if both:
            found.append(f"'{both[0]}' is in {one} and in {other}: name it in one of them")
    for field in ("group", "split_column", "time"):
        name = getattr(c, field)
        if name is not None and (name in c.target or name in c.drop):
            found.append(f"{field} '{name}' is in {'target' if name in c.target else 'drop'} too")
    return found


def teacher_contradictions(c: TeacherConfig) -> list[str]:
    """Several sources of a teacher, or options for a training that does not take place."""
    found = []
    named = [name for name in ("from_run", "factory", "teacher_from") if getattr(c, name)]
    if len(named) > 1:
        found.append(f"{named[0]} and {named[1]} exclude each other: a teacher has one source")
    if c.weights and not c.factory_name:
        found.append("weights needs factory: a state dict alone has no architecture")
    trained = [n for n in ("epochs", "patience") if getattr(c, n) != type(c).model_fields[n].default]
    if c.factory and trained:
        name, value = trained[0], getattr(c, trained[0])
        found.append(f"{name} {value} is for a teacher to be trained here, factory brings one: give one of them")
    return found


def build_contradictions(c: BuildConfig) -> list[str]:
    """A profile that is out of order, a header without the back end that it is made from."""
    found = []
    if c.profile is not None and (len(c.profile) not in (1, 3) or c.profile != sorted(c.profile)):
        found.append(f"profile is {c.profile}: give one batch, or minimum, optimal and maximum in this order")
    if c.c_header and "native" not in c.backend:
        found.append(
            f"c_header '{c.c_header}' is made from a native engine, and backend is {', '.join(c.backend)}: add native "
            "to --backend, or give --c-header none"
        )
    return found


def quantize_contradictions(c: QuantizeConfig) -> list[str]:
    """Flags of ``quantize`` that would have no effect or exclude each other, each with its reason and its remedy."""
    found = []
    wanted = ["int8" if precision == "auto" else precision for precision in c.precision]
    bound = c.max_increase is not None or "auto" in c.precision
    if c.qat and bound:
        remedy = "--precision int8 --max-increase none" if "auto" in c.precision else "--max-increase none"
        found.append(
            f"qat trains all layers in int8, max_increase keeps some in a higher precision: add --no-qat, or {remedy}"
        )
    if c.qat and "int8" not in wanted:
        found.append(
            f"qat trains an int8 graph, and precision is {', '.join(wanted)}: add int8 to --precision, or add --no-qat"
        )
    if c.qat and c.quantizer not in ("auto", "own"):
        found.append(
            f"qat trains through pairs of quantizer 'own', and quantizer is '{c.quantizer}': add --no-qat, or "
            "--quantizer own"
        )
    if bound and not {"int8", "fp8"} & set(wanted):
        found.append(
            f"max_increase searches int8 and fp8 graphs, and precision is {', '.join(wanted)}: add int8 to "
            "--precision, or add --max-increase none"
        )
    for precision in dict.fromkeys([*wanted, c.high] if bound else wanted):
        try:
            lack = lacking(precision, c.platform)
        except UserError as unknown:
            found.append(f"--platform has the {unknown.cause.rstrip('.')}: {unknown.remedy.rstrip('.')}")
            break
        if lack is not None:
            found.append(lack)
    return found


def across_sections(c: RunConfig) -> list[str]:
    """What two sections of a whole run demand of each other, each with its reason and its remedy."""
    found = []
    if c.distill.no_data and c.quantize.calibrate not in ("auto", "synthetic"):
        found.append(
            f"distill.no_data hides the rows from the student, and quantize.calibrate '{c.quantize.calibrate}' reads "
            "them: omit calibrate, or set it to synthetic"
        )
    family = c.distill.student.partition(":")[0]
    if c.quantize.rank_layers and family in _NO_CHAIN:
        found.append(
            f"quantize.rank_layers ranks dense layers, and distill.student is a {family}: omit rank_layers, or give an "
            "mlp student"
        )
    if c.distill.base == "hint":
        to_train = None if c.teacher.brought else c.teacher.teacher
        for who, spec, layer in zip(("student", "teacher"), (c.distill.student, to_train), c.distill.hint_layers):
            count = len(spec.split(":")[1].split(",")) if spec is not None and spec.count(":") == 2 else layer + 1
            if layer >= count:
                found.append(
                    f"the {who} {spec} has {count} hidden layers, and hint_layers asks for layer {layer}: use -1 (the "
                    f"last) or 0 to {count - 1}"
                )
    return found
