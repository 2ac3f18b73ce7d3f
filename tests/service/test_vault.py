"""The server's own keys."""

from __future__ import annotations

import stat
from pathlib import Path

import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from nightrate.errors import Damaged, StoreFault
from nightrate.runtime import open_house
from nightrate.service.vault import Vault
from nightrate.settings import Settings


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return Vault(tmp_path / "keys")


def test_a_sealed_secret_opens_for_its_owner_only(vault: Vault) -> None:
    sealed = vault.seal(b"secret", "webhook a")
    assert "secret" not in sealed
    assert vault.open(sealed, "webhook a") == b"secret"
    assert vault.seal(b"secret", "webhook a") != sealed
    with pytest.raises(Damaged, match="webhook b"):
        vault.open(sealed, "webhook b")


def test_the_keys_are_kept_and_only_the_owner_reads_them(tmp_path: Path, vault: Vault) -> None:
    again = Vault(tmp_path / "keys")
    assert again.open(vault.seal(b"secret", "w"), "w") == b"secret"
    assert again.public_keys == vault.public_keys
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700
    files = list((tmp_path / "keys").iterdir())
    assert sorted(path.name for path in files) == [
        "pepper.key",
        "secrets.key",
        "signing.pem",
        "sums",
    ]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


def test_another_servers_key_opens_nothing(tmp_path: Path, vault: Vault) -> None:
    other = Vault(tmp_path / "other")
    with pytest.raises(Damaged, match=r"secrets\.key"):
        other.open(vault.seal(b"secret", "w"), "w")


def test_a_token_is_checked_with_the_published_key(vault: Vault) -> None:
    token = vault.token({"aud": "https://a", "data": {"id": "é"}})
    keys = jwt.PyJWKSet.from_dict(msgspec.json.decode(vault.public_keys))
    header = jwt.get_unverified_header(token)
    assert (header["alg"], header["typ"]) == ("RS256", "JWT")
    claims = jwt.decode(token, keys[header["kid"]], algorithms=["RS256"], audience="https://a")
    assert claims["data"] == {"id": "é"}
    assert b'"d":' not in vault.public_keys


def test_a_token_of_the_former_key_is_checked_after_the_change(
    tmp_path: Path, vault: Vault
) -> None:
    keys = tmp_path / "keys"
    token = vault.token({"aud": "https://a"})
    (keys / "signing.pem").rename(keys / "signing.previous.pem")
    changed = Vault(keys)
    published = jwt.PyJWKSet.from_dict(msgspec.json.decode(changed.public_keys))
    for signed in (token, changed.token({"aud": "https://a"})):
        key = published[jwt.get_unverified_header(signed)["kid"]]
        assert jwt.decode(signed, key, algorithms=["RS256"], audience="https://a")
    assert len({key.key_id for key in published.keys}) == 2


def test_a_signing_key_of_another_kind_is_refused(tmp_path: Path, vault: Vault) -> None:
    del vault
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (tmp_path / "keys" / "signing.pem").write_bytes(pem)
    with pytest.raises(StoreFault, match="RSA"):
        Vault(tmp_path / "keys")


@pytest.mark.parametrize("name", ["pepper.key", "secrets.key", "signing.pem", "sums"])
def test_a_damaged_key_is_not_replaced_in_silence(tmp_path: Path, vault: Vault, name: str) -> None:
    del vault
    (tmp_path / "keys" / name).write_bytes(b"x")
    with pytest.raises(StoreFault, match=name):
        Vault(tmp_path / "keys")


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "keys").write_bytes(b"")
    with pytest.raises(StoreFault, match="keys cannot be used"):
        Vault(tmp_path / "keys")


def test_a_house_with_a_damaged_key_does_not_open_and_keeps_nothing_locked(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "secrets.key").write_bytes(b"x")
    settings = Settings(data=str(tmp_path), engine="echo")
    for _ in range(2):
        with pytest.raises(StoreFault, match=r"secrets\.key is damaged"):
            open_house(settings)


def test_a_digest_is_of_this_server_and_of_this_secret(tmp_path: Path, vault: Vault) -> None:
    digest = vault.digest("secret")
    assert Vault(tmp_path / "keys").digest("secret") == digest
    assert vault.digest("secreu") != digest
    assert Vault(tmp_path / "other").digest("secret") != digest
    assert len(digest) == 64


@pytest.mark.parametrize("name", ["secrets.key", "pepper.key"])
@pytest.mark.parametrize("damage", ["flip", "gone"])
def test_a_key_that_is_another_one_now_is_refused(
    tmp_path: Path, vault: Vault, name: str, damage: str
) -> None:
    sealed = vault.seal(b"secret", "w")
    path = tmp_path / "keys" / name
    key = path.read_bytes()
    path.unlink() if damage == "gone" else path.write_bytes(bytes([key[0] ^ 1]) + key[1:])
    for _ in range(2):
        with pytest.raises(StoreFault, match=rf"{name} is not the key.*restore it from a backup"):
            Vault(tmp_path / "keys")
    path.write_bytes(key)
    assert Vault(tmp_path / "keys").open(sealed, "w") == b"secret"
    (tmp_path / "keys" / "sums").unlink()
    path.write_bytes(bytes(32))
    Vault(tmp_path / "keys")  # so the owner wants it
