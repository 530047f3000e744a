"""Ed25519 signatures of records, with keys in PEM files as openssl writes them. Needs the package ``cryptography``."""

import base64
import binascii
import hashlib
import os
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from efface.errors import EffaceWarning, InputError
from efface.records.canonical import canonical
from efface.records.fields import Digest, Time

if TYPE_CHECKING:  # an optional extra
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

EXTRA = "pip install 'efface[sign]'"
# 64 bytes in base64: the last letter has four bits to spare, which must be 0, or there were several spellings.
Value = Annotated[str, Field(pattern="^[A-Za-z0-9+/]{85}[AQgw]==$")]


@dataclass(frozen=True, slots=True)
class Signature:
    """Who stands by a record, and until when.

    Attributes:
        algorithm: how ``value`` was made.
        key_id: sha256 of the public key's 32 bytes.
        signed: when, in UTC.
        valid_until: when it ends, in UTC; None for no end.
        value: Ed25519 over the canonical JSON of ``{"sha256": ..., "signature": ...}``, the record's digest and this
            signature without its value; in base64.
    """

    algorithm: Literal["Ed25519"]
    key_id: Digest
    signed: Time
    valid_until: Time | None
    value: Value


def sign(digest: str, key: "Ed25519PrivateKey", *, signed: str, valid_until: str | None) -> Signature:
    """Signs a record by its digest.

    Args:
        digest: the record's ``sha256``.
        key: from :func:`private_key`.
        signed: when.
        valid_until: when it ends.
    """
    blank = Signature("Ed25519", key_id(key.public_key()), signed, valid_until, "")
    value = base64.b64encode(key.sign(_signed_bytes(digest, blank))).decode("ascii")
    return Signature(blank.algorithm, blank.key_id, signed, valid_until, value)


def is_valid(signature: Signature, digest: str, key: "Ed25519PublicKey") -> bool:
    """Whether this key made this signature for this digest and these dates."""
    from cryptography.exceptions import InvalidSignature

    try:
        key.verify(base64.b64decode(signature.value, validate=True), _signed_bytes(digest, signature))
    except (InvalidSignature, binascii.Error):
        return False
    return True


def key_id(key: "Ed25519PublicKey") -> str:
    """The sha256 of the key's 32 bytes, by which it is told from others."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()


def private_key(path: Path, passphrase: Callable[[], str]) -> "Ed25519PrivateKey":
    """The private key in a PEM file.

    Args:
        path: a file such as ``openssl genpkey -algorithm ed25519`` writes.
        passphrase: asked where the key is encrypted.

    Raises:
        InputError: If it cannot be read, is another kind of key, or ``cryptography`` is not installed.
    """
    from_pem = _serialization().load_pem_private_key
    pem = _bytes(path)
    try:
        try:
            key = from_pem(pem, password=None)
        except TypeError:  # encrypted
            secret = passphrase().encode()
            if not secret:
                raise InputError(f"the key {str(path)!r} is encrypted", hint="give its passphrase") from None
            key = _decrypted(path, pem, secret)
    except ValueError as error:
        raise _unusable(path, "private", error) from None
    if os.name == "posix" and path.stat().st_mode & 0o077:
        text = f"others on this machine may read the private key {str(path)!r}: chmod 600 takes that away"
        warnings.warn(text, EffaceWarning, stacklevel=3)
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    if not isinstance(key, Ed25519PrivateKey):
        raise _unusable(path, "private", "it is of another kind")
    return key


def _decrypted(path: Path, pem: bytes, secret: bytes) -> Any:
    try:
        return _serialization().load_pem_private_key(pem, password=secret)
    except ValueError:
        hint = "run it again with the right one; the key itself is as it was"
        raise InputError(f"this passphrase does not open the key {str(path)!r}", hint=hint) from None


def public_key(path: Path) -> "Ed25519PublicKey":
    """The public key in a PEM file.

    Raises:
        InputError: If it cannot be read, is another kind of key, or ``cryptography`` is not installed.
    """
    from_pem = _serialization().load_pem_public_key
    try:
        key = from_pem(_bytes(path))
    except ValueError as error:
        raise _unusable(path, "public", error) from None
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    if not isinstance(key, Ed25519PublicKey):
        raise _unusable(path, "public", "it is of another kind")
    return key


def _signed_bytes(digest: str, signature: Signature) -> bytes:
    claims = {name: value for name, value in asdict(signature).items() if name != "value"}
    return canonical({"sha256": digest, "signature": claims})


def _serialization() -> Any:
    try:
        from cryptography.hazmat.primitives import serialization
    except ImportError:
        raise InputError("signatures need the package cryptography", hint=EXTRA) from None
    return serialization


def check_key_file(path: Path) -> None:
    """Refuses a key that is not there; needs nothing heavy.

    Raises:
        InputError: If it is no file.
    """
    if not path.is_file():
        raise InputError(f"there is no key file {str(path)!r}", hint="give a PEM file")


def _bytes(path: Path) -> bytes:
    check_key_file(path)
    return path.read_bytes()


def _unusable(path: Path, kind: str, reason: object) -> InputError:
    how = "openssl genpkey -algorithm ed25519 -out key.pem"
    how += "; openssl pkey -in key.pem -pubout -out key.pub.pem" if kind == "public" else ""
    text = str(reason).split(".")[0]
    other = "PUBLIC" if kind == "private" else "PRIVATE"
    hint = f"make one with {how}"
    if f"{other} KEY".encode() in _bytes(path):
        hint = f"this is a {other.lower()} key: sign wants the private one, verify the public one"
    return InputError(f"{str(path)!r} holds no {kind} Ed25519 key in PEM form: {text}", hint=hint)
