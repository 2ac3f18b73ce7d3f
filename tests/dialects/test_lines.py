"""Blocks cut into lines."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from nightrate import limits
from nightrate.dialects.lines import LineSplitter, RawLine, as_lines

BOM = b"\xef\xbb\xbf"


def split(blocks: list[bytes], **start: int) -> list[RawLine]:
    splitter = LineSplitter(**start)
    found = [line for block in blocks for line in splitter.feed(block)]
    return found + splitter.finish()


def plainly(text: bytes, limit: int) -> list[RawLine]:
    """Split a whole input at once, in the most obvious way."""
    found: list[RawLine] = []
    offset = 0
    number = 0
    while offset < len(text):
        number += 1
        end = text.find(b"\n", offset)
        stop = len(text) if end < 0 else end + 1
        data = text[offset:stop]
        if data.endswith(b"\n"):
            data = data[:-1]
            if data.endswith(b"\r"):
                data = data[:-1]
        if number == 1 and data.startswith(BOM):
            data = data[3:]
        if len(data) > limit:
            found.append(RawLine(number, offset, stop - offset, None))
        elif data.strip(b" \t\n\r\x0b\x0c"):
            found.append(RawLine(number, offset, stop - offset, data))
        offset = stop
    return found


def test_lines_carry_their_number_and_place() -> None:
    assert split([b"one\ntwo\r\nthree\n"]) == [
        RawLine(1, 0, 4, b"one"),
        RawLine(2, 4, 5, b"two"),
        RawLine(3, 9, 6, b"three"),
    ]


def test_a_torn_last_line_is_a_line() -> None:
    assert split([b"one\ntw", b"o"]) == [RawLine(1, 0, 4, b"one"), RawLine(2, 4, 3, b"two")]


def test_blank_lines_are_numbered_but_not_given() -> None:
    assert split([b"\n  \r\n\nfour\n\n \t"]) == [RawLine(4, 6, 5, b"four")]


def test_a_byte_order_mark_is_dropped_on_line_1_only() -> None:
    lines = split([BOM + b"one\n" + BOM + b"two\n"])
    assert lines == [RawLine(1, 0, 7, b"one"), RawLine(2, 7, 7, BOM + b"two")]


def test_a_pass_that_begins_later_does_not_look_for_the_mark() -> None:
    lines = split([BOM + b"x\n"], first_offset=70, first_number=9)
    assert lines == [RawLine(9, 70, 5, BOM + b"x")]


def test_a_line_that_is_too_long_is_counted_and_never_held() -> None:
    splitter = LineSplitter(limit=10)
    for _ in range(1_000):
        assert splitter.feed(b"x" * 1_000) == []
        assert len(splitter._held) <= 15
    assert splitter.feed(b"\nnext\n") == [
        RawLine(1, 0, 1_000_001, None),
        RawLine(2, 1_000_001, 5, b"next"),
    ]


def test_the_limit_is_on_the_content_alone() -> None:
    exact, over = b"x" * 10, b"x" * 11
    assert [line.data for line in split([BOM + exact + b"\r\n"], limit=10)] == [exact]
    assert [line.data for line in split([exact], limit=10)] == [exact]
    assert [line.data for line in split([b"a\n" + exact + b"\r\n"], limit=10)] == [b"a", exact]
    assert [line.data for line in split([b"a\n" + over + b"\r\n"], limit=10)] == [b"a", None]
    for text in (over, over + b"\n", over + b"\r\n", BOM + over):
        assert [line.data for line in split([text], limit=10)] == [None]


def test_the_default_limit_is_the_one_of_the_house() -> None:
    assert LineSplitter()._limit == limits.LINE_BYTES_MAX


TEXTS = st.lists(
    st.sampled_from([b"\n", b"\r\n", b"\r", b" ", b"\t", BOM, b"a", b"bc", b'{"k":1}', b"\xff\x00"])
    | st.binary(max_size=12),
    max_size=40,
).map(b"".join)


@given(TEXTS, st.lists(st.integers(0, 60), max_size=12), st.integers(0, 12))
def test_blocks_of_any_size_give_the_same_lines(text: bytes, cuts: list[int], limit: int) -> None:
    places = sorted({0, len(text), *(min(cut, len(text)) for cut in cuts)})
    blocks = [text[start:end] for start, end in pairwise(places)]
    assert split(blocks, limit=limit) == plainly(text, limit)


@given(TEXTS, st.lists(st.integers(0, 60), max_size=12), st.integers(0, 12))
def test_runs_hold_the_lines_that_are_not_given_one_by_one(
    text: bytes, cuts: list[int], limit: int
) -> None:
    places = sorted({0, len(text), *(min(cut, len(text)) for cut in cuts)})
    splitter = LineSplitter(limit=limit)
    found: list[RawLine] = []
    for start, end in pairwise(places):
        lines, run = splitter.take(text[start:end])
        found += lines
        offset = run.offset
        for index, piece in enumerate(run.pieces):
            line = run.line(index, offset)
            found += [] if line is None else [line]
            offset += len(piece) + 1
    assert found + splitter.finish() == plainly(text, limit)


@given(TEXTS)
def test_one_byte_at_a_time_gives_the_same_lines(text: bytes) -> None:
    assert split([bytes([byte]) for byte in text], limit=5) == plainly(text, 5)


@given(TEXTS, st.integers(0, 50))
def test_a_pass_from_any_line_on_agrees_with_the_whole(text: bytes, skip: int) -> None:
    lines = plainly(text, 100)
    for line in lines[skip:][:1]:
        rest = split([text[line.offset :]], first_offset=line.offset, first_number=line.number)
        assert rest == lines[skip:]


def test_items_become_lines_of_their_own() -> None:
    assert b"".join(as_lines([b'{"a":1}', b'{\n "b":\r\n 2}'])) == b'{"a":1}\n{  "b":   2}\n'
