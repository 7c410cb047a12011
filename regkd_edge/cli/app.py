"""The Typer app, and the one place where an error becomes one line and an exit code."""

from __future__ import annotations

import contextlib
import sys

import typer

from .. import __version__
from ..errors import UserError
from ..io.refusals import refusal_of
from .commands import (
    bench,
    build,
    bundle,
    check,
    compare,
    demo,
    deploy,
    distill,
    doctor,
    init,
    inspect,
    predict,
    quantize,
    report,
    run,
    status,
    train_teacher,
)
from .help import PlainCommand, PlainGroup
from .output import error_line
from .processes import follow, leading, rank_and_size
from .renamed import current
from .screen import clear_screen_settings, say
from .switches import add_switches, behind_command

__all__ = ["app", "run_app"]

# Typer vendors click since 0.26 and imported it before: take the class from where both have it.
_UsageError = typer.BadParameter.__bases__[0]

app = typer.Typer(
    name="regkd-edge",
    help="Distil, quantize, build and measure regression networks for edge devices.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    cls=PlainGroup,
)

# What the light half lacks: commands that train or quantize import these when they start.
_HALF = ("torch", "onnx", "onnxruntime", "safetensors", "sklearn")

_INTERRUPTED = 130

for module in (
    init,
    train_teacher,
    distill,
    quantize,
    build,
    bench,
    report,
    predict,
    status,
    compare,
    inspect,
    check,
    bundle,
    deploy,
    run,
    demo,
    doctor,
):
    module.register(app)
add_switches(app)
for registered in app.registered_commands:
    registered.cls = PlainCommand


@app.callback(invoke_without_command=True)
def _top(
    version: bool = typer.Option(False, "--version", help="Print the version and exit.", is_eager=True),
) -> None:
    if version:
        print(__version__)
        raise typer.Exit()


def run_app() -> None:
    """Run the app and return 0 on success, 2 (with one line) on a user's mistake, 130 after Ctrl-C."""
    as_json = "--json" in sys.argv[1:]
    clear_screen_settings()
    for stream in (sys.stdout, sys.stderr):  # a terminal that lacks a character shows another, not a traceback
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(errors="replace")
    arguments = behind_command(current(sys.argv[1:]))
    rank, size = rank_and_size()
    if rank:
        sys.exit(follow())
    try:
        with leading(arguments, size) if size > 1 else contextlib.nullcontext():
            code = app(arguments, prog_name="regkd-edge", standalone_mode=False) or 0
            if code == _INTERRUPTED:  # how Typer's copy of click ends Ctrl-C; older click raised Abort
                raise typer.Abort()
        sys.exit(code)
    except UserError as error:
        error_line(error.cause, error.remedy, as_json)
        sys.exit(2)
    except ModuleNotFoundError as error:
        if error.name not in _HALF:
            raise
        error_line(
            f"'{error.name}' is not installed, and this command needs it.",
            "Run: pip install 'regkd-edge[distill]'.",
            as_json,
        )
        sys.exit(2)
    except _UsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            print(error.ctx.get_help())
        else:
            error_line(
                error.format_message().rstrip(".") + ("" if error.format_message().rstrip(".").endswith("?") else "."),
                f"See: {error.ctx.command_path if error.ctx else 'regkd-edge'} --help",
                as_json,
            )
        sys.exit(2)
    except typer.Exit as error:
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        say("")
        say("Interrupted. Finished stages are saved; run the same command to resume.")
        sys.exit(_INTERRUPTED)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except (OSError, MemoryError) as error:
        refused = refusal_of(error)
        if refused is None:
            raise
        error_line(refused.cause, refused.remedy, as_json)
        sys.exit(2)
