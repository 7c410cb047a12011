"""A commented YAML file of the whole configuration, made from the fields themselves."""

from __future__ import annotations

import textwrap
from typing import Any

import yaml
from pydantic import BaseModel

from .run import CONSENTS, RunConfig

__all__ = ["commented_yaml"]

_WIDTH = 100
_HEAD = """# A run of regkd-edge: every field with its default. Uncomment what you want to change.
# Run it with: regkd-edge run FILE.yaml
"""
_TO_FILL = {"data.data": "my.csv", "data.target": ["y"]}


def commented_yaml() -> str:
    """Return YAML with every field of :class:`RunConfig`: its description above, its default commented out.

    The two fields that have no default, ``data.data`` and ``data.target``, are there to be filled in.
    """
    lines = [_HEAD]
    for name, field in RunConfig.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            title = (kind.__doc__ or "").strip().splitlines()[0]
            lines += ["", f"# {title}", f"{name}:"]
            for inner, about in kind.model_fields.items():
                if f"{name}.{inner}" in CONSENTS:
                    continue
                lines += _field(f"{name}.{inner}", inner, about, "  ")
        else:
            lines += ["", *_field(name, name, field, "")]
    return "\n".join(lines) + "\n"


def _field(dotted: str, name: str, field: Any, indent: str) -> list[str]:
    about = textwrap.wrap(field.description or "", _WIDTH - len(indent) - 2)
    value = _TO_FILL.get(dotted, field.get_default(call_default_factory=True))
    shown = yaml.safe_dump(value, default_flow_style=True, width=10**6, allow_unicode=True)
    text = f"{name}: {shown.removesuffix('...' + chr(10)).strip()}"
    return [*(f"{indent}# {line}" for line in about), f"{indent}{'' if dotted in _TO_FILL else '# '}{text}"]
