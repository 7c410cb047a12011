"""Which tensor of a module's answer holds the predictions, and in which shapes it may come."""

from __future__ import annotations

import dataclasses
from collections import namedtuple
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from regkd_edge.errors import ModelError
from regkd_edge.models.outputs import Outputs, Picked

N = 5
Y, HIDDEN = torch.arange(float(N))[:, None], torch.zeros(N, 7)
Gaussian = namedtuple("Gaussian", "mean log_variance")


@dataclasses.dataclass
class Record:
    hidden: torch.Tensor
    speed: torch.Tensor


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        ((Y, HIDDEN), "0"),
        ((HIDDEN, Y, None), "1"),
        ([Y], "0"),
        ({"features": HIDDEN, "angle": Y}, "angle"),
        ({"loss": None, "logits": Y, "aux": Y + 1}, "logits"),
        (Gaussian(Y, Y - 3), "mean"),
        (Record(HIDDEN, Y), "speed"),
        ({"heads": {"speed": Y, "trunk": HIDDEN}}, "heads.speed"),
        (SimpleNamespace(out=Y, attention=HIDDEN), "out"),
        (torch.distributions.Normal(Y, torch.ones(N, 1)), "mean"),
    ],
)
def test_the_one_output_that_can_be_the_predictions_is_taken_and_named(answer, named):
    outputs = Outputs("net", width=1)
    assert torch.equal(outputs(answer, N), Y)
    assert f"'{named}'" in outputs.note


def test_several_candidates_are_listed_with_the_way_to_name_one():
    with pytest.raises(ModelError, match=r"a tuple of '0' \[5, 1\], '1' \[5, 1\].*--output 0"):
        Outputs("net", width=1)((Y, Y + 1), N)
    for pick in ("1", 1, "-1"):
        assert torch.equal(Outputs("net", pick)((Y, Y + 1), N), Y + 1)
    assert torch.equal(Outputs("net", "b.c")({"a": Y, "b": {"c": Y + 1}}, N), Y + 1)
    with pytest.raises(ModelError, match="no output 'speed': it returned a dict of 'a'"):
        Outputs("net", "speed")({"a": Y, "b": Y}, N)


HEADS = {"speed": Y.squeeze(), "trunk": HIDDEN, "angle": Y + 1, "place": torch.cat([Y + 2, Y + 3], 1)}


@pytest.mark.parametrize(
    ("answer", "known", "columns"),
    [
        (HEADS, {"pick": "speed,angle"}, [0, 1]),
        (HEADS, {"pick": "angle, place, 0"}, [1, 2, 3, 0]),
        (HEADS, {"width": 2, "targets": ["angle", "speed"]}, [1, 0]),
        (HEADS, {"width": 1, "targets": ["angle"]}, [1]),
        (HEADS, {"width": 2, "targets": ["u", "v"]}, [2, 3]),
        ([Y, Y + 1], {"width": 2, "targets": ["u", "v"]}, [0, 1]),
        ((Y[:, :, None], Y.squeeze() + 1, Y + 2), {"width": 3}, [0, 1, 2]),
    ],
    ids=["by name", "name and index", "as the targets", "as the one target", "the one of that width", "all", "shapes"],
)
def test_a_head_for_each_target_is_joined(answer, known, columns):
    outputs = Outputs("net", **known)
    assert torch.equal(outputs(answer, N), torch.cat([Y + k for k in columns], 1))
    assert torch.equal(Picked(lambda x: answer, outputs.chosen)(None).reshape(N, -1), outputs(answer, N))
    assert ("joined in this order" in outputs.note) == (len(outputs.chosen) > 1)


def test_heads_that_are_not_the_targets_are_not_guessed():
    with pytest.raises(ModelError, match="join several with --output 0,1"):
        Outputs("net", width=3)((Y, Y + 1), N)
    with pytest.raises(ModelError, match="no output 'speed,height'"):
        Outputs("net", "speed,height")(HEADS, N)


@pytest.mark.parametrize(
    "answer",
    [Y.squeeze(), Y[:, :, None], Y[:, None, :], Y.numpy(), Y.squeeze().numpy(), Y.squeeze().tolist(), Y.to_sparse()],
    ids=["[n]", "[n, 1, 1]", "[n, 1, 1] turned", "numpy", "numpy [n]", "list", "sparse"],
)
def test_one_output_in_many_shapes(answer):
    assert torch.equal(Outputs("net", width=1)(answer, N).float(), Y)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [(torch.tensor(3.0), [[3.0]]), (torch.tensor([3.0]), [[3.0]]), (torch.tensor([3.0, 4.0]), [[3.0, 4.0]]),
     (np.float64(3.0), [[3.0]]), (3.0, [[3.0]])],
)  # fmt: skip
def test_a_module_that_squeezes_answers_a_single_row(answer, expected):
    assert Outputs("net")(answer, 1).tolist() == expected


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (None, "returned a NoneType"),
        ("text", "returned a str"),
        (torch.tensor(1.0), r"shape \[\] for 5 rows"),
        (Y.T, r"shape \[1, 5\] for 5 rows, expected \[5, outputs\]. Transpose it"),
        (torch.zeros(N, 2, 3), r"shape \[5, 2, 3\]"),
        (torch.zeros(N, 1, dtype=torch.complex64), "complex numbers"),
        (Y > 0, "answers True or False"),
        (Y.to("meta"), "a meta tensor"),
        (torch.nested.nested_tensor([Y[:1], Y[1:]], layout=torch.jagged), "a nested tensor"),
    ],
)
def test_other_answers_are_refused_by_their_kind_and_shape(answer, says):
    with pytest.raises(ModelError, match=says):
        Outputs("net")(answer, N)
