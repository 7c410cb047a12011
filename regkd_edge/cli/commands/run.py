"""``regkd-edge run``: everything, from one YAML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from ...config import PATHS, RunConfig
from ...run import STAGES
from ...stages.distill import refuse_bad_teacher
from ...stages.together import dismiss
from ...trackers import require_trackers
from ..options import AsJson, Trust
from ..pipeline import absolute_paths, start
from ..tables import show_report

_EXAMPLE = """
Example: `regkd-edge run diabetes.yaml runs/whole`, where diabetes.yaml holds

    data: {data: diabetes}        # or {data: my.csv, target: price}
    teacher: {teacher: "mlp:128,128:relu"}
    distill: {student: "mlp:16,16:relu", fraction: 0.5, steps: 2000}
    quantize: {precision: [fp16, int8]}

Every flag of the other commands is a field here. A relative path is looked up beside the YAML file first.
"""


def register(app: typer.Typer) -> None:
    def run(
        config: Annotated[Path, typer.Argument(metavar="YAML", help="The run's configuration.", show_default=False)],
        folder: Annotated[
            Optional[Path],
            typer.Argument(
                metavar="RUN", help="The run folder. [default: runs/NAME for NAME.yaml]", show_default=False
            ),
        ] = None,
        force: Annotated[bool, typer.Option("--force", help="Run every stage again even if it is up to date.")] = False,
        accept_teacher: Annotated[
            bool,
            typer.Option(
                "--accept-teacher",
                help="Go on with a teacher that is worse than the mean or than a linear model on held-out rows.",
            ),
        ] = False,
        trust: Trust = False,
        as_json: AsJson = False,
    ) -> None:
        loaded = RunConfig.from_yaml(config)
        values = {
            field: getattr(getattr(loaded, section), name) for field in PATHS for section, name in (field.split("."),)
        }
        loaded = loaded.updated(absolute_paths(values, base=config.parent), confirms=False)
        given = {"distill.accept_teacher": accept_teacher, "teacher.trust": trust}
        loaded = loaded.updated({name: True for name, value in given.items() if value})
        whole(loaded, folder or Path("runs") / config.stem, force, as_json)

    run.__doc__ = (
        "Run everything that a YAML file describes: teacher, student, graphs, engines, measurements, report.\n"
        + _EXAMPLE
    )
    app.command("run")(run)


def whole(config: RunConfig, folder: Path, force: bool, as_json: bool) -> None:
    """Run all stages of one configuration, then show the table."""
    config.require_whole()
    require_trackers(config.log)  # not after hours of training
    with start(folder, {}, force, as_json, config=config) as session:
        session.take_in()
        if not config.distill.accept_teacher:
            refuse_bad_teacher(session.run, config)
        session.do("distill")
        dismiss()  # engines are measured on a machine that does nothing else
        done = session.do(*STAGES[3:])
        show_report(session.run, done[-1].summary, as_json, session.ran)
