"""JSON loses the white space that means nothing, wherever it is cut."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightrate.dialects.compact import Compactor

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(value=VALUES, indent=st.sampled_from([None, 1, "\t"]), cuts=st.lists(st.integers(0, 200)))
def test_what_is_left_is_the_same_value_as_short_as_can_be(
    value: Any, indent: int | str | None, cuts: list[int]
) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    places = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    compactor = Compactor()
    pieces = [compactor.feed(text[a:b]) for a, b in itertools.pairwise(places)]
    whole = "".join(pieces)
    assert whole == json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    assert Compactor().feed(whole) == whole


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ('"a b', '"a b'),
        ('{ "a\\\\" : " \\" " }', '{"a\\\\":" \\" "}'),
        ("no json at all", "nojsonatall"),
        ("", ""),
    ],
)
def test_strings_keep_their_spaces(text: str, left: str) -> None:
    assert Compactor().feed(text) == left
