"""How a field of the configuration is typed on the command line, in a YAML file and in Python."""

from __future__ import annotations

__all__ = ["dotted", "flag_of", "negated"]

# A switch whose opposite is not --no-SWITCH.
_OFF = {"--no-data": "--with-data"}


def flag_of(field: str) -> str:
    """``distill.w_gm`` -> ``--w-gm``."""
    return "--" + field.rsplit(".", 1)[-1].replace("_", "-")


def negated(flag: str) -> str:
    """``--sweep`` -> ``--no-sweep``."""
    return _OFF.get(flag, f"--no-{flag[2:]}")


def dotted(place: tuple[int | str, ...]) -> str:
    """A place that pydantic names as a dotted field; the validators on the way are left out."""
    return ".".join(str(part) for part in place if not str(part).startswith(("function-", "constrained-", "union_")))
