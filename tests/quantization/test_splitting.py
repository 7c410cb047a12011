"""INT8 numbers in two parts: what they recover on collinear inputs and few rows, and when they are used."""

from __future__ import annotations

import numpy as np
import pytest
from graphs import rows, write_mlp

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from regkd_edge.config import CORRECTIONS
from regkd_edge.engines import get_backend, load_runner
from regkd_edge.engines.batches import predict
from regkd_edge.graph.chain import read_chain
from regkd_edge.graph.formats import FORMATS, rounded_parts
from regkd_edge.graph.unoptimized import reference_outputs
from regkd_edge.quantization import Bound, quantize_int8, quantize_layers
from regkd_edge.quantization.calibration import Calibration, allowed_change, combined_rows
from regkd_edge.quantization.posttraining import plan_layers
from regkd_edge.quantization.splitting import clipping_risk
from regkd_edge.quantization.writer import write_plan

INT8 = ["int8"] * 3
PLAIN = tuple(name for name in CORRECTIONS if name != "split")


def relative(difference, spread) -> float:
    return float(np.sqrt(np.mean(np.square(difference)))) / float(spread)


def collinear(n=1500, seed=3):
    """Sixteen sensors of two quantities, each with 0.1 % of its own: what is predicted lies in their differences."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(0).standard_normal((2, 16))
    mixing[1] *= 0.01
    return (rng.standard_normal((n, 2)) @ mixing + 1e-3 * rng.standard_normal((n, 16))).astype(np.float32)


@pytest.fixture
def differences(tmp_path):
    """A student with weights that cancel: it answers by the quantity that is 1 % of what the sensors read."""
    source = write_mlp(tmp_path / "student.fp32.onnx", widths=(16, 24, 16, 1), activation="Tanh")
    model = onnx.load(source)
    weight = next(t for t in model.graph.initializer if t.name == "layers.0.weight")
    mixing = np.random.default_rng(0).standard_normal((2, 16))
    mixing[1] *= 0.01
    directions = np.linalg.pinv(mixing)[:, 1:]  # [16, 1]: 1 for the small quantity, 0 for the large one
    gains = np.random.default_rng(1).standard_normal((24, 1))
    weight.CopyFrom(onnx.numpy_helper.from_array((gains @ directions.T).astype(np.float32), weight.name))
    onnx.save(model, source)
    return source


def test_two_parts_hold_sixteen_bits():
    values = np.random.default_rng(0).uniform(-1, 1, 5000).astype(np.float32)
    high, low = rounded_parts(values, FORMATS["int8-split"], 1 / 127, 2)
    codes = (high * 127, low * 127 * 254)
    for part in codes:
        np.testing.assert_allclose(part, np.rint(part), atol=2e-2)  # float32 of whole numbers up to 127
        assert np.abs(part).max() < 127.5
    assert np.abs(high + low - values).max() <= 0.51 / 127 / 254
    assert rounded_parts(values, FORMATS["int8"], 1 / 127, 1)[0].tobytes() == high.tobytes()


def test_collinear_inputs_lose_nothing(differences):
    """8 bits of each sensor do not hold their differences: most of the error is the rounding of the inputs."""
    chain, held = read_chain(differences), collinear(seed=4)
    spread = chain(held).std()
    plain = plan_layers(chain, collinear(), INT8, corrections=PLAIN).plan
    whole = plan_layers(chain, collinear(), INT8).plan
    assert relative(plain(held) - chain(held), spread) > 0.05
    assert relative(whole(held) - chain(held), spread) < 0.005
    assert whole.layers[0].form.data_parts == 2 and whole.share == {"int8": 1.0}


def test_what_is_exact_enough_depends_on_the_students_own_error(differences):
    """Noisy labels: INT8 in one part changes the answers by less than 7 % of the student's error."""
    chain = read_chain(differences)
    plain = plan_layers(chain, collinear(), INT8, corrections=PLAIN).plan
    change = relative(plain(collinear()) - chain(collinear()), 1.0)
    labels = chain(collinear(seed=5)) + 60 * change * np.random.default_rng(6).standard_normal((1500, 1))
    tolerance = allowed_change(chain, collinear(seed=5), labels)
    assert tolerance == pytest.approx(0.07 * 60 * change, rel=0.1)
    noisy = plan_layers(chain, collinear(), INT8, tolerance=tolerance).plan
    assert [layer.form.name for layer in noisy.layers] == INT8
    exact = plan_layers(chain, collinear(), INT8, tolerance=tolerance / 100).plan
    assert exact.layers[0].form.data_parts == 2


def test_few_rows_make_ranges_wider(tmp_path):
    """Later rows lie outside of what 30 rows have shown, and with sixteen bits a range may be wider than that."""
    chain = read_chain(write_mlp(tmp_path / "s.onnx", widths=(5, 24, 16, 1), activation="Relu"))
    rng = np.random.default_rng(8)
    few, held = (rng.standard_t(3, (n, 5)).astype(np.float32) for n in (30, 2000))
    plain = plan_layers(chain, few, INT8, corrections=PLAIN).plan
    whole = plan_layers(chain, few, INT8, tolerance=np.array([0.02 * chain(few).std()])).plan
    spread = chain(held).std()
    assert relative(plain(held) - chain(held), spread) > 5 * relative(whole(held) - chain(held), spread)


def test_the_risk_of_clipping_falls_with_the_rows(tmp_path):
    chain = read_chain(write_mlp(tmp_path / "s.onnx", widths=(5, 24, 16, 1), activation="Tanh"))
    risks = []
    for n in (20, 4000):
        x = np.random.default_rng(0).standard_normal((n, 5)).astype(np.float32)
        plan = plan_layers(chain, x, INT8, corrections=(), method="minmax").plan
        risks.append(clipping_risk(plan, Calibration.split(chain, x), 0))
    assert risks[0] > 5 * risks[1] > 0


@pytest.mark.parametrize("forms", [["int8-split"] * 3, ["int8-split-data", "int8", "int8-split-weights"]])
@pytest.mark.parametrize("activation", ["Relu", "Tanh"])
def test_the_written_graph_means_what_was_planned_and_runs_in_int8(tmp_path, activation, forms):
    source = write_mlp(tmp_path / "s.onnx", activation=activation, widths=(5, 24, 16, 2), mean=[3.0] * 5)
    x = rows(mean=3.0)
    plan = plan_layers(read_chain(source), x, forms, corrections=PLAIN).plan
    onnx.save(write_plan(plan), tmp_path / "q.onnx")
    difference = np.abs(plan(x) - reference_outputs(tmp_path / "q.onnx", x))
    # A tie that float32 sums tip over is a step of the low part where there is one, a step of 254 where there is none.
    assert np.quantile(difference, 0.95) < 1e-4 and difference.max() < 0.2
    manifest = get_backend("onnxruntime").build(tmp_path / "q.onnx", tmp_path / "engine")
    assert manifest.precision == "int8" and manifest.executed == {"int8": pytest.approx(1.0)}
    with load_runner(tmp_path / "engine") as runner:
        assert np.quantile(np.abs(predict(runner, x) - plan(x)), 0.95) < 1e-4


def test_the_summary_says_which_layers_are_in_two_parts_and_what_that_costs(differences, tmp_path):
    """A graph that is larger than FP32's says why, and names options that help; a smaller one says nothing."""
    summary = quantize_int8(differences, tmp_path / "q.onnx", collinear())
    assert summary.precision == "int8" and summary.graph.label == "int8"
    assert any(note.startswith("in two INT8 parts, since one is too coarse: layers.0 (data") for note in summary.notes)
    assert "data" in summary.extra["two_parts"]["layers.0"]
    assert summary.size_bytes == (tmp_path / "q.onnx").stat().st_size > differences.stat().st_size
    why = summary.notes[-1]
    sizes = f"({summary.size_bytes:,} bytes, {differences.stat().st_size:,})"
    assert why.startswith(
        f"its file is larger than that of FP32 {sizes}: one INT8 number is too coarse in layers.0 (data"
    )
    assert "--max-increase" in why and "--corrections without split" in why
    plain = quantize_int8(differences, tmp_path / "p.onnx", collinear(), corrections=PLAIN)
    assert plain.graph.pairs == 6 and "two_parts" not in plain.extra and plain.size_bytes < summary.size_bytes
    assert not any("parts" in note for note in plain.notes)
    assert bool(plain.notes) == (plain.size_bytes > differences.stat().st_size)
    wide = write_mlp(tmp_path / "wide.onnx", widths=(5, 96, 96, 1), activation="Relu")
    small = quantize_int8(wide, tmp_path / "wide.int8.onnx", rows(), corrections=(), method="minmax")
    assert small.size_bytes < wide.stat().st_size and not small.notes


def test_a_larger_allowance_takes_one_part_where_the_own_error_takes_two(differences, tmp_path):
    x = collinear(400)
    y = reference_outputs(differences, x)
    labels = y + 0.3 * y.std(axis=0) * np.random.default_rng(3).standard_normal(y.shape)
    done = quantize_layers(differences, tmp_path / "q.onnx", x, bound=Bound(20.0, x, labels))
    assert "two_parts" not in done.extra and done.graph.share == {"int8": 1.0}


def test_filled_in_points_are_correlated_as_the_rows_are():
    """A step of each sensor on its own would leave the plane that collinear inputs lie in."""
    x = collinear(n=80)
    new = combined_rows(x, 2000, x.std(axis=0))
    mixing = np.random.default_rng(0).standard_normal((2, 16))
    outside = np.eye(16) - np.linalg.pinv(mixing) @ mixing
    assert (new @ outside).std() < 3 * (x @ outside).std() + 1e-3
    assert len(np.unique(new[:, 0])) > 1000


def test_each_target_is_judged_in_its_own_unit(tmp_path):
    """Watts and strains: the same network with another output scale gets the same codes."""
    from regkd_edge.quantization.summary import target_names

    sources = [
        write_mlp(tmp_path / f"{i}.onnx", widths=(5, 24, 16, 2), y_scale=scale)
        for i, scale in enumerate(([1.0, 1.0], [1e6, 1e-6]))
    ]
    first, second = (plan_layers(read_chain(source), rows(), INT8).plan for source in sources)
    assert [a.form.name for a in first.layers] == [b.form.name for b in second.layers]
    summary = quantize_int8(sources[1], tmp_path / "q.onnx", rows())
    watts, strains = summary.check["targets"]
    assert watts["rmse"] > 1 and strains["rmse"] < 1e-6
    assert summary.check["unit"] == "standard deviations" and summary.check["rmse"] < 0.02
    assert watts["share_of_deviation"] == pytest.approx(
        watts["rmse"] / reference_outputs(sources[1], rows())[:, 0].std()
    )
    assert [watts["name"], strains["name"]] == target_names(sources[1], 2) == ["target 0", "target 1"]
