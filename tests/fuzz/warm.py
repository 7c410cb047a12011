"""Children that read one file after the other, for readers whose library works in a process of its own.

The package starts Python for every such file, or forks: 20 to 300 ms, nearly all of the time of a spoiled input. Here
the same code runs under the same limits in a child that has the library loaded and is replaced when it dies of a file.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from .warm_child import receive, send

__all__ = ["processor_seconds", "warm_children"]

_children: dict[str, subprocess.Popen[bytes]] = {}
_spent = 0.0


def processor_seconds() -> float:
    """Processor time that the children have spent on files."""
    return _spent


def _run(begin: str, each: str, arguments: Sequence[object], memory: int, seconds: int) -> tuple[bytes | None, int]:
    """What ``each`` wrote, or None, and the status with which it ended; ``begin`` ran before it."""
    global _spent
    child = _children.get(each)
    if child is None:
        command = [sys.executable, Path(__file__).with_name("warm_child.py")]
        child = _children[each] = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        send(child.stdin.fileno(), (begin, each))
    send(child.stdin.fileno(), [str(memory), str(seconds), *map(str, arguments)])
    written, status, took = receive(child.stdout.fileno())
    _spent += took
    return written, status


def _run_limited(code: str, arguments: Sequence[object], memory: int, seconds: int) -> bytes | None:
    loads = "\n".join(line for line in code.splitlines() if line.startswith(("import ", "from ")))
    return _run(loads, code, arguments, memory, seconds)[0]


def _crash_of(kind: str, path: Path, beside: int = 0) -> str | None:
    from regkd_edge.models.teachers import probe

    each = "import json, sys\nlimit(int(sys.argv[1]), int(sys.argv[2]))\nprint(json.dumps(reason(sys.argv[3])))\n"
    said, status = _run(
        probe.reading_code(kind), f"# {kind}\n{each}", [path.resolve()], *probe.limits_of(kind, path, beside)
    )
    if said is not None:
        return json.loads(said.splitlines()[-1])  # a library may have written before it
    slow = status in (-signal.SIGXCPU, -signal.SIGKILL)
    return "reading it does not end" if slow else f"it crashes {kind}"


@contextlib.contextmanager
def warm_children() -> Iterator[None]:
    """Within the block, the package's readers that start a process ask a child that lives on."""
    from regkd_edge.data.reading import mat, workbook
    from regkd_edge.models.teachers import estimators
    from regkd_edge.models.teachers.onnx import file as onnx_file

    places = (
        (mat, "run_limited", _run_limited), (workbook, "run_limited", _run_limited),
        (estimators, "crash_of", _crash_of), (onnx_file, "crash_of", _crash_of),
    )  # fmt: skip
    kept = [getattr(module, name) for module, name, _ in places]
    try:
        for module, name, other in places:
            setattr(module, name, other)
        yield
    finally:
        for (module, name, _), own in zip(places, kept):
            setattr(module, name, own)
        while _children:
            _, child = _children.popitem()
            child.stdin.close(), child.stdout.close()
            child.wait()
