"""The table of options names what exists, and all of it."""

from __future__ import annotations

import pytest
from msgspec import Struct, structs

from nightrate.dialects.gemini_embedding_shapes import EmbedContentConfig, EmbedContentRequest
from nightrate.dialects.gemini_options import (
    EMBEDDING_OPTIONS,
    OPTIONS,
    SHAPES,
    Option,
    Treatment,
    refused_in,
)

EMBEDDING_SHAPES: dict[str, type[Struct]] = {
    "": EmbedContentRequest,
    "embedContentConfig": EmbedContentConfig,
}


def members_at(path: str, options: tuple[Option, ...]) -> set[str]:
    """Give the names that have a row right below a path."""
    below = [option.path.removeprefix(f"{path}." if path else "") for option in options]
    inside = [option.path.startswith(f"{path}.") or not path for option in options]
    return {name for name, found in zip(below, inside, strict=True) if found and "." not in name}


@pytest.mark.parametrize("path", SHAPES)
def test_every_member_of_a_request_has_a_row_and_every_row_a_member(path: str) -> None:
    members = {member.encode_name for member in structs.fields(SHAPES[path])}
    assert members_at(path, OPTIONS) == members


@pytest.mark.parametrize("path", EMBEDDING_SHAPES)
def test_every_member_of_a_request_for_a_vector_has_a_row(path: str) -> None:
    members = {member.encode_name for member in structs.fields(EMBEDDING_SHAPES[path])}
    assert members_at(path, EMBEDDING_OPTIONS) == members


@pytest.mark.parametrize("options", [OPTIONS, EMBEDDING_OPTIONS])
def test_no_option_has_two_rows(options: tuple[Option, ...]) -> None:
    paths = [option.path for option in options]
    assert len(paths) == len(set(paths))


def test_a_row_that_refuses_says_what_to_do() -> None:
    refused = [option for option in OPTIONS if option.treatment is Treatment.REFUSED]
    assert refused
    for option in refused:
        assert option.says.startswith(("Leave it out", "Send "))
        assert option.needs is None


def test_the_gates_know_a_member_by_both_its_names() -> None:
    assert refused_in("generationConfig")["speech_config"][0] == "speechConfig"
    assert "temperature" not in refused_in("generationConfig")
