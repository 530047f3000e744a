from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from efface.errors import EffaceWarning, InputError
from efface.records.signature import Signature, is_valid, key_id, private_key, public_key, sign
from tests.keys import PASSPHRASE, write_keys

pytest.importorskip("cryptography")
DIGEST = "ab" * 32


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    return write_keys(tmp_path)


def never() -> str:
    raise AssertionError("the key is not encrypted")


def signed(keys: tuple[Path, Path]) -> Signature:
    return sign(DIGEST, private_key(keys[0], never), signed="2026-01-31T12:00:00Z", valid_until="2027-01-31T12:00:00Z")


def test_a_signature_holds_for_its_digest_its_dates_and_its_key(keys: tuple[Path, Path], tmp_path: Path) -> None:
    signature, key = signed(keys), public_key(keys[1])
    assert signature.key_id == key_id(key)
    assert is_valid(signature, DIGEST, key)
    assert not is_valid(signature, "ac" * 32, key)
    assert not is_valid(replace(signature, valid_until=None), DIGEST, key)
    assert not is_valid(replace(signature, signed="2026-01-31T12:00:01Z"), DIGEST, key)
    (tmp_path / "other").mkdir()
    assert not is_valid(signature, DIGEST, public_key(write_keys(tmp_path / "other")[1]))


@pytest.mark.parametrize("value", ["", "no base64!", "AAAA"])
def test_what_is_no_signature_does_not_hold(keys: tuple[Path, Path], value: str) -> None:
    assert not is_valid(replace(signed(keys), value=value), DIGEST, public_key(keys[1]))


def test_the_same_key_and_content_give_the_same_signature(keys: tuple[Path, Path]) -> None:
    assert signed(keys) == signed(keys)


def test_an_encrypted_key_asks_for_its_passphrase(tmp_path: Path) -> None:
    private, _ = write_keys(tmp_path, encrypted=True)
    assert private_key(private, lambda: PASSPHRASE)
    with pytest.raises(InputError, match="this passphrase does not open the key"):
        private_key(private, lambda: "wrong")
    with pytest.raises(InputError, match="is encrypted") as caught:
        private_key(private, str)
    assert caught.value.hint == "give its passphrase"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_private_key_that_others_may_read_is_told(keys: tuple[Path, Path], mode: int) -> None:
    keys[0].chmod(mode)
    with pytest.warns(EffaceWarning, match="others on this machine may read the private key"):
        private_key(keys[0], never)


@pytest.mark.parametrize(("read", "kind"), [(lambda p: private_key(p, never), "private"), (public_key, "public")])
def test_what_is_no_such_key_is_refused_with_the_command_that_makes_one(tmp_path: Path, read: Any, kind: str) -> None:
    (tmp_path / "key.pem").write_text("hello")
    with pytest.raises(InputError, match=f"holds no {kind} Ed25519 key") as caught:
        read(tmp_path / "key.pem")
    assert "openssl genpkey -algorithm ed25519" in caught.value.hint
    with pytest.raises(InputError, match="there is no key file"):
        read(tmp_path / "none.pem")


def test_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    private, public = write_keys(tmp_path, kind="x25519")
    with pytest.raises(InputError, match="of another kind"):
        private_key(private, never)
    with pytest.raises(InputError, match="of another kind"):
        public_key(public)
