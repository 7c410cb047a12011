"""Python in a process of its own, for libraries that a damaged file can crash,
stop for ever or fill the memory with."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

__all__ = ["LIMITS", "python_command", "run_limited"]

# ``python -c`` imports from the current folder first: a json.py in a folder that somebody sent would run.
_SAFE_PATH = "import sys\nsys.path[:] = [place for place in sys.path if place]\n"

#: Code that defines ``limit(memory, seconds)``: bytes beyond what the process has now, and processor time from now on.
LIMITS = """
def limit(memory, seconds):
    try:
        import resource
        with open("/proc/self/statm") as stream:
            memory += int(stream.read().split()[0]) * resource.getpagesize()
        used = resource.getrusage(resource.RUSAGE_SELF)
        seconds += int(used.ru_utime + used.ru_stime) + 1
        for what, most in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CPU, seconds), (resource.RLIMIT_CORE, 0)):
            resource.setrlimit(what, (most, most))
    except (ImportError, OSError, ValueError):
        pass  # no limits on this system, or tighter ones already
"""


def python_command(code: str) -> list[str]:
    """Return the command that runs ``code`` by this interpreter, with nothing imported from the current folder."""
    return [sys.executable, "-c", _SAFE_PATH + code]


def run_limited(code: str, arguments: Sequence[object], memory: int, seconds: int) -> bytes | None:
    """Return what ``code`` writes to its standard output; None where it crashed or reached a limit.

    Parameters
    ----------
    code : str
        It imports its library, calls ``limit(memory, seconds)`` with the first two of its arguments, and works.
    arguments
        Further arguments, from ``sys.argv[3]`` on.
    memory : int
        Bytes beyond what the process has once the library is loaded.
    seconds : int
        Of processor time, from then on.
    """
    command = [*python_command(LIMITS + code), str(memory), str(seconds), *map(str, arguments)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True)
    return None if done.returncode else done.stdout
