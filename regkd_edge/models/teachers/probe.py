"""Files for libraries that a damaged file can crash or stop for ever: read first by a process that may die of it.

LightGBM ends with a segmentation fault, XGBoost counts to 2**63, on a file of which one number was changed; a graph of
1 kB makes ONNX Runtime fill all memory with a constant, or go round a loop for ever. The process imports the library
once and forks for each file, so that a second file costs milliseconds.
"""

from __future__ import annotations

import atexit
import inspect
import json
import re
import subprocess
import threading
from pathlib import Path

from ...io.child import LIMITS, python_command
from ...io.memory import available_memory
from .tree_shape import lightgbm_problem, tree_problem, xgboost_problem

__all__ = ["crash_of", "limits_of", "reading_code", "without_parameters"]

_SECONDS = 2
# Beyond what the process has with the library loaded: at least, and per byte of the file. A graph has its weights in
# packed form beside the file's, and copies of them while its constants are folded.
_BYTES = {"xgboost": (1 << 30, 40), "lightgbm": (1 << 30, 40), "catboost": (1 << 30, 40), "onnxruntime": (320 << 20, 8)}
_MIB_PER_SECOND = {"onnxruntime": 8}  # the others 1

# Says why a file cannot be read, or None.
_READING = """
import os, re, sys
for frames in ("pandas", "polars", "pyarrow", "sklearn"):
    sys.modules[frames] = None  # the library goes without them, and is loaded in a fifth of the time and the memory
import numpy as np
from collections.abc import Sequence
Values = Sequence[int] | np.ndarray
{ours}
import {library} as library

def rows(width):
    import numpy as np
    rng = np.random.default_rng(0)
    drawn = rng.standard_normal((15, width)) * 10.0 ** rng.integers(-3, 7, (15, width))
    x = np.concatenate([np.zeros((1, width)), drawn])
    return np.concatenate([x, np.full((1, width), np.nan)])

def unless_refused(ask):
    try:
        ask()
    except Exception:
        pass  # such as categories that these rows do not have: what matters here is a crash

def load(path):{load}
def reason(path):
    try:
        load(path)
    except MemoryError:
        return "it takes far more memory than its size announces"
    except BaseException as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return re.sub(r"^\\[[\\d:]+\\] \\S+: ", "", said).strip(".")  # XGBoost's clock and the line of its source
"""
_SERVING = """
import json
answers = os.fdopen(os.dup(1), "w")
quiet = os.open(os.devnull, os.O_WRONLY)
os.dup2(quiet, 1), os.dup2(quiet, 2)

def tell(said):
    answers.write(json.dumps(said) + "\\n")
    answers.flush()

tell("ready")
for line in sys.stdin:
    path, seconds, size = json.loads(line)
    if not hasattr(os, "fork"):
        tell(reason(path))
        continue
    child = os.fork()
    if child == 0:
        limit(size, seconds)
        tell(reason(path))
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status:
        import signal
        slow = status in (-signal.SIGXCPU, -signal.SIGKILL)
        tell("reading it does not end" if slow else f"it crashes {library.__name__}")
"""
# Reads a file, and asks what was read with some rows: a damaged tree may be read, and crash on the way to its leaves.
_LOADS = {
    "xgboost": """
    b = library.Booster({"nthread": 1})
    b.load_model(path)
    import json
    problem = xgboost_problem(json.loads(bytes(b.save_raw("json"))), b.num_features())
    if problem:
        raise ValueError(problem)
    kinds = b.feature_types
    codes = {"feature_types": kinds, "enable_categorical": True} if kinds and "c" in kinds else {}
    unless_refused(lambda: b.predict(library.DMatrix(rows(b.num_features()), **codes), validate_features=False))
""",
    "lightgbm": """
    text = open(path).read()
    problem = lightgbm_problem(text)
    if problem:
        raise ValueError(problem)
    b = library.Booster(model_str=without_parameters(text))
    b.predict(rows(b.num_feature()))
""",
    "catboost": """
    m = library.CatBoost()
    m.load_model(path, format="json" if path.endswith(".json") else "cbm")
    unless_refused(lambda: m.predict([[0] * len(m.feature_names_)]))
""",
}
# Refusals of a graph are the caller's, who opens it again: here it is tried with one row, or its fixed number of rows.
_LOADS["onnxruntime"] = """
    import numpy as np
    kinds = {"float": "f4", "double": "f8", "float16": "f2", "int64": "i8", "int32": "i4", "int8": "i1", "uint8": "u1"}
    options = library.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level, options.enable_cpu_mem_arena = 1, 4, False
    try:
        session = library.InferenceSession(path, options, providers=["CPUExecutionProvider"], enable_fallback=0)
        shapes = [[size if isinstance(size, int) else 1 for size in one.shape] for one in session.get_inputs()]
        if sum(float(np.prod(shape, dtype=float)) for shape in shapes) > 1 << 23:
            return  # images of many megapixels: they may take what their size says
        kinds = [kinds.get(one.type[7:-1], "?") for one in session.get_inputs()]
        row = [np.zeros(shape, kind) for shape, kind in zip(shapes, kinds)]
        session.run(None, {one.name: values for one, values in zip(session.get_inputs(), row)})
    except Exception as error:
        if isinstance(error, MemoryError) or re.search("bad_alloc|[Ff]ailed to allocate", str(error)):
            raise MemoryError from None
"""
_servers: dict[str, subprocess.Popen[str]] = {}
_asking = threading.Lock()


def without_parameters(text: str) -> str:
    """Return the text of a LightGBM model without the parameters of its training, which answering does not need.

    LightGBM copies them out of the file without looking where they end.
    """
    return re.sub(r"\nparameters:.*?(\nend of parameters|\Z)", "", text, flags=re.DOTALL)


def crash_of(kind: str, path: Path, beside: int = 0) -> str | None:
    """Return why ``xgboost``, ``lightgbm``, ``catboost`` or ``onnxruntime`` cannot read a file, or None where it can.

    The library reads it in another process, within limits of time and memory. None too where no process can be started.
    ``beside`` is the number of bytes that the file has in other files.
    """
    most, seconds = limits_of(kind, path, beside)
    question = json.dumps([str(path.resolve()), seconds, most])
    with _asking:
        for attempt in range(2):
            try:
                server = _server(kind)
                server.stdin.write(question + "\n")
                server.stdin.flush()
                answer = server.stdout.readline()
            except OSError:
                answer = ""
            if answer:
                return json.loads(answer)
            ended = _servers.pop(kind, None)
            if ended is None or ended.wait() == 1:  # no process, or no library in it: the caller's import says why
                return None
            if attempt:
                return f"it crashes {kind}"
    return None


def reading_code(kind: str) -> str:
    """Return code that defines ``reason(path)``: why a file cannot be read, or cannot answer rows, or None."""
    ours = "\n".join(map(inspect.getsource, (without_parameters, tree_problem, xgboost_problem, lightgbm_problem)))
    return _READING.replace("{library}", kind).replace("{load}", _LOADS[kind]).replace("{ours}", ours)


def limits_of(kind: str, path: Path, beside: int = 0) -> tuple[int, int]:
    """Return the bytes of memory and the seconds of processor time that reading a file may take.

    ``beside`` is the number of bytes that it has in other files.
    """
    size = path.stat().st_size + beside
    least, per_byte = _BYTES[kind]
    most = min(least + per_byte * size, available_memory() or 1 << 62)
    return most, _SECONDS + (size >> 20) // _MIB_PER_SECOND.get(kind, 1)


def _server(kind: str) -> subprocess.Popen[str]:
    server = _servers.get(kind)
    if server is None or server.poll() is not None:
        server = subprocess.Popen(
            python_command(LIMITS + reading_code(kind) + _SERVING),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        _servers[kind] = server
        server.stdout.readline()  # ready
    return server


@atexit.register
def _end() -> None:
    for server in _servers.values():
        server.kill()
        server.wait()
        server.stdin.close()
        server.stdout.close()
    _servers.clear()
