"""What this machine's processor is called; nothing more is needed to say where an engine was built."""

from __future__ import annotations

import platform
from pathlib import Path

__all__ = ["cpu_model", "device_model"]


def cpu_model() -> str:
    """Name of the CPU as Linux gives it (x86: model name; arm64: the board or the part), else the architecture."""
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
    """Name of the board from the device tree (a Jetson says which one), or None."""
    try:
        return Path("/proc/device-tree/model").read_text(encoding="utf-8", errors="replace").strip("\0 \n") or None
    except OSError:
        return None
