"""The one recognizer of our graphs: every graph that the project writes is read, and says what it is."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest
from graphs import rows, write_mlp

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import regkd_edge.graph
from regkd_edge.errors import GraphError
from regkd_edge.graph.chain import read_chain
from regkd_edge.graph.network import Activation, Layer, Scaling
from regkd_edge.graph.reader import UnknownNode, read_network
from regkd_edge.quantization import quantize_fp16, quantize_layers


def test_a_student_is_scalers_layers_and_activations(tmp_path):
    network = read_network(write_mlp(tmp_path / "s.onnx", (5, 16, 8, 2), "Tanh", y_scale=[2.0, 3.0]))
    assert (network.inputs, network.outputs) == (5, 2)
    kinds = [type(step) for step in network.steps]
    assert kinds == [Scaling, Scaling, Layer, Activation, Layer, Activation, Layer, Scaling, Scaling]
    assert [layer.name for layer in network.layers] == ["layers.0", "layers.1", "layers.2"]
    assert [layer.weight.shape for layer in network.layers] == [(16, 5), (8, 16), (2, 8)]
    assert all(layer.bias is not None and layer.codes is None for layer in network.layers)
    assert network.steps[3].name == "tanh"
    for before, after in zip(network.steps, network.steps[1:]):
        assert before.target == after.source


@pytest.mark.parametrize(
    "activation", ["identity", "relu", "leaky_relu", "elu", "silu", "gelu", "gelu_tanh", "tanh", "softplus"]
)
def test_activations_are_recognized_by_what_they_compute(tmp_path, activation):
    """SiLU and GELU are several nodes; which ones is of no account."""
    pytest.importorskip("torch")
    from regkd_edge.data import Scalers
    from regkd_edge.export import export_onnx
    from regkd_edge.models import build

    source = export_onnx(build(f"mlp:6:{activation}", 3, 1, 0), Scalers.identity(3, 1), tmp_path / "s.onnx")
    found = [step.name for step in read_network(source).steps if isinstance(step, Activation)]
    assert found == ([] if activation == "identity" else [activation])


def test_int8_layers_have_their_codes_and_steps(tmp_path):
    source = write_mlp(tmp_path / "s.onnx")
    quantize_layers(source, tmp_path / "q.onnx", rows(), "int8", method="minmax", corrections=())
    for layer, exact in zip(read_network(tmp_path / "q.onnx").layers, read_network(source).layers):
        assert layer.integer and layer.codes.dtype == np.int8 and layer.data_scale > 0
        np.testing.assert_array_equal(layer.weight, layer.codes * layer.scale[:, None])
        assert np.abs(layer.weight - exact.weight).max() <= 0.51 * layer.scale.max()
    assert "quantized already" in read_chain(tmp_path / "q.onnx")


def test_int8_weights_alone_have_no_step_of_the_data(tmp_path):
    quantize_layers(write_mlp(tmp_path / "s.onnx"), tmp_path / "q.onnx", rows(), "int8-weights")
    assert all(
        layer.codes is not None and layer.data_scale is None and not layer.integer
        for layer in read_network(tmp_path / "q.onnx").layers
    )


def test_a_node_that_is_not_understood_is_named(tmp_path):
    quantize_fp16(write_mlp(tmp_path / "s.onnx"), tmp_path / "h.onnx")
    with pytest.raises(UnknownNode, match="'h.onnx', node .*Cast") as caught:
        read_network(tmp_path / "h.onnx")
    assert caught.value.node.op_type == "Cast"
    assert "Cast" in read_chain(tmp_path / "h.onnx")
    with pytest.raises(GraphError, match="no ONNX file"):
        read_network(tmp_path / "absent.onnx")


def test_graph_depends_on_errors_and_io_alone():
    """Its arrows point down: nothing of quantization or engines is imported."""
    for path in Path(regkd_edge.graph.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level == 2:
                assert node.module.split(".")[0] in ("errors", "io"), f"{path.name} imports {node.module}"
