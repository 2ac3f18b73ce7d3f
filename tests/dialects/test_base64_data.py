"""Bytes in texts: what clients write of Base64, and what becomes of it."""

from __future__ import annotations

import pytest

from nightrate.dialects.base64_data import in_address, plain_base64


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("iVBORw0KGgo=", "iVBORw0KGgo="),
        ("iVBORw0KGgo", "iVBORw0KGgo="),
        ("-_-_", "+/+/"),
        ("+/+_", "+/+/"),
        ("eA", "eA=="),
        ("", None),
        ("e", None),
        ("eA=", "eA=="),
        ("eA==eA==", None),
        ("eA==\n", None),
        ("e A=", None),
        ("ä", None),
        ("====", None),
        ("*AAA", None),
    ],
)
def test_either_alphabet_is_read_and_the_usual_one_is_given(text: str, plain: str | None) -> None:
    assert plain_base64(text) == plain


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("data:image/png;base64,eA==", ("image/png", "eA==")),
        ("DATA:text/plain;charset=utf-8;base64,eA,", ("text/plain;charset=utf-8", "eA,")),
        ("data:;base64,", ("", "")),
        ("data:image/png,eA==", None),
        ("data:image/png;base64", None),
        ("https://a/b;base64,c", None),
    ],
)
def test_an_address_with_data_is_taken_apart(address: str, found: tuple[str, str] | None) -> None:
    assert in_address(address) == found
