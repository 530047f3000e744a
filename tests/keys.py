"""Keys in PEM files, made on the spot."""

from pathlib import Path

PASSPHRASE = "open sesame"


def write_keys(folder: Path, *, encrypted: bool = False, kind: str = "ed25519") -> tuple[Path, Path]:
    """The files of a private and of its public key."""
    from cryptography.hazmat.primitives import serialization as s
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    key = Ed25519PrivateKey.generate() if kind == "ed25519" else X25519PrivateKey.generate()
    lock = s.BestAvailableEncryption(PASSPHRASE.encode()) if encrypted else s.NoEncryption()
    private, public = folder / "key.pem", folder / "key.pub.pem"
    private.write_bytes(key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, lock))
    private.chmod(0o600)
    public.write_bytes(key.public_key().public_bytes(s.Encoding.PEM, s.PublicFormat.SubjectPublicKeyInfo))
    return private, public
