"""PTX text -> modules of functions of statements. Syntax only; what an instruction means is in ``operations``."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

__all__ = ["Function", "Instruction", "Module", "PtxError", "Variable", "parse"]


class PtxError(Exception):
    """PTX that this translator does not know."""


@dataclass(frozen=True)
class Variable:
    """A .param, .local, .shared or .global variable: ``bytes`` of storage (0: extern),
    with ``initial`` bytes if any."""

    name: str
    space: str
    bytes: int
    align: int
    initial: tuple[int, ...] = ()


@dataclass(frozen=True)
class Instruction:
    """``@guard opcode operands;`` at a line of the PTX file, from ``source`` (file, line) when nvcc wrote -lineinfo."""

    line: int
    opcode: tuple[str, ...]
    operands: tuple[str, ...]
    guard: str = ""  # "p1", "!p1" or ""
    source: tuple[int, int] = (0, 0)

    @property
    def text(self) -> str:
        return f"{'.'.join(self.opcode)} {', '.join(self.operands)}"


@dataclass
class Function:
    """``body`` holds Instructions, ("label", name), ("open",), ("close",), ("registers", {name: bits}), Variables."""

    name: str
    entry: bool
    returns: Variable | None
    parameters: list[Variable]
    body: list = field(default_factory=list)


@dataclass
class Module:
    functions: list[Function] = field(default_factory=list)
    variables: list[Variable] = field(default_factory=list)
    files: dict[int, str] = field(default_factory=dict)


_BITS = {"pred": 1, **{f"{t}{b}": b for t in "bsuf" for b in (8, 16, 32, 64)}}


def _split(text: str) -> list[str]:
    """Operands: commas outside braces and brackets."""
    parts, depth, start = [], 0, 0
    for i, c in enumerate(text):
        depth += (c in "{[(") - (c in "}])")
        if c == "," and depth == 0:
            parts.append(text[start:i].strip())
            start = i + 1
    last = text[start:].strip()
    return [*parts, last] if last else parts


def _variable(text: str) -> Variable:
    found = re.fullmatch(
        r"(?:\.(?:visible|weak|extern)\s+)*\.(param|local|shared|global|const)\s+(?:\.align\s+(\d+)\s+)?"
        r"(?:\.ptr\s+)?(?:\.align\s+\d+\s+)?\.(\w+)\s+([\w$%]+)(?:\[(\d*)\])?\s*(?:=\s*(.*))?",
        text,
        re.S,
    )
    if found is None:
        raise PtxError(f"a declaration that is not known: {text!r}")
    space, align, kind, name, count, initial = found.groups()
    each = _BITS[kind] // 8
    size = each * (1 if count is None else int(count or 0))
    values = tuple(int(v, 0) & 0xFF for v in initial.strip("{} \n").split(",")) if initial else ()
    if values and each != 1:
        raise PtxError(f"initial values of a type other than .b8: {text!r}")
    return Variable(name, space, size, int(align or each), values)


def _registers(text: str) -> dict[str, int]:
    kind, names = re.fullmatch(r"\.reg\s+\.(\w+)\s+(.*)", text, re.S).groups()
    found = {}
    for name in _split(names):
        many = re.fullmatch(r"(%?\w+)<(\d+)>", name)
        for one in [f"{many[1]}{i}" for i in range(int(many[2]))] if many else [name]:
            found[one] = _BITS[kind]
    return found


_HEADER = re.compile(
    r"(?:\.(?:visible|weak|extern)\s+)*\.(entry|func)\s*(?:\(([^)]*)\)\s*)?([\w$]+)\s*(?:\((.*?)\))?\s*(\..*)?", re.S
)


def _function(text: str) -> Function:
    found = _HEADER.fullmatch(text)
    if found is None:
        raise PtxError(f"a function header that is not known: {text!r}")
    kind, returns, name, parameters, _ = found.groups()
    back = _variable(returns.strip()) if returns else None
    return Function(name, kind == "entry", back, [_variable(p) for p in _split(parameters or "")])


def _instruction(text: str, line: int, source: tuple[int, int]) -> Instruction:
    found = re.fullmatch(r"(?:@(!?)(%\w+)\s+)?([a-z][\w.:]*)\s*(.*)", text, re.S)
    if found is None:
        raise PtxError(f"PTX line {line}: a statement that is not known: {text!r}")
    negated, guard, opcode, operands = found.groups()
    words = tuple(part for part in opcode.replace("::", "_").split("."))
    return Instruction(line, words, tuple(_split(operands)), f"{negated}{guard}" if guard else "", source)


def parse(text: str) -> Module:
    """Read a whole PTX file.

    Raises
    ------
    PtxError
        A construct outside the subset that nvcc writes for our kernels.
    """
    text = re.sub(r"/\*.*?\*/", lambda m: "\n" * m[0].count("\n"), text, flags=re.S)
    module, function, depth, source = Module(), None, 0, (0, 0)
    buffer, line, begun = "", 0, 0

    def statement(words: str) -> None:
        if words.startswith((".version", ".target", ".address_size", ".pragma", ".alias")):
            return
        if function is None:
            if words.startswith((".func", ".entry")) or " .func" in words or " .entry" in words:
                return  # a declaration
            module.variables.append(_variable(words))
        elif words.startswith(".reg"):
            function.body.append(("registers", _registers(words)))
        elif words.startswith("."):
            function.body.append(_variable(words))
        else:
            function.body.append(_instruction(words, begun, source))

    skipping = False
    for line, raw in enumerate(text.split("\n"), 1):
        words = raw.split("//")[0].strip()
        if words.startswith(".section"):
            skipping = True
        if skipping:
            skipping = words != "}"
            continue
        if re.match(r"\.loc\s", words):
            numbers = words.split(",")[0].split()
            source = (int(numbers[1]), int(numbers[2]))
            continue
        if re.match(r"\.file\s", words):
            _, number, name = words.split(None, 2)
            module.files[int(number)] = name.split('"')[1]
            continue
        if words.startswith((".version", ".target", ".address_size")):
            continue
        if not buffer:
            begun = line
        if (label := re.fullmatch(r"([$\w]+):", words)) and not buffer:
            function.body.append(("label", label[1]))
            continue
        for c in words + "\n":
            opens = c == "{" and (not buffer.strip() or re.match(r"(\.\w+\s+)*\.(func|entry)\b", buffer.strip()))
            if opens:
                depth += 1
                if function is None:
                    function = _function(buffer.strip())
                else:
                    function.body.append(("open",))
                buffer = ""
            elif c == "}" and not buffer.strip():
                depth -= 1
                if depth == 0:
                    module.functions.append(function)
                    function = None
                else:
                    function.body.append(("close",))
                buffer = ""
            elif c == ";":
                if buffer.strip():
                    statement(buffer.strip())
                buffer, begun = "", line
            else:
                buffer += c
        buffer = buffer if buffer.strip() else ""
    return module
