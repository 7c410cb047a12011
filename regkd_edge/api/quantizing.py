"""From a student or its graph to a graph in a lower precision."""

from __future__ import annotations

import os
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config import QuantizeConfig
from ..config.problems import whole_or
from ..errors import GraphError
from ..graph.file import Graph
from ..io.files import temporary_folder
from ..io.words import described
from .inputs import Inputs

if TYPE_CHECKING:
    from ..models import Student

__all__ = ["quantize"]


def quantize(
    model: Student | Graph | str | Path,
    precision: str = "int8",
    *,
    calibrate: Any = None,  # [n, d]
    path: str | Path | None = None,
    validation: tuple[Any, Any] | None = None,
    check: Any = None,  # [n, d]
    student: Student | None = None,
    teacher: Any = None,
    train: tuple[Any, Any] | None = None,
    qat_batch: int = 64,
    seed: int = 0,
    config: QuantizeConfig | None = None,
    **options: Any,
) -> Graph:
    """Quantize a student and return its graph: typed ONNX, explicit Q/DQ pairs for INT8.

    Parameters
    ----------
    model : Student, Graph or path
        A student, or its FP32 graph.
    precision : str
        int8, int8-weights, fp8, fp16 or bf16; or auto: int8 with layers in a
        higher precision, as ``max_increase`` needs.
    calibrate : array-like, torch tensor or data frame, [n, d], optional
        Rows in raw units that ranges are read off. Without them synthetic rows are drawn within what is known of the
        student's inputs, or as ``describe=FILE`` describes them; a graph alone knows nothing of them. The option
        ``calibrate`` of a configuration (real, synthetic, both) says which of the two are used.
    path : path, optional
        The file to write. Without it the graph is kept in a temporary folder as long as the object lives.
    validation : (x, y), optional
        Rows with labels that the student was not trained on. For int8 they say how exact the student is, and so how
        exact its layers have to be; for ``max_increase`` and ``qat`` they judge the rise of the RMSE.
    check : [n, d], optional
        Rows on which the graph is compared with the FP32 graph; the calibration rows when absent.
    student : Student, optional
        Whose graph ``model`` is; a student as ``model`` is its own. Needed for synthetic rows and for ``qat``.
    teacher : Teacher, or whatever :func:`~regkd_edge.load_teacher` takes, optional
        For ``qat``. It also answers synthetic rows where ``train`` or ``validation`` are absent.
    train : (x, y), optional
        Rows that ``qat`` trains on.
    qat_batch : int
        Rows per step of ``qat``.
    seed : int
        Of synthetic rows, and of the order of the rows in ``qat``.
    config : QuantizeConfig, optional
        All options at once; else ``options`` are its fields (``method``, ``corrections``, ``max_increase``, ...).

    Raises
    ------
    GraphError
        Nothing was quantized, or the outputs are not finite.
    DataError
        Rows that cannot be used, or none for a graph that knows nothing of its inputs.
    UserError
        An unknown or contradictory option, or a precision that ``platform`` lacks.
    """
    from ..models import Student
    from ..models import load_teacher as load
    from ..quantization import Bound, quantize_graph

    if not isinstance(model, (Student, str, os.PathLike)):
        raise GraphError(
            f"{described(model)} cannot be quantized, expected a student or its FP32 graph.",
            "Give a Student (rk.distill makes one of a teacher), a Graph, or an ONNX file.",
        )
    config = whole_or(config, QuantizeConfig, {"precision": [precision]}, options)
    precision = "int8" if precision == "auto" else precision
    answering = None if teacher is None else load(teacher)
    given = Inputs(student or (model if isinstance(model, Student) else None), answering, config, seed, model)
    labelled = given.labelled(validation)
    bound = None
    if config.increase is not None and not config.qat and precision in ("int8", "fp8"):
        bound = Bound(config.increase, *(labelled or given.answered("validation")), config.high)
    checked = None if check is None else given.rows(check, "check")
    with temporary_folder() if isinstance(model, Student) else nullcontext("") as scratch:
        source = model.export(Path(scratch, "fp32.onnx")).path if isinstance(model, Student) else Path(model)
        rows = None if precision == "fp16" else given.calibration(calibrate, precision)
        kept = None
        if path is None:
            kept = temporary_folder()
            path = Path(kept.name, f"student.{precision}.onnx")
        if precision == "int8" and config.qat:
            done = given.qat(
                source, path, rows, train=given.labelled(train), validation=labelled, batch=qat_batch, check=checked
            )
        else:
            done = quantize_graph(
                source, path, precision, rows, config, bound=bound, labelled=labelled, check_rows=checked
            )
    return Graph(Path(path), done.to_dict(), given.names or (), list(getattr(model, "target_names", ())), kept)
