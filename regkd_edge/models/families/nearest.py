"""The valid spec that is nearest to a mistyped one, for messages."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

from ..mlp import ACTIVATIONS

__all__ = ["nearest_spec"]

_TOKEN = re.compile(r"[a-z][a-z_-]+[a-z]|[0-9]{1,9}(?:[x*d][0-9]{1,9}(?:[/s][0-9]{1,9})?)?")
_BLOCK = re.compile(r"([0-9]+)[x*d]([0-9]+)(?:[/s]([0-9]+))?")
_KINDS = {"lstm": "gru", "rnn": "gru", "dense": "mlp", "fc": "mlp", "cnn": "conv2d", "cnn1d": "conv1d"}
_POOLS = {"gap": "gap", "pool": "gap", "mean": "gap", "average": "gap", "flat": "flat", "flatten": "flat"}
_LAYOUTS = {"gru": "channels-first", "conv1d": "channels-last", "conv2d": "channels-last"}


def nearest_spec(text: str, kinds: Sequence[str]) -> str | None:
    """Return what ``text`` may have been meant to be, or None where nothing is near.

    It keeps the numbers of the text in their order, and puts the words that are near a family, an activation, a pooling
    or a layout into their places. It may not be valid: read it as any other spec before it is shown.
    """
    text = text.lower().replace("\N{MULTIPLICATION SIGN}", "x")
    kind = next((name for name in kinds if text.startswith(name)), None)
    rest = text[len(kind) :] if kind else text.partition(":")[2]
    if kind is None:
        first = text.partition(":")[0].strip()
        if first[:1].isdigit():
            kind, rest = "mlp", text  # the family was forgotten
        else:
            near = difflib.get_close_matches(first, kinds, n=1)
            kind = _KINDS.get(first) or (near[0] if near else None)
    tokens = _TOKEN.findall(rest)
    if kind not in ("mlp", "gru", *_LAYOUTS) or not any(token[0].isdigit() for token in tokens):
        return None
    words = [token for token in tokens if token[0].isalpha()]
    near = [found for word in words if (found := _near(word, ACTIVATIONS))]
    activation = near[-1] if near else "relu"
    layout = _LAYOUTS.get(kind)
    end = f":{layout}" if layout and any(_near(word, [layout]) for word in words) else ""
    numbers = [token for token in tokens if token[0].isdigit()]
    if kind in ("mlp", "gru"):
        layers = ",".join(str(max(1, int(n))) for token in numbers for n in re.findall("[0-9]+", token))
        return f"gru:{layers}{end}" if kind == "gru" else f"mlp:{layers}:{activation}"
    blocks = [_block(token) for token in numbers if _BLOCK.fullmatch(token)]
    widths = [token for token in numbers if token.isdigit()]
    if not blocks:
        blocks, widths = [f"{max(1, int(token))}x3" for token in widths], []
    pools = [_POOLS[found] for word in words if (found := _near(word, _POOLS))][:1]
    return f"{kind}:{','.join([*blocks, *pools, *widths])}:{activation}{end}"


def _near(word: str, names: Sequence[str] | dict[str, object]) -> str | None:
    found = difflib.get_close_matches(word, list(names), n=1, cutoff=0.7)
    return found[0] if found else None


def _block(token: str) -> str:
    channels, kernel, stride = (int(n or 1) for n in _BLOCK.fullmatch(token).groups())  # type: ignore[union-attr]
    kind = "d" if "d" in token else "x"
    return f"{max(1, channels)}{kind}{kernel + 1 - kernel % 2}{f'/{stride}' if stride > 1 else ''}"
