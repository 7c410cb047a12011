"""The scaler that a user names for a teacher: in a file, or in Python code."""

from __future__ import annotations

from ...config.sources import factory_of
from ...errors import ModelError
from ..scaling import find_scalers, read_scalers, scalers_in
from .factory import imported

__all__ = ["scalers_named"]


def scalers_named(text: str, d: int, o: int, *, trust: bool = False):
    """The scalers that ``--teacher-scaler`` names: a file, ``file.py``, ``file.py:NAME`` or ``package.module:NAME``."""
    parts = factory_of(text)
    if parts is None and not text.endswith(".py"):
        return read_scalers(text, d, o, trust=trust)
    place, name = parts or (text, None)
    content = vars(imported(place))
    if name is not None:
        if name not in content:
            raise ModelError(f"'{place}' has no '{name}'.", "Name a scaler, or a function that returns it.")
        content = content[name]
        content = content() if callable(content) and not hasattr(content, "mean_") else content
    found = find_scalers([(text, content)], d, o) if isinstance(content, dict) else None
    scalers = found[0] if found else scalers_in(content, d, o) or scalers_in((content,), d, o)
    if scalers is None:
        raise ModelError(
            f"'{text}' holds no scaler of {d} inputs.",
            "Name a StandardScaler, a pair of them, or keep X_MEAN, X_SCALE, Y_MEAN and Y_SCALE there.",
        )
    return scalers
