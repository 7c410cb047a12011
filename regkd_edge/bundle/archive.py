"""The archive: a gzipped tar, reproducible byte for byte, and not trusted until its hashes are checked.

The first member is ``bundle.json``. It lists every other member with its size and SHA-256; a member that is not listed,
listed and missing, changed, or not a plain file is refused by name, and nothing of such an archive is left on disk.
The list is not signed: it reveals damage and mix-ups. Against forgery, compare the archive's own SHA-256.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import os
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import RunFolderError
from ..io.files import write_atomic

__all__ = ["LIST", "read_archive", "unpack", "verify_folder", "write_archive"]

LIST = "bundle.json"
FORMAT = 1
_LARGEST_LIST = 1 << 20
_LARGEST = 1 << 28  # bytes of all members together: a bundle is small, and a larger list is not valid
_REMEDY = "Copy the archive again, or create it again: regkd-edge bundle RUN --target TARGET."


def write_archive(path: str | Path, header: Mapping[str, Any], files: Mapping[str, bytes]) -> dict[str, Any]:
    """Write an archive atomically.

    Parameters
    ----------
    path : path
        Should end in ``.tar.gz``.
    header : mapping
        The content of ``bundle.json`` besides ``format`` and ``files``.
    files : mapping of str to bytes
        Relative path with forward slashes -> content.

    Returns
    -------
    dict
        The content of ``bundle.json``. Equal header and files give equal bytes (no times, owners or file-system order).
    """
    for name in files:
        _checked_name(name, path)
    listed = {
        name: {"sha256": hashlib.sha256(files[name]).hexdigest(), "bytes": len(files[name])} for name in sorted(files)
    }
    content = {"format": FORMAT, **header, "files": listed}
    members = {
        LIST: (json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode(),
        **{name: files[name] for name in listed},
    }
    with write_atomic(path) as temporary, open(temporary, "wb") as stream:
        with gzip.GzipFile(filename="", mode="wb", fileobj=stream, mtime=0) as packed:
            with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar:
                for name, data in members.items():
                    member = tarfile.TarInfo(name)
                    member.size, member.mode, member.mtime = len(data), 0o644, 0
                    tar.addfile(member, io.BytesIO(data))
    return content


def read_archive(path: str | Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return ``bundle.json`` and the files of an archive, all of them checked.

    Raises
    ------
    RunFolderError
        No such file, not an archive, or a member that does not match the list; the message names it.
    """
    path = Path(path)
    if not path.is_file():
        raise RunFolderError(f"no bundle '{path}'.", "Give the .tar.gz that 'regkd-edge bundle' wrote.")
    files: dict[str, bytes] = {}
    content: dict[str, Any] | None = None
    with _damage_named(path), tarfile.open(path, mode="r:gz") as tar:
        for member in tar:
            if content is None:
                content = _list_of(tar, member, path)
                continue
            _checked_name(member.name, path)
            if not member.isreg():
                raise RunFolderError(f"'{member.name}' of bundle '{path}' is not a plain file.", _REMEDY)
            if member.name in files:
                raise RunFolderError(f"'{member.name}' is in bundle '{path}' twice.", _REMEDY)
            if member.name not in content["files"]:
                raise RunFolderError(f"'{member.name}' of bundle '{path}' is not listed in its {LIST}.", _REMEDY)
            if member.size != content["files"][member.name]["bytes"]:
                raise _changed(
                    member.name, path, f"{member.size} bytes", f"{content['files'][member.name]['bytes']} bytes"
                )
            stream = tar.extractfile(member)
            files[member.name] = stream.read(member.size)
            _check_hash(member.name, files[member.name], content, path)
    if content is None:
        raise RunFolderError(f"'{path}' is an empty archive.", _REMEDY)
    for name in content["files"]:
        if name not in files:
            raise RunFolderError(f"'{name}' is missing from bundle '{path}'.", _REMEDY)
    return content, files


def unpack(path: str | Path, folder: str | Path) -> dict[str, Any]:
    """Unpack a checked archive into a new or empty folder; return ``bundle.json``.

    A folder that holds this bundle already is checked against it (:func:`verify_folder`) and reused.
    """
    path, folder = Path(path), Path(folder)
    content, files = read_archive(path)
    listing = _member(path, LIST)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        if not (folder / LIST).is_file() or (folder / LIST).read_bytes() != listing:
            raise RunFolderError(
                f"'{folder}' exists and does not hold this bundle.", "Choose another folder, or remove it."
            )
        verify_folder(folder)
        return content
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".tmp", dir=folder.parent))
        try:
            for name, data in {**files, LIST: listing}.items():
                target = temporary / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data)
            os.chmod(temporary, 0o755)
            if folder.is_dir():
                folder.rmdir()
            os.replace(temporary, folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise RunFolderError(
            f"cannot write '{folder}': {error.strerror or error}.", "Free space, or choose a writable folder."
        ) from error
    return content


def verify_folder(folder: str | Path) -> dict[str, Any]:
    """Check an unpacked bundle against its list; a missing or changed file is refused by name."""
    folder = Path(folder)
    with _damage_named(folder / LIST):
        content = _checked_list((folder / LIST).read_bytes(), folder)
    for name in content["files"]:
        if not (folder / name).is_file():
            raise RunFolderError(f"'{name}' is missing from bundle '{folder}'.", _REMEDY)
        _check_hash(name, (folder / name).read_bytes(), content, folder)
    return content


def _list_of(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> dict[str, Any]:
    if member.name != LIST or not member.isreg() or member.size > _LARGEST_LIST:
        raise RunFolderError(
            f"'{path}' is not a bundle: its first member is '{member.name}', expected {LIST}.", _REMEDY
        )
    return _checked_list(tar.extractfile(member).read(), path)


def _checked_list(data: bytes, path: Path) -> dict[str, Any]:
    try:
        content = json.loads(data)
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise RunFolderError(f"{LIST} of bundle '{path}' is corrupt: {error}.", _REMEDY) from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        met = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise RunFolderError(
            f"{LIST} of bundle '{path}' has format {met!r}, expected {FORMAT}.",
            "Use the version of regkd-edge that wrote it.",
        )
    files = content.get("files")
    fine = isinstance(files, dict) and all(
        isinstance(entry, dict)
        and isinstance(entry.get("sha256"), str)
        and type(entry.get("bytes")) is int
        and entry["bytes"] >= 0
        for entry in files.values()
    )
    if not fine or sum(entry["bytes"] for entry in files.values()) > _LARGEST:
        raise RunFolderError(
            f"{LIST} of bundle '{path}' lists no files, or more than {_LARGEST >> 20} MiB of them.", _REMEDY
        )
    for name in files:
        _checked_name(name, path)
    return content


def _checked_name(name: str, path: str | Path) -> None:
    """Check that a member stays inside the folder it is unpacked into, on every system."""
    parts = name.split("/")
    if (
        not name
        or PurePosixPath(name).is_absolute()
        or any(part in ("", ".", "..") for part in parts)
        or any(c in name for c in "\\:\0")
        or name == LIST
    ):
        raise RunFolderError(
            f"bundle '{path}' holds a file named '{name}', which leads out of its folder or hides its list.",
            "Do not use this archive.",
        )


def _check_hash(name: str, data: bytes, content: Mapping[str, Any], path: str | Path) -> None:
    met, expected = hashlib.sha256(data).hexdigest(), content["files"][name]["sha256"]
    if met != expected:
        raise _changed(name, path, f"SHA-256 {met[:12]}...", f"{str(expected)[:12]}...")


def _changed(name: str, path: str | Path, met: str, expected: str) -> RunFolderError:
    return RunFolderError(
        f"'{name}' of bundle '{path}' is not the file that was bundled: met {met}, expected {expected}.", _REMEDY
    )


def _member(path: Path, name: str) -> bytes:
    with tarfile.open(path, mode="r:gz") as tar:
        return tar.extractfile(name).read()


@contextlib.contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """Turn what gzip, zlib and tarfile raise on a damaged file into an error that names it."""
    try:
        yield
    except (tarfile.TarError, zlib.error, EOFError, gzip.BadGzipFile) as error:
        raise RunFolderError(f"bundle '{path}' is damaged: {error}.", _REMEDY) from None
    except OSError as error:
        raise RunFolderError(f"'{path}' cannot be read: {error.strerror or error}.", _REMEDY) from None
