"""The server's own keys.

One seals secrets at rest, one signs for receivers who share no secret, and one stands behind the
digests of secrets that are only ever compared.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec import json

from nightrate import clock
from nightrate.errors import Damaged, StoreFault
from nightrate.store.directory import keep_private

_KEY_BYTES = 32
_NONCE_BYTES = 12
_RSA_BITS = 2048
_RSA_EXPONENT = 65537


class Vault:
    """Three keys in a folder that only the server's user can read; made at the first start.

    To change the signing key, rename ``signing.pem`` to ``signing.previous.pem`` and start again: a
    new one is made, and the public half of the former goes on being listed.

    Of the two others ``sums`` holds digests, because a key with a flipped bit is a key: with it
    every secret would be unreadable, or every API key unknown, for no reason that shows.

    Raises:
        StoreFault: the folder cannot be used, or holds something else.
    """

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(exist_ok=True, mode=0o700)
            key = keep_private(folder / "secrets.key", lambda: clock.secret_bytes(_KEY_BYTES))
            pepper = keep_private(folder / "pepper.key", lambda: clock.secret_bytes(_KEY_BYTES))
            pem = keep_private(folder / "signing.pem", _new_signing_key)
            earlier = folder / "signing.previous.pem"
            earlier_pem = earlier.read_bytes() if earlier.exists() else None
        except OSError as error:
            raise StoreFault(f"{folder} cannot be used: {error.strerror}") from error
        for name, content in (("secrets.key", key), ("pepper.key", pepper)):
            if len(content) != _KEY_BYTES:
                message = f"{folder / name} is damaged; restore it from a backup"
                raise StoreFault(message)
        _check_sums(folder, {"secrets.key": key, "pepper.key": pepper})
        self._cipher = AESGCM(key)
        self._pepper = pepper
        self._signing = _signing_key(folder / "signing.pem", pem)
        self._public = _public_key(self._signing)
        self._published = [self._public]
        if earlier_pem is not None:  # what it signed can still be checked
            self._published.append(_public_key(_signing_key(earlier, earlier_pem)))

    # secrets ----------------------------------------------------------------------------------

    def seal(self, secret: bytes, owner: str) -> str:
        """Encrypt a secret; it can be opened only for the same owner."""
        nonce = clock.secret_bytes(_NONCE_BYTES)
        sealed = nonce + self._cipher.encrypt(nonce, secret, owner.encode())
        return base64.b64encode(sealed).decode()

    def open(self, sealed: str, owner: str) -> bytes:
        """Decrypt a secret.

        Raises:
            Damaged: it was sealed with another key, for another owner, or altered.
        """
        data = base64.b64decode(sealed)
        try:
            return self._cipher.decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], owner.encode())
        except InvalidTag as error:
            message = f"The secret of {owner} was not sealed with this server's secrets.key."
            raise Damaged(message) from error

    # digests ----------------------------------------------------------------------------------

    def digest(self, secret: str) -> str:
        """Give the HMAC-SHA-256 of a secret, in hexadecimal, for comparing it later."""
        return hmac.digest(self._pepper, secret.encode(), "sha256").hex()

    # signatures -------------------------------------------------------------------------------

    @property
    def public_keys(self) -> bytes:
        """The key set that receivers check tokens with, as a JSON document (RFC 7517)."""
        return json.encode({"keys": self._published})

    def token(self, claims: dict[str, Any]) -> str:
        """Sign claims as a compact token: RS256, with the id of the key."""
        headers = {"kid": self._public["kid"]}
        import jwt  # noqa: PLC0415 - a tenth of a server's start, and most servers sign nothing

        return jwt.encode(claims, self._signing, algorithm="RS256", headers=headers)


def _check_sums(folder: Path, keys: dict[str, bytes]) -> None:
    """Compare keys with their digests, which are written when there are none yet."""
    lines = {name: f"{hashlib.sha256(key).hexdigest()}  {name}" for name, key in keys.items()}
    text = "\n".join(lines.values()) + "\n"
    try:
        known = keep_private(folder / "sums", text.encode).decode(errors="replace").splitlines()
    except OSError as error:
        raise StoreFault(f"{folder} cannot be used: {error.strerror}") from error
    for name, line in lines.items():
        if line not in known:
            message = (
                f"{folder / name} is not the key that was made here; restore it from a backup, or"
                f" remove {folder / 'sums'} to go on without what the former key opens"
            )
            raise StoreFault(message)


def _new_signing_key() -> bytes:
    key = rsa.generate_private_key(_RSA_EXPONENT, _RSA_BITS)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _signing_key(path: Path, pem: bytes) -> rsa.RSAPrivateKey:
    try:
        key = serialization.load_pem_private_key(pem, None)
    except ValueError as error:
        message = f"{path} is damaged; restore it, or remove it for a new one"
        raise StoreFault(message) from error
    if not isinstance(key, rsa.RSAPrivateKey):
        message = f"{path} holds another kind of key than RSA; remove it for a new one"
        raise StoreFault(message)
    return key


def _public_key(key: rsa.RSAPrivateKey) -> dict[str, str]:
    """Describe the public half; its id is the digest that RFC 7638 defines."""
    numbers = key.public_key().public_numbers()
    required = {"e": _base64_of(numbers.e), "kty": "RSA", "n": _base64_of(numbers.n)}
    digest = hashlib.sha256(json.encode(required)).digest()
    key_id = base64.urlsafe_b64encode(digest).decode().rstrip("=")
    return {**required, "kid": key_id, "alg": "RS256", "use": "sig"}


def _base64_of(number: int) -> str:
    data = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
