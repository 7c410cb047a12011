"""The library: what a notebook uses, and what every stage of a run calls.

    teacher = rk.load_teacher(module)                      # or a callable, a regressor, a run folder
    student = rk.distill(teacher, x, student="mlp:32,32:relu")
    student.score(x_test, y_test)
    graph = student.export("student.onnx")
    int8 = rk.quantize(student, "int8", calibrate=x)
    engine = rk.build(int8, backend="onnxruntime")
    rk.bench(engine, x_test, y_test)

The stages of a run call these same functions, with a data set, a whole section of the configuration and a place to
write; there is no second way to train, quantize, build or measure.

Everything takes and gives raw units. Rows are arrays, torch tensors or data frames of pandas or polars; a data frame is
read by the names of the training's columns. Mistakes are :class:`~regkd_edge.errors.UserError`. Only what trains,
loads a teacher or quantizes needs torch; :func:`load_engine`, :func:`build` and :func:`bench` do not.
"""

from __future__ import annotations

from .engines import build, load_engine, manifest_of, require_backend, why_not
from .measuring import bench
from .processes import by_itself, join_processes, processes
from .quantizing import quantize
from .training import described_rows, distill, judge_teacher, load_teacher, train_teacher

__all__ = [
    "bench",
    "build",
    "by_itself",
    "described_rows",
    "distill",
    "join_processes",
    "judge_teacher",
    "load_engine",
    "load_teacher",
    "manifest_of",
    "processes",
    "quantize",
    "require_backend",
    "train_teacher",
    "why_not",
]
