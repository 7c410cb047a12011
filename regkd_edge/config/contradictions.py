"""What does not go together in a configuration: refused here, before anything is trained or written.

Within a section it is refused when the section is read; across sections, by :func:`across_sections`, before a whole run.
What only a teacher decides is refused by :mod:`regkd_edge.training.fits`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..recipes import TERMS as TABLE
from ..sampling.kinds import KINDS
from .objective import AUTO, OBJECTIVE, ROUND, WITHOUT_LABELS, active

if TYPE_CHECKING:
    from .distill import DistillConfig
    from .quantize import QuantizeConfig
    from .run import RunConfig

__all__ = ["across_sections", "contradictions", "quantize_contradictions"]


def contradictions(c: DistillConfig) -> list[str]:
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
    if c.heads == 2 and c.base in WITHOUT_LABELS:
        found.append(
            f"heads 2 needs a base that uses labels in its first head: base {c.base} does not; use tor, tbr, ail, "
            "mix or blend, or heads 1"
        )
    if c.heads == 2 and not active(c.w_base):
        found.append("heads 2 needs w_base above 0: its first head learns from the base alone; give w_base, or heads 1")
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
            f"sampler {drawn} learns how inputs are spread from rows, and no_data has none: give like, or another sampler"
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
    if not active(c.w_base) and not (c.searched or c.active_terms):
        found.append("every weight is 0: there is nothing to learn; give w_base, a term or a sampler")
    if "gm" in c.active_terms and not set(c.gm_on) & _made(c):
        found.append(
            f"gm_on {','.join(c.gm_on) or '(empty)'} names no point that the other terms produce: add original, or the "
            "term pm or abm"
        )
    return found


def _made(c: DistillConfig) -> set[str]:
    """The kinds of points that the steps have."""
    searched = {"ascended"} if c.drawn == "direct" and active(c.w_sampler) else set()
    return {"original"} | {TABLE[name].points for name in c.active_terms} - {None} | searched


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
            f"max_increase searches int8 and fp8 graphs, and precision is {', '.join(wanted)}: add int8 to --precision, "
            "or add --max-increase none"
        )
    return found


def across_sections(c: RunConfig) -> list[str]:
    """What two sections of a whole run demand of each other, each with its reason and its remedy."""
    found = []
    if c.distill.no_data and c.quantize.calibrate not in ("auto", "synthetic"):
        found.append(
            f"distill.no_data hides the rows from the student, and quantize.calibrate '{c.quantize.calibrate}' reads "
            "them: omit calibrate, or set it to synthetic"
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
