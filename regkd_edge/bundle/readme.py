"""README.txt of a bundle: what to type on the device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..io.command import command_line

__all__ = ["readme"]


def readme(header: dict[str, Any], wheel: str | None) -> str:
    """Return the text; ``wheel`` is the file of the bundle that holds the package, if one does."""
    versions_of = "\n".join(f"  {tensorrt:6} {source}" for source, tensorrt in header["target"]["tensorrt"].items())
    archive = f"{header['name']}.{header['target']['name']}.tar.gz"
    install = [
        f"  pip install the wheel of regkd-edge {header['versions']['regkd-edge']}, no extras: no torch, no onnx"
    ]
    if wheel is not None:
        install = [f"  tar -xzf {archive} {wheel}", f"  pip install {wheel}"]
    lines = [
        f"{header['name']}: a regression student for {header['target']['what']}",
        "",
        "On the device, with its own Python (the one that has the tensorrt package):",
        "",
        *install,
        f"  {command_line('deploy', Path(archive))}",
        "",
        "This builds the engines there, compares their outputs with expected.npz, times them, and writes report.html.",
        "",
        f"TensorRT of {header['target']['name']}, Python {header['target']['python']}:",
        versions_of,
        "",
        f"Graphs: {', '.join(header['graphs'])}.  Rows: {header['rows']['count']}, {header['rows']['kind']}.",
        *(f"Left out: {reason}" for reason in header["left_out"]),
        "",
    ]
    return "\n".join(lines)
