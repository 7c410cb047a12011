"""Operands as C++ expressions. Registers are unsigned integers of their width; a type says how the bits are read."""

from __future__ import annotations

import re

from .parse import PtxError

__all__ = ["Scope", "cpp_type", "identifier", "wide"]

_CPP = {"pred": "bool", "f32": "float", "f64": "double"}
for _bits in (8, 16, 32, 64):
    _CPP.update({f"u{_bits}": f"uint{_bits}_t", f"b{_bits}": f"uint{_bits}_t", f"s{_bits}": f"int{_bits}_t"})
_SPECIAL = {
    "%tid.x": "t.tid",
    "%ntid.x": "t.machine->threads",
    "%ctaid.x": "t.block->x",
    "%ctaid.y": "t.block->y",
    "%nctaid.x": "t.machine->grid_x",
    "%nctaid.y": "t.machine->grid_y",
    "%laneid": "(t.tid & 31)",
    **{f"%{name}.{axis}": "0u" for name in ("tid", "ctaid") for axis in "yz"},
    **{f"%{name}.{axis}": "1u" for name in ("ntid", "nctaid") for axis in "yz"},
}
_SPECIAL["%ctaid.y"], _SPECIAL["%nctaid.y"] = "t.block->y", "t.machine->grid_y"


def cpp_type(ptx: str) -> str:
    return _CPP[ptx]


def wide(ptx: str) -> str:
    """The type of a .wide product: twice the bits."""
    return f"{ptx[0]}{2 * int(ptx[1:])}"


def identifier(name: str) -> str:
    return "x_" + re.sub(r"\W", "_", name.replace("$", "S"))


class Scope:
    """What the names of a function stand for: registers and variables, in nested braces."""

    def __init__(self, shared: set[str], constants: set[str]):
        self.shared, self.constants = shared, constants
        self.levels: list[dict[str, object]] = [{}]

    def open(self) -> None:
        self.levels.append({})

    def close(self) -> None:
        self.levels.pop()

    def declare(self, name: str, what) -> None:
        self.levels[-1][name] = what

    def find(self, name: str):
        for level in reversed(self.levels):
            if name in level:
                return level[name]
        return None

    def bits(self, name: str) -> int:
        found = self.find(name)
        if not isinstance(found, int):
            raise PtxError(f"'{name}' is not a register")
        return found

    def address_of(self, name: str) -> str:
        """A variable's address; of shared memory, its offset in the block's window."""
        if name in self.shared:
            return "0ull"
        if self.find(name) is not None or name in self.constants:
            return f"reinterpret_cast<uint64_t>({identifier(name)})"
        raise PtxError(f"'{name}' is not declared")

    def read(self, operand: str, ptx: str) -> str:
        """The operand as a value of a PTX type."""
        cpp = cpp_type(ptx)
        if operand in _SPECIAL:
            return f"static_cast<{cpp}>({_SPECIAL[operand]})"
        if found := re.fullmatch(r"0([fd])([0-9A-Fa-f]+)", operand):
            bits = f"0x{found[2]}u" if found[1] == "f" else f"0x{found[2]}ull"
            return f"bits_as<{cpp}>({bits})" if ptx[0] == "f" else f"static_cast<{cpp}>({bits})"
        if re.fullmatch(r"-?(0x[0-9A-Fa-f]+|\d+)U?", operand):
            value = int(operand.rstrip("U"), 0) & (1 << 64) - 1
            return f"static_cast<{cpp}>({value}ull)"
        if isinstance(self.find(operand), int):
            if ptx[0] == "f":
                return f"bits_as<{cpp}>({identifier(operand)})"
            return f"static_cast<{cpp}>({identifier(operand)})"
        return f"static_cast<{cpp}>({self.address_of(operand)})"

    def write(self, register: str, ptx: str, value: str) -> str:
        """A statement: the register takes a value of a PTX type; signed ones are extended to the register."""
        if register == "_":
            return f"(void)({value});"
        bits = self.bits(register)
        if ptx == "pred":
            return f"{identifier(register)} = {value};"
        if ptx[0] == "f":
            return f"{identifier(register)} = bits_as<uint{ptx[1:]}_t>({value});"
        return f"{identifier(register)} = static_cast<uint{bits}_t>({value});"

    def address(self, operand: str) -> str:
        """[register + offset], [variable + offset] or [register] as a 64-bit address or offset."""
        found = re.fullmatch(r"\[\s*([%$\w]+)\s*(?:\+\s*(-?\w+))?\s*\]", operand)
        if found is None:
            raise PtxError(f"an address that is not known: {operand}")
        name, offset = found.groups()
        if re.fullmatch(r"\d+", name):
            base = f"{name}ull"
        elif isinstance(self.find(name), int):
            base = f"static_cast<uint64_t>({identifier(name)})"
        else:
            base = self.address_of(name)
        return f"{base} + {int(offset, 0) & (1 << 64) - 1}ull" if offset else base

    def elements(self, operand: str) -> list[str]:
        """{a, b} or one name."""
        return [e.strip() for e in operand.strip("{} ").split(",")] if operand.startswith("{") else [operand]
