"""Reading an elementwise function of several nodes, such as SiLU or GELU: by what it computes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .activations import Segment, is_elementwise, recognized
from .network import Activation

if TYPE_CHECKING:
    from .reader import _Reader

__all__ = ["read_function"]


def read_function(reader: _Reader, entry: str) -> str:
    """Return the value where all paths from ``entry`` have joined again; the nodes between become one activation."""
    inside: list[Any] = []
    derived = {entry}
    for node in reader.graph.node:
        if not any(name in derived for name in node.input):
            continue
        if not is_elementwise(node) or not all(name in derived or reader.known(name) for name in node.input):
            raise reader.refuse(node, "the paths that part before it are no activation")
        inside.append(node)
        derived.add(node.output[0])
        live = [
            name
            for name in derived
            if name == reader.graph.output[0].name or any(n not in inside for n in reader.consumers.get(name, []))
        ]
        if len(live) == 1 and live[0] != entry:
            reader.add(_function(reader, tuple(inside), entry, live[0]))
            return live[0]
    raise reader.refuse(
        inside[-1] if inside else reader.consumers[entry][0], "the paths from one value never join again"
    )


def _function(reader: _Reader, nodes: tuple[Any, ...], entry: str, target: str) -> Activation:
    values = {name: reader.constants.values(name) for node in nodes for name in node.input if name}
    constants = {name: value for name, value in values.items() if value is not None}
    name = None
    if all(value.size == 1 for value in constants.values()):
        scalars = {key: value.reshape(-1) for key, value in constants.items()}
        name = recognized(Segment(nodes, entry, target, scalars, exact=True))
    why = "the function that ends here is not a known activation"
    return Activation(nodes, entry, target, reader.width, name, why=why)
