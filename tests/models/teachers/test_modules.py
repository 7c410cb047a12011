"""Modules in memory: wrappers, copies, and what their one line says once they have answered."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import nn

import regkd_edge as rk
from regkd_edge.errors import DataError, ModelError

X = np.random.default_rng(0).normal(size=(80, 4))


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 1)).eval()


def weight_norm():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the form of torch before 2.0, which people still have
        module = nn.Sequential(nn.utils.weight_norm(nn.Linear(4, 6)), nn.ReLU(), nn.Linear(6, 1))
    module(torch.zeros(1, 4)).sum().backward()  # its weight is no leaf then
    return module.eval()


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.compile(net()),
        lambda: nn.DataParallel(net()),
        lambda: torch.optim.swa_utils.AveragedModel(net()),
        lambda: torch.jit.trace(net(), torch.zeros(2, 4)),
        lambda: torch.jit.script(net()),
        weight_norm,
    ],
    ids=["compiled", "parallel", "averaged", "traced", "scripted", "weight norm"],
)
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_wrapped_modules_answer_as_they_are_and_go_to_the_core(make):
    module = make()
    teacher = rk.load_teacher(module)
    plain = module.module if hasattr(module, "module") else getattr(module, "_orig_mod", module)
    with torch.no_grad():
        expected = plain(torch.from_numpy(X).float()).numpy()
    assert np.abs(teacher.predict(X) - expected).max() < 1e-6
    assert "fused core (as mlp:6:relu)" in teacher.summary()
    assert all(not p.requires_grad for p in teacher.module.parameters())


class Way(nn.Module):
    def __init__(self, way):
        super().__init__()
        self.way, self.net, self.log_var = way, net(), nn.Linear(4, 1)
        self.index = torch.tensor([1, 0, 3, 2])

    def forward(self, x):
        return self.way(self, x)


def test_the_line_says_gradients_only_after_they_were_tried():
    normed = nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6), nn.Linear(6, 1))
    teacher = rk.load_teacher(normed)
    assert "not asked yet" in teacher.summary()
    with torch.no_grad():  # of the caller; it is none of the teacher's business
        teacher.predict(X)
    assert teacher.summary().endswith("4 inputs, 1 output, 49 parameters (float32), raw units, gradients, by PyTorch")
    array = rk.load_teacher(Way(lambda m, x: torch.from_numpy(np.abs(x.numpy()).sum(1, keepdims=True))))
    array.predict(X)
    assert array.summary().endswith("values only, no gradients")


@pytest.mark.parametrize(
    "way",
    [
        lambda m, x: {"mean": m.net(x), "log_var": m.log_var(x)},
        lambda m, x: (m.net(x), None),
        lambda m, x: [m.net(x)],
        lambda m, x: m.net(x[:, m.index]),
        lambda m, x: m.net(torch.cat([x[:, :1], x[:, 1:]], 1)),
        lambda m, x: m.net(x.sub_(1)),
    ],
)
def test_the_width_of_the_first_answer_lets_the_core_take_it(way):
    teacher = rk.load_teacher(Way(way))
    before = X.copy()
    answers = teacher.predict(X)
    assert teacher.mlp is not None and teacher.widths == (4, 1)
    assert np.array_equal(X, before)
    assert np.abs(teacher.mlp(torch.from_numpy(X).float()).detach().numpy() - answers).max() < 1e-5


def test_rows_that_a_double_module_writes_into_stay_the_callers():
    teacher = rk.load_teacher(Way(lambda m, x: m.net(x.sub_(1))).double())
    before = X.copy()
    first = teacher.predict(X)
    assert np.array_equal(X, before) and np.array_equal(first, teacher.predict(X))


def test_classifiers_and_complex_answers_are_no_teachers_of_a_regression():
    linear = pytest.importorskip("sklearn.linear_model")
    model = linear.LogisticRegression().fit(X, X[:, 0] > 0)
    with pytest.raises(ModelError, match=r"LogisticRegression is a classifier.*predict_proba"):
        rk.load_teacher(model)
    assert rk.load_teacher(lambda x: model.predict_proba(x)[:, 1]).predict(X).shape == (80, 1)
    with pytest.raises(ModelError, match="complex numbers"):
        rk.load_teacher(lambda x: x[:, 0] * 1j).predict(X)
    with pytest.raises(ModelError, match="True or False"):
        rk.load_teacher(lambda x: x[:, 0] > 0).predict(X)
    assert "4 inputs, 1 output" in rk.load_teacher(linear.Ridge().fit(X, X[:, 0])).summary()


class Leaves(nn.Module):
    def forward(self, x):
        raise SystemExit(3)


def test_code_that_ends_the_program_is_named(tmp_path, monkeypatch):
    """A training script without a guard parses its arguments when it is imported."""
    with pytest.raises(ModelError, match=r"fails on rows of 4 inputs: it calls sys.exit\(3\)"):
        rk.load_teacher(Leaves()).predict(X)
    with pytest.raises(ModelError, match=r"failed on .* rows: SystemExit: it calls sys.exit\(4\)"):
        rk.load_teacher(lambda x: exit(4)).predict(X)
    (tmp_path / "script.py").write_text("import sys\nsys.exit(2)\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=r"importing 'script.py' failed: SystemExit: 2"):
        rk.load_teacher("script.py:make")


def test_a_teacher_without_an_answer_to_some_rows_is_named():
    teacher = rk.load_teacher(lambda x: np.where(x[:, 0] > 1.5, np.nan, x[:, 0]))
    with pytest.raises(
        ModelError, match=r"answers with a number that is not finite \(\d+ of 80 rows, the first is row"
    ):
        rk.distill(teacher, X, student="mlp:4:relu", recipe="mimic", steps=10)


def test_a_flat_student_reads_signals_as_it_was_trained_on_them():
    signals = X.reshape(40, 2, 4)
    student = rk.distill(lambda x: x[:, 0, :].mean(1), signals, student="mlp:4:relu", recipe="mimic", steps=20)
    answers = student.predict(signals)
    assert np.array_equal(answers, student.predict(signals.reshape(40, 8)))
    engine = rk.build(student)  # a student is exported on the way
    assert np.abs(engine.predict(signals) - answers).max() < 1e-4
    with pytest.raises(DataError, match="expected 2 dimensions"):
        student.predict(signals[:, :1])
    with pytest.raises(rk.errors.UserError, match="a dict cannot be built"):
        rk.build({})


@pytest.mark.filterwarnings("ignore:.*non-tuple sequence:UserWarning")
@pytest.mark.parametrize(
    ("forward", "says"),
    [
        (lambda m, x, context: m.net(x), r"takes 2 arguments \(x, context\).*such as net\(x\[:, :5\], x\[:, 5:\]\)"),
        (lambda m, x: m.net(x["flow"]), r"declare the shape of a row .*; or a dict .*net\({'a': x\[:, :5\]"),
        (lambda m, x: m.net(torch.cat(list(x.values()), 1)), "seems to take a dict or several tensors"),
    ],
)
def test_a_module_of_several_inputs_is_told_to_be_wrapped(forward, says):
    net = type("Several", (Way,), {"forward": forward})(None)
    with pytest.raises(ModelError, match=says):
        rk.load_teacher(net).predict(X)
