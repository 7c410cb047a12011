#!/usr/bin/env python3
"""Put NVIDIA's tensorrt-rtx (228 MB) into a folder beside the virtual environment's packages, for the tests.

    python tools/lib/rtx_package.py

A folder of its own and not the environment, so that no test depends on it by accident. A second call does nothing.
Where ``tensorrt_rtx`` can be imported anyway (pip install 'regkd-edge[rtx]'), it is used and nothing is downloaded.
Exit code 1 says why it could not be had.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

VERSION = "1.7.1.*"
FOLDER = Path(sys.prefix, "tensorrt-rtx")


class Unavailable(Exception):
    """The package is not available; the message says why."""


def package(timeout: float = 300) -> Path | None:
    """Folder to put on the path for ``import tensorrt_rtx``, or None when it is importable without."""
    if importlib.util.find_spec("tensorrt_rtx") is not None:
        return None
    if (FOLDER / "tensorrt_rtx" / "__init__.py").exists():
        return FOLDER
    with tempfile.TemporaryDirectory(dir=sys.prefix) as work:
        command = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--target",
            work,
            f"tensorrt-rtx=={VERSION}",
        ]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL)
        except subprocess.TimeoutExpired:
            raise Unavailable(f"tensorrt-rtx was not installed within {timeout:g} s") from None
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["pip printed no error"])[-1]
            raise Unavailable(f"pip cannot install tensorrt-rtx {VERSION}: {last}")
        shutil.rmtree(FOLDER, ignore_errors=True)
        made = Path(tempfile.mkdtemp(dir=sys.prefix))
        for part in Path(work).iterdir():
            shutil.move(part, made / part.name)
        os.chmod(made, 0o755)
        os.replace(made, FOLDER)
    return FOLDER


if __name__ == "__main__":
    try:
        print(f"tensorrt-rtx: {package() or 'installed'}")
    except Unavailable as error:
        sys.exit(f"tensorrt-rtx: {error}")
