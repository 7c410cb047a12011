"""The precision that an engine really uses: a difference between the network and the inspector's JSON is an error.

The network is NVIDIA's own. The JSON is written after TensorRT's documentation and published engines, as no GPU makes
one in a test.
"""

from __future__ import annotations

import json

import pytest
from graphs import ACTIVATIONS, rows, write_mlp

from regkd_edge.engines.tensorrt.network import logger, parse_graph
from regkd_edge.engines.tensorrt.precision import Planned, executed_share, network_layers
from regkd_edge.errors import GraphError

INT8 = [Planned("layers.0", "int8", 300), Planned("layers.1", "int8", 100)]


def layer(name, tactic="", inputs=("Float",), kind="gemm", key="Format/Datatype", **more):
    return {
        "Name": f"{name}_myl0_3",
        "LayerType": kind,
        "Inputs": [{"Name": "a", "Dimensions": [1, 8], key: text} for text in inputs],
        "Outputs": [{"Name": "b", "Dimensions": [1, 8], key: "Float"}],
        "TacticName": tactic,
        "Metadata": f"[ONNX Layer: {name}]",
        **more,
    }


def document(*layers):
    return json.dumps({"Layers": list(layers), "Bindings": ["x", "y"]})


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_nvidias_network_says_what_our_count_of_the_graph_says(rtx, tmp_path, activation):
    from regkd_edge.quantization import graph_precision, quantize_fp16, quantize_int8, quantize_layers

    source = write_mlp(tmp_path / "fp32.onnx", widths=(20, 64, 32, 2), activation=activation)
    quantize_fp16(source, tmp_path / "fp16.onnx")
    quantize_int8(source, tmp_path / "int8.onnx", rows(64, 20))
    for name, forms in {"fp8": "fp8", "weights": "int8-weights", "mixed": ["int8", "fp32", "fp16"]}.items():
        quantize_layers(source, tmp_path / f"{name}.onnx", rows(64, 20), forms, corrections=())
    for name in ("fp32", "fp16", "int8", "fp8", "weights", "mixed"):
        log = logger(rtx)
        builder = rtx.Builder(log)
        network = builder.create_network(0)
        parser = parse_graph(rtx, network, log, tmp_path / f"{name}.onnx")
        found = network_layers(rtx, network)
        del parser
        counted = graph_precision(tmp_path / f"{name}.onnx").layers
        assert [(one.precision, one.multiply_adds) for one in found] == [
            (one.precision, one.multiply_adds) for one in counted
        ], name


@pytest.mark.parametrize(
    ("tactic", "precision"),
    [
        ("sm80_xmma_gemm_i8i8_i8i32_f32_tn_n_tilesize32x32x64", "int8"),
        ("ampere_i16832gemm_int8_128x64_ldg16_relu_stages_64x5_tn", "int8"),
        ("sm89_xmma_gemm_e4m3e4m3_e4m3f32_f32_tn", "fp8"),
        ("sm80_xmma_gemm_f16f16_f16f16_f16_tn_n_tilesize64x64x64", "fp16"),
        ("ampere_h16816gemm_64x64_ldg8_stages_64x6_tn", "fp16"),
        ("sm80_xmma_gemm_bf16bf16_bf16f32_f32_tn", "bf16"),
        ("sm80_xmma_gemm_f32f32_f32f32_f32_tn_n_tilesize64x64x8", "fp32"),
        ("ampere_sgemm_32x32_sliced1x4_tn", "fp32"),
        ("sm80_xmma_gemm_f32f32_tf32f32_f32_tn_n_tilesize64x64x32", "tf32"),
    ],
)
def test_kernels_name_the_types_of_their_factors(tactic, precision):
    asked = [Planned("layers.0", "fp32" if precision == "tf32" else precision, 10)]
    share, notes = executed_share(asked, document(layer("layers.0", tactic)), tf32=True)
    assert share == {precision: 1.0} and notes == []


@pytest.mark.parametrize(
    "text", ["Row major linear FP16 format", "Half", "Channel major FP16 format where channel % 4 == 0"]
)
@pytest.mark.parametrize("key", ["Format/Datatype", "Datatype"])
def test_without_a_kernels_name_the_types_of_the_inputs_count(text, key):
    share, _ = executed_share(
        [Planned("layers.0", "fp16", 10)], document(layer("layers.0", inputs=(text, text), key=key))
    )
    assert share == {"fp16": 1.0}


def test_joined_names_hold_their_nodes_where_there_is_no_metadata():
    fused = {
        "Name": "layers.0 + activation.0",
        "LayerType": "CaskGemmMatrixMultiply",
        "TacticName": "sm80_xmma_gemm_i8i8_i8i32_f32_tn",
    }
    assert executed_share(INT8, document(fused))[0] == {"int8": 0.75, "unread": 0.25}


def test_a_node_is_not_taken_for_one_whose_name_begins_like_it():
    fused = layer("layers.10", "sm80_xmma_gemm_i8i8_i8i32_f32_tn")
    assert executed_share([Planned("layers.1", "int8", 10)], document(fused))[0] is None


def test_another_precision_than_the_graphs_is_an_error_that_names_the_layers():
    text = document(
        layer("layers.0", "ampere_h16816gemm_64x64_tn"), layer("layers.1", "sm80_xmma_gemm_i8i8_i8i32_f32_tn")
    )
    with pytest.raises(GraphError, match="'layers.0' is int8 in the graph and runs in fp16") as error:
        executed_share(INT8, text)
    assert "layers.1" not in str(error.value)
    with pytest.raises(
        GraphError, match="'layers.0' is fp16 in the graph and runs in fp32"
    ):  # fp16 asked for, FP32 built
        executed_share([Planned("layers.0", "fp16", 10)], document(layer("layers.0", inputs=("Float", "Float"))))


def test_tf32_is_an_error_unless_it_was_allowed():
    text = document(layer("layers.0", "sm80_xmma_gemm_f32f32_tf32f32_f32_tn"))
    asked = [Planned("layers.0", "fp32", 10)]
    assert executed_share(asked, text, tf32=True)[0] == {"tf32": 1.0}
    with pytest.raises(GraphError, match="is fp32 in the graph and runs in tf32"):
        executed_share(asked, text)


def test_small_weights_are_multiplied_in_floating_point():
    asked = [Planned("layers.0", "int8-weights", 10)]
    assert executed_share(asked, document(layer("layers.0", "sm80_xmma_gemm_f16f16_f16f16_f16_tn")))[0] == {"fp16": 1.0}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (json.dumps({"Layers": ["layers.0 + activation.0", "layers.1"]}), "names only"),  # the other form
        ("Layer(Reformat): ...", "names only"),
        (
            document(
                layer("layers.0", "__myl_fused_tactic", kind="kgen", inputs=("Float",)),
                layer("layers.1", kind="fusion"),
            ),
            "fused layers only",
        ),
        (
            document(layer("layers.0", inputs=("Float", "Int8"))),
            "fused layers only",
        ),  # two types: which one is multiplied?
    ],
)
def test_what_cannot_be_read_is_not_guessed(text, reason):
    share, notes = executed_share(INT8, text)
    assert share is None and reason in notes[0]


def test_a_part_that_cannot_be_read_is_said():
    share, notes = executed_share(INT8, document(layer("layers.0", "sm80_xmma_gemm_i8i8_i8i32_f32_tn")))
    assert share == {"int8": 0.75, "unread": 0.25} and notes[0].startswith("25% of the multiply-adds")
