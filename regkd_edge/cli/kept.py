"""Options that an earlier call gave and that still apply: a run remembers them in run.yaml."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from ..config import RunConfig
from ..config.flags import flag_of, negated

__all__ = ["kept_note"]


def kept_note(before: RunConfig | None, config: RunConfig, given: Mapping[str, Any], *sections: str) -> list[str]:
    """Return one line that lists the options of ``sections`` that this call did not give, or no line.

    Parameters
    ----------
    before : RunConfig, optional
        The configuration that the call found; None for a new run.
    config : RunConfig
        The one that it works with. A value that is the default, or that this call changed, was not kept.
    given : mapping
        Dotted fields of the flags that were given.
    """
    if before is None:
        return []
    shown = []
    for section in sections:
        now, then = getattr(config, section), getattr(before, section)
        for name, field in type(now).model_fields.items():
            value = getattr(now, name)
            default = field.get_default(call_default_factory=True)
            if f"{section}.{name}" not in given and value != default and value == getattr(then, name):
                shown.append(_shown(flag_of(f"{section}.{name}"), value))
    return [f"kept from earlier calls: {', '.join(shown)}"] if shown else []


def _shown(flag: str, value: Any) -> str:
    if isinstance(value, bool):
        return flag if value else negated(flag)
    text = ",".join(map(str, value)) if isinstance(value, (list, tuple)) else "none" if value is None else str(value)
    return f"{flag} {shlex.quote(text)}"
