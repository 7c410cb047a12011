"""Readers of possibly damaged files, whose errors say where the damage is and what was read there.

A truncated file ends in the middle of something, and a garbled one holds unexpected content. Both are for the
user to fix, so the cause names the line and column (text) or the bytes met and expected (binary).
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import yaml

from ..errors import RunFolderError, UserError

__all__ = ["archive_problem", "read_json", "read_yaml", "tensors_problem", "unreadable", "yaml_line"]

_MOST = 40  # characters of a line shown in messages
_LARGEST_HEADER = 100_000_000  # bytes, the limit of the safetensors format


def read_json(path: str | Path, remedy: str) -> Any:
    """Read a JSON file of a run.

    Raises
    ------
    RunFolderError
        Not readable, truncated or garbled: line, column and what was read there.
    FileNotFoundError
        The file does not exist; the caller decides what that means.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise
    except json.JSONDecodeError as error:
        raise RunFolderError(f"'{path}' is corrupt: {_json_problem(error)}.", remedy) from None
    except (OSError, UnicodeDecodeError, RecursionError) as error:
        raise RunFolderError(f"'{path}' is corrupt: {unreadable(error)}.", remedy) from None


def read_yaml(path: str | Path, kind: type[UserError] = UserError) -> Any:
    """Read a YAML file; a duplicate field is an error, since it is unknown which one was meant.

    Raises
    ------
    UserError
        Or the given ``kind``: no file, not readable, or not YAML, with the line, the column and what was read there.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
        return yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
    except FileNotFoundError:
        raise kind(f"no file '{path}'.", "Give the path of a YAML file.") from None
    except yaml.YAMLError as error:
        raise kind(f"'{path}' is not YAML: {_yaml_problem(error, text)}.", "Fix that line.") from None
    except (OSError, UnicodeDecodeError, RecursionError) as error:
        raise kind(f"'{path}' cannot be read: {unreadable(error)}.", "Give a readable YAML file.") from None
    except ValueError as error:  # a scalar that looks like a date but is not one
        raise kind(f"'{path}' holds a value that cannot be read: {error}.", "Put it in quotes if it is text.") from None


def yaml_line(path: str | Path, field: str) -> int | None:
    """The line, from 1, at which a dotted field stands in a YAML file; None where it does not."""
    try:
        node = yaml.compose(Path(path).read_text(encoding="utf-8-sig"), Loader=_Loader)  # noqa: S506 - a SafeLoader
    except (OSError, ValueError, yaml.YAMLError):
        return None
    line = None
    for part in field.split("."):
        if not isinstance(node, yaml.MappingNode):
            return line
        found = next(((key, value) for key, value in node.value if getattr(key, "value", None) == part), None)
        if found is None:
            return line
        line, node = found[0].start_mark.line + 1, found[1]
    return line


def unreadable(error: OSError | UnicodeDecodeError | RecursionError) -> str:
    """Return why a text file could not be read, in plain words."""
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start} is 0x{error.object[error.start]:02x}, which is not UTF-8 text"
    if isinstance(error, RecursionError):
        return "its brackets are nested too deep"
    return error.strerror or str(error)


def tensors_problem(path: str | Path) -> str | None:
    """Return what is wrong with a safetensors file, or None if its header and its size agree.

    The format: 8 bytes length of the header, the header as JSON, the data that it describes.
    """
    size = os.path.getsize(path)
    with open(path, "rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if size < 8:
            return f"it has {size} bytes, too few for a header"
        if length > min(size - 8, _LARGEST_HEADER):
            return (
                f"it declares a header of {length:,} bytes but {size - 8:,} follow: it is truncated, or not safetensors"
            )
        content = stream.read(length)
    try:
        header = json.loads(content.decode("utf-8"))
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        if not all(type(end) is int for end in ends):
            raise TypeError  # the same answer as for a header of another shape
        data = max(ends, default=0)
    except json.JSONDecodeError as error:
        return f"its header is not JSON: {_json_problem(error)}"
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
        return "its header does not describe tensors"
    if data != size - 8 - length:
        return f"its header describes {data:,} bytes of numbers, but the file holds {size - 8 - length:,}"
    return None


def archive_problem(path: str | Path, error: Exception) -> str:
    """Return what is wrong with an NPZ file (a zip archive of arrays)."""
    size = os.path.getsize(path)
    with open(path, "rb") as stream:
        begin = stream.read(4)
    if size < 4:
        return f"it has {size} bytes" if size else "it is empty"
    if not begin.startswith(b"PK"):
        return f"it begins with {begin!r}, and an NPZ file begins with b'PK'"
    if "not a zip file" in str(error):
        return f"after {size:,} bytes it ends without the list of its arrays: it is truncated"
    return str(error).strip(".") or type(error).__name__


def _json_problem(error: json.JSONDecodeError) -> str:
    if not error.doc.strip():
        return "it is empty"
    place = f"line {error.lineno}, column {error.colno}"
    if error.pos >= len(error.doc.rstrip()) or error.msg.startswith("Unterminated string"):
        return f"it ends in the middle, at {place}: {_read(error.doc, error.pos)}"
    return f"{place}: {error.msg[0].lower()}{error.msg[1:]}, {_read(error.doc, error.pos)}"


def _read(text: str, position: int) -> str:
    """Return the line up to its end, from a little before the place."""
    start = max(text.rfind("\n", 0, position) + 1, position - _MOST // 2)
    line = text[start : start + _MOST].split("\n")[0].strip()
    return f"read {line!r}" if line else "nothing follows"


def _yaml_problem(error: yaml.YAMLError, text: str) -> str:
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        column = error.position - (text.rfind("\n", 0, error.position) + 1) + 1
        return f"line {line}, column {column}: met the character 0x{ord(text[error.position]):02x}, expected text"
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return str(error)
    problem = (error.problem or error.context).replace("'<stream end>'", "the end of the file")
    begun = getattr(error, "context_mark", None)
    since = ""
    if begun is not None and error.context and begun.index < mark.index:
        since = f" ({error.context}, begun at line {begun.line + 1}, column {begun.column + 1})"
    lines = text.splitlines()
    at = min(mark.line, len(lines) - 1)
    reads = f"line {at + 1} reads {lines[at].strip()[:_MOST]!r}"
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}{since}; {reads}"


class _Loader(yaml.SafeLoader):
    """Loader that refuses duplicate keys, of which PyYAML silently takes the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: dict[str, yaml.Node] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    first = seen[key.value].start_mark
                    raise yaml.MarkedYAMLError("the first", first, f"met the field '{key.value}' twice", key.start_mark)
                seen[key.value] = key
        return super().construct_mapping(node, deep)
