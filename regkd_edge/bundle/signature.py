"""Signing a bundle with Ed25519 (RFC 8032), by the ``cryptography`` package.

``bundle.json`` lists the SHA-256 of every file and the differences that are allowed, so its bytes are what is signed.
``bundle.sig`` stands beside it. Keys are the PEM files of OpenSSL::

    openssl genpkey -algorithm ed25519 -out key.pem
    openssl pkey -in key.pem -pubout -out public.pem
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from ..errors import NotAvailable, RunFolderError, UserError
from ..io.reading import parse_json
from ..io.regular import read_bytes
from .schema import SIGNATURE

__all__ = ["fingerprint", "sign", "signer", "verify"]

_CONTEXT = b"regkd-edge bundle 1\n"  # so that a signature of something else is never one of a bundle
_KEY_BYTES = 10_000
_MAKE = "Make one with: openssl genpkey -algorithm ed25519 -out key.pem (public: openssl pkey -in key.pem -pubout)."


def sign(listing: bytes, key: str | Path) -> bytes:
    """Return ``bundle.sig`` for the bytes of ``bundle.json``.

    Parameters
    ----------
    listing : bytes
    key : path
        A private Ed25519 key, PEM without a password.

    Raises
    ------
    UserError
        No such file, or it is not a private Ed25519 key.
    NotAvailable
        The ``cryptography`` package is not installed.
    """
    private = _load(key, private=True)
    public = private.public_key().public_bytes_raw()
    content = {
        "format": 1,
        "algorithm": "ed25519",
        "public_key": public.hex(),
        "signature": private.sign(_CONTEXT + listing).hex(),
    }
    return (json.dumps(content, indent=1) + "\n").encode()


def verify(listing: bytes, signature: bytes | None, key: str | Path, path: str | Path) -> str:
    """Return the fingerprint of the public key if ``bundle.sig`` holds its signature of ``bundle.json``.

    Raises
    ------
    RunFolderError
        No signature, one of another key, or the list was changed after it was signed.
    UserError
        ``key`` is not a public Ed25519 key.
    NotAvailable
        The ``cryptography`` package is not installed.
    """
    public = _load(key, private=False)
    from cryptography.exceptions import InvalidSignature

    if signature is None:
        raise RunFolderError(
            f"bundle '{path}' is not signed.", "Make it with: regkd-edge bundle RUN --sign KEY, or leave out --verify."
        )
    own, raw = fingerprint(public.public_bytes_raw()), _parsed(signature, path)
    try:
        public.verify(bytes.fromhex(raw["signature"]), _CONTEXT + listing)
    except InvalidSignature:
        claimed = fingerprint(bytes.fromhex(raw["public_key"]))
        said = "its list was changed after it was signed" if claimed == own else f"it names the key {claimed}"
        raise RunFolderError(
            f"bundle '{path}' is not signed by the key {own} of '{key}': {said}.", "Do not use this bundle."
        ) from None
    return own


def signer(signature: bytes, path: str | Path) -> str:
    """Return the fingerprint of the key that ``bundle.sig`` names; nothing is verified by that."""
    return fingerprint(bytes.fromhex(_parsed(signature, path)["public_key"]))


def fingerprint(public: bytes) -> str:
    """Return the first 16 digits of the SHA-256 of a raw public key."""
    return hashlib.sha256(public).hexdigest()[:16]


def _parsed(signature: bytes, path: str | Path) -> dict[str, Any]:
    try:
        content = parse_json(signature)
    except ValueError as error:
        raise RunFolderError(f"{SIGNATURE} of bundle '{path}' is corrupt: {error}.", "Copy the bundle again.") from None
    lengths = {"public_key": 32, "signature": 64}
    if not (
        isinstance(content, dict)
        and content.get("format") == 1
        and content.get("algorithm") == "ed25519"
        and all(_is_hex(content.get(name), length) for name, length in lengths.items())
    ):
        raise RunFolderError(f"{SIGNATURE} of bundle '{path}' is no Ed25519 signature.", "Copy the bundle again.")
    return content


def _is_hex(text: Any, length: int) -> bool:
    return isinstance(text, str) and len(text) == 2 * length and all(c in "0123456789abcdef" for c in text)


def _load(path: str | Path, *, private: bool) -> Any:
    try:
        from cryptography.exceptions import InternalError, UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
    except ImportError:
        raise NotAvailable(
            "signatures need the 'cryptography' package, which is not installed.",
            "Run: pip install 'regkd-edge[sign]'.",
        ) from None
    what = "private" if private else "public"
    try:
        text = read_bytes(path, _KEY_BYTES)
    except OSError as error:
        raise UserError(f"the key '{path}' cannot be read: {error.strerror or error}.", _MAKE) from None
    try:
        key = load_pem_private_key(text, password=None) if private else load_pem_public_key(text)
    except TypeError:
        raise UserError(f"the key '{path}' is protected by a password.", "Give a key without one.") from None
    except (ValueError, UnsupportedAlgorithm, InternalError):  # the last one: a key of a wrong length
        raise UserError(f"'{path}' holds no {what} key in PEM format.", _MAKE) from None
    if not isinstance(key, Ed25519PrivateKey if private else Ed25519PublicKey):
        raise UserError(f"'{path}' holds a key of another algorithm, expected a {what} Ed25519 key.", _MAKE)
    return key
