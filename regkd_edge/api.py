"""The library: what a notebook uses, and what every stage of a run calls.

    teacher = rk.load_teacher(module)                      # or a callable, a regressor, a run folder
    student = rk.distill(teacher, x, student="mlp:32,32:relu")
    student.score(x_test, y_test)
    graph = student.export("student.onnx")
    int8 = rk.quantize(student, "int8", calibrate=x)
    engine = rk.build(int8, backend="onnxruntime")
    rk.bench(engine, x_test, y_test)

Everything takes and gives raw units. Rows are arrays, torch tensors or data frames of pandas or polars; a data frame is
read by the names of the training's columns. Mistakes are :class:`~regkd_edge.errors.UserError`. Only what trains,
loads a teacher or quantizes needs torch; :func:`load_engine`, :func:`build` and :func:`bench` do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from .config import BenchConfig, BuildConfig, DistillConfig, QuantizeConfig, TeacherConfig
from .config.distill import WITHOUT_LABELS
from .config.problems import validated
from .data import Dataset, as_rows, as_targets, dataset_of
from .data.arrays import require_shape, shape_of
from .errors import DataError, GraphError, UserError
from .graph.file import Graph
from .io.files import temporary_folder

if TYPE_CHECKING:
    from .engines.engine import Engine
    from .measure.result import BenchResult
    from .models import Student, Teacher
    from .training.loop import Progress

__all__ = ["bench", "build", "distill", "load_engine", "load_teacher", "quantize", "train_teacher"]


def load_teacher(source: Any, **options: Any) -> Teacher:
    """Return a teacher from a torch module, a regressor, a callable, a run folder, a file or a factory.

    See :func:`regkd_edge.models.teachers.load_teacher` for ``options``: ``weights``, ``units``, ``scalers``,
    ``output``, ``trust``, ``feature_names``, ``target_names``.
    """
    from .models import load_teacher as load

    return load(source, **options)


def train_teacher(
    x: Any,  # [n, d]
    y: Any = None,  # [n, o] or [n]
    teacher: str = "mlp:256,256:relu",
    *,
    validation: float | tuple[Any, Any] = 0.15,
    seed: int = 0,
    progress: Progress | None = None,
    checkpoint: str | Path | None = None,
    input_shape: Sequence[int] | None = None,
    config: TeacherConfig | None = None,
    **options: Any,
) -> Teacher:
    """Train a network on labels and return it as a teacher.

    Parameters
    ----------
    x, y : array-like, torch tensor or data frame, [n, d] and [n, o] or [n]
        Rows and labels in raw units, images and signals as [n, *shape]; or x alone as a
        :class:`~regkd_edge.data.Dataset`.
    teacher : str
        Spec of the network, ``mlp:WIDTHS:ACTIVATION`` or another of :mod:`regkd_edge.models.families`.
    validation : float or (x, y)
        Share of the rows that selects the best epoch and stops the training, or rows of their own.
    seed : int
        Of the split, the initial weights and the order of the rows.
    progress : callable, optional
        ``progress(step, total, losses, validation_rmse)``.
    checkpoint : path, optional
        A folder for the resumable state: after an interruption the same call continues with the same bits.
    input_shape : sequence of int, optional
        Shape of a row that is an image or a signal, where x is [n, d].
    config : TeacherConfig, optional
        All options at once; else ``options`` are its fields (``epochs``, ``batch``, ``lr``, ``patience``, ...).

    Raises
    ------
    DataError
        Rows that cannot be used.
    UserError
        An unknown or contradictory option, or a training that diverged.
    """
    from .training import train_teacher as train

    config = config or validated(TeacherConfig, {"teacher": teacher, **options})
    data = _labelled(x, y, validation, seed, input_shape)
    trained = train(data, config, seed, progress=progress, checkpoint=checkpoint)
    return trained.as_teacher(f"trained here, {config.teacher}", data)


def distill(
    teacher: Any,
    x: Any = None,  # [n, d]
    y: Any = None,  # [n, o] or [n]
    *,
    student: str = "mlp:32,32:relu",
    validation: float | tuple[Any, Any] = 0.15,
    seed: int = 0,
    progress: Progress | None = None,
    checkpoint: str | Path | None = None,
    input_shape: Sequence[int] | None = None,
    config: DistillConfig | None = None,
    **options: Any,
) -> Student:
    """Distil a teacher into a small student and return it.

    Parameters
    ----------
    teacher : Teacher, or whatever :func:`load_teacher` takes
    x : array-like, torch tensor or data frame, [n, d], optional
        Rows in raw units, few of them if need be, images and signals as [n, *shape]; or a
        :class:`~regkd_edge.data.Dataset`. Without rows give ``describe=`` or ``like=``: the student then learns on
        synthetic inputs that the teacher answers.
    y : [n, o] or [n], optional
        Labels. Without them the student follows the teacher alone.
    student : str
        Spec of the network, ``mlp:WIDTHS:ACTIVATION``, ``conv2d:8x3,16d3/2,flat,32:relu``, ``gru:32``; the forms are those
        of :mod:`regkd_edge.models.families`.
    validation : float or (x, y)
        Share of the rows that selects the best state, or rows of their own.
    seed : int
        Of the split, the initial weights and the noise.
    progress, checkpoint, input_shape
        As in :func:`train_teacher`.
    config : DistillConfig, optional
        All options at once; else ``options`` are its fields (``recipe``, ``terms``, ``steps``, ``w_gm``, ...).

    Raises
    ------
    DataError
        Rows that cannot be used.
    ModelError
        A teacher that does not fit the rows.
    RecipeError
        An objective that this teacher or these rows do not allow.
    UserError
        An unknown or contradictory option, or a training that diverged.
    """
    from .training import distill as train

    teacher = load_teacher(teacher)
    if config is None:
        config = validated(DistillConfig, {"student": student, **({"no_data": True} if x is None else {}), **options})
    if x is None and not config.no_data:
        raise DataError("distill was given no rows.", "Give x, or no_data=True with describe= or like=.")
    if x is None:
        data = _described(teacher, config, seed, input_shape)
    else:
        data = _dataset_of(teacher, config, x, y, validation, seed, input_shape)
    return train(data, teacher, config, seed, progress=progress, checkpoint=checkpoint).as_student(data)


def quantize(
    model: Student | Graph | str | Path,
    precision: str = "int8",
    *,
    calibrate: Any = None,  # [n, d]
    path: str | Path | None = None,
    validation: tuple[Any, Any] | None = None,
    check: Any = None,  # [n, d]
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
        int8, int8-weights, fp8, fp16 or bf16.
    calibrate : array-like, torch tensor or data frame, [n, d], optional
        Rows in raw units that ranges are read off. Without them synthetic rows are drawn within what a student knows
        of its inputs; a graph knows nothing of them.
    path : path, optional
        The file to write. Without it the graph is kept in a temporary folder as long as the object lives.
    validation : (x, y), optional
        Rows with labels that the student was not trained on. For int8 they say how exact the student is, and so how
        exact its layers have to be; for ``max_increase`` they judge the rise of the RMSE.
    check : [n, d], optional
        Rows on which the graph is compared with the FP32 graph; the calibration rows when absent.
    config : QuantizeConfig, optional
        All options at once; else ``options`` are its fields (``method``, ``corrections``, ``max_increase``, ...).

    Raises
    ------
    GraphError
        Nothing was quantized, or the outputs are not finite.
    DataError
        Rows that cannot be used, or none for a graph that knows nothing of its inputs.
    UserError
        An unknown or contradictory option.
    """
    from .models import Student
    from .quantization import Bound, quantize_graph

    config = config or validated(QuantizeConfig, {"precision": [precision], **options})
    names, shape = list(getattr(model, "feature_names", ())) or None, _row_shape(model)
    with temporary_folder() as scratch:
        source = model.export(Path(scratch, "fp32.onnx")).path if isinstance(model, Student) else Path(model)
        rows = _calibration_rows(model, calibrate, precision, config, seed, names, shape)
        bound = labelled = None
        if config.max_increase is not None and validation is None:
            raise UserError("max_increase needs rows that judge it.", "Give validation=(x, y).")
        if validation is not None:
            x, _ = as_rows(validation[0], names=names if hasattr(validation[0], "columns") else None, shape=shape)
            y, _ = as_targets(validation[1], len(x))
            labelled = (x.astype(np.float32), y)
            if config.max_increase is not None:
                bound = Bound(config.max_increase, *labelled, config.high)
        checked = None if check is None else as_rows(check, width=None, shape=shape, what="check")[0].astype(np.float32)
        kept = None
        if path is None:
            kept = temporary_folder()
            path = Path(kept.name, f"student.{precision}.onnx")
        done = quantize_graph(source, path, precision, rows, config, bound=bound, labelled=labelled, check_rows=checked)
    return Graph(Path(path), done.to_dict(), names or (), list(getattr(model, "target_names", ())), kept)


def build(
    graph: Graph | str | Path,
    backend: str = "onnxruntime",
    *,
    path: str | Path | None = None,
    threads: int | None = None,
    config: BuildConfig | None = None,
    **options: Any,
) -> Engine:
    """Build a graph for this machine and return the loaded engine.

    Parameters
    ----------
    graph : Graph or path
        ONNX, as :meth:`Student.export <regkd_edge.models.Student.export>` and :func:`quantize` write it.
    backend : str
        onnxruntime, native, tensorrt or tensorrt-rtx.
    path : path, optional
        The folder to write. Without it the engine is kept in a temporary folder as long as the object lives.
    threads : int, optional
        Threads of one request, for back ends on the CPU.
    config : BuildConfig, optional
        Options of the back ends; else ``options`` are the back end's own.

    Raises
    ------
    GraphError
        The back end does not take the graph, or its engine does not answer as the graph.
    NotAvailable
        The runtime or the device is not on this machine.
    """
    from .engines.engine import Engine, build_engine

    kept = None
    if path is None:
        kept = temporary_folder()
        path = Path(kept.name, f"{backend}.{getattr(graph, 'precision', Path(graph).stem)}")
    build_engine(graph, backend, path, config.options(backend) if config is not None else options)
    engine = Engine(path, threads)
    engine._kept = kept
    return engine


def load_engine(path: str | Path, threads: int | None = None, **settings: Any) -> Engine:
    """Load the engine of a folder that :func:`build`, ``regkd-edge build`` or ``deploy`` wrote. Needs no torch.

    Raises
    ------
    RunFolderError
        The manifest is missing or corrupt, or the engine file is not the one that it describes.
    NotAvailable
        The runtime or the device is not on this machine.
    """
    from .engines.engine import Engine

    return Engine(path, threads, **settings)


def bench(
    engines: Engine | Sequence[Engine],
    x: Any,  # [n, d]
    y: Any = None,  # [n, o] or [n]
    *,
    teacher: Any = None,
    reference: Any = None,
    batches: Sequence[int] = (1,),
    config: BenchConfig | None = None,
    **options: Any,
) -> BenchResult:
    """Measure engines on rows they have not seen: accuracy of the engine file itself, and latency percentiles.

    Parameters
    ----------
    engines : Engine or sequence of Engine
        Several are timed in turns, so that they share the machine's quiet and busy moments.
    x, y : [n, d] and [n, o] or [n]
        Held-out rows and their labels, raw units.
    teacher : Teacher or array [n, o], optional
        For the distance to the teacher's answers.
    reference : Student, Engine or array [n, o], optional
        What the accuracy is compared with, with a bootstrap interval: usually the FP32 student.
    batches : sequence of int
        Batch sizes to time.
    config : BenchConfig, optional
        All options at once; else ``options`` are its fields (``samples``, ``warmup``, ``threads``, ``sweep``, ...).

    Raises
    ------
    DataError
        Neither labels nor a teacher, or shapes that do not fit.
    """
    from .measure import measure_engines
    from .measure.result import BenchResult

    several = cast("list[Engine]", [engines] if hasattr(engines, "infer") else list(engines))
    if not several:
        raise UserError("bench was given no engine.", "Give one, or a list of them.")
    config = config or validated(BenchConfig, {"batches": list(batches), **options})
    names = list(several[0].manifest.feature_names) or None
    rows, _ = as_rows(
        x, names=names if hasattr(x, "columns") else None, width=several[0].d, shape=several[0].input_shape
    )
    labels, found = (None, None) if y is None else as_targets(y, len(rows), width=several[0].o)
    targets = list(several[0].manifest.target_names) or found
    measured = measure_engines(
        [engine.folder for engine in several],
        rows,
        labels,
        teacher=_answers(teacher, x, len(rows), "teacher"),
        reference=_answers(reference, x, len(rows), "reference"),
        target_names=targets,
        batches=config.batches,
        samples=config.samples,
        warmup=config.warmup,
        threads=config.threads,
        sweep=config.sweep,
        run_code_of_plan=config.run_code_of_plan,
    )
    return BenchResult([m.record for m in measured])


def _answers(who: Any, x: Any, n: int, what: str) -> np.ndarray | None:
    """Answers [n, o] of a model to the rows, or the answers themselves."""
    if who is None:
        return None
    return who.predict(x) if hasattr(who, "predict") else as_targets(who, n, what=what)[0]


def _labelled(x: Any, y: Any, validation: Any, seed: int, shape: Sequence[int] | None) -> Dataset:
    if isinstance(x, Dataset):
        return x
    if y is None:
        raise DataError("y is missing: a network is trained on labels.", "Give y [n, o] or [n].")
    return dataset_of(x, y, validation=validation, seed=seed, input_shape=shape)


def _dataset_of(
    teacher: Teacher,
    config: DistillConfig,
    x: Any,
    y: Any,
    validation: Any,
    seed: int,
    shape: Sequence[int] | None,
) -> Dataset:
    """The rows of a student, with the teacher's answers in place of labels where there are none."""
    from .models import check_teacher

    if isinstance(x, Dataset):
        check_teacher(teacher, x)
        return x
    labelled = y is not None
    if not labelled and config.base not in WITHOUT_LABELS:
        raise DataError(f"base '{config.base}' needs labels, and y was not given.", "Give y, or use base='mimic'.")
    frame = hasattr(x, "columns")
    if shape is not None and not frame and len(shape_of(x)) == 2:
        rows, _ = as_rows(x)
        require_shape(shape, rows.shape[1], "x")
        x = rows.reshape(len(rows), *shape)
    data = dataset_of(
        x,
        y if labelled else teacher.predict(x),
        labelled=labelled,
        validation=validation,
        seed=seed,
        feature_names=teacher.feature_names if frame else None,
        target_names=None if labelled else teacher.target_names,
        input_shape=shape,
    )
    check_teacher(teacher, data)
    return data


def _described(teacher: Teacher, config: DistillConfig, seed: int, shape: Sequence[int] | None) -> Dataset:
    """A table of inputs as described with the teacher's answers: what reports on a student without data stand on."""
    from .data import split
    from .training import described_rows

    table = described_rows(teacher, config, seed, None if shape is None else tuple(shape))
    return Dataset(table, split(len(table), 0.15, 0.15, seed))


def _row_shape(model: Any) -> tuple[int, ...] | None:
    """Shape of a row of a student or a graph that is an image or a signal, or None."""
    if hasattr(model, "input_shape"):
        return cast("tuple[int, ...] | None", model.input_shape)
    from .graph.graph import load_graph, row_shape

    shape = row_shape(load_graph(Path(model)))
    return shape if len(shape) > 1 else None


def _calibration_rows(
    model: Any,
    calibrate: Any,
    precision: str,
    config: QuantizeConfig,
    seed: int,
    names: list[str] | None,
    shape: tuple[int, ...] | None,
) -> np.ndarray | None:  # [n, d] float32
    if precision == "fp16":
        return None
    if calibrate is not None:
        rows, _ = as_rows(
            calibrate, names=names if hasattr(calibrate, "columns") else None, shape=shape, what="calibrate"
        )
        if len(rows) > config.rows:
            rows = rows[np.random.default_rng(seed).choice(len(rows), config.rows, replace=False)]
        return rows.astype(np.float32)
    from .models import Student
    from .sampling.synthetic import known_inputs, synthetic_rows

    if not isinstance(model, Student):
        raise GraphError(
            f"{precision} needs calibration rows: a graph alone does not say what its inputs are.",
            "Give calibrate=x [n, d], or the student in place of its graph.",
        )
    return synthetic_rows(known_inputs(model.scalers.x, model.inputs), config.rows, seed)
