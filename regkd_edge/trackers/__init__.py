"""A finished run written to the trackers that a team already uses, by choice: ``--log tensorboard|mlflow``."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence

from ..errors import NotAvailable
from ..report.collect import Report
from ..run import RunFolder
from .content import content_of

__all__ = ["TRACKERS", "log_run", "require_trackers"]

#: Tracker -> what has to be importable.
TRACKERS = {"tensorboard": ("torch", "tensorboard"), "mlflow": ("mlflow",)}


def require_trackers(names: Sequence[str]) -> None:
    """Raise :class:`NotAvailable` for the first tracker whose package is not installed."""
    for name in names:
        for package in TRACKERS[name]:
            if importlib.util.find_spec(package) is None:
                raise NotAvailable(
                    f"--log {name} needs the package '{package}', which is not installed.",
                    "Run: pip install 'regkd-edge[trackers]', or leave --log out.",
                )


def log_run(run: RunFolder, report: Report, names: Sequence[str]) -> list[str]:
    """Write the curves, figures and artefacts of a run to each tracker.

    Returns
    -------
    list of str
        A line per tracker: where it was written.
    """
    require_trackers(names)
    content = content_of(run, report) if names else None
    return [importlib.import_module(f"{__name__}.{name}_log").write(run, content) for name in names]
