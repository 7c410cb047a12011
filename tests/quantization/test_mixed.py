"""Mixed precision by a bound on the RMSE: the bound is kept, by as few layers in the higher precision as can be."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from graphs import rows, write_mlp

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from regkd_edge.config import CORRECTIONS
from regkd_edge.graph.chain import read_chain
from regkd_edge.graph.unoptimized import reference_outputs
from regkd_edge.quantization import Bound, quantize_layers
from regkd_edge.quantization.mixed import cautious_rise, search_mixed
from regkd_edge.quantization.plan import nearest_plan
from regkd_edge.quantization.posttraining import CorrectedPlan, plan_layers

INT8 = ["int8"] * 3
PLAIN = tuple(name for name in CORRECTIONS if name != "split")  # INT8 numbers in one part


def rms(difference) -> float:
    return float(np.sqrt(np.mean(np.square(difference))))


@pytest.fixture
def student(tmp_path):
    return write_mlp(tmp_path / "student.fp32.onnx", widths=(5, 24, 16, 1), y_mean=[50.0], y_scale=[8.0])


def bound_for(chain, increase, noise=0.02, n=4000, **options):
    x = rows(n=n, seed=21)
    y = chain(x) + noise * chain(x).std() * np.random.default_rng(2).standard_normal((n, 1))
    return Bound(increase, x, y, **options)


def test_a_bound_is_kept_by_layers_in_a_higher_precision(student, tmp_path):
    chain = read_chain(student)
    bound = bound_for(chain, 0.01)
    free = quantize_layers(student, tmp_path / "free.onnx", rows())
    assert (
        bound.judge(plan_layers(chain, rows(), INT8, corrections=PLAIN).plan)[1] > 0.01
    )  # 2 % noise: full INT8 is too coarse
    kept = quantize_layers(student, tmp_path / "kept.onnx", rows(), bound=bound, corrections=PLAIN)
    share = kept.graph.share
    assert free.graph.share == {"int8": 1.0} and 0 < share.get("fp16", 0) <= 1
    got, want = (reference_outputs(p, bound.rows) for p in (tmp_path / "kept.onnx", student))
    assert rms(got - bound.targets) / rms(want - bound.targets) - 1 < 0.01
    assert any("kept in fp16" in note for note in kept.notes)


def test_a_bound_is_kept_by_int8_in_two_parts_before_any_layer_is_kept(student, tmp_path):
    bound = bound_for(read_chain(student), 0.01)
    kept = quantize_layers(student, tmp_path / "kept.onnx", rows(), bound=bound)
    assert kept.precision == "int8" and kept.graph.share == {"int8": 1.0}
    got, want = (reference_outputs(p, bound.rows) for p in (tmp_path / "kept.onnx", student))
    assert rms(got - bound.targets) / rms(want - bound.targets) - 1 < 0.01


def test_a_graph_without_int8_is_not_called_int8(student, tmp_path):
    """No layer can be INT8 within a bound of nothing: the graph is named for the precision that it has."""
    bound = bound_for(read_chain(student), 1e-9, noise=0.002, high="fp32")
    summary = quantize_layers(student, tmp_path / "q.onnx", rows(), bound=bound, corrections=())
    assert summary.graph.share == {"fp32": 1.0} and summary.precision == "fp32"
    assert any("no layer is int8: this is the fp32 graph" in note for note in summary.notes)


def test_a_target_that_nothing_predicts_does_not_hide_what_is_lost_in_another(tmp_path):
    """Two targets: one nearly exact, one pure noise. The rise is that of the target that rises most."""
    source = write_mlp(tmp_path / "two.onnx", widths=(5, 24, 16, 2), y_scale=[1e6, 1e-6])
    chain, x = read_chain(source), rows(n=3000, seed=21)
    noise = np.random.default_rng(2).standard_normal((3000, 2)) * chain(x).std(axis=0) * [0.01, 5.0]
    bound = Bound(0.01, x, chain(x) + noise)
    plan = plan_layers(chain, rows(), INT8, corrections=PLAIN).plan
    alone = Bound(0.01, x, (chain(x) + noise) * [1.0, 0.0] + [[0.0, 1.0]] * chain(x))
    assert bound.judge(plan)[0] > 0.05
    assert bound.judge(plan)[0] <= alone.judge(plan)[0] + 1e-9


def test_a_wide_bound_keeps_all_layers_in_int8(student, tmp_path):
    summary = quantize_layers(
        student, tmp_path / "q.onnx", rows(), bound=bound_for(read_chain(student), 0.5, noise=0.5)
    )
    assert summary.graph.share == {"int8": 1.0}


def test_a_bound_that_cannot_be_kept_is_said(student, tmp_path):
    bound = bound_for(read_chain(student), 1e-9, high="bf16")
    summary = quantize_layers(student, tmp_path / "q.onnx", rows(), bound=bound)
    assert any("no choice of layers meets the bound" in note for note in summary.notes)


def test_a_change_must_be_better_beyond_chance(student):
    """Of two plans that seem equal on a few rows the one nearer to FP32 is taken."""
    chain = read_chain(student)
    exact, rounded = (
        nearest_plan(chain, ["fp32"] * 3, [1.0] * 3),
        plan_layers(chain, rows(), INT8, corrections=PLAIN).plan,
    )
    bound = bound_for(chain, 0.01, noise=0.3)
    assert cautious_rise(exact, bound.rows, bound.targets) == pytest.approx(0.0, abs=1e-9)
    allowance = [
        cautious_rise(rounded, bound.rows[:n], bound.targets[:n])
        - cautious_rise(rounded, bound.rows[:n], bound.targets[:n], margin=0.0)
        for n in (40, 4000)
    ]
    assert allowance[0] > 5 * allowance[1] > 0


def test_few_rows_make_the_bound_cautious(student):
    plan = plan_layers(read_chain(student), rows(), INT8, corrections=PLAIN).plan
    bound = bound_for(plan.chain, 0.01, noise=0.5)
    few = dataclasses.replace(bound, rows=bound.rows[:40], targets=bound.targets[:40])
    assert few.judge(plan)[1] - few.judge(plan)[0] > bound.judge(plan)[1] - bound.judge(plan)[0]


def test_a_plan_that_cannot_be_mended_by_switching_layers_does_not_mislead_the_search(student):
    """The full plan's scales are 20 times too coarse in every layer: with one layer switched it seems hopeless. Made
    anew with the last layer in FP16 it keeps the bound, and that is what must be found."""
    chain = read_chain(student)
    plan = plan_layers(chain, rows(), INT8, corrections=PLAIN).plan
    for i in range(3):
        plan = plan.with_layer(i, data_scale=20 * plan.layers[i].data_scale)
    bound = bound_for(chain, 0.05, noise=0.3)
    made = []

    def make(forms):
        made.append(tuple(forms))
        good = forms == ["int8", "int8", "fp16"]
        return CorrectedPlan(plan_layers(chain, rows(), forms).plan if good else plan)

    found, notes = search_mixed(CorrectedPlan(plan), make, INT8, bound)
    assert made[-1] == ("int8", "int8", "fp16") and all(one.count("fp16") == 1 for one in made)
    assert bound.judge(found.plan)[1] <= 0.05 and "kept in fp16: layers.2" in notes[-1]
