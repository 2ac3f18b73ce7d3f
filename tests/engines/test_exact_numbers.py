"""Numbers go through a renderer that rounds them as texts, and come out as numbers."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightrate.engines.exact_numbers import ExactNumbers

NUMBERS = st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False))


@given(st.recursive(NUMBERS | st.text() | st.booleans() | st.none(), st.lists))
def test_every_number_comes_out_as_it_was(value: object) -> None:
    numbers = ExactNumbers({"a": value})
    held = numbers.hold({"a": value})
    for ascii_only in (True, False):
        rendered = json.dumps(held, ensure_ascii=ascii_only)
        if not ascii_only:
            assert json.loads(numbers.let_go(rendered)) == {"a": value}


@pytest.mark.parametrize("number", [0.1, -1.5, 2**53 + 1, -(2**80), 1e300])
def test_what_would_be_rounded_is_a_text_meanwhile(number: float) -> None:
    assert isinstance(ExactNumbers([number]).hold([number])[0], str)


@pytest.mark.parametrize("value", [0, 7, -(2**53), True, None, "0.5", {"a": ["x"]}])
def test_all_else_stays_as_it_is(value: object) -> None:
    assert ExactNumbers(value).hold(value) == value


@pytest.mark.parametrize("quote", ["", "'", '"'])
def test_quotes_around_a_number_go_however_it_was_rendered(quote: str) -> None:
    numbers = ExactNumbers(0.5)
    assert numbers.let_go(f"a = {quote}{numbers.hold(0.5)}{quote}") == "a = 0.5"
