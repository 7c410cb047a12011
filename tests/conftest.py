"""Shared by all tests: helper modules beside this file (``graphs``) can be imported by name."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

# The networks of the tests are small: PyTorch's threads cost more than they bring, and on a busy machine they spin.
os.environ.setdefault("OMP_NUM_THREADS", "1")

sys.path.insert(0, str(Path(__file__).parent))

# What a test allows to run is remembered for the length of the tests, and not on this machine.
_state = tempfile.TemporaryDirectory(prefix="regkd-edge-tests-")
os.environ["XDG_STATE_HOME"] = _state.name

ROOT = Path(__file__).parents[1]


def _tool(name):
    """A module of tools/lib."""
    location = importlib.util.spec_from_file_location(f"{name}_tool", ROOT / "tools" / "lib" / f"{name}.py")
    module = importlib.util.module_from_spec(location)
    location.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def tensorrt_bindings():
    """A function version -> variables of a process that imports NVIDIA's real bindings over stub libraries."""
    tool = _tool("tensorrt_bindings")

    def environment(version):
        try:
            return tool.environment(version)
        except tool.Unavailable as error:
            pytest.skip(f"TensorRT bindings {version}: {error}")

    return environment


@pytest.fixture(scope="session")
def libcuda(tmp_path_factory):
    """A driver library on host memory."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        pytest.skip("no C compiler for the stub driver")
    path = tmp_path_factory.mktemp("cuda") / "libcuda.so.1"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-o", path, ROOT / "tests" / "engines" / "fake_libcuda.c"], check=True
    )
    return path


@pytest.fixture(scope="session")
def rtx():
    """NVIDIA's tensorrt-rtx, from the environment or from the folder that tools/lib/rtx_package.py keeps."""
    tool = _tool("rtx_package")
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


@pytest.fixture
def permissions():
    """The modes of files count, for root too: it gives up the capabilities to pass over them during the test."""
    if os.name != "posix":
        pytest.skip("modes of files are those of POSIX")
    if os.geteuid():
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    head, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()  # version 3, this thread
    if not hasattr(libc, "capget") or libc.capget(head, sets):
        pytest.skip("root passes over the modes of files, and this system has no capabilities to give up")
    effective = sets[0]
    sets[0] &= ~(1 << 1 | 1 << 2)  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    assert not libc.capset(head, sets)
    yield
    sets[0] = effective
    assert not libc.capset(head, sets)
