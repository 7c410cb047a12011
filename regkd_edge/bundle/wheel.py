"""The light wheel in a bundle, so that the device needs neither a compiler nor a package index for it."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

from ..config.platforms import Platform
from ..errors import UserError
from ..io.limits import ENGINE_BYTES
from ..io.regular import file_problem

__all__ = ["WHEEL_NAME", "checked_wheel"]

#: regkd_edge-VERSION-PYTHON-ABI-PLATFORM.whl (PEP 427).
WHEEL_NAME = r"regkd_edge-[A-Za-z0-9_.!+]{1,40}-[a-z0-9.]{1,40}-[a-z0-9.]{1,40}-[a-z0-9_.]{1,80}\.whl"
_MACHINES = {62: "x86_64", 183: "aarch64"}  # e_machine of ELF
_REMEDY = "Build it for the target: cibuildwheel, or 'pip wheel . --no-deps' on a machine like it."


def checked_wheel(path: str | Path, device: Platform) -> bytes:
    """Return the bytes of a wheel of this project that the device can install.

    Raises
    ------
    UserError
        It is not a wheel of regkd-edge, it is for another architecture or another Python than the device's, or it is
        tagged for one architecture and its extensions are of another.
    """
    path = Path(path)
    if re.fullmatch(WHEEL_NAME, path.name) is None:
        raise UserError(f"'{path.name}' is not the name of a wheel of regkd-edge.", _REMEDY)
    problem = file_problem(path, ENGINE_BYTES)
    if problem is not None:
        raise UserError(f"the wheel '{path}' cannot be read: {problem}.", _REMEDY)
    python, _, platform = path.stem.split("-")[-3:]
    if not platform.endswith(f"_{device.machine}") or not platform.startswith(("manylinux", "linux")):
        raise UserError(f"the wheel '{path.name}' is for {platform}, and {device.name} is {device.machine}.", _REMEDY)
    if python not in device.python_tags:
        raise UserError(
            f"the wheel '{path.name}' is for {python}, and {device.name} has Python {device.python}.", _REMEDY
        )
    try:
        with zipfile.ZipFile(path) as wheel:
            names = wheel.namelist()
            modules = [name for name in names if re.fullmatch(r"regkd_edge/_(core|runtime)\.[^/]*\.so", name)]
            heads = {name: wheel.open(name).read(20) for name in modules}
    except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
        raise UserError(f"the wheel '{path}' cannot be read: {error}.", _REMEDY) from None
    if "regkd_edge/__init__.py" not in names or not modules:
        raise UserError(f"the wheel '{path.name}' lacks regkd_edge or its compiled modules.", _REMEDY)
    for name, head in heads.items():
        met = _MACHINES.get(int.from_bytes(head[18:20], "little"), "another machine")
        if head[:4] != b"\x7fELF" or met != device.machine:
            raise UserError(f"'{name}' in the wheel '{path.name}' is for {met}, expected {device.machine}.", _REMEDY)
    return path.read_bytes()
