"""Shared by all tests: helper modules beside this file (``graphs``) can be imported by name."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def rtx():
    """NVIDIA's tensorrt-rtx, from the environment or from the folder that tools/lib/rtx_package.py keeps."""
    location = importlib.util.spec_from_file_location("rtx_package", ROOT / "tools" / "lib" / "rtx_package.py")
    tool = importlib.util.module_from_spec(location)
    location.loader.exec_module(tool)
    try:
        folder = tool.package()
    except tool.Unavailable as error:
        pytest.skip(f"tensorrt-rtx: {error}")
    if folder is not None:
        sys.path.append(str(folder))
    try:
        import tensorrt_rtx
    except ImportError as error:
        pytest.skip(f"tensorrt-rtx cannot be imported here: {error}")
    return tensorrt_rtx
