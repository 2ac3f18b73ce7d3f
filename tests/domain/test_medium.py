"""Media of prompts: their types, their places in a text, and how much they are."""

from __future__ import annotations

import base64

import pytest

from nightrate.domain.medium import (
    Medium,
    covers,
    estimated_tokens,
    is_pattern,
    is_type,
    kind_of,
    media_of_turn,
    pieces_of,
    size_bytes_of,
)


def medium(offset: int = 0, mime_type: str = "image/png", data: str = "", turn: int = 0) -> Medium:
    return Medium(turn=turn, offset=offset, field="m", mime_type=mime_type, data=data)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("image/png", True),
        ("text/plain; charset=utf-8", True),
        ("application/vnd.ms-excel", True),
        ("jsonl", False),
        ("image/", False),
        ("image/*", False),
        ("image/png\n", False),
        ("a/" + "b" * 254, False),
        ("a/" + "b" * 253, True),
    ],
)
def test_a_media_type_has_two_parts_and_perhaps_parameters(text: str, *, found: bool) -> None:
    assert is_type(text) is found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("image/*", True),
        ("image/png", True),
        ("*/*", False),
        ("image", False),
        ("text/plain; charset=utf-8", False),
    ],
)
def test_a_pattern_is_a_type_or_all_of_a_family(text: str, *, found: bool) -> None:
    assert is_pattern(text) is found


def test_types_go_by_their_registered_names() -> None:
    assert kind_of("IMAGE/JPG") == "image/jpeg"
    assert kind_of("audio/mp3; rate=1") == "audio/mpeg"
    assert kind_of("audio/x-wav") == kind_of("audio/wave") == "audio/wav"
    assert kind_of("jsonl") == "jsonl"


@pytest.mark.parametrize(
    ("patterns", "mime_type", "found"),
    [
        (("image/*",), "image/png", True),
        (("IMAGE/*",), "Image/PNG", True),
        (("image/*",), "imagery/png", False),
        (("image/png", "audio/mp3"), "audio/mpeg", True),
        (("image/png",), "image/jpeg", False),
        (("image/png",), "image/png; a=b", True),
        ((), "image/png", False),
    ],
)
def test_a_pattern_covers_a_type_or_a_family(
    patterns: tuple[str, ...], mime_type: str, *, found: bool
) -> None:
    assert covers(patterns, mime_type) is found


@pytest.mark.parametrize("size_bytes", [0, 1, 2, 3, 4, 3000])
def test_the_size_is_that_of_the_bytes(size_bytes: int) -> None:
    assert size_bytes_of(base64.b64encode(b"x" * size_bytes).decode()) == size_bytes


def test_a_text_is_cut_where_its_media_stand() -> None:
    first, second, third = medium(0), medium(3), medium(3)
    assert list(pieces_of("abcdef", (first, second, third))) == [first, "abc", second, third, "def"]
    assert list(pieces_of("abc", (medium(3),))) == ["abc", medium(3)]
    assert list(pieces_of("", (first,))) == [first]


def test_media_are_found_by_their_turn() -> None:
    media = medium(turn=0), medium(turn=2), medium(1, turn=2)
    assert media_of_turn(media, 2) == media[1:]
    assert media_of_turn(media, 1) == ()


def test_a_picture_is_reckoned_whole_and_all_else_by_its_bytes() -> None:
    data = base64.b64encode(b"x" * 257).decode()
    assert estimated_tokens([medium(mime_type="image/jpg", data=data)]) == 1600
    assert estimated_tokens([medium(mime_type="audio/wav", data=data)] * 2) == 4
    assert estimated_tokens([]) == 0
