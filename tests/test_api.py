"""The library as a notebook uses it: ten lines on every kind of teacher, every kind of rows, and every bad input."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import regkd_edge as rk
from regkd_edge.errors import DataError, ModelError

SHORT = {"recipe": "kang2024", "steps": 300, "evaluate_every": 50}
NAMES = ["speed", "load", "gap"]


def rows(n=240, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3)) * [1.0, 20.0, 0.1] + [5.0, 100.0, 0.0]
    return x, np.sin(x[:, 0]) + x[:, 1] / 20


def module():
    torch.manual_seed(0)
    network = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 16), nn.Tanh(), nn.Dropout(0.1), nn.Linear(16, 1))
    network[0].running_mean.copy_(torch.tensor([5.0, 100.0, 0.0]))
    network[0].running_var.copy_(torch.tensor([1.0, 400.0, 0.01]))
    return network.eval()


def forest():
    ensemble = pytest.importorskip("sklearn.ensemble")
    return ensemble.RandomForestRegressor(10, random_state=0).fit(*rows())


@pytest.fixture(scope="module")
def teacher():
    return rk.train_teacher(*rows(), "mlp:32:tanh", epochs=40)


@pytest.fixture(scope="module")
def student(teacher):
    return rk.distill(teacher, rows()[0], student="mlp:8:tanh", **SHORT)


@pytest.fixture(scope="module")
def engine(student, tmp_path_factory):
    return rk.build(student.export(tmp_path_factory.mktemp("graph") / "s.onnx"))


def onnx_file(folder):
    torch.onnx.export(
        module(), (torch.randn(2, 3),), folder / "t.onnx", dynamic_axes={"x": {0: "n"}}, input_names=["x"], dynamo=False
    )
    return folder / "t.onnx"


def program(folder):
    rows_of = torch.export.Dim("n", min=1)
    exported = torch.export.export(module(), (torch.randn(4, 3),), dynamic_shapes=({0: rows_of},))
    torch.export.save(exported, folder / "t.pt2")
    return folder / "t.pt2"


def torch_script(folder):
    torch.jit.trace(module(), torch.randn(2, 3)).save(folder / "t.pt")
    return folder / "t.pt"


def state_dict(folder):
    torch.save({"model_state_dict": {f"module.{k}": v for k, v in module().state_dict().items()}}, folder / "w.pt")
    code = """
        from torch import nn
        def network():
            return nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 16), nn.Tanh(), nn.Dropout(0.1), nn.Linear(16, 1))
        """
    (folder / "nets.py").write_text(textwrap.dedent(code))
    return f"{folder / 'nets.py'}:network"


def run_folder(folder):
    from regkd_edge.cli.app import app

    x, y = rows()
    np.savetxt(folder / "r.csv", np.column_stack([x, y]), delimiter=",", header="speed,load,gap,y", comments="")
    arguments = ["train-teacher", str(folder / "run"), "--data", str(folder / "r.csv"), "--target", "y", "--quiet"]
    assert not app([*arguments, "--teacher", "mlp:16:tanh", "--epochs", "20"], standalone_mode=False)
    return folder / "run"


def pipeline():
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    make_pipeline = pytest.importorskip("sklearn.pipeline").make_pipeline
    ridge = pytest.importorskip("sklearn.linear_model").Ridge()
    return make_pipeline(preprocessing.StandardScaler(), preprocessing.PolynomialFeatures(2), ridge).fit(*rows())


def xgboost_file(folder):
    pytest.importorskip("xgboost").XGBRegressor(n_estimators=20).fit(*rows()).save_model(folder / "t.json")
    return folder / "t.json"


def lightgbm_file(folder):
    fitted = pytest.importorskip("lightgbm").LGBMRegressor(n_estimators=20, verbose=-1).fit(*rows())
    fitted.booster_.save_model(folder / "t.txt")
    return folder / "t.txt"


def catboost_file(folder):
    fitted = pytest.importorskip("catboost").CatBoostRegressor(iterations=20, verbose=0, allow_writing_files=False)
    fitted.fit(*rows()).save_model(str(folder / "t.cbm"))
    return folder / "t.cbm"


def skops_file(folder):
    pytest.importorskip("skops.io").dump(pipeline(), folder / "t.skops")
    return folder / "t.skops"


KINDS = {
    "trained": lambda _: rk.train_teacher(*rows(), "mlp:16:tanh", epochs=20),
    "module": lambda _: module(),
    "callable": lambda _: lambda x: x[:, 0] - x[:, 2],
    "regressor": lambda _: forest(),
    "pipeline": lambda _: pipeline(),
    "run folder": run_folder,
    "factory and state dict": state_dict,
    "ONNX": onnx_file,
    "torch.export": program,
    "TorchScript": torch_script,
    "XGBoost": xgboost_file,
    "LightGBM": lightgbm_file,
    "CatBoost": catboost_file,
    "skops": skops_file,
}


@pytest.mark.parametrize("kind", KINDS)
def test_ten_lines_from_any_teacher_to_a_measured_engine(kind, tmp_path):
    x, y = rows()
    source = KINDS[kind](tmp_path)
    options = {"weights": tmp_path / "w.pt", "trust": True} if kind == "factory and state dict" else {}
    teacher = rk.load_teacher(source, **options)
    terms = SHORT if teacher.differentiable else {**SHORT, "terms": ["pm"]}
    student = rk.distill(teacher if options else source, x, student="mlp:8:tanh", **terms)
    answers = teacher.predict(x)
    assert student.predict(x).shape == answers.shape == (len(x), 1)
    assert student.score(x, answers) > 0.5
    graph = student.export(tmp_path / "s.onnx")
    int8 = rk.quantize(student, "int8", calibrate=x)
    assert int8.precision == "int8" and int8.summary["share"]["int8"] == 1.0
    for made in (graph, int8):
        engine = rk.build(made)
        limit = 1e-4 if made is graph else 0.1
        assert np.abs(engine.predict(x) - student.predict(x)).max() < limit * answers.std()
    engine.save(tmp_path / "engine")
    loaded = rk.load_engine(tmp_path / "engine")
    np.testing.assert_array_equal(loaded.predict(x), engine.predict(x))
    result = rk.bench([loaded, rk.build(graph)], x, y, teacher=teacher, reference=student, samples=20, warmup=0)
    assert [record["name"] for record in result] == ["engine", "onnxruntime.fp32"]
    assert result[0]["accuracy"]["rmse"] == pytest.approx(np.sqrt(np.mean((loaded.predict(x)[:, 0] - y) ** 2)))


def test_a_run_folder_is_a_teacher_and_the_same_answers_come_back(tmp_path, teacher):
    from regkd_edge.cli.app import app

    x, y = rows()
    lines = [",".join([*NAMES, "y"])] + [",".join(map(repr, map(float, (*a, b)))) for a, b in zip(x, y)]
    (tmp_path / "rows.csv").write_text("\n".join(lines))
    arguments = ["train-teacher", str(tmp_path / "run"), "--data", str(tmp_path / "rows.csv"), "--target", "y"]
    assert not app([*arguments, "--teacher", "mlp:8:tanh", "--epochs", "3", "--quiet"], standalone_mode=False)
    loaded = rk.load_teacher(tmp_path / "run")
    stored = np.load(tmp_path / "run" / "teacher" / "predictions.npz")["y"]
    np.testing.assert_allclose(loaded.predict(x), stored, rtol=1e-6)
    assert loaded.feature_names == NAMES


def test_a_teacher_names_the_targets_of_labels_without_a_name(teacher):
    pandas = pytest.importorskip("pandas")
    x, y = rows()
    named = rk.load_teacher(lambda x: x[:, 0], target_names=["force [N]"])
    quick = {"student": "mlp:4:tanh", "recipe": "mimic", "steps": 20}
    for labels in (None, y, pandas.Series(y), torch.from_numpy(np.asarray(y))):
        assert rk.distill(named, x, labels, **quick).target_names == ["force [N]"]
    assert rk.distill(named, x, pandas.Series(y, name="thrust [N]"), **quick).target_names == ["thrust [N]"]


def test_rows_are_arrays_lists_tensors_or_data_frames(student):
    pandas = pytest.importorskip("pandas")
    x, _ = rows()
    expected = student.predict(x)
    single = np.abs(expected).max() * 1e-5
    assert np.abs(student.predict(torch.from_numpy(x).float()) - expected).max() < single
    np.testing.assert_array_equal(student.predict(x.tolist()), expected)
    named = rk.distill(
        lambda a: a[:, 0], pandas.DataFrame(x, columns=NAMES), student="mlp:4:tanh", recipe="mimic", steps=50
    )
    assert named.feature_names == NAMES
    shuffled = pandas.DataFrame(x, columns=NAMES).assign(unused="text")[["gap", "unused", "load", "speed"]]
    np.testing.assert_array_equal(named.predict(shuffled), named.predict(x))


def test_without_rows_a_description_is_enough(teacher, tmp_path):
    (tmp_path / "inputs.yaml").write_text(
        "inputs:\n- {name: speed, mean: 5, sd: 1}\n- {name: load, mean: 100, sd: 20}\n- {name: gap, mean: 0, sd: 0.1}\n"
    )
    student = rk.distill(teacher, student="mlp:8:tanh", describe=str(tmp_path / "inputs.yaml"), steps=400)
    assert student.score(rows()[0], teacher.predict(rows()[0])) > 0.5


def test_a_teachers_own_module_is_left_as_it_is():
    network = module()
    network[1].weight.requires_grad_(True)
    rk.distill(network, rows()[0], student="mlp:4:tanh", recipe="mimic", steps=20)
    assert network[1].weight.requires_grad


def test_qat_takes_whatever_a_teacher_can_be_loaded_from(student):
    x, _ = rows()
    int8 = rk.quantize(student, "int8", calibrate=x, teacher=module(), qat=True, qat_steps=20)
    assert int8.summary["qat"]["steps"] == 20
    with pytest.raises(rk.UserError, match="teacher"):
        rk.quantize(student, "int8", calibrate=x, teacher=3, qat=True)


def test_qat_gives_signals_to_a_module_in_their_shape():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv1d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(18, 1)).eval()
    x = np.random.default_rng(0).normal(size=(60, 2, 8))
    student = rk.distill(network, x, student="conv1d:2x3,gap:relu", recipe="mimic", steps=5)
    int8 = rk.quantize(student, "int8", calibrate=x, teacher=network, qat=True, qat_steps=5)
    assert int8.summary["qat"]["steps"] == 5


def test_bench_asks_whatever_a_teacher_can_be_loaded_from(engine):
    x, y = rows()
    network = module()
    by_module, by_teacher = (
        rk.bench(engine, x, y, teacher=who, samples=20, warmup=0)[0]["against_teacher"]
        for who in (network, rk.load_teacher(network))
    )
    assert by_module == by_teacher and by_module["rmse"] > 0
    with pytest.raises(rk.UserError, match="nothere"):
        rk.bench(engine, x, y, teacher="nothere", samples=20, warmup=0)


def test_results_print_well(teacher, student, engine):
    x, y = rows()
    assert "mlp:32:tanh" in repr(teacher) and "fused core" in repr(teacher)
    assert repr(student).startswith("Student(mlp:8:tanh: 3 inputs, 1 output") and "<table>" in student._repr_html_()
    assert "onnxruntime.fp32" in repr(engine)
    shown = rk.bench(engine, x, y, samples=20, warmup=0)
    assert "RMSE" in repr(shown) and "<table>" in shown._repr_html_()


def test_a_saved_student_comes_back(student, tmp_path):
    student.save(tmp_path)
    again = rk.Student.load(tmp_path)
    np.testing.assert_array_equal(again.predict(rows()[0]), student.predict(rows()[0]))
    assert (again.feature_names, again.record["best_step"]) == (student.feature_names, student.record["best_step"])
    assert rk.quantize(again, "int8").precision == "int8"  # calibrated on what is stored of its inputs


BAD_ROWS = {
    "rank": (lambda x: x[0], r"shape \[3\], expected 2 dimensions"),
    "width": (lambda x: x[:, :2], r"shape \[240, 2\]: 2 columns, expected 3"),
    "nan": (lambda x: np.where(x > 101, np.nan, x), "holds nan in row"),
    "infinite": (lambda x: np.where(x > 101, np.inf, x), "holds inf in row"),
    "object": (lambda x: np.array([["a", 1, 2]], object), "'a' of type str"),
    "empty": (lambda x: x[:0], "no rows"),
    "ragged": (lambda x: [[1.0, 2.0, 3.0], [1.0]], "equal length"),
    "complex": (lambda x: x.astype(complex), "complex"),
    "large integers": (lambda x: np.full((2, 3), 2**60 + 1), r"beyond 2\*\*53"),
}


@pytest.mark.parametrize("what", BAD_ROWS)
@pytest.mark.parametrize("who", ["student", "engine", "teacher"])
def test_bad_rows_are_refused_with_both_shapes(what, who, request):
    spoil, message = BAD_ROWS[what]
    model = request.getfixturevalue(who)
    with pytest.raises(ValueError, match=message) as error:
        model.predict(spoil(rows()[0]))
    assert isinstance(error.value, rk.UserError)


def test_a_data_frame_without_a_column_of_the_training_names_it():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(rows()[0], columns=NAMES)
    named = rk.distill(lambda a: a[:, 0], frame, student="mlp:4:tanh", recipe="mimic", steps=20)
    with pytest.raises(DataError, match="lacks the column 'gap'; it has \\(speed, load\\)"):
        named.predict(frame[["speed", "load"]])


def test_a_module_that_would_answer_otherwise_is_refused():
    with pytest.raises(ModelError, match=r"training mode and has a BatchNorm1d.*module\.eval\(\)"):
        rk.load_teacher(module().train())
    with pytest.raises(ModelError, match="device 'meta'"):
        rk.load_teacher(nn.Linear(3, 1, device="meta"))


def test_wrong_options_are_all_listed_with_the_nearest_name(teacher):
    with pytest.raises(
        rk.UserError,
        match=r"2 fields are wrong: lr is 'fast', expected a number; unknown field stepz \(did you mean steps\?\)",
    ):
        rk.distill(teacher, rows()[0], stepz=3, lr="fast")
    with pytest.raises(DataError, match="base 'ail' needs labels"):
        rk.distill(teacher, rows()[0], base="ail", recipe=None)
    with pytest.raises(DataError, match="y has 10 rows and x has 240"):
        rk.distill(teacher, rows()[0], rows()[1][:10])


def test_an_engine_works_without_torch(student, engine, tmp_path):
    engine.save(tmp_path / "engine")
    np.save(tmp_path / "x.npy", rows()[0])
    program = textwrap.dedent("""
        import sys
        class Absent:
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] in {"torch", "onnx", "safetensors", "sklearn"}:
                    raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        sys.meta_path.insert(0, Absent())
        import numpy as np, regkd_edge as rk
        x = np.load(sys.argv[2])
        engine = rk.load_engine(sys.argv[1])
        answers = engine.predict(x)
        result = rk.bench(engine, x, answers, samples=20, warmup=0)
        assert result[0]["accuracy"]["rmse"] == 0, result
        np.save(sys.argv[3], answers)
    """)
    command = [sys.executable, "-c", program, tmp_path / "engine", tmp_path / "x.npy", tmp_path / "y.npy"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), engine.predict(rows()[0]))


def test_public_names_exist_and_importing_the_package_loads_nothing_heavy():
    for name in rk.__all__:
        assert getattr(rk, name) is not None
    program = (
        "import sys, regkd_edge; print([m for m in ('torch', 'onnx', 'onnxruntime', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=Path(__file__).parents[1]
    )
    assert done.stdout.strip() == "[]"


def test_rows_in_memory_are_looked_at_as_a_table_is():
    """A mark for missing values among the rows of a notebook is told, and clean rows are left in peace."""
    import warnings

    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 3))
    y = x[:, 0] + x[:, 1] ** 2
    marked, target = x.copy(), y.copy()
    marked[:24, 1], target[:24] = -999, -200
    for rows, labels, said in (
        (marked, y, "input 'x1' has -999 in 24 of 300"),
        (x, target, "target 'y' has -200 in 24"),
    ):
        with pytest.warns(rk.DataWarning, match=said):
            rk.train_teacher(rows, labels, "mlp:4:relu", epochs=1)
    with pytest.warns(rk.DataWarning, match="'x1' has -999"):
        rk.distill(lambda x: x[:, 0], marked, student="mlp:4:relu", base="mimic", terms=[], steps=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error", rk.DataWarning)
        rk.distill(lambda x: x[:, 0], x, student="mlp:4:relu", base="mimic", terms=[], steps=2)
        rk.train_teacher(np.linspace(0, 1, 60)[:, None], np.linspace(0, 1, 60) ** 2, "mlp:4:relu", epochs=1)


def test_a_function_is_asked_with_arrays_alone():
    """It may be a service or a library that warns of, or pays for, whatever else it is given."""
    given = set()

    def service(x):
        given.add((type(x), x.dtype.name, x.ndim))
        return x[:, 0] - x[:, 2]

    student = rk.distill(rk.load_teacher(service), rows()[0], student="mlp:8:tanh", **{**SHORT, "terms": ["pm"]})
    student.predict(rows()[0])
    assert {(kind, dims) for kind, _, dims in given} == {(np.ndarray, 2)}


@pytest.mark.parametrize("what", [None, 5, "teacher"])
def test_what_is_no_student_and_no_graph_is_refused_with_what_is_expected(what, teacher):
    given = teacher if what == "teacher" else what
    name = {"NoneType": "None", "int": "an int", "Teacher": "a Teacher"}[type(given).__name__]
    for call in (lambda: rk.quantize(given, "int8", calibrate=rows()[0]), lambda: rk.build(given)):
        with pytest.raises(rk.UserError, match=f"^{name} cannot be .*expected a .*graph.*Give a "):
            call()
