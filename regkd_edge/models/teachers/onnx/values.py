"""The answers of an ONNX graph by ONNX Runtime, without gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ....errors import ModelError
from ....io.words import counted
from .inputs import NUMPY, OnnxInputs

__all__ = ["OnnxValues"]


class OnnxValues(nn.Module):
    """A graph in ONNX Runtime: values only."""

    differentiable = False
    dtype = torch.float64

    def __init__(self, session: Any, inputs: OnnxInputs, outputs: list[str]):
        super().__init__()
        self.size: str | None = None  # what is in the graph, in words
        self.session, self.inputs, self.names = session, inputs, outputs
        self.features = inputs.features
        self.input_names = inputs.names if len(inputs.names) > 1 and set(inputs.widths) == {1} else None

    def forward(self, x: Tensor) -> Any:  # [n, d] -> [n, o], or a dict of such
        rows, batch = x.detach().double().cpu().numpy(), self.inputs.batch
        if batch is None:
            return self._answer(rows)
        parts = []
        for start in range(0, len(rows), batch):
            part = rows[start : start + batch]
            full = np.concatenate([part, np.repeat(part[-1:], batch - len(part), 0)])
            answer = self._answer(full)
            if isinstance(answer, dict):
                whole = {k: v.ndim and len(v) == batch for k, v in answer.items()}
                parts.append({k: v[: len(part)] if whole[k] else v.reshape(1, -1) for k, v in answer.items()})
            elif answer.ndim and len(answer) == batch:
                parts.append(answer[: len(part)])
            else:
                parts.append(answer.reshape(1, -1))
        if isinstance(parts[0], dict):
            return {key: torch.cat([part[key] for part in parts]) for key in parts[0]}
        return torch.cat(parts)

    def _answer(self, rows: np.ndarray) -> Any:
        parts = self.inputs.split(rows, lambda v, begin, end: v[:, begin:end])
        fed = {
            name: np.ascontiguousarray(self.inputs.shaped(part, k).astype(NUMPY[self.inputs.types[k]]))
            for k, (name, part) in enumerate(zip(self.inputs.names, parts))
        }
        try:
            given = self.session.run(self.names, fed)
        except Exception as error:  # the runtime's own errors: a width or a code that the graph does not take
            raise ModelError(
                f"the ONNX teacher fails on {counted(len(rows), 'row')} of {counted(rows[0].size, 'input')}: "
                f"{str(error).splitlines()[0]}.",
                "Give the data it was trained on.",
            ) from None
        found = {
            name: torch.from_numpy(np.asarray(value))
            for name, value in zip(self.names, given)
            if isinstance(value, np.ndarray) and np.issubdtype(value.dtype, np.number)
        }
        return next(iter(found.values())) if len(found) == 1 else found

    def narrow(self, name: str) -> None:
        """Leave all outputs but one out."""
        self.names = [name] if name in self.names else self.names
