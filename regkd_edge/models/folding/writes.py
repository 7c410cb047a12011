"""Operations that write into a tensor: a graph can be followed if nothing reads that tensor by another name later."""

from __future__ import annotations

from typing import Any

from torch import fx, nn

from .symbolic_row import NotAChain

__all__ = ["name_of", "require_fresh"]

_WRITES = {"iadd", "isub", "imul", "itruediv"}
# What may hand on the numbers of its input without a copy.
_VIEWS = {
    "view", "reshape", "_unsafe_view", "flatten", "squeeze", "unsqueeze", "getitem", "slice", "select", "split",
    "split_with_sizes", "chunk", "unbind", "contiguous", "detach", "alias", "identity", "to", "float", "double",
    "type_as", "positive", "dropout", "alpha_dropout", "feature_dropout", "expand", "transpose", "permute", "t",
}  # fmt: skip
_VIEW_MODULES = (nn.Identity, nn.Flatten, nn.modules.dropout._DropoutNd)
_SHAPES = {"size", "sym_size", "getattr", "dim", "ndimension"}


def name_of(target: Any) -> str:
    """The name of what a node calls: ``add`` for ``aten.add.Tensor``, ``operator.add`` and the method alike."""
    if isinstance(target, str):
        return target
    schema = getattr(target, "_schema", None)
    return getattr(target, "__name__", str(target)) if schema is None else schema.name.split("::")[-1]


def require_fresh(graph: fx.GraphModule) -> None:
    """Refuse ``h.relu_()`` where ``h``, what it is a part of, or a part of it is read afterwards.

    Raises
    ------
    NotAChain
        A tensor is written into and read by another name afterwards.
    """
    modules = dict(graph.named_modules())
    place = {node: k for k, node in enumerate(graph.graph.nodes)}
    for node in graph.graph.nodes:
        if not _writes(node, modules) or not node.all_input_nodes:
            continue
        for other in _same_storage(node.all_input_nodes[0], node, modules, place):
            if any(place[user] > place[node] and name_of(user.target) not in _SHAPES for user in other.users):
                raise NotAChain("a tensor that is written into and used again")


def _writes(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    if node.op == "call_module":
        return bool(getattr(modules.get(str(node.target)), "inplace", False))
    if node.op not in ("call_function", "call_method"):
        return False
    name = name_of(node.target)
    underlined = name.endswith("_") and not name.startswith("_") and name != "requires_grad_"
    return underlined or name in _WRITES or bool(node.kwargs.get("inplace", False))


def _same_storage(
    first: fx.Node, write: fx.Node, modules: dict[str, nn.Module], place: dict[fx.Node, int]
) -> set[fx.Node]:
    """The nodes before a write whose tensors may share numbers with the first."""
    found, ahead = set(), [first]
    while ahead:
        node = ahead.pop()
        if node in found or place[node] >= place[write]:
            continue
        found.add(node)
        ahead += node.all_input_nodes if _shares(node, modules) else []
        ahead += [user for user in node.users if _shares(user, modules)]
    return found


def _shares(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    if node.op == "call_module":
        return isinstance(modules.get(str(node.target)), _VIEW_MODULES) or _writes(node, modules)
    return node.op in ("call_function", "call_method") and (name_of(node.target) in _VIEWS or _writes(node, modules))
