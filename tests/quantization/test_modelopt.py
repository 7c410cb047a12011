"""Placer modelopt: what it is asked for, that its silent no-op is an error with a name, and that it may be absent.

nvidia-modelopt brings gigabytes, so a stand-in with its parameters takes its place here; a call with any other raises.
"""

from __future__ import annotations

import json
import typing

import numpy as np
import pytest
from graphs import rows, write_mlp

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import onnx

from regkd_edge.config import QuantizeConfig
from regkd_edge.errors import GraphError, NotAvailable, UserError
from regkd_edge.quantization import quantize_int8
from regkd_edge.quantization.int8 import QUANTIZERS

# What nvidia-modelopt 0.44 and 0.47 take, as far as it is used.
STAND_IN = """
import json, pathlib, shutil
import numpy as np

def quantize(onnx_path, *, quantize_mode, calibration_data, calibration_method, calibration_eps, high_precision_dtype,
             dq_only, output_path, log_level):
    [(name, rows)] = calibration_data.items()
    np.save(pathlib.Path(__file__).with_name("rows.npy"), rows)
    asked = dict(mode=quantize_mode, input=name, method=calibration_method, others=high_precision_dtype)
    pathlib.Path(__file__).with_name("asked.json").write_text(json.dumps(asked))
    print("a quantizer that talks")
"""

# Work that is really done: our own writer, a format a layer, ranges from the rows. Metadata are lost, as by modelopt.
WRITE = """
    import onnx
    from regkd_edge.graph.chain import read_chain
    from regkd_edge.quantization.plan import nearest_plan
    from regkd_edge.quantization.writer import write_plan
    chain = read_chain(onnx_path)
    model = write_plan(nearest_plan(chain, {forms}, [np.abs(a).max() for a in chain.activations(rows)[0]]))
    del model.metadata_props[:]
    onnx.save(model, output_path)
"""


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """``stand_in(body)`` puts a module with that body in modelopt's place; returns the folder of its records."""

    def make(body, source=STAND_IN):
        folder = tmp_path / "site" / "modelopt" / "onnx" / "quantization"
        folder.mkdir(parents=True)
        for package in (folder.parents[1], folder.parent):
            (package / "__init__.py").write_text("")
        (folder / "__init__.py").write_text(source + body)
        monkeypatch.syspath_prepend(tmp_path / "site")
        return folder

    return make


@pytest.fixture
def fp32(tmp_path):
    path = write_mlp(tmp_path / "fp32.onnx", batch=8)
    model = onnx.load(path)
    onnx.helper.set_model_props(model, {"regkd.units": "raw"})
    onnx.save(model, path)
    return path


def quantize(fp32, **options):
    calibration = options.pop("calibration", rows(n=64))
    return quantize_int8(fp32, fp32.with_name("int8.onnx"), calibration, quantizer="modelopt", **options)


def test_it_is_asked_for_int8_with_the_rest_in_fp32_and_the_rows_in_whole_batches(fp32, stand_in, capfd):
    folder = stand_in(WRITE.format(forms=["int8"] * 3))
    summary = quantize(fp32, calibration=rows(n=21), method="minmax")
    asked = json.loads((folder / "asked.json").read_text())
    assert asked == {"mode": "int8", "input": "x", "method": "max", "others": "fp32"}
    given = np.load(folder / "rows.npy")  # modelopt cuts the rows into equal parts, so the last batch has to be whole
    assert given.shape == (24, 5) and np.array_equal(given[:21], rows(n=21))
    assert summary.graph.share == {"int8": 1.0} and summary.graph.pairs == 6
    assert summary.calibration == {"rows": 21, "method": "minmax"}
    assert capfd.readouterr() == ("", "")  # a command with --json prints one object and nothing else


@pytest.mark.parametrize("batch", ["batch", 1])
def test_a_dynamic_batch_is_shown_as_a_fixed_one_and_comes_back(tmp_path, stand_in, batch):
    """The real one quantizes nothing with a dynamic batch or with one row, and says nothing."""
    seen = "    assert onnx_dim(onnx_path) == 64\n"
    dim = "onnx.load(path).graph.input[0].type.tensor_type.shape.dim[0].dim_value"
    look = f"\ndef onnx_dim(path):\n    import onnx\n    return {dim}\n"
    stand_in(seen + WRITE.format(forms=["int8"] * 3) + look)
    source = write_mlp(tmp_path / "fp32.onnx", batch=batch)
    summary = quantize(source, calibration=rows(n=21))
    dims = [
        v.type.tensor_type.shape.dim[0]
        for v in (*onnx.load(summary.target).graph.input, *onnx.load(summary.target).graph.output)
    ]
    assert [d.dim_value or d.dim_param for d in dims] == [batch, batch]
    assert summary.graph.share == {"int8": 1.0} and summary.check["rows"] == 21


def test_layers_it_leaves_out_are_named_and_counted_and_metadata_survive(fp32, stand_in):
    stand_in(WRITE.format(forms=["fp32", "int8", "fp32"]))
    summary = quantize(fp32)
    assert summary.graph.label == "int8+fp32" and summary.graph.share["int8"] == pytest.approx(128 / 216)
    assert "modelopt left layers.0, layers.2 in fp32" in summary.notes
    assert summary.calibration["method"] == "entropy"
    assert any("does not support method 'output'" in note for note in summary.notes)
    assert [(p.key, p.value) for p in onnx.load(summary.target).metadata_props] == [("regkd.units", "raw")]


@pytest.mark.parametrize("body", ["shutil.copyfile(onnx_path, output_path)", "pass"], ids=["unchanged", "no graph"])
def test_its_silent_no_op_is_an_error_that_names_the_causes_and_writes_nothing(fp32, stand_in, body):
    stand_in(f"    {body}")
    causes = "quantized nothing: 0 Q/DQ pairs, none of 3 layers.*one output.*16 wide"
    with pytest.raises(GraphError, match=causes) as caught:
        quantize(fp32)
    assert "16 wide or more" in caught.value.remedy and "--quantizer own" in caught.value.remedy
    assert sorted(p.name for p in fp32.parent.iterdir()) == ["fp32.onnx", "site"]


def test_its_failure_is_an_error_with_its_cause(fp32, stand_in):
    stand_in("    assert False, 'Calibration data list is empty!'")
    with pytest.raises(GraphError, match="modelopt could not quantize the graph: AssertionError: Calibration data"):
        quantize(fp32)


def test_not_installed_is_said_with_the_remedy(fp32, stand_in):
    stand_in("", source="raise ModuleNotFoundError(\"No module named 'modelopt'\")")
    with pytest.raises(NotAvailable, match=r"cannot be imported: No module named 'modelopt'.*regkd-edge\[modelopt\]"):
        quantize(fp32)
    assert not fp32.with_name("int8.onnx").exists()


def test_a_method_that_it_lacks_is_refused(fp32):
    with pytest.raises(UserError, match="no calibration method 'percentile'.*--quantizer own"):
        quantize(fp32, method="percentile")


def test_the_configuration_and_the_command_line_know_the_quantizers(monkeypatch, capfd):
    from regkd_edge.cli import main

    assert typing.get_args(QuantizeConfig.model_fields["quantizer"].annotation) == ("auto", *QUANTIZERS)
    monkeypatch.setattr("sys.argv", ["regkd-edge", "quantize", "--help"])
    with pytest.raises(SystemExit):
        main()
    assert "--quantizer" in capfd.readouterr().out
