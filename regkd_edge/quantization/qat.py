"""Quantization-aware distillation: the student trained through its quantizers, with the same recipe and rows.

The module below computes what the written graph computes: ``round((a - shift) * rate)`` times codes times scales.
Rounding uses a straight-through gradient, and the scales of data and weights are learnt too (learned step size
quantization, Esser et al. 2020), as logarithms so that they stay positive.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import GraphError, UserError
from ..fused import Optimizer, distill_steps
from ..graph.chain import Chain
from ..graph.graph import input_of
from ..models import Student
from ..models.mlp import ACTIVATIONS, MLP
from ..objectives import RowQuantities, StepRecipe, row_quantities
from .calibration import allowed_change
from .layers import layered, split_notes, write_quantized
from .mixed import cautious_rise
from .plan import Plan
from .posttraining import CORRECTIONS, CorrectedPlan, plan_layers
from .rounded import rounded
from .sensitivity import sensitivity
from .summary import QuantizeSummary, checked_rows, target_names
from .weighted_plan import WeightedPlan
from .weighted_posttraining import plan_weighted
from .weighted_qat import QuantizedLayers

__all__ = ["TrainedPlan", "QuantizedNetwork", "train_plan", "quantize_with_qat"]


class QuantizedNetwork(nn.Module):
    """An INT8 plan as a module in standardised space: [..., d] -> [..., o].

    Parameters
    ----------
    plan : Plan
        The initial plan, all layers int8; its equalization stays fixed, everything else is learnt.
    activation : str
        Name of the student's activation (:data:`regkd_edge.models.mlp.ACTIVATIONS`).
    """

    def __init__(self, plan: Plan, activation: str):
        super().__init__()
        wrong = [layer.form.name for layer in plan.layers if layer.form.name != "int8"]
        if wrong:
            raise GraphError(
                f"training through quantizers supports int8 layers only, and this plan has one in {wrong[0]}.",
                "Add --no-qat, or --max-increase none.",
            )
        if not plan.chain.layers[-1].after.affine:
            raise GraphError(
                "the last layer is followed by something other than the output scaler.", "Export the student again."
            )
        self.widths = [plan.layers[0].weight.shape[1], *(len(layer.weight) for layer in plan.layers)]
        self.activation = activation
        as_tensor = lambda values: torch.tensor(np.asarray(values, np.float32))
        self.weights = nn.ParameterList(as_tensor(layer.stored) for layer in plan.layers)
        self.biases = nn.ParameterList(as_tensor(layer.bias) for layer in plan.layers)
        self.log_data_scales = nn.ParameterList(as_tensor(np.log(layer.data_scale)) for layer in plan.layers)
        self.log_weight_scales = nn.ParameterList(as_tensor(np.log(layer.weight_scale)) for layer in plan.layers)
        for i, layer in enumerate(plan.layers):
            n_in = layer.weight.shape[1]
            self.register_buffer(f"shift{i}", as_tensor(np.zeros(n_in) if layer.shift is None else layer.shift))
            self.register_buffer(f"rate{i}", as_tensor(np.ones(n_in) if layer.rate is None else layer.rate))

    def forward(
        self,
        x: Tensor,  # [..., d]
    ) -> Tensor:  # [..., o]
        act = ACTIVATIONS[self.activation]
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases)):
            x = act(x) if i else x
            x = (x - getattr(self, f"shift{i}")) * getattr(self, f"rate{i}")
            x = rounded(x, self.log_data_scales[i].exp(), -128.0, 127.0)
            scale = self.log_weight_scales[i].exp()[:, None]
            x = x @ rounded(weight, scale, -127.0, 127.0).T + bias
        return x

    @torch.no_grad()
    def plan(self, start: Plan) -> Plan:
        """Return the result as a plan that is written like any other."""
        for i in range(len(self.weights)):
            scale = self.log_weight_scales[i].exp()
            codes = (self.weights[i] / scale[:, None]).clamp(-127.0, 127.0).round()
            start = start.with_layer(
                i,
                codes=codes.numpy(),
                weight=(codes * scale[:, None]).numpy(),
                weight_scale=scale.numpy(),
                bias=self.biases[i].numpy().copy(),
                data_scale=float(self.log_data_scales[i].exp()),
            )
        return start


@dataclass(frozen=True, eq=False)
class TrainedPlan:
    """The better plan of those before and after training, and the errors that decided."""

    plan: Plan | WeightedPlan
    trained: bool
    before: float
    after: float
    steps: int

    def record(self) -> dict:
        """JSON-able."""
        return {"steps": self.steps, "rise_before": self.before, "rise_after": self.after, "kept": self.trained}


def train_plan(
    plan: Plan | WeightedPlan,
    student: nn.Module,
    teacher: nn.Module | Callable[[Tensor], Tensor],
    x: Tensor | None,  # [N, d] standardised; None: synthetic inputs
    y: Tensor | None,  # [N, o] standardised
    recipe: StepRecipe,
    *,
    judge: Callable[[Any], float],
    steps: int = 1500,
    batch: int = 64,
    lr: float = 3e-4,
    seed: int = 0,
    rows: RowQuantities | None = None,
) -> TrainedPlan:
    """Train an INT8 plan through its quantizers; keep the result only if ``judge`` (an error on other rows) falls.

    Parameters
    ----------
    student : nn.Module
        The FP32 student: of a chain of dense layers an MLP, for its activation.
    teacher, x, y, recipe, batch, seed, rows
        As for :func:`regkd_edge.fused.distill_steps`; the steps run by autograd.
    """
    network: Any = (
        QuantizedNetwork(plan, cast(MLP, student).activation)
        if isinstance(plan, Plan)
        else QuantizedLayers(plan, student)
    )
    optimizer = Optimizer("adam", lr, 0.0, "cosine")
    distill_steps(
        network,
        teacher,
        x,
        y,
        recipe,
        optimizer,
        n=steps,
        total=steps,
        batch=batch,
        seed=seed,
        rows=rows,
        inputs=network.widths[0],
        compute="torch",
    )
    learnt = network.plan(plan)
    before, after = judge(plan), judge(learnt)
    kept = after < before
    return TrainedPlan(learnt if kept else plan, kept, before, after, steps)


@torch.no_grad()
def _trust(
    teacher: Callable[[Tensor], Tensor],
    x: Tensor,  # [N, d]
    y: Tensor,  # [N, o]
    recipe: StepRecipe,
) -> RowQuantities | None:
    """Return the teacher's share per row as in distillation, for base ``mix``; the steps compute everything else."""
    if not (recipe.base_active and recipe.base == "mix"):
        return None
    answers = torch.cat([teacher(part) for part in x.split(4096)])
    quantities = row_quantities(answers, y, recipe.outlier_k, recipe.outlier_rule)
    return replace(quantities, mix=quantities.phi)


def quantize_with_qat(
    source: str | Path,
    target: str | Path,
    calibration_rows: np.ndarray,  # [n, d] raw units
    student: Student,
    teacher: nn.Module | Callable[[Tensor], Tensor],
    *,
    train: tuple[np.ndarray, np.ndarray],  # [N, d], [N, o] raw units
    validation: tuple[np.ndarray, np.ndarray],
    recipe: StepRecipe,
    steps: int = 1500,
    batch: int = 64,
    lr: float = 3e-4,
    seed: int = 0,
    method: str = "output",
    percentile: float = 99.99,
    corrections: Sequence[str] = CORRECTIONS,
    check_rows: np.ndarray | None = None,
    rank_layers: bool = False,
) -> QuantizeSummary:
    """Quantize post-training to INT8, then train through the quantizers; write the better of both on validation rows,
    where better means beyond chance (:func:`~regkd_edge.quantization.mixed.cautious_rise`)."""
    chain = layered(source)
    if rank_layers and not isinstance(chain, Chain):
        raise UserError("the ranking of the layers needs a chain of dense layers.", "Omit --rank-layers.")
    plan_of: Callable[..., CorrectedPlan] = plan_layers if isinstance(chain, Chain) else plan_weighted
    rows = checked_rows(calibration_rows, input_of(chain.model)[1], "calibration rows")
    check = rows if check_rows is None else checked_rows(check_rows, rows.shape[1], "check rows")
    options = {"method": method, "percentile": percentile, "tolerance": allowed_change(chain, *validation)}
    whole = [name for name in corrections if name != "split"]  # what is trained has its numbers in one part
    outcome = plan_of(chain, rows, ["int8"] * len(chain.layers), corrections=whole, **options)
    x, y = (
        torch.tensor(s.standardize(v), dtype=torch.float32)
        for s, v in zip((student.scalers.x, student.scalers.y), train)
    )
    judge = lambda plan: cautious_rise(plan, *validation)
    done = train_plan(
        outcome.plan,
        student.module,
        teacher,
        x,
        y,
        recipe,
        judge=judge,
        steps=steps,
        batch=batch,
        lr=lr,
        seed=seed,
        rows=_trust(teacher, x, y, recipe),
    )
    notes = (
        []
        if done.trained
        else [
            "training through the quantizers did not lower the validation RMSE significantly (upper bound of the rise "
            f"over FP32: {done.before:+.2%} before, {done.after:+.2%} after), so it is not used"
        ]
    )
    chosen = done.plan
    if "split" in corrections:
        split = plan_of(chain, rows, ["int8"] * len(chain.layers), corrections=corrections, **options)
        if judge(split.plan) < judge(chosen):
            outcome, chosen = split, split.plan
            notes = [
                *split_notes(chosen),
                "training through the quantizers is not used: without it, in two parts, the rise is "
                f"{judge(chosen):+.2%} (with it {done.after:+.2%}, both with allowance for chance)",
            ]
    names = target_names(source, chain(check[:1]).shape[1])
    extra = {
        "corrections": outcome.record(),
        "qat": {**done.record(), "kept": done.trained and chosen is done.plan},
        **({"sensitivity": sensitivity(chosen, check, names)} if rank_layers else {}),
    }
    calibration = {"rows": len(rows), "method": method}
    return write_quantized(chosen, source, target, "int8", check, calibration=calibration, notes=notes, extra=extra)
