"""Which sentences of an answer rest on which sources."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightrate import tool_limits
from nightrate.domain.grounding import Source, Support
from nightrate.domain.supports import SHARE_MIN, supports_of

EURO = Source("u", "The Euro 2025", "England won the final in Basel against Spain.")
LAKE = Source("v", "Zürich", "The lake of Zürich freezes in cold winters.")


def test_a_sentence_rests_on_the_source_that_has_its_words() -> None:
    text = "Grüezi! England won the final against Spain. In cold winters the lake freezes. Bye."
    first, second = supports_of(text, (EURO, LAKE))
    assert first == Support(9, 45, "England won the final against Spain.", (0,), (1.0,))
    assert (second.sources, second.confidences) == ((1,), (1.0,))
    assert all(
        text.encode()[one.start_byte : one.end_byte].decode() == one.text for one in (first, second)
    )


def test_the_share_of_words_is_the_confidence_and_has_a_threshold() -> None:
    (one,) = supports_of("England won the trophy.", (EURO, LAKE))
    assert one.confidences == (0.67,)
    assert supports_of("England won two trophies.", (EURO,)) == ()
    assert 0.5 < SHARE_MIN < 0.67


def test_two_sources_may_say_the_same() -> None:
    (one,) = supports_of("England won the final!", (EURO, LAKE, EURO))
    assert (one.sources, one.confidences) == ((0, 2), (1.0, 1.0))


def test_a_short_sentence_is_supported_by_nothing() -> None:
    assert supports_of("England won. The final. Is it?", (EURO,)) == ()


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("England won in Basel\nSpain lost.", ["England won in Basel"]),
        ('"England won in Basel." Yes', ['"England won in Basel."']),
        ("England 2.5 won Basel final", ["England 2.5 won Basel final"]),
        ("England won in Basel。Spain", ["England won in Basel。"]),
    ],
)
def test_sentences_end_where_a_reader_would_end_them(text: str, sentences: list[str]) -> None:
    assert [one.text for one in supports_of(text, (EURO,))] == sentences


def test_without_sources_there_is_nothing_to_rest_on() -> None:
    assert supports_of("England won the final.", ()) == ()


def test_so_many_sentences_are_told_and_no_more() -> None:
    text = "England won the final. " * (tool_limits.SUPPORTS_MAX + 1)
    assert len(supports_of(text, (EURO,))) == tool_limits.SUPPORTS_MAX


@given(st.lists(st.sampled_from(["England", "won", "final", "é", "。", ".", "\n", " ", "😀"])))
def test_places_are_those_of_the_text_in_bytes(pieces: list[str]) -> None:
    text = " ".join(pieces)
    for one in supports_of(text, (EURO,)):
        assert text.encode()[one.start_byte : one.end_byte] == one.text.encode()
