"""YAML as this project reads it: nothing that a person reads otherwise, and nothing that grows while it is read."""

from __future__ import annotations

import re
from typing import Any, NoReturn

import yaml

from .limits import NESTING, NUMBER_DIGITS, YAML_NODES

__all__ = ["Loader"]

_OCTAL = re.compile(r"[-+]?0[0-7_]+")


def _refuse_base(base: int, text: str, value: float) -> NoReturn:
    raise ValueError(f"{text}, which is a number in base {base} in YAML ({value}); write numbers in base 10")


class Loader(yaml.SafeLoader):
    """A SafeLoader that refuses what PyYAML takes without a word.

    It takes the last of two equal keys, believes any alias, depth and length of a number, and reads 1:30 in base 60 and
    010 in base 8.
    """

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node:
        """Compose a node and count what it stands for: a chain of aliases doubles with every line."""
        self._depth = getattr(self, "_depth", 0) + 1
        if self._depth > NESTING:
            self._refuse(f"its values are nested too deep, more than {NESTING} levels")
        alias = self.check_event(yaml.AliasEvent)
        node = super().compose_node(parent, index)
        self._depth -= 1
        sizes = self.__dict__.setdefault("_sizes", {})
        if alias and node not in sizes:
            self._refuse("an alias stands inside of what it names")
        if not alias:
            children = [child for pair in node.value for child in pair] if isinstance(node, yaml.MappingNode) else (
                node.value if isinstance(node, yaml.SequenceNode) else [])  # fmt: skip
            sizes[node] = 1 + sum(sizes[child] for child in children)
        if sizes[node] > YAML_NODES:
            self._refuse(f"it holds more than {YAML_NODES:,} values, with its aliases written out")
        return node

    def _refuse(self, problem: str) -> None:
        raise yaml.MarkedYAMLError(None, None, problem, self.get_mark())

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: dict[str, yaml.Node] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    first = seen[key.value].start_mark
                    raise yaml.MarkedYAMLError("the first", first, f"met the field '{key.value}' twice", key.start_mark)
                seen[key.value] = key
        return super().construct_mapping(node, deep)

    def construct_number(self, node: yaml.ScalarNode) -> int:
        digits = len(node.value)
        if digits > 3 * NUMBER_DIGITS:  # it may be written in base 2 and with underscores
            raise ValueError(f"a whole number of {digits:,} digits, expected at most {NUMBER_DIGITS}")
        value = super().construct_yaml_int(node)
        if abs(value) >= 10**NUMBER_DIGITS:
            raise ValueError(f"a whole number of {digits} digits, expected at most {NUMBER_DIGITS}")
        if ":" in node.value or _OCTAL.fullmatch(node.value):
            _refuse_base(60 if ":" in node.value else 8, node.value, value)
        return value

    def construct_real(self, node: yaml.ScalarNode) -> float:
        value = super().construct_yaml_float(node)
        if ":" in node.value:
            _refuse_base(60, node.value, value)
        return value


Loader.add_constructor("tag:yaml.org,2002:int", Loader.construct_number)
Loader.add_constructor("tag:yaml.org,2002:float", Loader.construct_real)
