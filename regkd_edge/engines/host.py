"""Names of this machine's processor and board, which tell where an engine was built."""

from __future__ import annotations

import platform
from pathlib import Path

__all__ = ["cpu_model", "device_model"]


def cpu_model() -> str:
    """Return the CPU's name from Linux (x86: model name; arm64: the board or the part), else the architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    for key in ("model name", "Model", "Hardware"):
        for line in lines:
            name, _, value = line.partition(":")
            if name.strip() == key and value.strip():
                return value.strip()
    return device_model() or platform.processor() or platform.machine()


def device_model() -> str | None:
    """Return the board's name from the device tree (e.g. the model of a Jetson), or None."""
    try:
        return Path("/proc/device-tree/model").read_text(encoding="utf-8", errors="replace").strip("\0 \n") or None
    except OSError:
        return None
