"""API keys as values."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightrate.domain.key import ApiKey, is_key_id, is_tenant, read_key, write_key


@given(st.binary(min_size=32, max_size=32), st.from_regex(r"[a-z0-9]{8}", fullmatch=True))
def test_a_key_that_is_written_can_be_read(secret: bytes, key_id: str) -> None:
    text, whole = write_key(key_id, secret)
    assert re.fullmatch(r"nr_[a-z0-9]{8}_[A-Za-z0-9_-]{43}", whole)
    assert read_key(whole) == (key_id, text)


GOOD = "nr_abcd1234_" + "x" * 43


@pytest.mark.parametrize(
    "text",
    [
        *("", "any", GOOD[:-1], GOOD + "x", GOOD + "\n", " " + GOOD, GOOD.upper()),
        *(
            GOOD.replace("nr_", "sk_"),
            GOOD.replace("abcd", "ABCD"),
            GOOD[:-1] + "é",
            GOOD[:-1] + "=",
        ),
    ],
)
def test_what_is_no_key_of_ours_is_not_read(text: str) -> None:
    assert read_key(GOOD) == ("abcd1234", "x" * 43)
    assert read_key(text) is None


@pytest.mark.parametrize(
    ("expires_at", "revoked_at", "live"),
    [(None, None, True), (11, None, True), (10, None, False), (None, 9, False), (11, 9, False)],
)
def test_a_key_lives_until_its_end(
    expires_at: int | None, revoked_at: int | None, *, live: bool
) -> None:
    key = ApiKey(
        key_id="k",
        tenant="t",
        name="",
        digest="",
        created_at=0,
        expires_at=expires_at,
        revoked_at=revoked_at,
    )
    assert key.is_live(10) is live


@pytest.mark.parametrize("text", ["abcd123", "abcd12345", "ABCD1234", "abcd123\n", "abcd-234", ""])
def test_what_is_no_id_of_a_key_is_told(text: str) -> None:
    assert is_key_id("abcd1234")
    assert not is_key_id(text)


@pytest.mark.parametrize("text", ["", "-a", "a-", "A", "a/b", "..", "a.b", "a b", "a\n", "é"])
def test_what_is_no_name_of_a_tenant_is_told(text: str) -> None:
    assert is_tenant("a")
    assert is_tenant("team-7")
    assert not is_tenant(text)
