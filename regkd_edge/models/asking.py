"""Asking a module that may be anything: the type of its inputs, whether gradients pass, what to say where it fails."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["failure", "gradient_passes", "input_type", "reason_of", "remedy"]


# What Python and PyTorch say where a module reads one tensor as a dict or as a tuple of tensors.
_PARTS_WANTED = (
    "only integers, slices", "values to unpack", "expected sparse tensor layout", "invalid data type 'str'",
    "'Tensor' object has no attribute 'keys'", "'Tensor' object has no attribute 'items'",
    "'Tensor' object has no attribute 'get'",
)  # fmt: skip
_AROUND = (
    "a dict or several tensors: give a module around it that takes a row as one tensor and hands on its columns, such "
    "as net({'a': x[:, :5], 'b': x[:, 5:]})."
)


def input_type(
    module: nn.Module,
    rows: np.ndarray,  # [n, d]
    shaped: Callable[[Tensor], Tensor],
    device: torch.device,
) -> torch.dtype:
    """Return the type in which a module takes its inputs: that of its parameters, or the first one that it accepts."""
    own = next((p for p in (*module.parameters(), *module.buffers()) if p.is_floating_point()), None)
    first = getattr(module, "dtype", None) or (own.dtype if own is not None else torch.float32)
    first = first if isinstance(first, torch.dtype) else torch.float32
    whole = [torch.int64] if (rows == np.rint(rows)).all() else []
    for dtype in dict.fromkeys([first, torch.float32, torch.float64, *whole]):
        try:
            with torch.no_grad():
                module(shaped(torch.tensor(rows[:2])).to(device, dtype))  # a copy: a module may write into its input
        except (RuntimeError, TypeError) as error:  # another type, or something else: then the first is asked
            if not any(word in str(error) for word in ("dtype", "Long", "Double", "Float", "scalar type")):
                break
        else:
            return dtype
    return first


def gradient_passes(ask: Callable[[Tensor], Tensor], x: Tensor) -> bool:
    """Whether the answers [n, o] to x [n, ...] have a gradient with respect to it."""
    x = x.detach().clone().requires_grad_(True)
    try:
        with torch.enable_grad():
            y = ask(x * 1)  # not a leaf, which a module may write into
            return torch.autograd.grad(y.sum(), x, allow_unused=True)[0] is not None
    except Exception:  # NumPy inside a module, a gradient that is not implemented
        return False


def failure(module: nn.Module, x: Tensor, d: int) -> str:
    """What a module failed on: rows of d numbers, handed over as x."""
    if x.ndim > 2:
        return f"shape {'x'.join(map(str, x.shape[1:]))}"
    first = next((m for m in module.modules() if isinstance(m, nn.Linear)), None)
    hint = "" if first is None or first.in_features == d else (
        f" (its first linear layer takes {first.in_features} inputs)"
    )  # fmt: skip
    return f"{x.shape[1]} inputs{hint}"


def remedy(module: nn.Module, flat: bool, error: Exception | None = None) -> str:
    """What to do where a module fails on rows that are flat, or in a shape, with that error."""
    wanted = _required_arguments(module)
    if len(wanted) > 1:
        return (
            f"Its forward takes {len(wanted)} arguments ({', '.join(wanted[:4])}): give a module around it that takes "
            "a row as one tensor and hands on its columns, such as net(x[:, :5], x[:, 5:])."
        )
    if error is not None and any(said in f"{type(error).__name__}: {error}" for said in _PARTS_WANTED):
        return f"It seems to take {_AROUND}"
    if error is not None and "too many indices" in str(error):  # a dict's key is an index more to PyTorch
        shaped = "images or signals: declare the shape of a row (--input-shape, input_shape= in Python); or "
        return f"It takes {shaped if flat else ''}{_AROUND}"
    shaped = (nn.modules.conv._ConvNd, nn.RNNBase, nn.MultiheadAttention)
    if flat and any(isinstance(m, shaped) for m in module.modules()):
        return "Declare the shape of a row (--input-shape, input_shape= in Python), such as 1,8,8."
    return "Give the data it was trained on."


def _required_arguments(module: nn.Module) -> list[str]:
    """The names of the tensors that ``forward`` cannot do without; none where it does not tell."""
    try:
        parameters = inspect.signature(module.forward).parameters.values()
    except (TypeError, ValueError):  # TorchScript
        return []
    by_place = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [p.name for p in parameters if p.kind in by_place and p.default is inspect.Parameter.empty]


def reason_of(error: BaseException) -> str:
    """The first line of what was raised, without its full stop."""
    if isinstance(error, SystemExit):
        return f"it calls sys.exit({error.code!r})"
    first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return re.sub(r"^\[[\d:]+\] \S+: ", "", first).rstrip(".")  # XGBoost's clock and the line of its source
