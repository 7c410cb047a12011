"""Children that read one file after the other, for readers whose library works in a process of its own.

The package starts Python for every such file, or forks: 20 to 300 ms, nearly all of the time of a spoiled input. Here a
child with the library loaded runs the same code under the same limits until it dies of a file, and is then replaced.
The limits are soft ones, which can be set anew for each file.
"""

from __future__ import annotations

import contextlib
import faulthandler
import io
import json
import math
import os
import pickle
import resource
import signal
import struct
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

__all__ = ["processor_seconds", "warm_children"]

_FILES = 2_000  # for one child: what a damaged file left behind in it does not stay for ever
_children: dict[str, _Child] = {}
_spent = 0.0


def processor_seconds() -> float:
    """Processor time that children which still live have spent; what dead ones spent is the caller's, by waiting."""
    return _spent


def _limit(memory: int, seconds: int) -> None:
    """Do what ``limit`` of :data:`regkd_edge.io.child.LIMITS` does, for the next file alone."""
    with open("/proc/self/statm") as stream:
        memory += int(stream.read().split()[0]) * resource.getpagesize()
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds += math.ceil(used.ru_utime + used.ru_stime) + 1  # of whole seconds, of which a part is over
    for what, most in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CPU, seconds)):
        resource.setrlimit(what, (most, resource.getrlimit(what)[1]))


class _Child:
    """A fork of this process that runs ``code`` once for each list of arguments it is sent."""

    def __init__(self, code: str):
        for line in code.splitlines():
            if line.startswith(("import ", "from ")):
                exec(line, {})  # loaded here, once for all children
        (there, self.asked), (self.answered, here) = os.pipe(), os.pipe()
        self.files, self.pid = 0, os.fork()
        if self.pid == 0:
            os.close(self.asked), os.close(self.answered)
            for child in _children.values():  # a pipe ends when nobody else holds it
                os.close(child.asked), os.close(child.answered)
            _serve(compile(code, "reader", "exec"), os.fdopen(there, "rb"), os.fdopen(here, "wb"))
        os.close(there), os.close(here)

    def ask(self, arguments: Sequence[str]) -> tuple[bytes | None, float]:
        """What the code wrote (None: it left with an error) and the processor time; EOFError where the child died."""
        self.files += 1
        with contextlib.suppress(BrokenPipeError):
            _send(self.asked, pickle.dumps(list(arguments)))
        size = struct.unpack("<q", _receive(self.answered, 8))[0]
        return pickle.loads(_receive(self.answered, size))

    def end(self) -> int:
        """Close its pipes and return how it ended: its status, negative for a signal."""
        os.close(self.asked), os.close(self.answered)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def _send(pipe: int, content: bytes) -> None:
    content = struct.pack("<q", len(content)) + content
    while content:
        content = content[os.write(pipe, content) :]


def _receive(pipe: int, size: int) -> bytes:
    found = b""
    while len(found) < size:
        part = os.read(pipe, min(size - len(found), 1 << 20))
        if not part:
            raise EOFError
        found += part
    return found


def _serve(code, questions, answers) -> None:
    faulthandler.disable()  # crashes are looked for
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGXCPU, signal.SIG_DFL)
    while head := questions.read(8):
        arguments = pickle.loads(questions.read(struct.unpack("<q", head)[0]))
        sys.argv, out, status = ["-c", *arguments], io.BytesIO(), 0
        sys.stdout = io.TextIOWrapper(out, encoding="utf-8", write_through=True)
        before = resource.getrusage(resource.RUSAGE_SELF)
        try:
            exec(code, {"__name__": "__main__", "limit": _limit})
        except BaseException as left:  # an error, or the code's own end
            status = 0 if isinstance(left, SystemExit) and not left.code else 1
        after = resource.getrusage(resource.RUSAGE_SELF)
        for what in (resource.RLIMIT_AS, resource.RLIMIT_CPU):
            resource.setrlimit(what, (resource.getrlimit(what)[1],) * 2)
        took = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        said = pickle.dumps((None if status else out.getvalue(), took))
        answers.write(struct.pack("<q", len(said)) + said)
        answers.flush()
    os._exit(0)


def _run(code: str, arguments: Sequence[object], memory: int, seconds: int) -> tuple[bytes | None, int]:
    """What the code wrote, or None and the status with which it ended."""
    global _spent
    child = _children.get(code)
    if child is not None and child.files >= _FILES:
        _children.pop(code).end()
        child = None
    child = child or _children.setdefault(code, _Child(code))
    try:
        written, took = child.ask([str(memory), str(seconds), *map(str, arguments)])
        _spent += took
        return written, 0 if written is not None else 1
    except EOFError:
        return None, _children.pop(code).end()


def _run_limited(code: str, arguments: Sequence[object], memory: int, seconds: int) -> bytes | None:
    return _run(code, arguments, memory, seconds)[0]


def _crash_of(kind: str, path: Path) -> str | None:
    from regkd_edge.models.teachers import probe

    code = f"{probe.reading_code(kind)}\nimport json, sys\nlimit(int(sys.argv[1]), int(sys.argv[2]))\n"
    code += "print(json.dumps(reason(sys.argv[3])))\n"
    said, status = _run(code, [path.resolve()], *probe.limits_of(path))
    if said is not None:
        return json.loads(said)
    slow = status in (-signal.SIGXCPU, -signal.SIGKILL)
    return "reading it does not end" if slow else f"it crashes {kind}"


@contextlib.contextmanager
def warm_children() -> Iterator[None]:
    """Within the block, the package's readers that start a process ask a child that lives on."""
    from regkd_edge.data.reading import mat, workbook
    from regkd_edge.models.teachers import estimators

    places = ((mat, "run_limited", _run_limited), (workbook, "run_limited", _run_limited))
    places = (*places, (estimators, "crash_of", _crash_of))
    kept = [getattr(module, name) for module, name, _ in places]
    try:
        for module, name, other in places:
            setattr(module, name, other)
        yield
    finally:
        for (module, name, _), own in zip(places, kept):
            setattr(module, name, own)
        for code in list(_children):
            _children.pop(code).end()
