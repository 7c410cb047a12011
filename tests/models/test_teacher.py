"""Teachers from a run folder and from a factory; what does not fit is refused with both numbers."""

from __future__ import annotations

import sys
import textwrap

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from regkd_edge.config import RunConfig, TeacherConfig
from regkd_edge.data import Dataset, Table, load_predictions, split
from regkd_edge.errors import ModelError, RunFolderError
from regkd_edge.models import MLP, Teacher, build, predict, save_teacher, teacher_for
from regkd_edge.models.convert import as_mlp
from regkd_edge.run import RunFolder


def dataset(d=3, o=2, n=40, names=None):
    rng = np.random.default_rng(0)
    x = rng.normal(100, 20, (n, d))
    table = Table(
        x, rng.normal(-50, 5, (n, o)), names or [f"a{i}" for i in range(d)], [f"t{i}" for i in range(o)], "memory"
    )
    return Dataset(table, split(n, 0.2, 0.2, 0))


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A module that a user has in the current folder."""
    (tmp_path / "plant.py").write_text(
        textwrap.dedent("""
        import torch
        from torch import nn

        def sequential(d=3, o=2):
            torch.manual_seed(0)
            act = nn.Tanh()
            inner = nn.Linear(d, 8), act, nn.Dropout(0.5), nn.Sequential(nn.Linear(8, 8), act)
            return nn.Sequential(*inner, nn.Linear(8, o, bias=False))

        class Custom(nn.Module):
            def __init__(self, o=2):
                super().__init__()
                self.body = nn.Linear(3, o)
            def forward(self, x):
                y = torch.sin(self.body(x / 100))
                return y.squeeze(-1)

        custom, one = Custom, lambda: Custom(1)

        class Foreign(Custom):
            def forward(self, x):
                return torch.from_numpy(super().forward(x).detach().numpy())

        def not_finite():
            m = sequential()
            nn.init.constant_(m[0].bias, float("nan"))
            return m

        def breaks():
            raise RuntimeError("no licence")

        def number():
            return 3
    """)
    )
    (tmp_path / "broken.py").write_text("1 / 0")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for name in ("plant", "broken"):
        sys.modules.pop(name, None)


def raw_answer(teacher, data):
    with torch.no_grad():
        return teacher.module(torch.from_numpy(data.x).float()).double().numpy().reshape(len(data.x), -1)


@pytest.mark.parametrize(("factory", "fused"), [("sequential", True), ("custom", False)])
def test_a_raw_factory_answers_the_same_through_any_scalers(package, factory, fused):
    data = dataset()
    teacher = teacher_for(TeacherConfig(factory=f"plant:{factory}"), data)
    scalers = data.scalers()
    inner = teacher.standardized(scalers)
    assert (type(inner) is MLP) == fused
    assert not any(p.requires_grad for p in inner.parameters()) and not inner.training
    # raw inputs of 100 +- 20 in float32 through a linear layer: about 1e-5 of its output
    assert np.allclose(predict(inner, scalers, data.x), raw_answer(teacher, data), atol=5e-5)


def test_a_standardized_factory_is_taken_as_it_is(package):
    data = dataset()
    teacher = teacher_for(TeacherConfig(factory="plant:sequential", inputs="standardized"), data)
    x = torch.randn(5, 3)
    # the same products in the same order; only the added zero bias differs
    assert torch.allclose(teacher.standardized(data.scalers())(x), teacher.module(x), atol=1e-7)


def test_one_output_that_is_squeezed_and_gradients_that_do_not_pass(package):
    data = dataset(o=1)
    teacher = teacher_for(TeacherConfig(factory="plant:one"), data)
    assert teacher.differentiable and teacher.standardized(data.scalers())(torch.zeros(4, 3)).shape == (4, 1)
    foreign = teacher_for(TeacherConfig(factory="plant:Foreign"), dataset())
    assert not foreign.differentiable and not foreign.standardized(dataset().scalers()).differentiable


def test_state_dicts_fill_the_factory(package):
    data = dataset()
    state = {
        k: torch.randn_like(v)
        for k, v in teacher_for(TeacherConfig(factory="plant:sequential"), data).module.state_dict().items()
    }
    save_file(state, "w.safetensors")
    torch.save(state, "w.pt")
    for weights in ("w.safetensors", "w.pt"):
        teacher = teacher_for(TeacherConfig(factory="plant:sequential", weights=weights), data)
        assert torch.equal(teacher.module.state_dict()["0.weight"], state["0.weight"])
    save_file({"0.weight": state["0.weight"]}, "part.safetensors")
    with pytest.raises(ModelError, match=r"4 keys missing \(first: '0.bias'\)"):
        teacher_for(TeacherConfig(factory="plant:sequential", weights="part.safetensors"), data)


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("plant", "does not name a factory"),
        ("plant:", "does not name a factory"),
        ("nowhere:f", "no module named 'nowhere'"),
        ("plant:nothing", "was not found"),
        ("broken:f", "importing 'broken' failed: ZeroDivisionError"),
        ("plant:breaks", "calling 'plant:breaks' failed: RuntimeError: no licence"),
        ("plant:number", "returned int, expected a torch.nn.Module"),
        ("plant:not_finite", "not finite"),
        ("plant:one", "has 1 output, but 2 targets are named"),
    ],
)
def test_bad_factories_are_refused(package, factory, message):
    with pytest.raises(ModelError, match=message):
        teacher_for(TeacherConfig(factory=factory), dataset())


def test_widths_that_do_not_fit_are_named_with_both_numbers(package):
    with pytest.raises(ModelError, match="takes 3 inputs, but the data have 5"):
        teacher_for(TeacherConfig(factory="plant:sequential"), dataset(d=5))
    with pytest.raises(ModelError, match="gives 2 outputs, but 1 targets"):
        teacher_for(TeacherConfig(factory="plant:sequential"), dataset(o=1))
    with pytest.raises(ModelError, match="fails on rows of 5 inputs .its first linear layer takes 3"):
        teacher_for(TeacherConfig(factory="plant:custom"), dataset(d=5))


@pytest.fixture
def taught(tmp_path):
    data = dataset()
    run = RunFolder.create(tmp_path / "old", RunConfig())
    teacher = Teacher(build("mlp:6:gelu", 3, 2, 0), data.scalers(), "standardized", "trained here")
    save_teacher(run.file("teacher"), teacher, data)
    return run, teacher, data


def test_a_teacher_of_a_run_folder_brings_its_scalers(taught, tmp_path):
    run, teacher, data = taught
    again = teacher_for(TeacherConfig(from_run=str(run.path)), data)
    assert np.array_equal(again.scalers.x.mean, teacher.scalers.x.mean) and again.source == "trained here"
    assert again.standardized(again.scalers) is again.module and again.mlp is again.module
    # saved into another run and read from there, without the first
    paths, summary = save_teacher(tmp_path / "new", again, data)
    assert [p.name for p in paths] == ["model.safetensors", "model.json", "predictions.npz"]
    assert summary["source"] == "trained here" and summary["spec"] == "mlp:6:gelu"
    assert summary["parameters"] == 3 * 6 + 6 + 6 * 2 + 2
    assert summary["loaded"].startswith("trained here: 3 inputs, 2 outputs, 38 parameters (float32)")
    assert np.array_equal(load_predictions(paths[2], (40, 2)), predict(teacher.module, teacher.scalers, data.x))
    third = teacher_for(TeacherConfig(from_run="gone"), data, tmp_path / "new")
    assert torch.equal(third.module.layers[0].weight, teacher.module.layers[0].weight)


def test_scalers_of_another_space_are_bridged(taught):
    _, teacher, data = taught
    other = Dataset(
        Table(data.x * 2, data.y * 3, data.table.feature_names, data.table.target_names, ""), data.split
    ).scalers()
    expected = predict(teacher.module, teacher.scalers, data.x)
    assert np.allclose(
        predict(teacher.standardized(other), other, data.x), expected, atol=1e-4
    )  # float32, values around 50


def test_teachers_of_other_columns_are_refused(taught):
    run, _, _ = taught
    config = TeacherConfig(from_run=str(run.path))
    with pytest.raises(ModelError, match="takes 3 inputs, but the data have 4 input columns"):
        teacher_for(config, dataset(d=4))
    with pytest.raises(ModelError, match="gives 2 outputs, but 3 targets"):
        teacher_for(config, dataset(o=3))
    with pytest.raises(
        ModelError, match="feature columns are in a different order: a0, a1, a2; the data have a1, a0, a2"
    ):
        teacher_for(config, dataset(names=["a1", "a0", "a2"]))


def test_missing_teachers_are_refused(tmp_path):
    with pytest.raises(ModelError, match="no teacher named"):
        teacher_for(TeacherConfig(), dataset())
    with pytest.raises(RunFolderError, match="no run folder"):
        teacher_for(TeacherConfig(from_run=str(tmp_path / "none")), dataset())
    RunFolder.create(tmp_path / "empty", RunConfig())
    with pytest.raises(RunFolderError, match="has no teacher"):
        teacher_for(TeacherConfig(from_run=str(tmp_path / "empty")), dataset())


def test_a_saved_factory_is_imported_only_when_the_configuration_names_it(package):
    data = dataset()
    config = TeacherConfig(factory="plant:sequential")
    teacher = teacher_for(config, data)
    nn.init.constant_(teacher.module[0].bias, 3.0)
    save_teacher("kept", teacher, data)
    again = teacher_for(config, data, "kept")
    assert (again.module[0].bias == 3).all()
    with pytest.raises(ModelError, match="needs the factory 'plant:sequential', and the configuration names 'None'"):
        teacher_for(TeacherConfig(), data, "kept")


@pytest.mark.parametrize(
    ("layers", "activation"),
    [
        ([nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1)], "relu"),
        ([nn.Linear(3, 4), nn.GELU(approximate="tanh"), nn.Linear(4, 1)], "gelu_tanh"),
        ([nn.Linear(3, 4), nn.LeakyReLU(), nn.Linear(4, 1)], "leaky_relu"),
        ([nn.Linear(3, 1)], "identity"),
        ([nn.Linear(3, 4), nn.LeakyReLU(0.2), nn.Linear(4, 1)], "relu"),
        ([nn.Linear(3, 4), nn.ELU(0.5), nn.Linear(4, 1)], None),
        ([nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 1)], None),
        ([nn.Linear(3, 4), nn.ReLU()], "relu"),
        ([nn.Linear(3, 4), nn.Linear(4, 1)], "identity"),
        ([nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 1)], "relu"),
        ([nn.Linear(3, 4), nn.LayerNorm(4), nn.ReLU(), nn.Linear(4, 1)], None),
    ],
)
def test_sequential_networks_become_mlps_where_that_is_exact(layers, activation):
    module = nn.Sequential(*layers).eval()
    mlp = as_mlp(module)
    assert (mlp.activation if mlp else None) == activation
    if mlp:
        x = torch.randn(7, 3)
        assert torch.allclose(mlp(x), module(x), atol=1e-6)  # folded in float64, rounded once
