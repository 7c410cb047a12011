"""Programs of torch without their power over the machine: what a ``.pt2`` or TorchScript file may hold to be loaded.

Torch evaluates text of such a file: shapes are parsed by SymPy's ``sympify``, which is ``eval``; guards and names
become Python source that is executed; operators are looked up by name, and some of them read and write files; a package
may bring compiled libraries. Here a copy of the archive in memory keeps only what a network needs, and a file that
holds anything else is refused.
"""

from __future__ import annotations

import ast
import io
import json
import pickletools
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...io.arrays import check_inflated
from ...io.reading import parse_json

__all__ = ["UnsafeProgram", "safe_program", "safe_script"]

_MEMBERS = re.compile(
    r"archive_(format|version)|version|byteorder|\.(data|format)/[\w.]+|models/[\w.-]+\.json|extra/[\w.-]+"
    r"|data/(weights|constants|sample_inputs)/[\w.-]+"
    r"|serialized_(exported_program\.json|(state_dict|constants|example_inputs)\.(pt|json))"
)
# Strings of a program: names, dtypes, modes. None of them can call anything where it ends in Python source.
_PLAIN = re.compile(r"[\w.:+\-/]{0,400}")
_TARGET = re.compile(r"torch\.ops\.(aten|prims|prim|quantized|quantized_decomposed|higher_order)(\.\w+)+"
                     r"|_operator\.\w+|math\.\w+|torch\.sym_\w+")  # fmt: skip
_FILES = re.compile(r"\b(save|load|from_file|load_tensor|exec|eval|system|open)\b")
_FUNCTIONS = re.compile(
    r"Symbol|Integer|Float|Rational|Add|Mul|Max|Min|Mod|PythonMod|(Clean|Ceil|Floor)Div|(Ceil|Floor|Trunc|Round)ToInt"
    r"|(Int|Float)TrueDiv|ToFloat|Where|ModularIndexing|Identity|Eq|Ne|Lt|Le|Gt|Ge|Equality|Un(?:e)quality|Abs|floor|ceiling"
    r"|(Strict)?(Less|Greater)Than|And|Or|Not|sqrt"
)
_NODES = (
    ast.Expression, ast.Call, ast.Name, ast.Load, ast.Constant,
    ast.keyword, ast.BinOp, ast.UnaryOp, ast.Compare, ast.Add,
    ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.USub, ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE,
)  # fmt: skip

# TorchScript: operators that touch files or other processes, wherever their name stands; classes of C++ but for weights
# of quantized layers; and getattr with anything but a plain name.
_SCRIPT = re.compile(
    rb"\b(save|from_file|load_tensor|rpc_(a?sync|remote)|dist_backward|PythonOp|IgnoredPythonOp)\b"
    rb"|torch\.classes\.(?!quantized\.)|\bgetattr\s*\((?!\s*[\w.]+\s*,\s*\"\w+\"\s*\))"
)
_TENSORS = re.compile(r"(data|constants|tensors)/\d+")


class UnsafeProgram(Exception):
    """What a program holds that must not be loaded without consent."""


def safe_program(path: Path) -> io.BytesIO:
    """Return a ``torch.export`` archive without guards and metadata, all else of which was checked.

    Raises
    ------
    UnsafeProgram
        A compiled library, an expression or a name that is more than that, or an operator that does more than compute.
    ValueError, OSError, zipfile.BadZipFile
        Not such an archive.
    """

    def cleaned(name: str, content: bytes) -> bytes:
        if _MEMBERS.fullmatch(name) is None:
            raise UnsafeProgram(f"the file '{name[:80]}'")
        if not name.endswith(".json"):
            return content
        program = parse_json(content)
        _strip(program)
        _check(program, "")
        return json.dumps(program).encode()

    return _repacked(path, cleaned)


def safe_script(path: Path) -> io.BytesIO:
    """Return a TorchScript archive whose code calls no operator that touches files; errors as :func:`safe_program`."""

    def checked(name: str, content: bytes) -> bytes:
        if name == "model.json":
            raise UnsafeProgram("a program in the form of torch before 1.4")
        if name.endswith((".so", ".dll", ".dylib")):
            raise UnsafeProgram(f"the file '{name[:80]}'")
        if name.endswith(".pkl"):
            _check_lengths(name, content)
        found = None if _TENSORS.fullmatch(name) else _SCRIPT.search(content)
        if found is not None:
            raise UnsafeProgram(f"'{found.group().decode('ascii', 'replace')}' in '{name[:80]}'")
        return content

    return _repacked(path, checked)


def _check_lengths(name: str, content: bytes) -> None:
    """Refuse a pickle whose texts or places are longer than itself: torch takes that memory before it reads them."""
    for operation, argument, _ in pickletools.genops(content):  # ValueError where a text is cut
        if "PUT" in operation.name and not 0 <= argument <= len(content):
            raise ValueError(f"'{name}' puts a value at place {argument:,}, behind its {len(content):,} bytes")


def _repacked(path: Path, cleaned: Callable[[str, bytes], bytes]) -> io.BytesIO:
    """Return a copy that torch reads as it was read here: one entry per name, nothing before,
    between or behind them."""
    out = io.BytesIO()
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as copy:
        check_inflated(archive, path.stat().st_size)
        names = [entry.filename for entry in archive.infolist() if not entry.is_dir()]
        if len(set(names)) != len(names):
            raise ValueError("it holds a file twice")
        for name in names:
            top, _, inner = name.partition("/")
            flat = not inner or top in ("extra", "models", "data", "code")  # written without a folder around it
            copy.writestr(name, cleaned(name if flat else inner, archive.read(name)))
    out.seek(0)
    return out


def _strip(value: Any) -> None:
    """Remove guards, and the metadata of nodes: where they came from in the source."""
    if isinstance(value, dict):
        if "guards_code" in value:
            value["guards_code"] = []
        if "target" in value and "metadata" in value:
            value["metadata"] = {}
        if "module_call_graph" in value:
            value["module_call_graph"] = [one for one in value["module_call_graph"] if _is_root(one)]
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _strip(inner)


def _is_root(entry: Any) -> bool:
    return isinstance(entry, dict) and entry.get("fqn") == ""


def _check(value: Any, key: str) -> None:
    if isinstance(value, dict):
        for name, inner in value.items():
            _check(name, "")
            _check(inner, name)
    elif isinstance(value, list):
        for inner in value:
            _check(inner, key)
    elif isinstance(value, str):
        if key == "expr_str":
            _check_expression(value)
        elif key == "target" and (_TARGET.fullmatch(value) is None or _FILES.search(value)):
            raise UnsafeProgram(f"the operator '{value[:80]}'")
        elif key not in ("in_spec", "out_spec") and _PLAIN.fullmatch(value) is None:
            raise UnsafeProgram(f"the text {value[:40]!r} as {key or 'a name'}")
        elif key in ("in_spec", "out_spec"):
            _check_spec(value)


def _check_spec(text: str) -> None:
    """The tree of a program's arguments is JSON in JSON; its nodes are containers of Python."""
    kinds = {"builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict", None}

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            if "type" in node and node["type"] not in kinds:
                raise UnsafeProgram(f"an argument of the type '{str(node['type'])[:80]}'")
            for inner in node.values():
                walk(inner)
        elif isinstance(node, list):
            for inner in node:
                walk(inner)

    if text:
        walk(parse_json(text.encode()))


def _check_expression(text: str) -> None:
    """Refuse an expression of shapes that is more than numbers, symbols and their arithmetic."""
    problem = UnsafeProgram(f"the expression {text[:60]!r}")
    try:
        nodes = list(ast.walk(ast.parse(text, mode="eval"))) if len(text) <= 2000 else [None]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise problem from None
    for node in nodes:
        if not isinstance(node, _NODES):
            raise problem
        if isinstance(node, ast.Call) and not (isinstance(node.func, ast.Name) and _FUNCTIONS.fullmatch(node.func.id)):
            raise problem
        if isinstance(node, ast.Constant) and not (
            (isinstance(node.value, str) and re.fullmatch(r"\w{1,64}", node.value))
            or (isinstance(node.value, (int, float)) and abs(node.value) < 2**64)
        ):
            raise problem
