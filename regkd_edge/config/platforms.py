"""The target devices, and what each of them lacks. This module holds facts only and probes no hardware.

Versions are those that NVIDIA ships with each JetPack (checked in November 2026); compute capabilities decide which
number formats the tensor cores have.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..errors import UserError

__all__ = ["PLATFORMS", "Platform", "formats_of", "get_platform"]


def formats_of(sm: int) -> tuple[str, ...]:
    """Return the number formats that a GPU of a compute capability (87 for 8.7) computes in or stores weights in."""
    found = ["fp32", "fp16", "int8", "int8-weights"]
    if sm >= 80:
        found.append("bf16")
    if sm >= 89:  # Ada, Hopper, Blackwell, Thor
        found.append("fp8")
    return tuple(found)


@dataclass(frozen=True)
class Platform:
    """A kind of device.

    Attributes
    ----------
    name : str
    what : str
        For a reader.
    compute_capabilities : tuple of int
        Of its GPUs, 87 for sm_87; a graph must fit all of them.
    tensorrt : dict of str to str
        Where the version comes from -> TensorRT version, oldest first.
    python : str
        Python versions of the system's TensorRT bindings.
    stand_in : str
        The nearest architecture that ``tensorrt-rtx`` compiles for on a machine without a GPU.
    """

    name: str
    what: str
    compute_capabilities: tuple[int, ...]
    tensorrt: dict[str, str]
    python: str
    stand_in: str

    @property
    def machine(self) -> str:
        """Its processor's architecture, as wheels name it."""
        return "aarch64" if self.name.startswith("jetson-") else "x86_64"

    @property
    def python_tags(self) -> list[str]:
        """``cp310``, ...: the Python versions that :attr:`python` names."""
        minors = [int(minor) for minor in re.findall(r"3\.(\d+)", self.python)]
        return [f"cp3{minor}" for minor in (range(minors[0], minors[-1] + 1) if " to " in self.python else minors)]

    def version(self, tensorrt: str | None = None) -> tuple[int, int]:
        """Return (major, minor) of ``tensorrt``, or of the oldest version that the target ships with."""
        text = tensorrt or next(iter(self.tensorrt.values()))
        try:
            major, minor = (int(part) for part in (text.split(".") + ["0"])[:2])
        except ValueError:
            raise UserError(f"'{text}' is not a TensorRT version.", "Give a version such as 10.3.") from None
        if not (10, 3) <= (major, minor) < (12, 0):
            raise UserError(
                f"TensorRT {text} is not supported, expected 10.3 to 11.x.",
                f"{self.name} has {', '.join(self.tensorrt.values())}.",
            )
        return major, minor

    def lacks(self, precision: str) -> str | None:
        """Return why a graph of a precision cannot run on the target as intended, or None.

        ``precision`` is a label as :func:`regkd_edge.graph.precision.graph_precision` gives it: "int8", "fp8+fp16", ...
        """
        for part in precision.split("+"):
            without = [f"sm_{sm}" for sm in self.compute_capabilities if part not in formats_of(sm)]
            if without:
                has = ", ".join(formats_of(min(self.compute_capabilities)))
                return f"{self.name} ({', '.join(without)}) has no {part}; it has {has}"
        return None


PLATFORMS = {
    target.name: target
    for target in (
        Platform(
            "jetson-orin",
            "Jetson Orin Nano, NX and AGX",
            (87,),
            {"JetPack 6.1 and 6.2": "10.3", "JetPack 7.2": "10.16", "JetPack 7.2.2 (AGX)": "11.4"},
            "3.10 with JetPack 6, 3.12 with JetPack 7",
            "86",
        ),
        Platform(
            "jetson-thor",
            "Jetson Thor",
            (110,),
            {"JetPack 7.0 and 7.1": "10.13", "JetPack 7.2": "10.16", "JetPack 7.2.2": "11.4"},
            "3.12",
            "120",
        ),
        Platform(
            "desktop",
            "GeForce RTX 30, 40, 50 and the professional cards like them",
            (86, 89, 120),
            {"pip, oldest supported": "10.3", "pip, newest checked": "11.4"},
            "3.10 to 3.14",
            "86",
        ),
        Platform(
            "desktop-fp8",
            "GeForce RTX 40, 50 and the professional cards like them",
            (89, 120),
            {"pip, oldest supported": "10.3", "pip, newest checked": "11.4"},
            "3.10 to 3.14",
            "89",
        ),
    )
}


def get_platform(name: str) -> Platform:
    """Return the target of that name; an unknown one is a :class:`UserError`."""
    if name not in PLATFORMS:
        raise UserError(f"unknown platform '{name}'.", f"Use one of: {', '.join(PLATFORMS)}.")
    return PLATFORMS[name]
