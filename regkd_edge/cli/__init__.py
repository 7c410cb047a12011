"""The command line: one short module a command, no logic of its own."""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Entry point of ``regkd-edge``."""
    from .app import run_app

    run_app()
