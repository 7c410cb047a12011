"""A parsed module -> one C++ file for ``machine.h``: a function for each PTX function, a table of kernels, counts."""

from __future__ import annotations

from dataclasses import dataclass, field

from .operands import Scope, identifier
from .operations import KINDS, kind_of, statement
from .parse import Function, Instruction, Module, PtxError, Variable

__all__ = ["Translation", "translate"]


@dataclass
class Translation:
    """C++ text; ``where`` maps a PTX line to (function, file, line); ``barriers`` are the lines of block barriers."""

    text: str
    phases: list[str]
    where: dict[int, tuple[str, str, int]] = field(default_factory=dict)
    barriers: list[int] = field(default_factory=list)


def _signature(f: Function) -> str:
    arguments = "".join(f", const uint8_t* {identifier(p.name)}" for p in f.parameters)
    back = f", uint8_t* {identifier(f.returns.name)}" if f.returns else ""
    return f"static void {identifier(f.name)}(Thread& t{back}{arguments})"


class _Writer:
    def __init__(self, modules: list[Module], containers: tuple[str, ...]):
        self.modules, self.containers = modules, containers
        self.lines: list[str] = []
        self.counts: list[list[int]] = []  # of each basic block
        self.phases: list[str] = []
        self.where: dict[int, tuple[str, str, int]] = {}
        self.barriers: list[int] = []

    def module(self, module: Module, first_line: int) -> None:
        shared = {v.name for v in module.variables if v.space == "shared"}
        if any(v.bytes for v in module.variables if v.space == "shared"):
            raise PtxError("shared variables of a fixed size are not translated, only the launch's dynamic window")
        constants = [v for v in module.variables if v.space in ("global", "const")]
        for v in constants:
            values = ", ".join(map(str, v.initial)) or "0"
            self.lines.append(f"alignas({v.align}) static uint8_t {identifier(v.name)}[{v.bytes}] = {{{values}}};")
            self.tables.append(v)
        self.known = {f.name: f for f in module.functions}
        self.lines += [f"{_signature(f)};" for f in module.functions]
        for f in module.functions:
            self.function(f, Scope(shared, {v.name for v in constants}), module, first_line)

    def block(self) -> None:
        """A basic block begins."""
        self.counts.append([0] * len(KINDS))
        self.lines.append(f"COUNT({len(self.counts) - 1})")

    def function(self, f: Function, s: Scope, module: Module, first_line: int) -> None:
        for v in [*f.parameters, *([f.returns] if f.returns else [])]:
            s.declare(v.name, v)
        self.phases.append(f.name)
        phase = len(self.phases) - 1
        container = f.entry or any(c in f.name for c in self.containers)
        self.lines.append(f"{_signature(f)} {{")
        self.lines.append(f"const Phase here(t, {phase}, {'true' if container else 'false'});")
        registers: list[tuple[str, int]] = []
        depth = 0
        for item in f.body:  # C++ may not jump over initialisations: registers of the function come first
            if isinstance(item, tuple) and item[0] == "registers" and depth == 0:
                registers += item[1].items()
            depth += (item == ("open",)) - (item == ("close",))
        for name, bits in registers:
            s.declare(name, bits)
            self.lines.append(f"{'bool' if bits == 1 else f'uint{bits}_t'} {identifier(name)} = 0;")
        self.block()
        depth = 0
        for item in f.body:
            if isinstance(item, Variable):
                if item.space not in ("local", "param"):
                    raise PtxError(f"a variable of space {item.space} in a function is not translated")
                s.declare(item.name, item)
                self.lines.append(f"alignas({max(item.align, 16)}) uint8_t {identifier(item.name)}[{item.bytes}];")
            elif isinstance(item, Instruction):
                self.instruction(item, s, f, module, first_line)
            elif item[0] == "label":
                self.lines.append(f"{identifier(item[1])}:;")
                self.block()
            elif item[0] == "open":
                depth += 1
                s.open()
                self.lines.append("{")
            elif item[0] == "close":
                depth -= 1
                s.close()
                self.lines.append("}")
            elif depth:
                for name, bits in item[1].items():
                    s.declare(name, bits)
                    self.lines.append(f"{'bool' if bits == 1 else f'uint{bits}_t'} {identifier(name)};")
        line = max((i.line for i in f.body if isinstance(i, Instruction)), default=0) + first_line
        self.where.setdefault(line, (f.name, "", 0))
        self.lines.append(f't.machine->fail(t, {line}, "the end of a function without a return: undefined behaviour");')
        self.lines.append("}")

    def instruction(self, i: Instruction, s: Scope, f: Function, module: Module, first_line: int) -> None:
        i = Instruction(i.line + first_line, i.opcode, i.operands, i.guard, i.source)
        kind = kind_of(i)
        self.counts[-1][KINDS.index(kind)] += 1
        if kind in ("barrier", "atomic", "branch", "copy") or kind.startswith(("load", "store")):
            self.where[i.line] = (f.name, module.files.get(i.source[0], ""), i.source[1])
        if i.opcode[0] in ("bar", "barrier") and not {"warp", "cluster"} & set(i.opcode):
            self.barriers.append(i.line)
        condition = ""
        if i.guard:
            negated, name = i.guard.startswith("!"), i.guard.lstrip("!")
            condition = f"if ({'!' if negated else ''}{identifier(name)}) "
        name = i.opcode[0]
        if name == "bra":
            self.lines.append(f"{condition}goto {identifier(i.operands[0])};")
            if condition:
                self.block()
        elif name in ("ret", "exit"):
            self.lines.append(f"{condition}return;")
            if condition:
                self.block()
        elif name == "call":
            back, callee, *given = i.operands if i.operands[0].startswith("(") else ("", *i.operands)
            names = [n.strip() for part in given for n in part.strip("()").split(",") if n.strip()]
            back = [n.strip() for n in back.strip("()").split(",") if n.strip()]
            if callee not in self.known:
                raise PtxError(f"PTX line {i.line}: '{callee}' is called and not in the file")
            arguments = "".join(f", {identifier(n)}" for n in [*back, *names])
            self.lines.append(f"{condition}{identifier(callee)}(t{arguments});")
            self.block()
        else:
            written = statement(i, s)
            self.lines += [f"{condition}{{", *written, "}"] if condition else written

    tables: list[Variable]


def translate(modules: list[Module], containers: tuple[str, ...] = ()) -> Translation:
    """C++ for the kernels of all modules.

    Parameters
    ----------
    containers : tuple of str
        Functions whose name holds one of these are no phase of their own: what they call is counted by its own name.

    Raises
    ------
    PtxError
        An instruction or a declaration outside the translated subset.
    """
    w = _Writer(modules, containers)
    w.tables = []
    first, entries = 0, []
    for module in modules:
        w.module(module, first)
        entries += [f for f in module.functions if f.entry]
        first += 1_000_000  # lines of the second file begin here
    wrappers, table = [], []
    for n, f in enumerate(entries):
        offset, places = 0, []
        for p in f.parameters:
            offset = (offset + p.align - 1) // p.align * p.align
            places.append(f", parameters + {offset}")
            offset += p.bytes
        wrappers.append(
            f"static void entry_{n}(Thread& t, const uint8_t* parameters) "
            f"{{ (void)parameters; {identifier(f.name)}(t{''.join(places)}); }}"
        )
        table.append(f'{{"{f.name}", entry_{n}, {offset}}}')
    rows = [", ".join(map(str, row)) for row in w.counts]
    windows = [
        f'Machine::only().memory.add(reinterpret_cast<uintptr_t>({identifier(v.name)}), {v.bytes}, "{v.name}");'
        for v in w.tables
    ]
    text = "\n".join(
        [
            '#include "machine.cpp.h"',
            "using namespace ptx;",
            "#ifdef PTX_COUNT",
            "#define COUNT(n) t.count(n);",
            "#else",
            "#define COUNT(n)",
            "#endif",
            *w.lines,
            *wrappers,
            f"static const Kernel kKernels[] = {{{', '.join(table)}}};",
            f"static const uint16_t kCounts[] = {{{', '.join(rows)}}};",
            'extern "C" int ptx_launch(const char* name, unsigned blocks_x, unsigned blocks_y, unsigned threads,',
            "                          uint64_t shared_bytes, const void* parameters, uint64_t bytes,",
            "                          unsigned cluster_blocks) {",
            "  for (const Kernel& k : kKernels) {",
            "    if (std::strcmp(k.name, name) || k.parameter_bytes != bytes) continue;",
            "    Machine& m = Machine::only();",
            f"    if (!m.counts.of_block) m.counts.begin({len(w.phases)}, {len(w.counts)}, {len(KINDS)}, kCounts);",
            "    return m.launch(k, blocks_x, blocks_y, threads, shared_bytes, parameters, cluster_blocks);",
            "  }",
            '  Machine::only().error = std::string("no kernel of this name and parameters: ") + name;',
            "  return 1;",
            "}",
            'extern "C" void ptx_tables() {' + " ".join(windows) + "}",
            "",
        ]
    )
    return Translation(text, w.phases, w.where, w.barriers)
