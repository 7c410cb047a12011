"""Instructions as C++ statements, by opcode. What is not here is refused by name."""

from __future__ import annotations

from .copies import copy_statement
from .operands import Scope, cpp_type, wide
from .parse import Instruction, PtxError

__all__ = ["KINDS", "kind_of", "statement"]

KINDS = (
    "fma",
    "float",
    "special",  # division, roots, reciprocals, exponentials
    "double",
    "integer",  # arithmetic, logic, comparison, selection, conversion
    "move",  # copies, constants and address spaces: mostly gone in the machine code
    "load shared",
    "load global",
    "load generic",
    "load local",
    "store shared",
    "store global",
    "store generic",
    "store local",
    "copy",  # global to shared memory, asynchronous
    "atomic",
    "exchange",  # between lanes
    "parameter",  # of kernel and functions: constant memory and registers
    "branch",
    "call",
    "barrier",
)
_SPACES = {"shared": "kShared", "global": "kGlobal", "local": "kLocal", "param": "kParameter", "const": "kGlobal"}
_QUIETER = {"volatile", "relaxed", "gpu", "cta", "sys", "nc", "uni", "cluster", "weak"}
_COMPARE = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "lo": "<", "ls": "<=", "hi": ">",
            "hs": ">="}  # fmt: skip
_TYPES = {"pred"} | {f"{t}{b}" for t in "bsuf" for b in (8, 16, 32, 64)}


def _space(i: Instruction) -> str:
    named = [w for w in i.opcode if w in _SPACES]
    return named[0] if named else "generic"


def kind_of(i: Instruction) -> str:
    """Which of ``KINDS`` an instruction is counted as."""
    name, kind = i.opcode[0], i.opcode[-1]
    if name in ("ld", "ldu", "st"):
        space = _space(i)
        if space == "param":
            return "parameter"
        return f"{'store' if name == 'st' else 'load'} {'global' if space == 'const' else space}"
    if name == "cp":
        return "copy"
    if name in ("bar", "barrier"):
        return "barrier"
    if name in ("atom", "red", "membar", "fence"):
        return "atomic"
    if name in ("shfl", "vote", "match", "redux", "activemask"):
        return "exchange"
    if name in ("bra", "ret", "exit", "nanosleep"):
        return "branch"
    if name == "call":
        return "call"
    if name in ("mov", "cvta"):
        return "move"
    if name in ("div", "rcp", "sqrt", "rsqrt", "ex2", "lg2", "sin", "cos", "tanh") and kind == "f32":
        return "special"
    if "f64" in i.opcode:
        return "double"
    if kind in ("f32", "f16", "bf16") and name not in ("setp", "selp", "cvt"):
        return "fma" if name == "fma" else "float"
    return "integer"


def _memory(i: Instruction, s: Scope) -> list[str]:
    """ld and st: one checked access of the whole vector, then element by element."""
    load = i.opcode[0] != "st"
    space, kind = _space(i), i.opcode[-1]
    vector = next((int(w[1:]) for w in i.opcode if w in ("v2", "v4", "v8")), 1)
    names = s.elements(i.operands[0] if load else i.operands[1])
    address = s.address(i.operands[1] if load else i.operands[0])
    if len(names) != vector:
        raise PtxError(f"{vector} elements expected in {i.text}")
    size = int(kind[1:]) // 8
    flag = "false" if load else "true"
    if space == "param":
        lines = [f"{{ uint8_t* p = reinterpret_cast<uint8_t*>({address});"]
    else:
        where = "Space::" + _SPACES.get(space, "kGeneric")
        ordered = [w for w in i.opcode if w in ("acquire", "release")]
        function = "synchronised" if ordered else "at"
        before = f"release(t, {address}); " if ordered == ["release"] else ""
        lines = [f"{{ {before}uint8_t* p = {function}(t, {where}, {flag}, {address}, {size * vector}, {i.line});"]
        if ordered == ["acquire"]:
            lines.append(f"acquire(t, {address});")
    for n, name in enumerate(names):
        cpp = cpp_type(kind)
        if load:
            lines.append(s.write(name, kind, f"read<{cpp}>(p + {n * size})"))
        else:
            lines.append(f"write<{cpp}>(p + {n * size}, {s.read(name, kind)});")
    return [*lines, "}"]


def _atomic(i: Instruction, s: Scope) -> list[str]:
    kind, order = i.opcode[-1], i.opcode[1] if i.opcode[1] in ("add", "exch", "min", "max", "or", "and") else None
    operation = order or next(w for w in i.opcode if w in ("add", "exch", "min", "max", "or", "and", "cas"))
    target = i.operands[0] if i.opcode[0] == "atom" else "_"
    place, value = i.operands[-2], s.read(i.operands[-1], kind)
    combine = {
        "add": f"old + {value}", "exch": value, "or": f"old | {value}", "and": f"old & {value}",
        "min": f"old < {value} ? old : {value}", "max": f"old > {value} ? old : {value}",
    }  # fmt: skip
    if operation not in combine:
        raise PtxError(f"PTX line {i.line}: '{i.text}' is not translated")
    where = "Space::" + _SPACES.get(_space(i), "kGeneric")
    address, size = s.address(place), int(kind[1:]) // 8
    lines = [f"{{ uint8_t* p = synchronised(t, {where}, true, {address}, {size}, {i.line});"]
    if "acquire" in i.opcode or "acq_rel" in i.opcode:
        lines.append(f"acquire(t, {address});")
    if "release" in i.opcode or "acq_rel" in i.opcode:
        lines.append(f"release(t, {address});")
    cpp = cpp_type(kind)
    lines += [f"const {cpp} old = read<{cpp}>(p); write<{cpp}>(p, static_cast<{cpp}>({combine[operation]}));"]
    return [*lines, s.write(target, kind, "old"), "}"]


def _compare(i: Instruction, s: Scope) -> str:
    kind = i.opcode[-1]
    words = [w for w in i.opcode[1:-1] if w not in ("ftz",)]
    comparison, combine = words[0], words[1] if len(words) > 1 else None
    a, b = (s.read(o, kind) for o in i.operands[1:3])
    if kind[0] == "f":
        unordered = f"(std::isnan({a}) || std::isnan({b}))"
        if comparison in ("num", "nan"):
            value = unordered if comparison == "nan" else f"!{unordered}"
        elif comparison.endswith("u") and comparison[:-1] in _COMPARE:
            value = f"({unordered} || {a} {_COMPARE[comparison[:-1]]} {b})"
        else:
            value = f"(!{unordered} && {a} {_COMPARE[comparison]} {b})"
    else:
        value = f"({a} {_COMPARE[comparison]} {b})"
    if combine:
        other = i.operands[3]
        other = "!" + s.read(other[1:], "pred") if other.startswith("!") else s.read(other, "pred")
        value = f"({value} {dict(zip(('and', 'or', 'xor'), ('&&', '||', '!=')))[combine]} {other})"
    if "|" in i.operands[0]:
        raise PtxError(f"PTX line {i.line}: two results of a comparison are not translated")
    return s.write(i.operands[0], "pred", value)


def _convert(i: Instruction, s: Scope) -> str:
    to, source = [w for w in i.opcode if w in _TYPES]
    value = s.read(i.operands[1], source)
    rounding = next((w for w in i.opcode if w in ("rni", "rzi", "rmi", "rpi")), None)
    if rounding:
        function = {"rni": "std::nearbyint", "rzi": "std::trunc", "rmi": "std::floor", "rpi": "std::ceil"}[rounding]
        value = f"{function}({value})"
    if source[0] == "f" and to[0] != "f":
        value = f"saturated<{cpp_type(to)}>({value})"
    else:
        value = f"static_cast<{cpp_type(to)}>({value})"
    if "sat" in i.opcode:
        if to[0] != "f":
            raise PtxError(f"PTX line {i.line}: '{i.text}' is not translated")
        value = f"smaller(larger({value}, {cpp_type(to)}(0)), {cpp_type(to)}(1))"
    return s.write(i.operands[0], to, value)


def _move(i: Instruction, s: Scope) -> list[str]:
    """Also packs {a, b} into a wide register and takes it apart."""
    kind, target, source = i.opcode[-1], *i.operands
    if target.startswith("{"):
        parts = s.elements(target)
        bits = int(kind[1:]) // len(parts)
        value = s.read(source, kind)
        return ["{"] + [f"const {cpp_type(kind)} v = {value};"] + [
            s.write(p, f"b{bits}", f"static_cast<uint{bits}_t>(v >> {n * bits})") for n, p in enumerate(parts)
        ] + ["}"]  # fmt: skip
    if source.startswith("{"):
        parts = s.elements(source)
        bits = int(kind[1:]) // len(parts)
        whole = cpp_type(kind)
        value = " | ".join(f"static_cast<{whole}>({s.read(p, f'b{bits}')}) << {n * bits}" for n, p in enumerate(parts))
        return [s.write(target, kind, value)]
    return [s.write(target, kind, s.read(source, kind))]


def _carry(i: Instruction, s: Scope) -> str:
    """add.cc, addc, sub.cc, subc, mad.cc, madc: the flag is the thread's."""
    name, kind = i.opcode[0], i.opcode[-1]
    cpp = cpp_type("u" + kind[1:])
    values = [f"static_cast<{cpp}>({s.read(o, kind)})" for o in i.operands[1:]]
    carry_in = "t.carry" if name.endswith("c") else "false"
    out = "t.carry" if "cc" in i.opcode else "ignored"
    if name.startswith("mad"):
        high = "hi" in i.opcode
        product = (
            f"high_product({values[0]}, {values[1]})" if high else f"static_cast<{cpp}>({values[0]} * {values[1]})"
        )
        values = [product, values[2]]
    function = "subtract_borrow" if name.startswith("sub") else "add_carry"
    call = f"{function}({values[0]}, {values[1]}, {carry_in}, {out})"
    return f"{{ bool ignored; (void)ignored; {s.write(i.operands[0], 'u' + kind[1:], call)} }}"


def _arithmetic(i: Instruction, s: Scope) -> str:
    name, kind = i.opcode[0], i.opcode[-1]
    cpp, floating = cpp_type(kind), kind[0] == "f"
    if "rz" in i.opcode or "rm" in i.opcode or "rp" in i.opcode:
        raise PtxError(f"PTX line {i.line}: rounding other than to nearest is not translated: '{i.text}'")
    if name in ("mul", "mad") and "wide" in i.opcode:
        to = wide(kind)
        a, b = (f"static_cast<{cpp_type(to)}>({s.read(o, kind)})" for o in i.operands[1:3])
        more = f" + {s.read(i.operands[3], to)}" if name == "mad" else ""
        return s.write(i.operands[0], to, f"{a} * {b}{more}")
    second = "u32" if name in ("shl", "shr") else kind
    v = [s.read(o, second if n == 1 else kind) for n, o in enumerate(i.operands[1:])]
    unsigned = "uint64_t" if kind[1:] == "64" else "uint32_t"  # wraps, and 16-bit products do not become int

    def whole(expression: str) -> str:
        return f"static_cast<{cpp}>({expression})"

    def u(n: int) -> str:
        return f"static_cast<{unsigned}>({v[n]})"

    if name == "mul" and "hi" in i.opcode:
        value = f"high_product({v[0]}, {v[1]})"
    elif name == "mad" and "hi" in i.opcode:
        value = f"high_product({v[0]}, {v[1]}) + {v[2]}"
    elif name in ("add", "sub", "mul"):
        sign = {"add": "+", "sub": "-", "mul": "*"}[name]
        value = f"({v[0]} {sign} {v[1]})" if floating else whole(f"{u(0)} {sign} {u(1)}")
    elif name == "mad":
        value = whole(f"{u(0)} * {u(1)} + {u(2)}")
    elif name == "fma":
        value = f"std::fma({v[0]}, {v[1]}, {v[2]})"
    elif name == "div":
        value = f"({v[0]} / {v[1]})" if floating else f"divide({v[0]}, {v[1]})"
    elif name == "rem":
        value = f"remainder({v[0]}, {v[1]})"
    elif name == "neg":
        value = f"(-{v[0]})" if floating else whole(f"0 - {u(0)}")
    elif name == "abs":
        value = f"std::fabs({v[0]})" if floating else whole(f"{v[0]} < 0 ? 0 - {u(0)} : {u(0)}")
    elif name in ("min", "max") and floating:
        value = f"{'smaller' if name == 'min' else 'larger'}({v[0]}, {v[1]})"
    elif name in ("min", "max"):
        value = f"({v[0]} {'<' if name == 'min' else '>'} {v[1]} ? {v[0]} : {v[1]})"
    elif name in ("and", "or", "xor"):
        sign = {"and": "&", "or": "|", "xor": "^"}[name]
        value = f"static_cast<{cpp}>({v[0]} {sign} {v[1]})"
    elif name == "not":
        value = f"!{v[0]}" if kind == "pred" else whole(f"~{v[0]}")
    elif name in ("shl", "shr"):
        value = f"shift_{'left' if name == 'shl' else 'right'}<{cpp}>({v[0]}, {v[1]})"
    elif name == "rcp":
        value = f"coarse_reciprocal({v[0]})" if kind == "f64" and "approx" in i.opcode else f"({cpp}(1) / {v[0]})"
    elif name == "sqrt":
        value = f"std::sqrt({v[0]})"
    elif name == "rsqrt":
        value = f"({cpp}(1) / std::sqrt({v[0]}))"
    elif name == "ex2":
        value = f"std::exp2({v[0]})"
    elif name == "lop3":
        value = f"logic3<uint32_t>({v[0]}, {v[1]}, {v[2]}, {i.operands[4]})"
    elif name == "bfi":
        value = f"insert_bits({', '.join(v)})"
    elif name == "bfe" and kind == "u32":
        value = f"extract_bits({', '.join(v)})"
    elif name == "clz":
        value = f"({v[0]} ? __builtin_clzll({v[0]}) - {64 - int(kind[1:])} : {kind[1:]})"
    elif name == "popc":
        value = f"__builtin_popcountll({v[0]})"
    elif name == "prmt":
        value = f"permute_bytes({', '.join(v)})"
    elif name == "shf":
        value = f"funnel_{'left' if 'l' in i.opcode else 'right'}({', '.join(v)})"
    elif name == "copysign":
        value = f"std::copysign({v[1]}, {v[0]})"
    else:
        raise PtxError(f"PTX line {i.line}: '{i.text}' is not translated")
    if "sat" in i.opcode:
        value = f"smaller(larger({value}, {cpp}(0)), {cpp}(1))"
    return s.write(i.operands[0], "u32" if name in ("clz", "popc") else kind, value)


def _exchange(i: Instruction, s: Scope) -> str:
    """shfl.sync of whole warps: idx, bfly, down, up."""
    mode = next(w for w in i.opcode if w in ("idx", "bfly", "down", "up"))
    target = i.operands[0].split("|")[0]
    value, lane = s.read(i.operands[1], "u32"), s.read(i.operands[2], "u32")
    mine = "(t.tid & 31)"
    place = {"idx": lane, "bfly": f"({mine} ^ {lane})"}.get(mode)
    if mode == "down":
        place = f"({mine} + {lane} > 31 ? {mine} : {mine} + {lane})"
    if mode == "up":
        place = f"({mine} < {lane} ? {mine} : {mine} - {lane})"
    return s.write(target, "u32", f"exchange(t, {value}, {place}, {i.line})")


def statement(i: Instruction, s: Scope) -> list[str]:
    """C++ for an instruction that neither branches nor calls."""
    name, kind = i.opcode[0], i.opcode[-1]
    if name in ("ld", "ldu", "st"):
        return _memory(i, s)
    if name in ("atom", "red"):
        return _atomic(i, s)
    if i.opcode[:2] == ("cp", "async"):
        return copy_statement(i, s)
    if name in ("bar", "barrier"):
        if i.opcode[1] == "warp":
            return [f"warp_barrier(t, {i.line});"]
        if i.opcode[1] == "cluster":
            order = {"arrive": "release", "wait": "acquire"}.get(i.opcode[2])
            if order is None or order not in i.opcode:
                raise PtxError(f"PTX line {i.line}: '{i.text}' is not translated")
            return [f"cluster_{i.opcode[2]}(t, {i.line});"]
        if i.operands[0] != "0" or len(i.operands) > 1:
            raise PtxError(f"PTX line {i.line}: only barrier 0 of the whole block is translated")
        return [f"barrier(t, {i.line});"]
    if name in ("membar", "fence"):
        return []  # fibers run in turns; races are judged by release and acquire alone
    if name == "nanosleep":
        return [f"spin(t, {i.line});"]
    if name == "mov":
        return _move(i, s)
    if name == "cvta":
        source = s.read(i.operands[1], kind)
        if "shared" in i.opcode:
            sign = "-" if "to" in i.opcode else "+"
            source = f"{source} {sign} t.block->shared.begin"
        return [s.write(i.operands[0], kind, source)]
    if name == "setp":
        return [_compare(i, s)]
    if name == "isspacep":
        if "shared" not in i.opcode:
            raise PtxError(f"PTX line {i.line}: '{i.text}' is not translated")
        return [s.write(i.operands[0], "pred", f"in_shared(t, {s.read(i.operands[1], 'u64')})")]
    if name == "selp":
        a, b = (s.read(o, kind) for o in i.operands[1:3])
        return [s.write(i.operands[0], kind, f"({s.read(i.operands[3], 'pred')} ? {a} : {b})")]
    if name == "cvt":
        return [_convert(i, s)]
    if name == "shfl":
        return [_exchange(i, s)]
    if name in ("addc", "subc", "madc") or "cc" in i.opcode:
        return [_carry(i, s)]
    return [_arithmetic(i, s)]
