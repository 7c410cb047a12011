"""cp.async: copies from global to shared memory that arrive when their thread waits for them, and not before."""

from __future__ import annotations

from .operands import Scope
from .parse import Instruction, PtxError

__all__ = ["copy_statement"]


def copy_statement(i: Instruction, s: Scope) -> list[str]:
    """cp.async of 4, 8 or 16 bytes, commit_group, wait_group and wait_all."""
    if i.opcode[2] == "commit_group":
        return ["t.copies.end_group();"]
    if i.opcode[2] == "wait_group":
        return [f"wait_for_copies(t, {int(i.operands[0])}, {i.line});"]
    if i.opcode[2] == "wait_all":
        return [f"t.copies.end_group(); wait_for_copies(t, 0, {i.line});"]
    if i.opcode[2] not in ("ca", "cg") or i.opcode[3:] != ("shared", "global") or len(i.operands) != 3:
        raise PtxError(f"PTX line {i.line}: '{i.text}' is not translated")
    to, source, size = s.address(i.operands[0]), s.address(i.operands[1]), int(i.operands[2])
    if size not in (4, 8, 16) or (i.opcode[2] == "cg" and size != 16):
        raise PtxError(f"PTX line {i.line}: a copy of {size} bytes in '{i.text}'")
    return [f"copy_later(t, {to}, {source}, {size}, {i.line});"]
