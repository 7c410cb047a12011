"""What a user should know of a bundle on this machine: another board, another version."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from .. import __version__
from ..engines.host import device_model
from ..run import RunFolder

__all__ = ["other_machine", "other_version"]


def other_version(run: RunFolder, content: dict[str, Any]) -> list[str]:
    """Return the command that installs the wheel of the bundle, where another version is at work here."""
    wheel = next((name for name in content["files"] if name.startswith("wheel/")), None)
    made = Path(wheel or "").name.split("-")[1:2]
    if wheel is None or made == [__version__]:
        return []
    return [
        f"The bundle carries regkd-edge {made[0]}, this is {__version__}: pip install "
        f"{shlex.quote(str(run.file(wheel)))}"
    ]


def other_machine(content: dict[str, Any]) -> list[str]:
    """Return a line where the machine is not the one that the bundle was made for."""
    target = str(content["target"]["name"])
    if not target.startswith("jetson-"):
        return []
    board = device_model() or "not a Jetson"
    if target.removeprefix("jetson-").lower() in board.lower():
        return []
    return [f"The bundle was made for {target} and this machine is {board}: the figures are for this machine."]
