"""``regkd-edge deploy`` as on a Jetson: NVIDIA's real bindings of that version, no torch, no onnx, a stub GPU.

Builder, parser, engine and context are autospecced from the real classes; what a kernel would compute is computed by
the native engine that came with the bundle. A process of its own, as each version needs its own libraries on the path.

    python jetson_rehearsal.py LIBCUDA ARGUMENT ...
"""

from __future__ import annotations

import ctypes
import sys
import types
from pathlib import Path
from unittest import mock

ABSENT = {"torch", "onnx", "onnxscript", "onnxruntime", "safetensors", "sklearn", "pandas"}


class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Absent())
import numpy as np
import tensorrt as trt

from regkd_edge.engines import get_backend, gpu

gpu._LIBRARY = sys.argv[1]
library = ctypes.CDLL(sys.argv[1])
library.fake_record.argtypes = [ctypes.CFUNCTYPE(None)]
kept = []  # callbacks and engines that must outlive the calls


def spec(cls, **values):
    fake = mock.create_autospec(cls, instance=True, spec_set=True)
    for name, value in values.items():
        setattr(fake, name, value)
    return fake


def make_builder(logger):
    builder = spec(trt.Builder, num_DLA_cores=0)
    builder.create_network.return_value = network = spec(trt.INetworkDefinition, num_layers=0)
    network.get_input.return_value = spec(trt.ITensor, name="x", shape=(-1, 3), dtype=trt.DataType.FLOAT)
    network.get_output.return_value = spec(trt.ITensor, name="y", shape=(-1, 2), dtype=trt.DataType.FLOAT)
    config = builder.create_builder_config.return_value = spec(trt.IBuilderConfig)
    config.get_timing_cache.return_value.serialize.return_value = b"timings"
    builder.create_optimization_profile.return_value = spec(trt.IOptimizationProfile)
    builder.build_serialized_network.side_effect = lambda network, config: f"plan of {make_builder.graph}".encode()
    return builder


def make_parser(network, logger):
    parser = spec(trt.OnnxParser, num_errors=0)

    def parse(path):
        make_builder.graph = path
        return True

    parser.parse_from_file.side_effect = parse
    return parser


def make_runtime(logger):
    runtime = spec(trt.Runtime)
    runtime.deserialize_cuda_engine.side_effect = lambda plan: make_engine(
        Path(bytes(plan).decode().removeprefix("plan of "))
    )
    return runtime


def make_engine(graph):
    precision = graph.name.split(".")[1]
    native = get_backend("native").load(
        graph.parent.parent / "engines" / ("native.int8" if precision == "int8" else "native.fp32")
    )
    addresses, shape = {}, {}
    context = spec(trt.IExecutionContext)
    context.set_input_shape.side_effect = lambda name, value: shape.update(x=value) or True
    context.get_tensor_shape.side_effect = lambda name: (shape["x"][0], 2)
    context.set_tensor_address.side_effect = lambda name, address: addresses.update({name: address}) or True

    def at(name, size):
        return np.ctypeslib.as_array(ctypes.cast(addresses[name], ctypes.POINTER(ctypes.c_float)), size)

    def compute():
        at("y", (shape["x"][0], 2))[:] = native.infer(at("x", tuple(shape["x"])).copy())

    later = ctypes.CFUNCTYPE(None)(compute)
    kept.append(later)

    def execute(stream):
        if not library.fake_record(later):
            compute()
        return True

    context.execute_async_v3.side_effect = execute
    engine = spec(trt.ICudaEngine, num_io_tensors=2)
    engine.get_tensor_name.side_effect = ["x", "y"].__getitem__
    engine.get_tensor_mode.side_effect = {"x": trt.TensorIOMode.INPUT, "y": trt.TensorIOMode.OUTPUT}.__getitem__
    engine.get_tensor_dtype.return_value = trt.DataType.FLOAT
    engine.create_execution_context.return_value = context
    engine.create_engine_inspector.return_value = inspector = spec(trt.EngineInspector)
    inspector.get_engine_information.return_value = '{"Layers": ["layer0/gemm + layer0/relu"]}'
    return engine


class Module(types.ModuleType):
    Builder, OnnxParser, Runtime = staticmethod(make_builder), staticmethod(make_parser), staticmethod(make_runtime)

    def __getattr__(self, name):
        return getattr(trt, name)


module = Module("tensorrt")
module.__version__ = trt.__version__
sys.modules["tensorrt"] = module

from regkd_edge.cli import main

sys.argv = ["regkd-edge", *sys.argv[2:]]
try:
    main()
finally:
    assert not ABSENT & {name.split(".")[0] for name in sys.modules}
