"""The process behind ``warm.py``: it loads a library once, and its forks run code on one file after the other.

It reads lists from its standard input, pickled and with their size before them: the code to begin with and the code
for each file, then the arguments of each file. It answers with ``(what was written or None, status, seconds)``.
"""

from __future__ import annotations

import io
import math
import os
import pickle
import resource
import struct
import sys
from typing import Any

FILES = 2_000  # for one fork: what a damaged file left behind in it does not stay for ever


def limit(memory: int, seconds: int) -> None:
    """Do what ``limit`` of ``regkd_edge.io.child.LIMITS`` does, by soft limits, which can be set anew for each file."""
    with open("/proc/self/statm") as stream:
        memory += int(stream.read().split()[0]) * resource.getpagesize()
    seconds += math.ceil(spent(resource.RUSAGE_SELF)) + 1  # of whole seconds, of which a part is over
    for what, most in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CPU, seconds)):
        resource.setrlimit(what, (most, resource.getrlimit(what)[1]))


def spent(who: int) -> float:
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


def receive(pipe: int) -> Any:
    """The next message; None at the end."""

    def exactly(size: int) -> bytes:
        found = b""
        while len(found) < size and (part := os.read(pipe, size - len(found))):
            found += part
        return found

    head = exactly(8)
    return pickle.loads(exactly(struct.unpack("<q", head)[0])) if len(head) == 8 else None


def send(pipe: int, message: Any) -> None:
    content = pickle.dumps(message)
    content = struct.pack("<q", len(content)) + content
    while content:
        content = content[os.write(pipe, content) :]


def serve(code: Any, shared: dict[str, Any], answers: int) -> None:
    """Run the code on files until there are no more of them, or enough."""
    for _ in range(FILES):
        arguments = receive(0)
        if arguments is None:
            os._exit(0)
        sys.argv, out, status = ["-c", *arguments], io.BytesIO(), 0
        sys.stdout = io.TextIOWrapper(out, encoding="utf-8", write_through=True)
        before = spent(resource.RUSAGE_SELF)
        try:
            exec(code, dict(shared))
        except BaseException as left:  # an error, or the code's own end
            status = int(not isinstance(left, SystemExit) or bool(left.code))
        for what in (resource.RLIMIT_AS, resource.RLIMIT_CPU):
            resource.setrlimit(what, (resource.getrlimit(what)[1],) * 2)
        send(answers, (None if status else out.getvalue(), status, spent(resource.RUSAGE_SELF) - before))
    os._exit(9)


def main() -> None:
    answers, null = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1), os.dup2(null, 2)  # libraries write about each damaged file
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    begin, each = receive(0)
    shared: dict[str, Any] = {"__name__": "__main__", "limit": limit}
    exec(begin, shared)
    code, ended = compile(each, "reader", "exec"), 9
    while ended:
        before = spent(resource.RUSAGE_CHILDREN)
        child = os.fork()
        if child == 0:
            serve(code, shared, answers)
        ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if ended not in (0, 9):
            send(answers, (None, ended, spent(resource.RUSAGE_CHILDREN) - before))


if __name__ == "__main__":
    main()
