"""Processes of the command line that start at once: copies of one that has imported what they need."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime  # noqa: F401 - before the copies are made
import torch
import torch._inductor

import regkd_edge.cli.app  # noqa: F401
import regkd_edge.export.check
import regkd_edge.export.onnx
import regkd_edge.stages.distill
import regkd_edge.stages.report
import regkd_edge.training.train  # noqa: F401

__all__ = ["CLI", "Warm", "start"]

CLI = "import sys; sys.argv[0] = 'regkd-edge'; from regkd_edge.cli import main; main()"


@dataclass
class Warm:
    """A process that was started, and the files of what it says."""

    process: Any
    out: Path
    err: Path

    def alive(self) -> bool:
        return self.process.is_alive()

    def interrupt(self) -> None:
        """Send Ctrl-C."""
        os.kill(self.process.pid, signal.SIGINT)

    def ended(self, seconds: float = 120) -> tuple[str, str, int]:
        """Wait for its end; return stdout, stderr and the exit code."""
        self.process.join(seconds)
        if self.process.exitcode is None:
            self.process.kill()
            raise TimeoutError(self.err.read_text())
        return self.out.read_text(), self.err.read_text(), self.process.exitcode


def start(folder: Path, code: str, arguments: tuple[Any, ...], environment: dict[str, str]) -> Warm:
    """Start ``code`` with arguments and more environment variables; what it says is kept in ``folder``."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    number = len(list(folder.glob("*.out")))
    out, err = (folder / f"{number}.{name}" for name in ("out", "err"))
    for path in (out, err):
        path.touch()
    words = [str(word) for word in arguments]
    process = context.Process(target=_act, args=(code, words, environment, str(out), str(err)))
    process.start()
    return Warm(process, out, err)


def _act(code: str, arguments: list[str], environment: dict[str, str], out: str, err: str) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a child of tests in the background would ignore Ctrl-C
    os.environ.update(environment)
    torch.set_num_threads(1)
    for descriptor, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY), descriptor)
    sys.stdout, sys.stderr = (os.fdopen(descriptor, "w", closefd=False) for descriptor in (1, 2))
    sys.argv = ["-c", *arguments]
    exec(code, {"__name__": "__main__"})  # noqa: S102
