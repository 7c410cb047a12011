"""A native engine as one C99 header, for devices without an operating system."""

from __future__ import annotations

import re
import textwrap

from ...errors import UserError
from .header_code import FUNCTIONS
from .header_statements import Statements
from .operations import Program

__all__ = ["header_of"]


def header_of(program: Program, prefix: str, origin: str) -> str:
    """Return the text of the header.

    Parameters
    ----------
    prefix : str
        A C identifier that every name starts with; in capitals, that every macro starts with.
    origin : str
        Source of the engine, for the comment at the top.
    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", prefix):
        raise UserError(
            f"prefix '{prefix}' is not a C identifier.", "Use letters, digits and underscores, for example 'regkd'."
        )
    writer = Statements(program, prefix)
    writer.write()
    functions = [text.replace("@", prefix) for name, text in FUNCTIONS.items() if name in writer.used]
    libm = sorted(writer.used & {"erff", "expf", "expm1f", "log1pf", "tanhf"})
    return _assemble(program, prefix, origin, writer.tables, functions, writer.body, libm, writer.source)


def _assemble(
    program: Program,
    prefix: str,
    origin: str,
    tables: list[str],
    functions: list[str],
    body: list[str],
    libm: list[str],
    last: str,
) -> str:
    capitals = prefix.upper()
    units = max([0, *(op.units for op in program.operations if op.kind == "gru")])
    buffers = [f"float a[{program.widest}], b[{program.widest}];"]
    if program.window_values:
        buffers.append(f"float p[{program.window_values}];")
    if program.code_values:
        buffers.append(f"int8_t q[{program.code_values}];")
    if units:
        buffers.append(f"float g[{6 * units}], s[{units}];")
    again = any(re.search(r"\bk = 0;", line) for line in body)
    needs = f"It calls {', '.join(libm)} of libm." if libm else "It calls no library."
    names = [
        f"   x[{i}]  {name}" if i < program.inputs else f"   y[{i - program.inputs}]  {name}"
        for i, name in enumerate(map(_comment, program.names))
    ]
    head = [
        f"/* A regression network by regkd-edge, from {_comment(origin)}.",
        *textwrap.wrap(
            f"C99, no heap, no state: about {program.stack_bytes} bytes of stack and {program.constant_bytes} bytes of "
            f"constants. {needs} In exactly one source file, define {capitals}_IMPLEMENTATION before including it.",
            116, initial_indent="   ", subsequent_indent="   ",
        ),
        f"   {prefix}_infer takes {program.inputs} inputs in raw units and gives {program.outputs} outputs in raw "
        "units. It returns 0, or 1 + the index of an",
        "   input that is not finite; the outputs are then untouched.",
        *names,
        "*/",
    ]  # fmt: skip
    lines = [
        *head,
        f"#ifndef {capitals}_H",
        f"#define {capitals}_H",
        f"#define {capitals}_INPUTS {program.inputs}",
        f"#define {capitals}_OUTPUTS {program.outputs}",
        "#ifdef __cplusplus",
        'extern "C"',
        "#endif",
        f"int {prefix}_infer(const float *x, float *y);",
        f"#endif /* {capitals}_H */",
        "",
        f"#ifdef {capitals}_IMPLEMENTATION",
        "#include <float.h>",
        "#include <stdint.h>",
        *(["#include <math.h>"] if libm else []),
        "",
        *tables,
        "",
        *functions,
        f"int {prefix}_infer(const float *x, float *y)",
        "{",
        *(f"    {line}" for line in buffers),
        f"    int i{', k' if again else ''};",
        f"    for (i = 0; i < {program.inputs}; ++i) {{",
        "        if (!(x[i] >= -FLT_MAX && x[i] <= FLT_MAX)) return 1 + i;",
        "        a[i] = x[i];",
        "    }",
        *(f"    {line}" for line in body),
        f"    for (i = 0; i < {program.outputs}; ++i) y[i] = {last}[i];",
        "    return 0;",
        "}",
        f"#endif /* {capitals}_IMPLEMENTATION */",
        "",
    ]
    return "\n".join(lines)


def _comment(text: str) -> str:
    """Return text that cannot end the comment around it."""
    return re.sub(r"[^\x20-\x7e]", "?", text.replace("*/", "* /").replace("/*", "/ *").replace("??", "? ?"))
