"""Which graphs become native engines: what the exporter and the quantizer write, and nothing that is not understood."""

from __future__ import annotations

import numpy as np
import pytest
from graphs import rows, write_mlp
from native_reference import check_answers

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("regkd_edge._runtime", reason="the extension is not built")

from onnx import TensorProto, helper, numpy_helper

from regkd_edge.config import CORRECTIONS
from regkd_edge.engines import load_runner
from regkd_edge.engines.native import BACKEND
from regkd_edge.engines.native.program import program_of
from regkd_edge.errors import GraphError
from regkd_edge.graph.formats import FORMATS
from regkd_edge.graph.reader import read_network
from regkd_edge.graph.unoptimized import reference_outputs
from regkd_edge.quantization import quantize_int8, quantize_layers

EXPORTED = ("identity", "relu", "leaky_relu", "elu", "silu", "gelu", "gelu_tanh", "tanh", "softplus")

PLAIN = tuple(name for name in CORRECTIONS if name != "split")  # INT8 numbers in one part


def graph_of(tmp_path, nodes, constants=(), d=3, o=3, opset=18):
    """A file with input x [batch, d] and output y [batch, o]; ``constants`` maps names to arrays."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", d])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", o])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in dict(constants).items()],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), tmp_path / "g.onnx"
    )
    return tmp_path / "g.onnx"


W = {"w": np.linspace(-1, 1, 9, dtype=np.float32).reshape(3, 3)}
LAYER = helper.make_node("MatMul", ["h", "w"], ["y"], name="layer")


@pytest.mark.parametrize("activation", EXPORTED)
def test_every_exported_student_becomes_an_engine(tmp_path, activation):
    pytest.importorskip("torch")
    from regkd_edge.data import Scalers
    from regkd_edge.export import export_onnx
    from regkd_edge.models import build, parse_spec

    rng = np.random.default_rng(0)
    x, y = rng.normal(20, 5, (300, 6)), rng.normal(-7, 3, (300, 2))
    module = build(parse_spec(f"mlp:24,12:{activation}"), 6, 2, seed=0)
    names = [f"sensor {i}" for i in range(6)], ["a", "b"]
    export_onnx(
        module,
        Scalers.fit(x, y),
        tmp_path / "s.onnx",
        feature_names=names[0],
        target_names=names[1],
        spec=f"mlp:24,12:{activation}",
    )
    program = program_of(tmp_path / "s.onnx")
    found = [op.activation for op in program.operations if op.kind == "activation"]
    assert found == ([] if activation == "identity" else [activation] * 2)
    assert program.names == [*names[0], *names[1]]
    rows32 = x.astype(np.float32)
    BACKEND.build(tmp_path / "s.onnx", tmp_path / "engine")
    want = reference_outputs(tmp_path / "s.onnx", rows32)
    assert np.abs(load_runner(tmp_path / "engine").infer(rows32) - want).max() <= 1e-6 * np.abs(want).max()
    quantize_int8(tmp_path / "s.onnx", tmp_path / "q.onnx", rows32, method="minmax", corrections=())
    BACKEND.build(tmp_path / "q.onnx", tmp_path / "q")
    program = program_of(tmp_path / "q.onnx")
    assert program.share() == {"int8": 1.0}
    check_answers(program, rows32, load_runner(tmp_path / "q").infer(rows32))
    check_answers(program, rows32, reference_outputs(tmp_path / "q.onnx", rows32))


def quantized(name, scale, zero=np.int8(0)):
    """Q/DQ nodes from ``name`` to ``name``.dq, and their constants."""
    nodes = [
        helper.make_node("QuantizeLinear", [name, f"{name}.s", f"{name}.z"], [f"{name}.q"], name=f"{name}/q"),
        helper.make_node(
            "DequantizeLinear", [f"{name}.q", f"{name}.s", f"{name}.z"], [f"{name}.dq"], name=f"{name}/dq"
        ),
    ]
    return nodes, {f"{name}.s": np.float32(scale), f"{name}.z": zero}


def test_mixed_precision_is_kept_layer_by_layer(tmp_path):
    """An int8 layer, an fp32 layer behind a pair, and a layer whose weights alone are int8."""
    pair, constants = quantized("x", 0.05)
    second, more = quantized("h", 0.1)
    nodes = [
        *pair,
        helper.make_node("DequantizeLinear", ["codes", "ws", "wz"], ["wd"], axis=1),
        helper.make_node("Gemm", ["x.dq", "wd", "b"], ["h"], name="int8"),
        *second,
        helper.make_node("MatMul", ["h.dq", "w"], ["i"], name="fp32"),
        helper.make_node("MatMul", ["i", "wd"], ["y"], name="weights"),
    ]
    rng = np.random.default_rng(0)
    constants |= more | W | {
        "codes": rng.integers(-128, 128, (3, 3)).astype(np.int8), "ws": np.array([0.01, 0.02, 0.03], np.float32),
        "wz": np.zeros(3, np.int8), "b": np.array([1, 2, 3], np.float32),
    }  # fmt: skip
    path = graph_of(tmp_path, nodes, constants)
    program = program_of(path)
    assert [op.kind for op in program.operations] == ["dense_int8", "quantize", "dense", "dense"]
    manifest = BACKEND.build(path, tmp_path / "engine")
    assert manifest.executed == pytest.approx({"fp32": 2 / 3, "int8": 1 / 3})
    x = rows(d=3)
    check_answers(program, x, load_runner(tmp_path / "engine").infer(x))
    check_answers(program, x, reference_outputs(path, x))


@pytest.mark.parametrize(
    "forms", ["int8", "int8-weights", ("fp32", "int8", "int8"), ("int8", "fp32", "int8-weights")], ids=str
)
@pytest.mark.parametrize("activation", ["Relu", "Tanh"])
def test_what_the_quantizer_writes_in_any_mixture_is_computed_as_it_means(tmp_path, activation, forms):
    """Equalized and shifted inputs, corrections, a precision a layer: heavy-tailed inputs make it use them all."""
    x = rows(d=7, mean=40.0, scale=np.geomspace(0.1, 90, 7))
    x[::50] = 40 + 10 * (x[::50] - 40)
    source = write_mlp(
        tmp_path / "s.onnx", (7, 32, 16, 2), activation, mean=np.full(7, 40.0), scale=np.geomspace(0.1, 90, 7)
    )
    quantize_layers(source, tmp_path / "q.onnx", x, forms, corrections=PLAIN)
    manifest = BACKEND.build(tmp_path / "q.onnx", tmp_path / "engine")
    integer = {
        "int8": 1.0,
        "int8-weights": None,
        ("fp32", "int8", "int8"): 544 / 768,
        ("int8", "fp32", "int8-weights"): 224 / 768,
    }[forms]
    assert manifest.executed.get("int8") == (None if integer is None else pytest.approx(integer))
    check_answers(program_of(tmp_path / "q.onnx"), x, load_runner(tmp_path / "engine").infer(x))


@pytest.mark.parametrize(
    "forms", ["int8-split", ("int8-split-data", "int8", "int8-split-weights"), ("fp32", "int8-split", "int8")]
)
@pytest.mark.parametrize("activation", ["Relu", "Tanh"])
def test_int8_in_two_parts_is_one_layer_and_is_computed_as_it_means(tmp_path, activation, forms):
    source = write_mlp(tmp_path / "s.onnx", (7, 32, 16, 2), activation)
    x = rows(d=7)
    quantize_layers(source, tmp_path / "q.onnx", x, forms, corrections=PLAIN)
    network = read_network(tmp_path / "q.onnx")
    assert [layer.name for layer in network.layers] == ["layers.0", "layers.1", "layers.2"]
    names = [forms] * 3 if isinstance(forms, str) else forms
    assert [layer.low_data for layer in network.layers] == [FORMATS[name].data_parts == 2 for name in names]
    assert [layer.low_codes is not None for layer in network.layers] == [
        FORMATS[name].weight_parts == 2 for name in names
    ]
    manifest = BACKEND.build(tmp_path / "q.onnx", tmp_path / "engine")
    assert manifest.executed == program_of(tmp_path / "q.onnx").share()
    # A low code at a tie may be one step off, which is a 254th of a step of INT8.
    check_answers(program_of(tmp_path / "q.onnx"), x, load_runner(tmp_path / "engine").infer(x), tolerance=2e-4)


def test_parts_that_do_not_belong_together_are_refused(tmp_path):
    """Low parts in steps that are no 254th of the high ones, and low products with other weights."""
    import onnx
    from onnx import numpy_helper

    source = write_mlp(tmp_path / "s.onnx", (7, 32, 16, 2))
    quantize_layers(source, tmp_path / "q.onnx", rows(d=7), "int8-split", corrections=PLAIN)
    for name in ("layers.0/data/low/scale", "layers.0/low_data/weight", "layers.0/low_weight/weight/scale"):
        model = onnx.load(tmp_path / "q.onnx")
        tensor = next(t for t in model.graph.initializer if t.name == name)
        values = numpy_helper.to_array(tensor)
        tensor.CopyFrom(numpy_helper.from_array((values * 2 if values.dtype == np.float32 else -values), name))
        onnx.save(model, tmp_path / "wrong.onnx")
        with pytest.raises(GraphError, match="layers.0.*(two parts|same scale)"):
            program_of(tmp_path / "wrong.onnx")


def test_bias_correction_and_output_correction_are_part_of_the_chain(tmp_path):
    """What may stand around layers: constants on either side of Add and Mul, Clip, Identity, one number for all
    features.
    """
    nodes = [
        helper.make_node("Mul", ["half", "x"], ["a"]), helper.make_node("Clip", ["a", "low", "high"], ["b"]),
        helper.make_node("Div", ["b", "row"], ["c"]), helper.make_node("Identity", ["c"], ["h0"]),
        helper.make_node("MatMul", ["h0", "w"], ["d"]), helper.make_node("Add", ["row", "d"], ["e"]),
        helper.make_node("Add", ["e", "half"], ["f"]), helper.make_node("Sub", ["f", "row"], ["y"]),
    ]  # fmt: skip
    path = graph_of(
        tmp_path,
        nodes,
        W
        | {
            "half": np.float32(0.5),
            "row": np.array([[1, 2, 4]], np.float32),
            "low": np.float32(-0.4),
            "high": np.float32(0.3),
        },
    )
    BACKEND.build(path, tmp_path / "engine")
    x = rows(d=3)
    np.testing.assert_allclose(
        load_runner(tmp_path / "engine").infer(x), reference_outputs(path, x), rtol=1e-6, atol=1e-6
    )


def pair_with(zero):
    nodes, constants = quantized("x", 0.1, zero)
    return [*nodes, helper.make_node("MatMul", ["x.dq", "w"], ["y"], name="layer")], W | constants


REFUSED = {
    "an operator": ([helper.make_node("Cos", ["x"], ["h"], name="wave"), LAYER], W, r"node 'wave' \(Cos\)"),
    "a function that is no activation": (
        [helper.make_node("Mul", ["x", "x"], ["h"], name="square"), LAYER],
        W,
        "'square'.*not a known activation",
    ),
    "a skip around a layer": (
        [
            helper.make_node("MatMul", ["x", "w"], ["h"], name="m"),
            helper.make_node("Add", ["x", "h"], ["y"], name="skip"),
        ],
        W,
        "'m'.*the paths that part",
    ),
    "unsigned data": (*pair_with(np.uint8(0)), "'x/q'.*not symmetric int8"),
    "a zero point": (*pair_with(np.int8(3)), "'x/q'.*not symmetric int8"),
    "an alpha": ([helper.make_node("Gemm", ["x", "w"], ["y"], name="g", alpha=2.0)], W, "'g'.*alpha"),
    "a constant of another width": (
        [helper.make_node("Add", ["x", "two"], ["h"], name="a"), LAYER],
        W | {"two": np.ones(2, np.float32)},
        r"'a'.*shape \[2\]",
    ),
    "weights that do not fit": (
        [helper.make_node("MatMul", ["x", "v"], ["y"], name="m")],
        {"v": np.ones((4, 3), np.float32)},
        r"'m'.*shape \[4, 3\] behind 3",
    ),
    "weights that are not finite": (
        [helper.make_node("MatMul", ["x", "v"], ["y"], name="m")],
        {"v": np.full((3, 3), np.nan, np.float32)},
        "'m'.*finite",
    ),
    "data as the second operand": (
        [helper.make_node("Sub", ["one", "x"], ["h"], name="s"), LAYER],
        W | {"one": np.float32(1)},
        "'s'.*second operand",
    ),
    "no layer": ([helper.make_node("Tanh", ["x"], ["y"])], {}, "has no layer"),
    "two dimensions too many": (
        [helper.make_node("MatMul", ["x", "v"], ["y"], name="m")],
        {"v": np.ones((1, 3, 3), np.float32)},
        "'m'.*shape",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_understood_is_refused_by_the_nodes_name(tmp_path, case):
    nodes, constants, message = REFUSED[case]
    path = graph_of(tmp_path, nodes, constants)
    with pytest.raises(GraphError, match=message):
        program_of(path)


def test_weight_scales_along_the_inputs_are_refused(tmp_path):
    """Their products have no common step, so the sum is none of integers."""
    nodes, constants = quantized("x", 0.1)
    nodes += [
        helper.make_node("DequantizeLinear", ["codes", "ws", "wz"], ["wd"], axis=0),
        helper.make_node("MatMul", ["x.dq", "wd"], ["y"], name="m"),
    ]
    constants |= {"codes": np.ones((3, 3), np.int8), "ws": np.ones(3, np.float32), "wz": np.zeros(3, np.int8)}
    with pytest.raises(GraphError, match="'m'.*one number, or one per output"):
        program_of(graph_of(tmp_path, nodes, constants))


def test_other_files_are_refused(tmp_path):
    (tmp_path / "bad.onnx").write_bytes(b"garbage")
    with pytest.raises(GraphError, match="is not an ONNX graph"):
        program_of(tmp_path / "bad.onnx")
    with pytest.raises(GraphError, match="no ONNX file"):
        BACKEND.build(tmp_path / "absent.onnx", tmp_path / "engine")
    assert write_mlp(tmp_path / "s.onnx") and program_of(tmp_path / "s.onnx").inputs == 5
