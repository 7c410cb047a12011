"""A student that begins with neurons of its teacher: chosen, copied, and what follows them fitted.

Without rows it is unknown where inputs lie, and a student that fits its teacher on drawn points may do anything beside
them. One whose hidden units are the teacher's own goes on there as the teacher does, since both are made of the same
functions. The choice is that of structured pruning (a pivoted decomposition of what each neuron contributes; the
least-squares fit of the next layer is as in ThiNet, Luo et al. 2017); to start a distillation without data so is ours
(measured in docs/concepts/data-free.md).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..fused import answers
from ..io.words import counted
from ..models import MLP, Teacher, parse_spec
from ..models.mlp import ACTIVATIONS, is_plain
from ..models.spec import MLPSpec

__all__ = ["begins_random", "can_inherit", "inherit"]

_POINTS = 4096  # that the choice and the fits look at
_MOST = 4096  # neurons of a layer among which is chosen: their products are a square matrix
_RIDGE = 1e-4  # of the mean variance of what goes into a layer
_HOMOGENEOUS = ("identity", "relu", "leaky_relu")  # f(s z) = s f(z) for s > 0
_VARIES = 1e-12  # of the mean square: a variance below it is rounding, and the ridge keeps to this


def can_inherit(widths: Sequence[int], activation: str, teacher: nn.Module | None) -> bool:
    """Whether an MLP of these widths ([d, hidden ..., o]) can begin with neurons of this teacher.

    It can where the teacher is an MLP of as many inputs and outputs, of at least as many hidden layers (1 or more), and
    with the same activation: of another one, the copied neurons are other functions, which gained nothing.
    """
    if not is_plain(teacher) or teacher.activation != activation:
        return False
    same = [*widths[:1], *widths[-1:]] == [*teacher.widths[:1], *teacher.widths[-1:]]
    return same and 3 <= len(widths) <= len(teacher.widths)


def begins_random(student: str, d: int, teacher: Teacher) -> list[str]:
    """Return a note that a student of this spec, of d inputs, cannot begin with neurons of this teacher, or none."""
    spec, mlp = parse_spec(student), teacher.mlp
    if mlp is not None and isinstance(spec, MLPSpec):
        if can_inherit([d, *spec.hidden, mlp.widths[-1]], spec.activation, mlp):
            return []
    theirs = "no layers that are known"
    if mlp is not None:
        theirs = f"{counted(len(mlp.layers) - 1, 'hidden layer')} of {mlp.activation}"
    return [
        f"the student begins at random: {spec} takes neurons of a teacher that is an MLP with its activation and at "
        f"least as many hidden layers, and this one has {theirs}"
    ]


@torch.no_grad()
def inherit(
    student: MLP,
    teacher: MLP,
    x: Tensor,  # [n, d]
) -> None:
    """Set the weights of ``student``: neurons of the first layers of ``teacher``, and its answer fitted behind them.

    In every hidden layer the neurons are chosen that contribute most to the teacher's next layer on ``x`` and are not
    yet made up by those chosen before. Those of the first layer are copied; those of a later one, and the output, are
    fitted to the teacher's by least squares from what the student's layer before gives. Where a layer of the student is
    wider than the teacher's, the rest of its neurons keep their weights.

    With ReLU and its like a neuron may be of any size, which the next layer undoes. Copies get the root mean square 1,
    so that the ridge of a fit, and the optimizer after it, treat all alike.
    """
    x, act = x[:_POINTS].double(), ACTIVATIONS[teacher.activation]
    own, theirs = x, x  # what goes into the next layer of each
    homogeneous = teacher.activation in _HOMOGENEOUS
    for layer, of_teacher, following in zip(student.layers[:-1], teacher.layers, teacher.layers[1:]):
        before = nn.functional.linear(theirs, of_teacher.weight.double(), of_teacher.bias.double())
        theirs = act(before)
        weights = following.weight.double()
        if homogeneous and following is not teacher.layers[-1]:
            weights = weights / _size(nn.functional.linear(theirs, weights, following.bias.double()))[:, None]
        chosen = _pivots((theirs - theirs.mean(0)) * weights.norm(dim=0), layer.out_features)
        n, size = len(chosen), _size(before[:, chosen]) if homogeneous else torch.ones(len(chosen)).double()
        if layer is student.layers[0]:
            layer.weight[:n] = (of_teacher.weight[chosen].double() / size[:, None]).float()
            layer.bias[:n] = (of_teacher.bias[chosen].double() / size).float()
        else:
            layer.weight[:n], layer.bias[:n] = _fitted(own, before[:, chosen] / size)
        own = act(nn.functional.linear(own, layer.weight.double(), layer.bias.double()))
    last = student.layers[-1]
    last.weight[:], last.bias[:] = _fitted(own, answers(teacher, x.float()).double())


def _size(values: Tensor) -> Tensor:  # [n, m] -> [m]
    """Return the root mean square of each column, 1 where all is 0."""
    size = values.square().mean(0).sqrt()
    return torch.where(size > 0, size, 1.0)


def _pivots(contributed: Tensor, count: int) -> Tensor:  # [n, m] -> int [min(count, m)]
    """Return the columns that a pivoted Cholesky decomposition of their products takes first.

    Each is the one of which most is left after its part along those before has been taken away.
    """
    among = contributed.square().sum(0).argsort(descending=True, stable=True)[:_MOST]
    columns = contributed[:, among]
    products = columns.T @ columns
    left, chosen = products.diagonal().clone(), []
    rows = products.new_zeros(min(count, len(among)), len(among))
    for k in range(len(rows)):
        j = int(left.argmax())
        chosen.append(j)
        if left[j] > 0:
            rows[k] = (products[j] - rows[:k].T @ rows[:k, j]) / left[j].sqrt()
            left = left - rows[k].square()
        left[chosen] = -torch.inf
    return among[chosen]


def _fitted(given: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:  # [n, a], [n, b] -> [b, a], [b]
    """Return the linear layer from ``given`` to ``wanted``, by ridge regression, in float32."""
    means = given.mean(0), wanted.mean(0)
    a, b = given - means[0], wanted - means[1]
    products = a.T @ a
    least = (_VARIES * given.square().sum(0).mean()).clamp(min=torch.finfo(products.dtype).tiny / _RIDGE)
    ridge = _RIDGE * torch.maximum(products.diagonal().mean(), least)
    weight = torch.linalg.solve(products + ridge * torch.eye(len(products)).to(products), a.T @ b).T
    return weight.float(), (means[1] - weight @ means[0]).float()
