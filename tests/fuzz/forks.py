"""Forks of a process that has its libraries loaded, each of which reads one file: none pays for the imports again.

What a fork takes is its own: its peak of memory begins at what the process behind it holds, its processor time at 0.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

__all__ = ["Forks"]

ROOT = Path(__file__).parents[2]

_PROCESS = '''
import json, os, resource, signal, sys, time
sys.path.insert(0, sys.argv[1])

def highest():
    """Megabytes; a process inherits the figure of getrusage from the one that started it."""
    try:
        own = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return (own + resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) / 1024

import regkd_edge.bundle, regkd_edge.config, regkd_edge.data
from regkd_edge.errors import UserError
foreign = sys.argv[2] == "torch"
if foreign:
    import onnx, onnxruntime, sklearn, torch
    import regkd_edge.models.teachers

def read(path, code, seconds, patience):
    signal.alarm(patience)  # one that waits for a pipe takes no processor time
    loaded = highest() if foreign else 0.0
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds += int(used.ru_utime + used.ru_stime)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    started = time.monotonic()
    try:
        exec(code, {"path": path})
        said = None
    except UserError as error:
        said = str(error)
    return said, time.monotonic() - started, highest() - loaded

for line in sys.stdin:
    request = json.loads(line)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            errors = os.open(request["errors"], os.O_WRONLY | os.O_CREAT)
            os.dup2(errors, 2)
            answer = json.dumps(read(*request["read"]))
            with open(request["answer"], "w") as out:
                out.write(answer)
            status = 0
        except BaseException:
            import traceback
            traceback.print_exc()
            sys.stderr.flush()
        os._exit(status)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
'''


class Forks:
    """``foreign``: torch, ONNX Runtime and scikit-learn are loaded, and only what is added to them counts."""

    def __init__(self, foreign: bool):
        command = [sys.executable, "-c", _PROCESS, ROOT, "torch" if foreign else ""]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def read(self, path: str, code: str, seconds: int, folder: Path) -> tuple[str | None, float, float]:
        """Run ``code``, which reads ``path``, in a fork: the line of a ``UserError`` or None, seconds, megabytes.

        It fails where the fork ends otherwise, takes more than ``seconds`` of processor time, or waits for a minute.
        """
        request = {"read": [path, code, seconds, 60], "answer": str(folder / "said"), "errors": str(folder / "errors")}
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        status = int(self.process.stdout.readline())
        assert status == 0, f"status {status}: {(folder / 'errors').read_text()}"
        return tuple(json.loads((folder / "said").read_text()))

    def close(self) -> None:
        self.process.kill()  # it keeps nothing, and Python's end with all these libraries takes a second
        self.process.communicate()
