"""The archive: a gzipped tar, reproducible byte for byte, and not trusted until its hashes are checked.

The first member is ``bundle.json``. It lists every other member with its size and SHA-256; a member that is not listed,
listed and missing, changed, of a name that no bundle has, or not a plain file is refused by its name, and nothing of
such an archive is left on disk. ``bundle.sig`` may follow the list: a signature of it (:mod:`.signature`).
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
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import RunFolderError
from ..io.files import folder_mode, write_atomic
from ..io.limits import ARCHIVE_BYTES, LIST_BYTES
from ..io.names import inside
from ..io.reading import parse_json
from ..io.regular import file_problem, read_bytes
from .schema import FORMAT, LIST, REMEDY, SIGNATURE, check_list, check_name
from .signature import sign
from .tar import ArchivedFile, members

__all__ = ["Contents", "read_archive", "read_contents", "read_folder", "unpack", "verify_folder", "write_archive"]

_SIGNATURE_BYTES = 4096


@dataclass(frozen=True)
class Contents:
    """A checked bundle.

    Attributes
    ----------
    list : dict
        What ``bundle.json`` says.
    listing : bytes
        ``bundle.json`` itself, which a signature is made of.
    signature : bytes or None
        ``bundle.sig``; nothing is verified by its presence.
    files : dict of str to bytes
        The listed files; empty where they lie in a folder.
    """

    list: dict[str, Any]
    listing: bytes
    signature: bytes | None
    files: dict[str, bytes]


def write_archive(
    path: str | Path, header: Mapping[str, Any], files: Mapping[str, bytes], key: str | Path | None = None
) -> dict[str, Any]:
    """Write an archive atomically.

    Parameters
    ----------
    path : path
        Should end in ``.tar.gz``.
    header : mapping
        The content of ``bundle.json`` besides ``format`` and ``files``.
    files : mapping of str to bytes
        Relative path with forward slashes -> content.
    key : path, optional
        A private Ed25519 key to sign the list with.

    Returns
    -------
    dict
        The content of ``bundle.json``. Equal header and files give equal bytes (no times, owners or file-system order).
    """
    listed = {
        name: {"sha256": hashlib.sha256(files[name]).hexdigest(), "bytes": len(files[name])} for name in sorted(files)
    }
    content = {"format": FORMAT, **header, "files": listed}
    check_list(content, path)
    listing = (json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()
    parts = {LIST: listing, **({SIGNATURE: sign(listing, key)} if key is not None else {})}
    with write_atomic(path) as temporary, open(temporary, "wb") as stream:
        with gzip.GzipFile(filename="", mode="wb", fileobj=stream, mtime=0) as packed:
            with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar:
                for name, data in {**parts, **{name: files[name] for name in listed}}.items():
                    member = tarfile.TarInfo(name)
                    member.size, member.mode, member.mtime = len(data), 0o644, 0
                    tar.addfile(member, io.BytesIO(data))
    return content


def read_archive(path: str | Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return ``bundle.json`` and the files of an archive, all of them checked; errors as :func:`read_contents`."""
    contents = read_contents(path)
    return contents.list, contents.files


def read_contents(path: str | Path) -> Contents:
    """Read an archive in one pass; no size is believed before it was compared with the list.

    Raises
    ------
    RunFolderError
        No such file, not an archive, or a member that does not match the list; the message names it.
    """
    path = Path(path)
    if not path.exists():
        raise RunFolderError(f"no bundle '{path}'.", "Give the .tar.gz that 'regkd-edge bundle' wrote.")
    problem = file_problem(path, ARCHIVE_BYTES)
    if problem is not None:
        raise RunFolderError(f"bundle '{path}' cannot be read: {problem}.", REMEDY)
    files: dict[str, bytes] = {}
    signature: bytes | None = None
    try:
        with open(path, "rb") as stream:
            content, listing = None, b""
            for member in members(stream, path):
                if content is None:
                    listing = _first(member, path)
                    content = _checked_list(listing, path)
                elif member.name == SIGNATURE and not files and signature is None and member.size <= _SIGNATURE_BYTES:
                    signature = member.read()
                else:
                    _check_member(member, content, files, path)
                    files[member.name] = member.read()
                    _check_hash(member.name, files[member.name], content, path)
    except OSError as error:
        raise RunFolderError(f"'{path}' cannot be read: {error.strerror or error}.", REMEDY) from None
    if content is None:
        raise RunFolderError(f"'{path}' is an empty archive.", REMEDY)
    for name in content["files"]:
        if name not in files:
            raise RunFolderError(f"'{name}' is missing from bundle '{path}'.", REMEDY)
    return Contents(content, listing, signature, files)


def read_folder(folder: str | Path) -> Contents:
    """Check an unpacked bundle against its list; a missing or changed file is refused by its name."""
    folder = Path(folder)
    try:
        listing = read_bytes(inside(folder, LIST), LIST_BYTES)
        content = _checked_list(listing, folder)
        for name in content["files"]:
            path = inside(folder, name, f"{LIST} of '{folder}'")
            if not path.is_file():
                raise RunFolderError(f"'{name}' is missing from bundle '{folder}'.", REMEDY)
            _check_hash(name, read_bytes(path, ARCHIVE_BYTES), content, folder)
        sealed = inside(folder, SIGNATURE)
        signature = read_bytes(sealed, _SIGNATURE_BYTES) if sealed.exists() else None
    except OSError as error:
        raise RunFolderError(f"bundle '{folder}' cannot be read: {error.strerror or error}.", REMEDY) from None
    return Contents(content, listing, signature, {})


def verify_folder(folder: str | Path) -> dict[str, Any]:
    """Return ``bundle.json`` of an unpacked bundle whose files are those that it lists."""
    return read_folder(folder).list


def unpack(path: str | Path, folder: str | Path, contents: Contents | None = None) -> dict[str, Any]:
    """Write a checked archive into a new or empty folder; returns ``bundle.json``.

    A folder that holds this very bundle already is checked against it (:func:`read_folder`) and used again.
    ``contents``: what :func:`read_contents` gave for ``path``, when it was read before.
    """
    folder = Path(folder)
    contents = contents or read_contents(path)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        if not (folder / LIST).is_file() or (folder / LIST).read_bytes() != contents.listing:
            raise RunFolderError(
                f"'{folder}' exists and does not hold this bundle.", "Choose another folder, or remove it."
            )
        verify_folder(folder)
        return contents.list
    written = {**contents.files, LIST: contents.listing}
    if contents.signature is not None:
        written[SIGNATURE] = contents.signature
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".tmp", dir=folder.parent))
        try:
            for name, data in written.items():
                target = inside(temporary, name)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data)
            os.chmod(temporary, folder_mode())
            with contextlib.suppress(FileNotFoundError):
                folder.rmdir()
            os.replace(temporary, folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise RunFolderError(
            f"cannot write '{folder}': {error.strerror or error}.", "Free space, or choose a writable folder."
        ) from error
    return contents.list


def _first(member: ArchivedFile, path: Path) -> bytes:
    if member.name == LIST and member.size > LIST_BYTES:
        raise RunFolderError(
            f"'{path}' is not a bundle: its {LIST} has {member.size:,} bytes, expected at most {LIST_BYTES:,}.", REMEDY
        )
    if member.name != LIST:
        raise RunFolderError(f"'{path}' is not a bundle: its first member is '{member.name}', expected {LIST}.", REMEDY)
    return member.read()


def _checked_list(data: bytes, path: Path) -> dict[str, Any]:
    try:
        content = parse_json(data)
    except ValueError as error:
        raise RunFolderError(f"{LIST} of bundle '{path}' is corrupt: {error}.", REMEDY) from None
    check_list(content, path)
    return content


def _check_member(member: ArchivedFile, content: Mapping[str, Any], read: Mapping[str, bytes], path: Path) -> None:
    check_name(member.name, f"'{path}'")
    if member.name in read:
        raise RunFolderError(f"'{member.name}' is in bundle '{path}' twice.", REMEDY)
    if member.name not in content["files"]:
        raise RunFolderError(f"'{member.name}' of bundle '{path}' is not listed in its {LIST}.", REMEDY)
    expected = content["files"][member.name]["bytes"]
    if member.size != expected:
        raise _changed(member.name, path, f"{member.size} bytes", f"{expected} bytes")


def _check_hash(name: str, data: bytes, content: Mapping[str, Any], path: str | Path) -> None:
    met, expected = hashlib.sha256(data).hexdigest(), content["files"][name]["sha256"]
    if met != expected:
        raise _changed(name, path, f"SHA-256 {met[:12]}...", f"{str(expected)[:12]}...")


def _changed(name: str, path: str | Path, met: str, expected: str) -> RunFolderError:
    return RunFolderError(
        f"'{name}' of bundle '{path}' is not the file that was bundled: met {met}, expected {expected}.", REMEDY
    )
