"""ONNX teachers of a kilobyte that ask for far more than they hold: refused in one line, little is taken."""

from __future__ import annotations

import os

import numpy as np
import pytest

from regkd_edge.errors import ModelError

MEGABYTES = 500

_GRAPH = """
from onnx import TensorProto, helper as h, numpy_helper
from_array = lambda name, values, kind=np.int64: numpy_helper.from_array(np.array(values, kind), name)
def save(nodes, stored=(), rows="n", width=3):
    x, y = h.make_tensor_value_info("x", 1, [rows, width]), h.make_tensor_value_info("y", 1, ["n", 1])
    stored = [from_array("w", np.ones((3, 1)), np.float32), *stored]
    graph = h.make_graph([h.make_node("MatMul", ["x", "w"], ["p"]), *nodes], "g", [x], [y], stored)
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", 17)], ir_version=8)
    open(path, "wb").write(model.SerializeToString())
def sum_of(*nodes):
    return [*nodes, h.make_node("ReduceSum", ["c"], ["r"], keepdims=0), h.make_node("Add", ["p", "r"], ["y"])]
def outside(dims, size, **keys):
    with open(os.path.join(os.path.dirname(path), "d.bin"), "wb") as stream: stream.truncate(size)
    t = TensorProto(name="v", data_type=1, dims=dims, data_location=TensorProto.EXTERNAL)
    for key, value in {"location": "d.bin", **keys}.items(): t.external_data.add(key=key, value=str(value))
    return t
"""
_ROUND = """
info = h.make_tensor_value_info
body = h.make_graph(
    [h.make_node("Identity", ["c"], ["d"]), h.make_node('OP', ["v", "v"], ["u"], MORE)], "b",
    [info("i", 7, []), info("c", 9, []), info("v", 1, None)], [info("d", 9, []), info("u", 1, None)])
loop = h.make_node("Loop", ["trip", "go", "one"], ["c"], body=body)
save(sum_of(loop), [from_array("trip", TRIPS), from_array("go", True, bool), from_array("one", [1], np.float32)])
"""
#: Graphs of a kilobyte that ask for far more than they hold.
GRAPHS = {
    f"a graph, {name}.onnx": _GRAPH + code
    for name, code in {
        "a constant of 128 GiB":
            "save(sum_of(h.make_node('ConstantOfShape', ['s'], ['c'])), [from_array('s', [1 << 35])])",
        "a constant of 1 GiB":
            "save(sum_of(h.make_node('ConstantOfShape', ['s'], ['c'])), [from_array('s', [1 << 28])])",
        "a wide Expand":
            "save(sum_of(h.make_node('Expand', ['p', 's'], ['c'])), [from_array('s', [1 << 31, 1])])",
        "a long Range":
            "save(sum_of(h.make_node('Range', ['a', 'b', 'd'], ['c'])),"
            " [from_array(n, v, np.float32) for n, v in (('a', 0), ('b', 1e10), ('d', 1))])",
        "a wide Pad": "save(sum_of(h.make_node('Pad', ['p', 's'], ['c'])), [from_array('s', [0, 0, 0, 1 << 33])])",
        "Concat of Concat":
            "save(sum_of(*(h.make_node('Concat', [f'p{k}' if k else 'p'] * 10, [f'p{k + 1}' if k < 9 else 'c'], axis=1)"
            " for k in range(10))))",
        "a loop without end": _ROUND.replace("OP", "Add").replace(", MORE", "").replace("TRIPS", "1 << 60"),
        "a loop that grows": _ROUND.replace("OP", "Concat").replace("MORE", "axis=0").replace("TRIPS", "40"),
        "2^33 rows at once": "save([h.make_node('Identity', ['p'], ['y'])], rows=1 << 33)",
        "2^40 columns": "save([h.make_node('ReduceSum', ['x'], ['y'])], width=1 << 40)",
        "weights of 4 TB in a file of 100 bytes":
            "save([h.make_node('MatMul', ['p', 'v'], ['y'])], [outside([1, 1 << 40], 100, offset=0, length=1 << 42)])",
        "a weight of 4 bytes in a file of 16 GiB":
            "save([h.make_node('MatMul', ['p', 'v'], ['y'])], [outside([1, 1], 16 << 30)])",
        "1 MiB named 5,000 times":
            "one = outside([1, 1 << 18], 1 << 20, offset=0, length=1 << 20)\n"
            "several = [TensorProto.FromString(one.SerializeToString()) for _ in range(5000)]\n"
            "for k, t in enumerate(several): t.name = f'v{k}'\n"
            "save([h.make_node('MatMul', ['p', 'v0'], ['y'])], several)",
        "a sparse constant of 64 GiB":
            "s = h.make_sparse_tensor(h.make_tensor('c', 1, [1], [1.0]), h.make_tensor('i', 7, [1], [0]), [1 << 34])\n"
            "save(sum_of(h.make_node('Constant', [], ['c'], sparse_value=s)))",
    }.items()
}  # fmt: skip


@pytest.mark.skipif(os.name != "posix", reason="the process that tries a file is limited where the system can limit it")
@pytest.mark.parametrize("name", GRAPHS)
def test_it_is_refused_early(name, tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("torch")
    import resource

    from regkd_edge.models.teachers import load_teacher

    path = str(tmp_path / "teacher.onnx")
    exec(GRAPHS[name], {"path": path, "np": np, "os": os})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ModelError) as refused:
        load_teacher(path)
    assert "\n" not in str(refused.value) and "Export it" in str(refused.value)
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < MEGABYTES
