"""The log of a run folder, ``run.log``: what was called, which stages ran, notes, errors; --verbose shows it too."""

from __future__ import annotations

import contextlib
import logging
import os
import shlex
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from .. import __version__
from ..errors import UserError
from .screen import say, settings

__all__ = ["LOG", "log", "logged"]

LOG = "run.log"
_MOST = 5_000_000  # bytes; a longer log is renamed to run.log.1 first

log = logging.getLogger("regkd_edge.cli")


class _Quietly(logging.StreamHandler):
    """A handler that never disturbs the work it describes: a full disk loses a line of the log and nothing else."""

    def handleError(self, record: logging.LogRecord) -> None:
        pass


class _OnScreen(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        say(record.getMessage(), dim=True)


@contextlib.contextmanager
def logged(folder: Path) -> Iterator[None]:
    """Append to the folder's ``run.log`` within the block, the error that ends it included."""
    log.setLevel(logging.DEBUG)
    log.propagate = False
    handlers: list[logging.Handler] = []
    with contextlib.suppress(OSError):  # a folder that takes no log is still worth reading
        handlers.append(_Quietly(_opened(folder / LOG)))
        line = logging.Formatter("%(asctime)sZ %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S")
        line.converter = time.gmtime
        handlers[0].setFormatter(line)
    if settings.verbose:
        handlers.append(_OnScreen(logging.INFO))
    for handler in handlers:
        log.addHandler(handler)
    log.info("regkd-edge %s: %s", __version__, shlex.join(sys.argv[1:]))
    try:
        yield
    except UserError as error:
        log.error("%s %s", error.cause, error.remedy)
        raise
    except KeyboardInterrupt:
        log.warning("interrupted")
        raise
    except Exception:
        log.exception("failed")
        raise
    finally:
        for handler in handlers:
            log.removeHandler(handler)
            with contextlib.suppress(OSError):
                if isinstance(handler, _Quietly):
                    handler.stream.close()


def _opened(path: Path):  # noqa: ANN202
    """Open the log for appending; a link in its place is refused, since it would lead out of the folder."""
    with contextlib.suppress(FileNotFoundError):
        if path.stat(follow_symlinks=False).st_size > _MOST:
            os.replace(path, path.with_name(f"{LOG}.1"))
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    return os.fdopen(os.open(path, flags, 0o666), "a", encoding="utf-8", errors="backslashreplace")
