"""Run regkd_edge's TensorRT back end against the real bindings of one version; prints one JSON object.

A process of its own: each version needs its own libraries on the path. Builder, network, parser, runtime and the rest
are autospecced from the real classes, so that a name which the version does not have raises AttributeError, and each
recorded call is compared with the signature that the bindings state. Enums and flags are the real ones.

    python tensorrt_contract.py ONNX FOLDER LIBCUDA [PLANT]
"""

from __future__ import annotations

import ast
import ctypes
import json
import re
import sys
import types
from pathlib import Path
from unittest import mock

import numpy as np
import tensorrt as trt

import regkd_edge.engines.tensorrt.backend as engine_module
from regkd_edge.engines import gpu
from regkd_edge.engines.tensorrt import network as tensorrt_network

onnx_path, folder, libcuda, plant = sys.argv[1], Path(sys.argv[2]), sys.argv[3], (sys.argv[4:] or [""])[0]
gpu._LIBRARY = libcuda
made: list[tuple[type, mock.NonCallableMagicMock]] = []


def spec(cls, **values):
    """An instance of a real class as far as names go; setting or reading a name that it lacks raises."""
    fake = mock.create_autospec(cls, instance=True, spec_set=True)
    for name, value in values.items():
        setattr(fake, name, value)
    made.append((cls, fake))
    return fake


def static_names(source: str) -> list[str]:
    """Every chain that starts at ``trt`` and does not exist in these bindings."""
    missing = []
    for node in ast.walk(ast.parse(source)):
        chain, inner = [], node
        while isinstance(inner, ast.Attribute):
            chain.insert(0, inner.attr)
            inner = inner.value
        if not chain or not isinstance(inner, ast.Name) or inner.id != "trt":
            continue
        place = trt
        for name in chain:
            if not hasattr(place, name):
                missing.append("trt." + ".".join(chain))
                break
            place = getattr(place, name)
    return sorted(set(missing))


def wrong_calls() -> list[str]:
    """Recorded calls whose number of arguments or keywords no overload in the bindings' own docstring takes."""
    wrong = []
    for cls, fake in made:
        for name, arguments, keywords in fake.mock_calls:
            if "." in name or name.startswith("__"):
                continue
            heads = re.findall(rf"{name}\((.*)\) ->", getattr(cls, name).__doc__ or "")
            fits = []
            for head in heads:
                parameters = [p.strip() for p in re.sub(r"<[^>]*>|\[[^\]]*\]", "", head).split(",") if p.strip()]
                parameters = [p for p in parameters if not p.startswith("self")]
                least, names = sum("=" not in p for p in parameters), {p.split(":")[0] for p in parameters}
                fits.append(least <= len(arguments) + len(keywords) <= len(parameters) and set(keywords) <= names)
            if heads and not any(fits):
                wrong.append(f"{cls.__name__}.{name} with {len(arguments)} arguments and {sorted(keywords)}: {heads}")
    return wrong


# -- a network of one dynamic input, one INT8 and one FP16 layer ---------------------------------------------------
x, y = (
    spec(trt.ITensor, name=name, shape=shape, dtype=trt.DataType.FLOAT)
    for name, shape in (("x", (-1, 3)), ("y", (-1, 1)))
)


def tensor(name, kind):
    return spec(trt.ITensor, name=name, dtype=kind, shape=(3, 1))


def layer(kind, name, inputs, output):
    made_layer = spec(trt.ILayer, type=kind, name=name, num_outputs=1)
    made_layer.get_input.side_effect = inputs.__getitem__
    made_layer.get_output.return_value = output
    return made_layer


stored, codes = tensor("stored", trt.DataType.INT8), tensor("codes", trt.DataType.INT8)
weights, data = tensor("weights", trt.DataType.HALF), tensor("data", trt.DataType.HALF)
product = tensor("product", trt.DataType.HALF)
layers = [
    layer(trt.LayerType.CONSTANT, "constant", [], stored),
    layer(trt.LayerType.DEQUANTIZE, "weights.back", [stored], weights),
    layer(trt.LayerType.QUANTIZE, "data.there", [x], codes),
    layer(trt.LayerType.DEQUANTIZE, "data.back", [codes], data),
    layer(trt.LayerType.MATRIX_MULTIPLY, "layers.0", [data, weights], product),
]
network = spec(trt.INetworkDefinition, num_layers=len(layers))
network.get_input.return_value, network.get_output.return_value = x, y
network.get_layer.side_effect = layers.__getitem__
config = spec(trt.IBuilderConfig)
config.get_timing_cache.return_value.serialize.return_value = b"timings"
profile = spec(trt.IOptimizationProfile)
builder = spec(trt.Builder, num_DLA_cores=2)
(
    builder.create_network.return_value,
    builder.create_builder_config.return_value,
    builder.create_optimization_profile.return_value,
) = network, config, profile
builder.build_serialized_network.return_value = b"plan"
error = spec(trt.ParserError)
error.node_name.return_value, error.node_operator.return_value, error.desc.return_value = (
    "layers.1",
    "Gemm",
    "no such thing",
)
parser = spec(trt.OnnxParser, num_errors=1)
parser.parse_from_file.return_value, parser.get_error.return_value = True, error

# -- an engine that sums its inputs, on the memory of the stub driver ----------------------------------------------
library = ctypes.CDLL(libcuda)
CALL = ctypes.CFUNCTYPE(None)
recorded = []  # what the stub driver may call later


def new_context():
    """Its own shape and addresses. What a graph recorded is void once the shape has been set anew: it answers NaN."""
    state = {"addresses": {}, "shape": None, "settings": 0}
    context = spec(trt.IExecutionContext)

    def set_shape(name, value):
        state.update(shape=value, settings=state["settings"] + 1)
        return value[0] <= 8

    def sum_rows(settings=None):
        rows, columns = state["shape"]
        x, y = (ctypes.cast(state["addresses"][n], ctypes.POINTER(ctypes.c_float)) for n in "xy")
        target = np.ctypeslib.as_array(y, (rows, 1))
        target[:] = np.ctypeslib.as_array(x, (rows, columns)).sum(axis=1, keepdims=True)
        if settings not in (None, state["settings"]):
            target[:] = np.nan

    def execute(stream):
        later = CALL(lambda settings=state["settings"]: sum_rows(settings))
        recorded.append(later)
        if not library.fake_record(later):  # not while the stream is captured
            sum_rows()
        return True

    context.set_input_shape.side_effect = set_shape
    context.get_tensor_shape.side_effect = lambda name: (state["shape"][0], 1)
    context.set_tensor_address.side_effect = lambda name, address: state["addresses"].update({name: address}) or True
    context.execute_async_v3.side_effect = execute
    contexts.append(context)
    return context


contexts: list = []
cuda_engine = spec(trt.ICudaEngine, num_io_tensors=2)
cuda_engine.get_tensor_name.side_effect = ["x", "y"].__getitem__
cuda_engine.get_tensor_mode.side_effect = {"x": trt.TensorIOMode.INPUT, "y": trt.TensorIOMode.OUTPUT}.__getitem__
cuda_engine.get_tensor_dtype.return_value = trt.DataType.FLOAT
cuda_engine.create_execution_context.side_effect = new_context
inspector = spec(trt.EngineInspector)
ran = {
    "Name": "layers.0",
    "LayerType": "gemm",
    "TacticName": "sm80_xmma_gemm_i8i8_i8i32_f32_tn",
    "Metadata": "[ONNX Layer: layers.0]",
}
inspector.get_engine_information.return_value = json.dumps({"Layers": [ran]})
cuda_engine.create_engine_inspector.return_value = inspector
refitter, parser_refitter = spec(trt.Refitter), spec(trt.OnnxParserRefitter)
refitter.refit_cuda_engine.return_value = parser_refitter.refit_from_file.return_value = True
runtime = spec(trt.Runtime)
runtime.deserialize_cuda_engine.return_value = cuda_engine


class Module(types.ModuleType):
    """The real bindings, but with the autospecced objects where an object would need the libraries."""

    Builder = staticmethod(lambda logger: builder)
    OnnxParser = staticmethod(lambda network, logger: parser)
    Runtime = staticmethod(lambda logger: runtime)
    Refitter = staticmethod(lambda engine, logger: refitter)
    OnnxParserRefitter = staticmethod(lambda refitter, logger: parser_refitter)

    def __getattr__(self, name):
        return getattr(trt, name)


module = Module("tensorrt")
module.__version__ = trt.__version__
sys.modules["tensorrt"] = module

if plant == "flag":  # what TensorRT 11 removed, where the code runs
    original = tensorrt_network.add_profile

    def planted(builder, network, config, chosen):
        config.set_flag(trt.BuilderFlag.FP16)
        original(builder, network, config, chosen)

    engine_module.add_profile = planted
if plant == "call":  # one argument too many
    original = tensorrt_network.add_profile

    def planted(builder, network, config, chosen):
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, 1 << 20, "extra")
        original(builder, network, config, chosen)

    engine_module.add_profile = planted
if plant == "property":
    original = tensorrt_network.add_profile

    def planted(builder, network, config, chosen):
        config.int8_calibrator = None
        original(builder, network, config, chosen)

    engine_module.add_profile = planted

result: dict = {"version": trt.__version__, "failure": None}
try:
    sources = [
        Path(engine_module.__file__).with_name(f"{name}.py").read_text()
        for name in ("backend", "network", "precision", "runner")
    ]
    if plant == "source":
        sources.append("def planted(trt):\n    return trt.BuilderFlag.INT8\n")
    result["missing_names"] = sorted({name for source in sources for name in static_names(source)})
    backend = engine_module.BACKEND
    result["missing"] = backend.missing()
    options = {"max_batch": 8, "timing_cache": str(folder / "timing.cache"), "hardware_compatible": True}
    manifest = backend.build(onnx_path, folder / "engine", options)
    result["notes"], result["batches"] = manifest.notes, [manifest.options[f"{n}_batch"] for n in ("min", "opt", "max")]
    result["network_flags"] = builder.create_network.call_args.args[0]
    result["strongly_typed"] = int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    result["flags_set"] = [str(call.args[0]).split(".")[-1] for call in config.set_flag.call_args_list]
    result["profile"] = [list(map(list, profile.set_shape.call_args.args[1:]))]
    runner = backend.load(folder / "engine")
    rows = np.arange(12, dtype=np.float32).reshape(4, 3)
    result["answers"] = [
        runner.infer(rows).ravel().tolist(),
        runner.infer(rows[:1]).ravel().tolist(),
        runner.infer(rows + 1).ravel().tolist(),
    ]
    refused = []
    for bad in (np.zeros((9, 3), np.float32), np.zeros((2, 4), np.float32), np.zeros(3, np.float32)):
        try:
            runner.infer(bad)
        except Exception as problem:
            refused.append(f"{type(problem).__name__}: {problem}")
    result["refused"] = refused
    result["gpu_nanoseconds"] = runner.gpu_nanoseconds(rows)
    runner.close()
    runner.close()
    result["executed"], result["precision"] = manifest.executed, manifest.precision
    with backend.load(folder / "engine", cuda_graph=True) as graph:
        result["by_graph"] = [graph.infer(rows + i).ravel().tolist() for i in range(2)] + [
            graph.infer(rows[:1]).ravel().tolist(),
            graph.infer(rows).ravel().tolist(),
        ]
        result["gpu_nanoseconds_by_graph"] = graph.gpu_nanoseconds(rows)
        result["launches"], result["enqueued"] = (
            ctypes.c_int.in_dll(library, "launches").value,
            sum(context.execute_async_v3.call_count for context in contexts),
        )
        result["contexts"] = len(contexts)
    result["live"] = ctypes.c_int.in_dll(ctypes.CDLL(libcuda), "live").value
    backend.build(onnx_path, folder / "portable", {"version_compatible": True})
    try:
        backend.load(folder / "portable")
    except Exception as problem:
        result["untrusted"] = f"{type(problem).__name__}: {problem}"
    backend.load(folder / "portable", run_code_of_plan=True).close()
    result["host_code"] = runtime.engine_host_code_allowed
    # weights that are not in the plan come from the graph that it was built from, and from no other
    run = folder / "run"
    (run / "onnx").mkdir(parents=True)
    own = run / "onnx" / Path(onnx_path).name
    own.write_bytes(Path(onnx_path).read_bytes())
    backend.build(own, run / "engines" / "stripped", {"refit": "strip"})
    backend.load(run / "engines" / "stripped").close()
    result["refitted"] = [Path(call.args[0]).name for call in parser_refitter.refit_from_file.call_args_list]
    own.write_bytes(b"another graph")
    try:
        backend.load(run / "engines" / "stripped")
    except Exception as problem:
        result["no_weights"] = f"{type(problem).__name__}: {problem}"
    backend.build(onnx_path, folder / "exchange", {"refit": "refit"})
    backend.load(folder / "exchange", weights=onnx_path).close()
    backend.build(onnx_path, folder / "dla", {"dla": 1})
    result["dla"] = [str(config.default_device_type).split(".")[-1], config.DLA_core]
    dla_refused = []
    for options in ({"dla": 2}, {"dla": 0, "max_batch": 4}):
        try:
            backend.build(onnx_path, folder / "dla", options)
        except Exception as problem:
            dla_refused.append(f"{type(problem).__name__}: {problem}")
    result["dla_refused"] = dla_refused
    given = [call.args[0] for call in config.set_flag.call_args_list]
    result["all_flags"] = sorted(
        name for name, member in trt.BuilderFlag.__members__.items() if member in given
    )  # with aliases
    result["cleared"] = sorted({str(call.args[0]).split(".")[-1] for call in config.clear_flag.call_args_list})
    ran["TacticName"] = "ampere_h16816gemm_64x64_tn"
    inspector.get_engine_information.return_value = json.dumps({"Layers": [ran]})
    try:
        backend.build(onnx_path, folder / "other", {})
    except Exception as problem:
        result["other_precision"] = f"{type(problem).__name__}: {problem}"
    result["other_written"] = (folder / "other").exists()
    parser.parse_from_file.return_value = False
    try:
        backend.build(onnx_path, folder / "engine", {})
    except Exception as problem:
        result["parser_error"] = f"{type(problem).__name__}: {problem}"
    if tensorrt_network.strong_typing_flag(trt) is None:  # a graph in BF16, and one in FP8
        product.dtype = data.dtype = weights.dtype = trt.DataType.BF16
        plain = [layers[-1]]
        network.num_layers, network.get_layer.side_effect = 1, plain.__getitem__
        result["bf16"] = tensorrt_network.allow_weak_types(trt, network, config)
        result["bf16_flag"] = config.set_flag.call_args.args[0] == trt.BuilderFlag.BF16
        network.num_layers, network.get_layer.side_effect = len(layers), layers.__getitem__
        stored.dtype = codes.dtype = trt.DataType.FP8
        result["fp8"] = tensorrt_network.allow_weak_types(trt, network, config)
    result["wrong_calls"] = wrong_calls()
except Exception as problem:
    result["failure"] = f"{type(problem).__name__}: {problem}"
print(json.dumps(result))
