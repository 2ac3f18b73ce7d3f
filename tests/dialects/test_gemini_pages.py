"""Page tokens."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightrate.dialects.gemini import decode_page_token, encode_page_token
from nightrate.errors import OutOfRange


@given(st.integers(0, 10**18 - 1), st.from_regex(r"[a-z0-9-]{1,64}", fullmatch=True))
def test_a_token_leads_back_to_its_place(created_at: int, resource_id: str) -> None:
    token = encode_page_token(created_at, resource_id)
    assert decode_page_token(token) == (created_at, resource_id)
    assert token.isascii()
    assert not {"=", "+", "/", "&", "%"} & set(token)


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        "ü",
        "====",
        "a b",
        base64.urlsafe_b64encode(b"1:../x").decode(),
        base64.urlsafe_b64encode(b"-1:a").decode(),
        base64.urlsafe_b64encode(b"1:" + b"a" * 65).decode(),
        base64.urlsafe_b64encode(b"9" * 19 + b":a").decode(),
        base64.urlsafe_b64encode(b"\xff").decode(),
        base64.urlsafe_b64encode("٣:a".encode()).decode(),
    ],
)
def test_rubbish_is_no_token(token: str) -> None:
    with pytest.raises(OutOfRange, match="not one that this server gave out") as refused:
        decode_page_token(token)
    assert refused.value.field == "pageToken"


@given(st.text(max_size=20))
def test_any_text_is_a_place_or_out_of_range(token: str) -> None:
    try:
        place = decode_page_token(token)
    except OutOfRange:
        return
    assert decode_page_token(encode_page_token(*place)) == place
