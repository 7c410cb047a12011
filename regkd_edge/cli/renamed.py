"""Flags of version 0.1 under the names that they have now."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["current"]

# Command (None: every command) -> old flag -> flag.
_RENAMED: dict[str | None, dict[str, str]] = {
    None: {"--inputs": "--units"},
    "distill": {"--backend": "--compute", "--candidates": "--ascent-candidates"},
    "quantize": {
        "--inputs": "--describe",
        "--finetune": "--qat",
        "--no-finetune": "--no-qat",
        "--finetune-steps": "--qat-steps",
        "--finetune-lr": "--qat-lr",
        "--report": "--rank-layers",
        "--no-report": "--no-rank-layers",
        "--target": "--platform",
    },
    "build": {"--header": "--c-header"},
    "check": {"--target": "--platform"},
    "bundle": {
        "--target": "--platform",
        "--output": "--out",
        "--rows": "--evaluate-on",
        "--most-rows": "--max-rows",
    },
}


def current(arguments: Sequence[str]) -> list[str]:
    """Return the arguments of a command line with old flags under their new names; values are left alone."""
    command = next((word for word in arguments if not word.startswith("-")), None)
    names = {**_RENAMED[None], **_RENAMED.get(command, {})}
    result = []
    for before, word in zip(["", *arguments], arguments):
        if (command, before, word) == ("distill", "--qat", "int8"):  # it had a value, and only that one
            continue
        flag, equals, value = word.partition("=")
        result.append(names.get(flag, flag) + equals + value if word.startswith("--") else word)
    return result
