"""The command line: the app, its commands (:mod:`.commands`), and what they share: options, terminal, tables."""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Run the command line; the entry point of ``regkd-edge``."""
    try:
        from .app import run_app
    except KeyboardInterrupt:  # Ctrl-C during import: nothing has started
        raise SystemExit(130) from None
    run_app()
