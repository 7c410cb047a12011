"""Files that may be damaged or hostile, read so that the message says where, and what stood there.

A file that was cut ends in the middle of something, a garbled one holds something else than was expected: so the
cause names the line and column (text) or the bytes met and expected (binary). A pipe, a device, or a file larger than
its kind ever is (:mod:`.limits`) is refused before it is read.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ..errors import RunFolderError, UserError
from .limits import (
    JSON_BYTES,
    JSON_VALUES,
    NESTING,
    NUMBER_DIGITS,
    TENSORS_HEADER_BYTES,
    YAML_BYTES,
)
from .regular import read_bytes
from .yaml_loader import Loader

__all__ = [
    "parse_json",
    "read_json",
    "read_json_object",
    "read_yaml",
    "tensors_problem",
    "unreadable",
]

_MOST = 40  # characters of a line that are shown


def read_json(path: str | Path, remedy: str) -> Any:
    """Return the content of a JSON file of a run.

    Raises
    ------
    RunFolderError
        Not readable, truncated or garbled: line, column and what was read there.
    FileNotFoundError
        The file does not exist; the caller decides what that means.
    """
    try:
        return parse_json(read_bytes(path, JSON_BYTES))
    except FileNotFoundError:
        raise
    except OSError as error:
        raise RunFolderError(f"'{path}' cannot be read: {unreadable(error)}.", remedy) from None
    except ValueError as error:
        raise RunFolderError(f"'{path}' is corrupt: {error}.", remedy) from None


def read_json_object(path: str | Path, remedy: str) -> dict[str, Any]:
    """Return the content of a JSON file that holds an object; a missing one is a :class:`RunFolderError` too."""
    try:
        content = read_json(path, remedy)
    except FileNotFoundError:
        raise RunFolderError(f"no file '{path}'.", remedy) from None
    if not isinstance(content, dict):
        raise RunFolderError(f"'{path}' is corrupt: it holds no fields.", remedy)
    return content


def parse_json(content: bytes) -> Any:
    """Return the value of strict JSON text in UTF-8.

    Without NaN and infinities, without equal keys, with numbers, depth and count within :mod:`.limits`.

    Raises
    ------
    ValueError
        One line that says where and what.
    """
    try:
        text = content.decode("utf-8")
        _check_shape(content)
        return json.loads(
            text, parse_int=_integer, parse_float=_real, parse_constant=_constant, object_pairs_hook=_object
        )
    except json.JSONDecodeError as error:
        raise ValueError(_json_problem(error)) from None
    except (UnicodeDecodeError, RecursionError) as error:
        raise ValueError(unreadable(error)) from None


_OPEN, _CLOSE = [[ord(c) for c in pair] for pair in ("[{", "]}")]


def _check_shape(content: bytes) -> None:
    """Refuse too many or too deeply nested values before any is made."""
    if len(content) < NESTING:
        return
    # A regular expression that cuts the strings out takes 20 bytes for each byte of a file of short ones.
    marks = np.frombuffer(content.replace(b"\\\\", b"").replace(b'\\"', b""), np.uint8)
    outside = marks[np.cumsum(marks == ord('"'), dtype=np.uint8) % 2 == 0]  # parity survives the overflow
    opens, commas = np.isin(outside, _OPEN), outside == ord(",")
    values = int(opens.sum()) + int(commas.sum()) + 1
    if values > JSON_VALUES:
        raise ValueError(f"it holds about {values:,} values, expected at most {JSON_VALUES:,}")
    steps = opens.astype(np.int8) - np.isin(outside, _CLOSE)
    deepest = int(np.cumsum(steps[steps != 0], dtype=np.int64).max(initial=0))
    if deepest > NESTING:
        raise ValueError(f"its brackets are nested too deep: {deepest:,} levels, expected at most {NESTING}")


def _integer(digits: str) -> int:
    if len(digits.lstrip("-")) > NUMBER_DIGITS:
        raise ValueError(f"it holds a whole number of {len(digits.lstrip('-')):,} digits, expected at most 20")
    return int(digits)


def _real(digits: str) -> float:
    value = float(digits) if len(digits) <= 100 else math.inf
    if not math.isfinite(value):
        raise ValueError(f"it holds the number {digits[:_MOST]}, which is beyond the range of float64")
    return value


def _constant(name: str) -> float:
    raise ValueError(f"it holds {name}, expected finite numbers")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        names = [name for name, _ in pairs]
        seen: set[str] = set()
        twice = next(name for name in names if name in seen or seen.add(name))
        raise ValueError(f"it holds the field {twice[:_MOST]!r} twice")
    return content


def read_yaml(path: str | Path, kind: type[UserError] = UserError) -> Any:
    """Return the content of a YAML file; a field that stands there twice is an error, for either may be meant.

    Raises
    ------
    UserError
        Or the given ``kind``: no file, not readable, or not YAML, with the line, the column and what was read there.
    """
    path = Path(path)
    try:
        text = read_bytes(path, YAML_BYTES).decode("utf-8-sig")
        return yaml.load(text, Loader)  # noqa: S506 - a SafeLoader
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
        node = yaml.compose(Path(path).read_text(encoding="utf-8-sig"), Loader=Loader)  # noqa: S506 - a SafeLoader
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
    """Return why a text file could not be read, without Python's words for it."""
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
        if length > min(size - 8, TENSORS_HEADER_BYTES):
            return (
                f"it declares a header of {length:,} bytes but {size - 8:,} follow: it is truncated, or not safetensors"
            )
        content = stream.read(length)
    try:
        header = parse_json(content)
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        if not all(type(end) is int for end in ends):
            raise TypeError  # the same answer as for a header of another shape
        data = max(ends, default=0)
    except ValueError as error:
        return f"its header is not JSON: {error}"
    except (KeyError, TypeError, IndexError, AttributeError):
        return "its header does not describe tensors"
    if data != size - 8 - length:
        return f"its header describes {data:,} bytes of numbers, but the file holds {size - 8 - length:,}"
    return None


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
