"""tools/wheels: what it does not know it refuses, and what the machine lacks it says and passes over."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

TOOL = Path(__file__).parents[2] / "tools" / "wheels"


def call(*arguments, path=None):
    environment = None if path is None else {"PATH": str(path)}
    return subprocess.run([TOOL, *map(str, arguments)], capture_output=True, text=True, env=environment)


def test_an_unknown_part_is_refused(tmp_path):
    done = call("riscv64", "--out", tmp_path)
    assert done.returncode == 2 and "unknown 'riscv64'; use x86_64, aarch64" in done.stderr


def test_parts_without_their_tools_are_skipped_with_the_reason(tmp_path):
    for program in ("bash", "env", "dirname", "mkdir", "uname"):
        (tmp_path / program).symlink_to(shutil.which(program))
    done = call("--out", tmp_path / "out", path=tmp_path)
    assert done.returncode == 0, done.stderr
    x86, arm = done.stdout.splitlines()
    assert x86.startswith("wheels: x86_64 skipped: ") and ("no C++ compiler" in x86 or "this machine is" in x86)
    assert arm.startswith("wheels: aarch64 skipped: no aarch64-linux-gnu-g++;") and "apt install" in arm


def test_what_a_wheel_is_asked_holds_here():
    """The check that the script runs with every wheel, here with the package of the tests."""
    import sys

    done = subprocess.run([sys.executable, TOOL.parent / "lib" / "wheel_check.py"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "noise: as Random123 has it" in done.stdout and done.stdout.count("from NumPy in float64") == 2
