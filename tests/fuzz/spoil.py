"""How a sound file is spoiled: its bytes, the fields of its JSON, and what lies inside of its archive."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import random
import tarfile
import zipfile
import zlib

__all__ = ["repacked", "spoiled", "spoiled_fields", "spoiled_file"]

HOSTILE = (
    None, True, -1, 0, 10**30, 1e308, "", "x" * 300, "../../victim", "/etc/passwd", "a/../../victim", "c:\\victim",
    "\x00", "nul", "\ud800", [], {}, [[]], {"": None}, [None], [1e400], {"w_base": 3}, "nan", -0.0,
)  # fmt: skip


def spoiled(content: bytes, rng: random.Random) -> bytes:
    """A few strokes on the bytes: changed, cut, doubled, swapped for what sizes and brackets look like."""
    data = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data) + 1)
        stroke = rng.randrange(6)
        if stroke == 0 and data:
            data[at % len(data)] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, *b'{}[]",:-.&*#|', rng.randrange(256)))
        elif stroke == 1:
            del data[at : at + rng.randint(1, 16)]
        elif stroke == 2:
            data[at:at] = data[at : at + rng.randint(1, 64)]
        elif stroke == 3:
            data[at:at] = rng.choice(
                (b"9" * 6000, b"[" * 200, b"\xff" * 8, b"&a ", b"*a ", b"nan", b"1e999", b"\0" * 512)
            )
        elif stroke == 4:
            del data[at:]
        else:
            data[at : at + 8] = rng.choice((2**63 - 1, 2**31, 0, 1)).to_bytes(8, "little")
    return bytes(data)


def spoiled_fields(value: object, rng: random.Random) -> object:
    """The same JSON with one field, at any depth, replaced, renamed or left out."""
    if isinstance(value, dict) and value and rng.random() < 0.8:
        key = rng.choice(sorted(value))
        rest = {k: v for k, v in value.items() if k != key}
        stroke = rng.random()
        if stroke < 0.1:
            return rest
        if stroke < 0.25:
            name = rng.choice([h for h in HOSTILE if isinstance(h, str) and h != "\ud800"])
            return {**rest, name: value[key]}
        return {**value, key: spoiled_fields(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.8:
        at = rng.randrange(len(value))
        return [*value[:at], spoiled_fields(value[at], rng), *value[at + 1 :]]
    return rng.choice(HOSTILE)


def repacked(archive: bytes, rng: random.Random) -> bytes:
    """A bundle with a spoiled list and members of spoiled names, packed as a tar again."""
    out = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(archive)) as old, tarfile.open(fileobj=out, mode="w:gz") as new:
        for member in old:
            data = old.extractfile(member).read()
            if member.name == "bundle.json":
                data = json.dumps(spoiled_fields(json.loads(data), rng)).encode()
            elif rng.random() < 0.2:
                member.name = rng.choice([h for h in HOSTILE if isinstance(h, str) and h not in ("\x00", "\ud800", "")])
            if rng.random() < 0.1:
                member.type = rng.choice((tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE))
                member.linkname = "/etc/passwd"
            member.size = len(data) if member.isreg() else 0
            new.addfile(member, io.BytesIO(data))
    return out.getvalue()


def inside(content: bytes, rng: random.Random) -> bytes | None:
    """The same archive with one member spoiled, its checksums right: else these alone refuse it. None: no archive.

    An engine file of the native back end counts as one.
    """
    if content.startswith(b"\x89RKDN\r\n"):
        rest = bytearray(spoiled(content[16:], rng) if rng.random() < 0.5 else nudged(content[16:], rng))
        if rng.random() < 0.8:
            rest[:4] = (16 + len(rest)).to_bytes(4, "little")  # its size
        return content[:12] + zlib.crc32(rest).to_bytes(4, "little") + bytes(rest)
    for module, magic in ((gzip, b"\x1f\x8b"), (bz2, b"BZh"), (lzma, b"\xfd7zXZ")):
        if content.startswith(magic):
            return module.compress(spoiled(module.decompress(content), rng))
    if not content.startswith(b"PK"):
        return None
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w") as new:
        entries = old.infolist()
        chosen = rng.randrange(len(entries))
        for i, entry in enumerate(entries):
            data = old.read(entry)
            if i == chosen:
                data = _spoiled_member(entry.filename, data, rng)
                if data is None:
                    continue
            new.writestr(entry.filename, data)
    return out.getvalue()


def _spoiled_member(name: str, data: bytes, rng: random.Random) -> bytes | None:
    if rng.random() < 0.05:
        return None
    if name.endswith(".json") and rng.random() < 0.7:
        try:
            return json.dumps(spoiled_fields(json.loads(data), rng)).encode("utf-8", "surrogatepass")
        except ValueError:
            pass
    return inside(data, rng) or spoiled(data, rng)


def nudged(content: bytes, rng: random.Random) -> bytes:
    """One number in a text changed, or one byte of anything by one: what is left is nearly sound."""
    data = bytearray(content)
    digits = [i for i, byte in enumerate(data[:65536]) if 48 <= byte <= 57]
    if digits and rng.random() < 0.6:
        at = rng.choice(digits)
        data[at : at + 1] = rng.choice((b"0", b"-1", b"9", b"99999999999", b"1e300", b"nan", b"0.5", b"", b"x", b" "))
    elif data:
        at = rng.randrange(len(data))
        data[at] = (data[at] + rng.choice((-1, 1, 128))) % 256
    return bytes(data)


def spoiled_file(name: str, content: bytes, rng: random.Random) -> bytes:
    """One spoiled input, by the way that reaches furthest into such a file, or by any other."""
    draw = rng.random()
    if name.endswith((".tar.gz", ".tgz")) and draw < 0.5:
        return repacked(content, rng)
    if name.endswith(".json") and draw < 0.5:
        return json.dumps(spoiled_fields(json.loads(content), rng)).encode()
    if draw < 0.75:
        return inside(content, rng) or (spoiled if draw < 0.6 else nudged)(content, rng)
    return (spoiled if draw < 0.9 else nudged)(content, rng)
