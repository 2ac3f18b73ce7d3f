"""What commands and a running server tell each other about keys."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from nightrate.dialects import administration as dialect
from nightrate.domain.key import ApiKey, KeyWish
from nightrate.errors import BadRequest

KEY = ApiKey(
    key_id="abcd1234",
    tenant="acme",
    name="laptop",
    digest="d16e57",
    created_at=1_000_000,
    used_at=2_000_000,
    expires_at=3_000_000,
    revoked_at=4_000_000,
)
SHOWN = {
    "id": "abcd1234",
    "tenant": "acme",
    "name": "laptop",
    "created": "1970-01-01T00:00:01Z",
    "lastUsed": "1970-01-01T00:00:02Z",
    "expires": "1970-01-01T00:00:03Z",
    "revoked": "1970-01-01T00:00:04Z",
}


def test_a_key_is_shown_without_its_digest() -> None:
    assert json.loads(dialect.render_key(KEY)) == SHOWN


def test_a_new_key_is_shown_with_its_text() -> None:
    new = msgspec.structs.replace(KEY, used_at=None, expires_at=None, revoked_at=None)
    assert json.loads(dialect.render_key(new, "nr_x")) == {
        **SHOWN,
        "lastUsed": None,
        "expires": None,
        "revoked": None,
        "key": "nr_x",
    }


def test_all_keys_are_shown() -> None:
    assert json.loads(dialect.render_keys([KEY, KEY])) == {"keys": [SHOWN, SHOWN]}


@pytest.mark.parametrize("days", [None, 30])
def test_an_order_that_is_written_can_be_read(days: int | None) -> None:
    wish = KeyWish(tenant="acme", name="a", expires_in_days=days)
    assert dialect.parse_order(dialect.write_order(wish)) == wish


def test_a_revocation_that_is_written_can_be_read() -> None:
    assert dialect.parse_revocation(dialect.write_revocation("abcd1234")) == "abcd1234"


def test_a_backup_order_that_is_written_can_be_read(tmp_path: Path) -> None:
    assert dialect.parse_backup(dialect.write_backup(tmp_path)) == tmp_path


def test_a_backup_goes_to_an_absolute_path() -> None:
    with pytest.raises(BadRequest, match="must be absolute"):
        dialect.parse_backup(dialect.write_backup(Path("here")))


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"id": 1}', b'{"id": "a", "b": 1}', b"\xff"])
def test_a_body_that_is_something_else_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest, match="cannot be read"):
        dialect.parse_revocation(body)
    with pytest.raises(BadRequest, match="cannot be read"):
        dialect.parse_order(body)
