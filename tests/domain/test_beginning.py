"""Which prompts begin alike, and in which order they come together."""

from __future__ import annotations

from nightrate.domain.beginning import PIECE_CHARACTERS, beginning_of, together
from nightrate.domain.calling import Calling, CallMode, CallResult, Function
from nightrate.domain.generation import Message, Prompt
from nightrate.domain.medium import Medium

LONG = "Once upon a time there was a king. " * 40


def prompt(text: str, system: str | None = None, cache: str | None = None) -> Prompt:
    return Prompt(messages=(Message("user", text),), system=system, cache=cache)


def shared_bytes(first: bytes, second: bytes) -> int:
    alike = [one == other for one, other in zip(first, second, strict=False)]
    return alike.index(False) if False in alike else len(alike)


def test_prompts_share_the_marks_of_the_pieces_that_they_share() -> None:
    first, second = beginning_of(prompt(LONG + "a" * 600)), beginning_of(prompt(LONG + "b" * 600))
    assert shared_bytes(first, second) == 8 * (len(LONG) // PIECE_CHARACTERS)
    assert len(first) == len(second) > shared_bytes(first, second)
    assert beginning_of(prompt(LONG)) != beginning_of(prompt("x" + LONG))


def test_a_short_prompt_has_no_marks() -> None:
    assert beginning_of(prompt("Hello")) == b""


def test_what_comes_before_the_conversation_comes_first() -> None:
    long, other = prompt("one", system=LONG), prompt("two", system=LONG)
    assert beginning_of(long) == beginning_of(other) != b""
    calling = Calling((Function("f", LONG),), CallMode.ANY, "tools", "toolConfig")
    called = Prompt(messages=(Message("user", "one"),), calling=calling)
    assert beginning_of(called)
    assert shared_bytes(beginning_of(called), beginning_of(long)) == 0


def test_a_cached_content_is_shared_however_little_follows_it() -> None:
    one, two = beginning_of(prompt("one", cache="c1")), beginning_of(prompt("two", cache="c1"))
    assert one == two != b""
    assert beginning_of(prompt("one", cache="c2")) != one
    assert shared_bytes(beginning_of(prompt(LONG, cache="c1")), one) == len(one)


def showing(*media: Medium, words: str = LONG, before: str = "") -> Prompt:
    messages = (Message("user", before), Message("user", words))[not before :]
    return Prompt(messages=messages, media=media)


def picture(data: str, offset: int = 0, turn: int = 0, file_id: str | None = None) -> Medium:
    return Medium(turn=turn, offset=offset, field="m", data=data, file_id=file_id)


def test_equal_words_beside_other_media_are_another_beginning() -> None:
    one, two = showing(picture("eA==")), showing(picture("eQ=="))
    assert beginning_of(one) == beginning_of(showing(picture("eA==")))
    assert shared_bytes(beginning_of(one), beginning_of(two)) == 0
    assert shared_bytes(beginning_of(one), beginning_of(showing())) == 0
    files = [beginning_of(showing(picture("", file_id=name))) for name in ("a", "b")]
    assert shared_bytes(*files) == 0


def test_a_medium_is_a_piece_at_its_place() -> None:
    first, second = (beginning_of(showing(picture(data, 1200))) for data in ("eA==", "eQ=="))
    assert shared_bytes(first, second) == 16
    assert len(first) == len(beginning_of(showing())) + 8
    short = [beginning_of(showing(picture("eA=="), words=words)) for words in ("a", "b")]
    assert short[0] == short[1] != b""
    later = [beginning_of(showing(picture(data, turn=1), before=LONG)) for data in ("eA==", "eQ==")]
    assert shared_bytes(*later) == 16


def test_what_is_called_beside_a_medium_still_counts() -> None:
    turns = [Message("user", "see", results=(CallResult("f", text * 600),)) for text in "ab"]
    marks = [beginning_of(Prompt(messages=(one,), media=(picture("eA=="),))) for one in turns]
    assert marks[0] != marks[1]


def test_marks_are_bounded_and_take_any_text() -> None:
    assert len(beginning_of(prompt("x" * 10_000_000))) == 2048
    assert beginning_of(prompt("\ud800" * 600))


def test_those_that_begin_alike_come_together_where_the_first_of_them_was() -> None:
    beginnings = [beginning_of(prompt(text)) for text in ("A" * 600, "B" * 600, "hi", "A" * 600)]
    assert together(beginnings) == [0, 3, 1, 2]


def test_those_that_share_more_come_closer_together() -> None:
    texts = [LONG + "a" * 600, LONG + "b" * 600, LONG + "a" * 600, LONG + "b" * 600]
    order = together([beginning_of(prompt(text)) for text in texts])
    assert order in ([0, 2, 1, 3], [1, 3, 0, 2])


def test_those_that_share_nothing_stay_where_they_were() -> None:
    texts = [f"{number}" * 600 for number in range(9)] + ["short"] * 3
    assert together([beginning_of(prompt(text)) for text in texts]) == list(range(12))
    assert together([]) == []
