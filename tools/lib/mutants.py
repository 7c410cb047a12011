"""Mutants of a Python source: one small mistake each, at a place in the text, so that lines and comments stay.

Mistakes that change no behaviour that a test should see are left out: docstrings, annotations, names that a module
exports, what is imported, and the words of messages (arguments of ``raise`` and of warnings).
"""

from __future__ import annotations

import ast
from dataclasses import dataclass

COMPARISONS = {
    ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "==",
    ast.Is: "is not", ast.IsNot: "is", ast.In: "not in", ast.NotIn: "in",
}  # fmt: skip
ARITHMETIC = {
    ast.Add: "-", ast.Sub: "+", ast.Mult: "/", ast.Div: "*", ast.FloorDiv: "/", ast.Mod: "*", ast.Pow: "*",
    ast.LShift: ">>", ast.RShift: "<<", ast.BitAnd: "|", ast.BitOr: "&", ast.BitXor: "&",
}  # fmt: skip
LOGGING = ("warn", "warning", "info", "debug", "getLogger", "TypeVar")


@dataclass(frozen=True)
class Mutant:
    """Replace ``text[start:end]`` by ``new``; ``line`` counts from 1, ``kind`` names the operator."""

    line: int
    start: int
    end: int
    new: str
    kind: str

    def apply(self, text: str) -> str:
        return text[: self.start] + self.new + text[self.end :]

    def change(self, text: str) -> str:
        """Return the line as it was, with the change in it: ``n = rows [- -> +] 1``."""
        first = text.rfind("\n", 0, self.start) + 1
        last = text.find("\n", self.end)
        old = " ".join(text[self.start : self.end].split())
        return f"{text[first : self.start].lstrip()}[{old} -> {self.new}]{text[self.end : last]}"


def mutants(text: str) -> list[Mutant]:
    """Return all mutants of a source that Python can compile, in the order of their places."""
    tree = ast.parse(text)
    finder = _Finder(text)
    finder.visit(tree)
    return sorted(set(finder.found), key=lambda m: (m.start, m.end, m.new))


class _Finder(ast.NodeVisitor):
    def __init__(self, text: str):
        self.text, self.found = text, []
        self.starts = [0]
        for line in text.splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line))
        self.lines = text.splitlines(keepends=True)

    def offset(self, line: int, column: int) -> int:
        """A place in characters: ast counts columns in bytes of UTF-8."""
        return self.starts[line - 1] + len(self.lines[line - 1].encode()[:column].decode())

    def span(self, node: ast.AST) -> tuple[int, int]:
        return self.offset(node.lineno, node.col_offset), self.offset(node.end_lineno, node.end_col_offset)

    def add(self, node: ast.AST, new: str, kind: str, span: tuple[int, int] | None = None) -> None:
        start, end = span or self.span(node)
        mutant = Mutant(node.lineno, start, end, new, kind)
        try:
            compile(mutant.apply(self.text), "mutant", "exec")
        except (SyntaxError, ValueError):
            return
        self.found.append(mutant)

    def between(self, left: ast.AST, right: ast.AST, old: str, new: str, kind: str) -> None:
        """Replace an operator that stands between two operands."""
        start, end = self.span(left)[1], self.span(right)[0]
        place = self.text.find(old, start, end)
        if place >= 0:
            line = self.text.count("\n", 0, place) + 1
            self.add(_at(line), new, kind, (place, place + len(old)))

    # -- what is passed over ------------------------------------------------------------------------------------------

    def visit_Raise(self, node):  # what it says is not judged, that it is raised is
        self.add(node, "pass", "statement removed")

    def visit_JoinedStr(self, node):
        pass

    def visit_Import(self, node):
        pass

    visit_ImportFrom = visit_Import

    def visit_AnnAssign(self, node):
        if node.value is not None:
            self.visit(node.value)

    def visit_Assign(self, node):
        if any(isinstance(t, ast.Name) and t.id.startswith("__") for t in node.targets):
            return
        self.visit(node.value)

    def visit_FunctionDef(self, node):  # annotations and decorators are passed over, defaults are not
        for default in [*node.args.defaults, *node.args.kw_defaults]:
            if default is not None:
                self.visit(default)
        for statement in node.body:
            self.visit(statement)

    def visit_ClassDef(self, node):
        for statement in node.body:
            self.visit(statement)

    def visit_If(self, node):
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return
        self.generic_visit(node)

    # -- mistakes -----------------------------------------------------------------------------------------------------

    def visit_Expr(self, node):
        if isinstance(node.value, ast.Constant):  # a docstring, or an ellipsis
            return
        if isinstance(node.value, ast.Call) and _speaks(node.value):
            return
        self.add(node, "pass", "statement removed")
        self.generic_visit(node)

    def visit_AugAssign(self, node):
        self.add(node, "pass", "statement removed")
        self.generic_visit(node)

    def visit_Return(self, node):
        if node.value is not None and not (isinstance(node.value, ast.Constant) and node.value.value is None):
            self.add(node, "return None", "None returned")
            self.visit(node.value)

    def visit_Compare(self, node):
        for left, operator, right in zip([node.left, *node.comparators], node.ops, node.comparators):
            self.between(left, right, _SIGN[type(operator)], COMPARISONS[type(operator)], "comparison")
        self.generic_visit(node)

    def visit_BinOp(self, node):
        if type(node.op) in ARITHMETIC and not isinstance(node.left, ast.JoinedStr):
            self.between(node.left, node.right, _SIGN[type(node.op)], ARITHMETIC[type(node.op)], "arithmetic")
        self.generic_visit(node)

    def visit_BoolOp(self, node):
        old, new = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        for left, right in zip(node.values, node.values[1:]):
            self.between(left, right, old, new, "and, or")
        self.generic_visit(node)

    def visit_UnaryOp(self, node):
        if isinstance(node.op, (ast.Not, ast.USub)) and not isinstance(node.operand, ast.Constant):
            start, _ = self.span(node)
            self.add(node, "", "sign", (start, self.span(node.operand)[0]))
        self.generic_visit(node)

    def visit_IfExp(self, node):
        self.add(node.test, f"not ({ast.unparse(node.test)})", "condition")
        self.generic_visit(node)

    def visit_Call(self, node):
        if _speaks(node):
            return
        self.generic_visit(node)

    def visit_Constant(self, node):
        value = node.value
        if isinstance(value, bool):
            self.add(node, str(not value), "constant")
        elif isinstance(value, int):
            self.add(node, str(value + 1 if value < 10 else value // 2), "constant")
        elif isinstance(value, float):
            self.add(node, _other(value), "constant")


_SIGN = {
    ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!=",
    ast.Is: "is", ast.IsNot: "is not", ast.In: "in", ast.NotIn: "not in",
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//", ast.Mod: "%", ast.Pow: "**",
    ast.LShift: "<<", ast.RShift: ">>", ast.BitAnd: "&", ast.BitOr: "|", ast.BitXor: "^",
}  # fmt: skip


def _other(value: float) -> str:
    """A plausible mistake for a number: 0.95 becomes 0.9, 1e-3 becomes 1.5e-3."""
    if 0.8 < value < 1:
        return repr(round(1 - 2 * (1 - value), 12))
    return repr(1.5 * value if value else 1.0)


def _at(line: int) -> ast.AST:
    return ast.Constant(value=None, lineno=line)


def _speaks(call: ast.Call) -> bool:
    """Whether the arguments are words: of an error, a warning, a logger.
    Those of ``np.log`` and ``np.finfo`` are not."""
    function = call.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return name in LOGGING or name.endswith(("Error", "Warning"))
