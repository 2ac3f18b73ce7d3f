"""The table of the fields of answers names what is sent, and all of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from msgspec import Struct, structs

from nightrate.dialects.gemini_answer_shapes import GenerateContentResponse
from nightrate.dialects.gemini_embedding_shapes import EmbedContentResponse, EmbeddedContent
from nightrate.dialects.gemini_replies import render_reply
from nightrate.dialects.gemini_results import render_line
from nightrate.dialects.gemini_streams import EVENTS, StreamWriter
from nightrate.dialects.row import Echo
from nightrate.domain.batch import BatchForm
from nightrate.domain.calling import Call
from nightrate.domain.generation import Candidate, FinishReason, Reply, Token, Usage
from nightrate.domain.grounding import (
    Citation,
    Grounding,
    Page,
    PageStatus,
    Source,
    Support,
)
from nightrate.domain.guidance import Harm, HarmRating, Likelihood, Withheld
from nightrate.domain.picture import Picture
from tests.acceptance.answers import paths_in
from tests.dialects.answer_fields import (
    ANSWER_FIELDS,
    VECTOR_FIELDS,
    AnswerField,
    Presence,
)

RATINGS = (HarmRating(Harm.DEROGATORY, Likelihood.HIGH, blocked=True),)
RICH = Reply(
    (
        Candidate(
            "It is so.",
            FinishReason.WITHHELD,
            (Picture("image/png", b"P"),),
            (Call("f", '{"a":{"b":1}}', "c-1"),),
            (Token("It", -0.5, 7, (Token("It", -0.5, 7), Token("So", -1.5, 8))),),
            (Support(3, 9, "is so.", (0,), (0.5,)),),
            Withheld.RECITATION,
            "Hm.",
            RATINGS,
            (Citation(3, 9, "https://a.example", "A", "mit"),),
            "It repeats a source.",
        ),
    ),
    Usage(40, 30, 4, 5, (), (("IMAGE", 20),), 6),
    "m-1",
    Grounding(
        ("so?",),
        (Source("https://a.example", "A", "It is so."),),
        (Page("https://a.example", PageStatus.SUCCESS),),
    ),
)
"""An answer that has everything."""
BLOCKED = Reply(
    (Candidate("", FinishReason.WITHHELD, withheld=Withheld.SAFETY, ratings=RATINGS),),
    Usage(3, 0),
    "m-1",
    blocked=Withheld.SAFETY,
)


def shapes_in(kind: Any, path: str = "") -> Iterator[tuple[str, type[Struct]]]:
    """Walk over the shapes of an answer, each with its path."""
    if isinstance(kind, type) and issubclass(kind, Struct):
        yield path, kind
        for name, inner in get_type_hints(kind).items():
            wire_name = kind.__struct_encode_fields__[kind.__struct_fields__.index(name)]
            yield from shapes_in(inner, f"{path}.{wire_name}" if path else wire_name)
    elif get_origin(kind) in (list, tuple):
        yield from shapes_in(get_args(kind)[0], f"{path}[]")
    else:
        for inner in get_args(kind):
            yield from shapes_in(inner, path)


def paths_of(*kinds: type[Struct]) -> set[str]:
    """Give the paths of all members that such an answer may have."""
    return {
        f"{path}.{name}" if path else name
        for kind in kinds
        for path, shape in shapes_in(kind)
        for name in shape.__struct_encode_fields__
    }


def present(fields: tuple[AnswerField, ...]) -> set[str]:
    return {field.path for field in fields if field.presence is not Presence.NOT_SENT}


def test_every_member_of_an_answer_has_a_row_that_says_so() -> None:
    assert paths_of(GenerateContentResponse) == present(ANSWER_FIELDS)


def test_every_member_of_a_vector_has_a_row_that_says_so() -> None:
    assert paths_of(EmbedContentResponse, EmbeddedContent) == present(VECTOR_FIELDS)


@pytest.mark.parametrize("fields", [ANSWER_FIELDS, VECTOR_FIELDS])
def test_no_field_has_two_rows_and_each_stands_below_another(
    fields: tuple[AnswerField, ...],
) -> None:
    paths = [field.path for field in fields]
    assert len(paths) == len(set(paths))
    for path in paths:
        above = path.rpartition(".")[0].removesuffix("[]")
        assert not above or above in paths, path


def test_a_field_that_is_passed_on_says_by_whom_or_stands_below_one_that_does() -> None:
    passed = {one.path: one for one in ANSWER_FIELDS if one.presence is Presence.PASSED_ON}
    for path, field in passed.items():
        above = path.rpartition(".")[0].removesuffix("[]")
        assert "`gemini`" in field.says or above in passed, path


def live(reply: Reply) -> list[Any]:
    return [json.loads(render_reply(reply, "r1"))]


def of_a_batch(reply: Reply) -> list[Any]:
    lines = [render_line(Echo(), reply, form, "r1") for form in BatchForm]
    first, *others = [json.loads(line)["response"] for line in lines]
    assert all(one == first for one in others)
    return [first]


def streamed(reply: Reply) -> list[Any]:
    writer = StreamWriter(EVENTS, "r1")
    written = writer.write("It") + writer.write(reply)
    return [json.loads(event.removeprefix(b"data: ")) for event in written.strip().split(b"\n\n")]


@pytest.mark.parametrize("way", [live, of_a_batch, streamed])
def test_every_field_that_is_sent_is_there_on_every_way(way: Any) -> None:
    documents = [document for reply in (RICH, BLOCKED) for document in way(reply)]
    assert set().union(*map(paths_in, documents)) == present(ANSWER_FIELDS)


def test_what_was_found_in_an_answer_is_told_as_the_protocol_names_it() -> None:
    (answer,) = live(RICH)
    (candidate,) = answer["candidates"]
    assert candidate["finishMessage"] == "It repeats a source."
    assert candidate["safetyRatings"] == [
        {"category": "HARM_CATEGORY_DEROGATORY", "probability": "HIGH", "blocked": True}
    ]
    assert candidate["citationMetadata"] == {
        "citationSources": [
            {
                "startIndex": 3,
                "endIndex": 9,
                "uri": "https://a.example",
                "title": "A",
                "license": "mit",
            }
        ]
    }


def test_tokens_are_told_by_their_kinds_and_add_up() -> None:
    usage = live(RICH)[0]["usageMetadata"]
    assert usage == {
        "promptTokenCount": 34,
        "candidatesTokenCount": 25,
        "totalTokenCount": 70,
        "cachedContentTokenCount": 4,
        "toolUsePromptTokenCount": 6,
        "thoughtsTokenCount": 5,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 34}],
        "cacheTokensDetails": [{"modality": "TEXT", "tokenCount": 4}],
        "candidatesTokensDetails": [
            {"modality": "TEXT", "tokenCount": 5},
            {"modality": "IMAGE", "tokenCount": 20},
        ],
        "toolUsePromptTokensDetails": [{"modality": "TEXT", "tokenCount": 6}],
    }


def test_kinds_that_nobody_knows_are_not_told() -> None:
    reply = structs.replace(RICH, usage=Usage(40, 30, drawn_tokens=None))
    usage = live(reply)[0]["usageMetadata"]
    assert "candidatesTokensDetails" not in usage
    assert usage["promptTokensDetails"] == [{"modality": "TEXT", "tokenCount": 40}]
