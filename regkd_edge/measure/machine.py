"""The state of the machine during a measurement: model, clock settings, load and temperatures.

Each part is read if present and left out otherwise. Nothing is changed, and no GPU library is loaded.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

from ..engines.base import versions
from ..engines.host import cpu_model, device_model

__all__ = ["machine_state"]

_PACKAGES = (
    "regkd-edge",
    "numpy",
    "onnxruntime",
    "onnxruntime-gpu",
    "tensorrt",
    "tensorrt-cu12",
    "tensorrt-cu13",
    "torch",
)
_GPU_FIELDS = "name,driver_version,pstate,clocks.sm,clocks.mem,temperature.gpu,power.draw,power.limit,persistence_mode"


def machine_state() -> dict[str, Any]:
    """Describe this machine, to accompany a latency.

    Returns
    -------
    dict
        Always ``system``, ``architecture``, ``python``, ``cpu``, ``cores`` (of this process), ``versions``; where they
        can be read ``board``, ``governor``, ``mhz``, ``load`` (1, 5, 15 minutes), ``temperatures`` (degrees Celsius),
        ``thread_variables``, ``l4t``, ``nvpmodel``, ``jetson_clocks``, ``nvidia_smi``.
    """
    state: dict[str, Any] = {
        "system": f"{platform.system()} {platform.release()}",
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "cpu": cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "versions": versions(*_PACKAGES),
    }
    optional = {
        "board": device_model(),
        "governor": _governors(),
        "mhz": _frequencies(),
        "load": [round(v, 2) for v in os.getloadavg()] if hasattr(os, "getloadavg") else None,
        "temperatures": _temperatures(),
        "thread_variables": {
            k: os.environ[k] for k in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "MKL_NUM_THREADS") if k in os.environ
        },
        "l4t": _read("/etc/nv_tegra_release"),
        "nvpmodel": _ask("nvpmodel", "-q"),
        "jetson_clocks": _ask("jetson_clocks", "--show"),
        "nvidia_smi": _ask("nvidia-smi", f"--query-gpu={_GPU_FIELDS}", "--format=csv,noheader"),
    }
    return {**state, **{name: value for name, value in optional.items() if value}}


def _read(path: str | Path) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip("\0 \n") or None
    except OSError:
        return None


def _ask(program: str, *arguments: str) -> str | None:
    """Return a vendor tool's output, None if it is absent, fails or hangs (nvidia-smi can, with a broken driver)."""
    path = shutil.which(program)
    if path is None:
        return None
    try:
        done = subprocess.run(
            [path, *arguments], capture_output=True, text=True, timeout=5, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None


def _governors() -> str | None:
    """Return the CPU frequency governors in use, e.g. "performance"."""
    found = {_read(path) for path in Path("/sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_governor")}
    return ", ".join(sorted(filter(None, found))) or None


def _frequencies() -> list[int] | None:
    """Return the [lowest, highest] current frequency of the cores in MHz."""
    values = [
        int(text) // 1000
        for path in Path("/sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_cur_freq")
        if (text := _read(path)) and text.isdigit()
    ]
    if not values:
        for line in (_read("/proc/cpuinfo") or "").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "cpu MHz":
                values.append(round(float(value)))
    return [min(values), max(values)] if values else None


def _temperatures() -> dict[str, float]:
    found = {}
    for zone in sorted(Path("/sys/class/thermal").glob("thermal_zone*")):
        name, value = _read(zone / "type"), _read(zone / "temp")
        if name and value and value.lstrip("-").isdigit():
            found[f"{name} ({zone.name})"] = int(value) / 1000
    return found
