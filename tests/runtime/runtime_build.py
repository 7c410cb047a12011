"""Building csrc/runtime for the tests: once a configuration and test session."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "csrc" / "runtime"
SIGNALS = {"conv2d": ("conv2d:6x3/2,20d3,gap,9:relu", (2, 7, 6)), "gru": ("gru:7,5", (6, 3))}
"""Students whose rows are no vectors, and the shapes of their rows."""


def tool(name: str) -> str:
    """Path of a program on the PATH or beside the interpreter; the test is skipped where it is absent."""
    found = shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))
    if found is None:
        pytest.skip(f"needs {name}")
    return found


def checked(*command, **options) -> subprocess.CompletedProcess:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done


def cmake_build(source: Path, folder: Path, *options: str) -> Path:
    """Configure and build a CMake project with ninja; the build folder."""
    cmake, ninja = tool("cmake"), tool("ninja")
    checked(cmake, "-S", source, "-B", folder, "-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}", *options)
    checked(cmake, "--build", folder)
    return folder
