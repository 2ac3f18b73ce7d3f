"""Bodies of several parts, cut anywhere, malformed, and never held as a whole."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightrate import limits
from nightrate.api.multipart import Parts, boundary_of, parameter
from nightrate.errors import BadRequest, TooLarge

BODY = (
    b"a preamble\r\n--cut\r\nContent-Type: application/json\r\n\r\n{}"
    b"\r\n--cut \t\r\nX-A:  b \r\nContent-Type: jsonl\r\n\r\nline\r\n\r\n--cu\r\n-"
    b"\r\n--cut\r\n\r\n"
    b"\r\n--cut--\r\nan epilogue"
)
PARTS = [
    ({"content-type": "application/json"}, b"{}"),
    ({"x-a": "b", "content-type": "jsonl"}, b"line\r\n\r\n--cu\r\n-"),
    ({}, b""),
]


async def arriving(pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def read(pieces: Iterable[bytes]) -> list[tuple[dict[str, str], bytes]]:
    parts = Parts(arriving(pieces), "cut")
    found = []
    while (head := await parts.next_head()) is not None:
        found.append((dict(head), b"".join([piece async for piece in parts.content()])))
    return found


@given(cuts=st.lists(st.integers(0, len(BODY)), max_size=20))
async def test_where_the_network_cuts_a_body_does_not_matter(cuts: list[int]) -> None:
    ends = [*sorted(cuts), len(BODY)]
    starts = [0, *ends[:-1]]
    pieces = [BODY[start:end] for start, end in zip(starts, ends, strict=True)]
    assert await read(pieces) == PARTS


async def test_a_body_that_comes_byte_by_byte_is_read_the_same() -> None:
    assert await read(bytes([byte]) for byte in BODY) == PARTS


async def test_a_body_may_begin_with_its_first_delimiter() -> None:
    assert await read([b"--cut\r\n\r\nx\r\n--cut--"]) == [({}, b"x")]


@pytest.mark.parametrize("length", range(len(BODY) - len(b"--\r\nan epilogue")))
async def test_a_body_that_ends_in_the_middle_is_refused(length: int) -> None:
    with pytest.raises(BadRequest, match="ends before"):
        await read([BODY[:length]])


@pytest.mark.parametrize(
    "body",
    [
        b"--cut beyond\r\n\r\nx\r\n--cut--",
        b"--cutter\r\n\r\nx\r\n--cut--",
        b"--cut\r\nno colon\r\n\r\nx\r\n--cut--",
        b"--cut\r\n: no name\r\n\r\nx\r\n--cut--",
        b"--cut\r\nA: b\r\n folded\r\n\r\nx\r\n--cut--",
    ],
)
async def test_a_malformed_part_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest):
        await read([body])


@pytest.mark.parametrize("start", [b"", b"--cut\r\nA: "])
async def test_a_head_that_never_ends_is_not_held(start: bytes) -> None:
    endless = [start, *([b"x" * 1000] * (limits.HEADER_BYTES_MAX // 1000 + 2))]
    with pytest.raises(TooLarge):
        await read(endless)


async def test_only_a_piece_and_a_delimiter_are_held_of_a_long_part() -> None:
    parts = Parts(arriving([b"--cut\r\n\r\n", *([b"x" * 1000] * 500), b"\r\n--cut--"]), "cut")
    await parts.next_head()
    total = 0
    async for piece in parts.content():
        total += len(piece)
        assert len(piece) + len(parts._held) <= 2 * (1000 + len(b"\r\n--cut"))
    assert total == 500_000


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/related; boundary=cut", "cut"),
        ('multipart/form-data; charset=utf-8; boundary="a b:c"', "a b:c"),
        ("Multipart/Related; BOUNDARY=x", "x"),
    ],
)
def test_the_boundary_is_found(content_type: str, boundary: str) -> None:
    assert boundary_of(content_type) == boundary


@pytest.mark.parametrize(
    "content_type",
    ["multipart/related", "multipart/related; boundary=", f"multipart/x; boundary={'x' * 71}"],
)
def test_a_boundary_that_cannot_be_is_refused(content_type: str) -> None:
    with pytest.raises(BadRequest, match="boundary"):
        boundary_of(content_type)


def test_parameters_of_a_parts_header_are_found() -> None:
    head = {"content-disposition": 'form-data; name="file"; filename="a b.jsonl"'}
    assert parameter(head, "content-disposition", "filename") == "a b.jsonl"
    assert parameter(head, "content-disposition", "size") is None
    assert parameter({}, "content-disposition", "name") is None
