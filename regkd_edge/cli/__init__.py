"""The command line: one short module a command, no logic of its own."""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Entry point of ``regkd-edge``."""
    try:
        from .app import run_app
    except KeyboardInterrupt:  # Ctrl-C while the modules are read: nothing was begun
        raise SystemExit(130) from None
    run_app()
