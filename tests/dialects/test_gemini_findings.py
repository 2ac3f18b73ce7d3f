"""What a server that speaks Gemini's protocol found in its answers, and counted by kind."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from nightrate.dialects.gemini_answers import Stream, read_reply
from nightrate.domain.generation import Candidate, FinishReason, Message, Prompt
from nightrate.domain.grounding import Citation
from nightrate.domain.guidance import Harm, HarmRating, Likelihood, Withheld
from nightrate.domain.medium import Medium
from tests.dialects.test_gemini_answers import DATA, FORM, HELLO, PICTURE, document, read, wishing

PICTURE_ASKED = Prompt(
    messages=(Message("user", "12345678"),),
    media=(Medium(field="x", mime_type="image/png", data=DATA),),
)


@pytest.mark.parametrize(
    ("details", "media_tokens"),
    [
        ([{"modality": "TEXT", "tokenCount": 2}, {"modality": "IMAGE", "tokenCount": 5}], 5),
        ([{"modality": "IMAGE", "tokenCount": 8}], None),
        ([{"modality": "IMAGE", "tokenCount": -1}], None),
        ([{"modality": "TEXT", "tokenCount": 7}], None),
        ([{"modality": "IMAGE", "tokenCount": "5"}], 5),
        ([{"modality": "IMAGE", "tokenCount": None}], None),
        (None, None),
    ],
)
def test_tokens_of_media_are_those_that_the_server_tells(
    details: list[dict[str, Any]] | None, media_tokens: int | None
) -> None:
    used = {"promptTokenCount": 7, "candidatesTokenCount": 1, "promptTokensDetails": details}
    candidate = {"content": {"parts": [{"text": "a"}]}, "finishReason": "STOP"}
    body = msgspec.json.encode({"candidates": [candidate], "usageMetadata": used})
    usage = read_reply(body, PICTURE_ASKED, "m").usage
    assert usage.media_tokens == (None if media_tokens is None else (("IMAGE", media_tokens),))
    assert read_reply(body, HELLO, "m").usage.media_tokens == ()


@pytest.mark.parametrize(
    ("details", "drawn_tokens"),
    [
        ([{"modality": "TEXT", "tokenCount": 2}, {"modality": "IMAGE", "tokenCount": 5}], 5),
        ([{"modality": "TEXT", "tokenCount": 7}], 0),
        ([{"modality": "IMAGE", "tokenCount": 8}], None),
        (None, None),
    ],
)
def test_tokens_of_drawn_pictures_are_those_that_the_server_tells(
    details: list[dict[str, Any]] | None, drawn_tokens: int | None
) -> None:
    used = {"promptTokenCount": 7, "candidatesTokenCount": 7, "candidatesTokensDetails": details}
    parts = [{"text": "a"}, {"inlineData": {"mimeType": "image/png", "data": DATA}}]
    candidate = {"content": {"parts": parts}, "finishReason": "STOP"}
    body = msgspec.json.encode({"candidates": [candidate], "usageMetadata": used})
    expected = None if drawn_tokens is None else (("IMAGE", drawn_tokens),) if drawn_tokens else ()
    assert read_reply(body, wishing(picture=PICTURE), "m").usage.drawn_tokens == expected
    assert read_reply(body, HELLO, "m").usage.drawn_tokens == ()


FOUND: dict[str, Any] = {
    "finishMessage": "It repeats a source.",
    "safetyRatings": [
        {"category": "HARM_CATEGORY_HARASSMENT", "probability": "LOW"},
        {"category": "HARM_CATEGORY_TOXICITY", "probability": "HIGH", "blocked": True},
        {"category": "HARM_CATEGORY_UNHEARD_OF", "probability": "LOW"},
        {"category": "HARM_CATEGORY_VIOLENCE", "probability": "HARM_PROBABILITY_UNSPECIFIED"},
        {},
    ],
    "citationMetadata": {
        "citationSources": [
            {"endIndex": 6, "uri": "https://a.example"},
            {"startIndex": 4, "endIndex": 6, "title": "B", "license": "mit"},
            {"startIndex": 4, "endIndex": 8},
            {"startIndex": 5, "endIndex": 4},
            {"startIndex": -1, "endIndex": 4},
        ]
    },
}
RATINGS = (
    HarmRating(Harm.HARASSMENT, Likelihood.LOW),
    HarmRating(Harm.TOXICITY, Likelihood.HIGH, blocked=True),
)
CITATIONS = (Citation(0, 6, "https://a.example"), Citation(4, 6, title="B", license="mit"))


@pytest.mark.parametrize(
    ("reason", "finish", "withheld"),
    [
        ("STOP", FinishReason.STOP, None),
        ("RECITATION", FinishReason.WITHHELD, Withheld.RECITATION),
    ],
)
def test_what_the_server_found_in_an_answer_is_told(
    reason: str, finish: FinishReason, withheld: Withheld | None
) -> None:
    assert read(document({"text": "H\u1ebf so"}, reason=reason, **FOUND)) == Candidate(
        "H\u1ebf so",
        finish,
        withheld=withheld,
        ratings=RATINGS,
        citations=CITATIONS,
        end_message="It repeats a source.",
    )


def test_places_in_a_text_that_is_written_anew_are_not_told() -> None:
    found = read(document({"text": '{"a": 1}'}, **FOUND), wishing(form=FORM))
    assert found == Candidate('{"a":1}', ratings=RATINGS, end_message="It repeats a source.")


def test_what_was_found_piece_by_piece_is_put_together() -> None:
    stream = Stream(HELLO, "m")
    cited = FOUND["citationMetadata"]["citationSources"]
    first: dict[str, Any] = {
        "safetyRatings": [{"category": "HARM_CATEGORY_SEXUAL", "probability": "NEGLIGIBLE"}],
        "citationMetadata": {"citationSources": cited[:1]},
    }
    last = {**FOUND, "citationMetadata": {"citationSources": cited[1:2]}}
    for text, reason, found in (
        ("H\u1ebf", None, first),
        (" so", None, {"citationMetadata": {}, "safetyRatings": None}),
        ("", "STOP", last),
    ):
        stream.read(document({"text": text}, reason=reason, **found))
    (candidate,) = stream.reply().candidates
    assert (candidate.ratings, candidate.citations) == (RATINGS, CITATIONS)


def test_what_is_odd_is_left_out_alone() -> None:
    ratings = [{"category": 7}, None, *FOUND["safetyRatings"], {"blocked": "x"}]
    cited = [7, *FOUND["citationMetadata"]["citationSources"], {"startIndex": "x"}]
    found: dict[str, Any] = {
        "safetyRatings": ratings,
        "citationMetadata": {"citationSources": cited},
    }
    candidate = read(document({"text": "H\u1ebf so"}, **found))
    assert (candidate.ratings, candidate.citations) == (RATINGS, CITATIONS)


@pytest.mark.parametrize("said", [b"1e999", b'"\xff"', b"[[[{}]]]"])
def test_no_words_about_an_end_hurt_the_answer(said: bytes) -> None:
    body = document({"text": "hi"}, finishMessage="MESSAGE").replace(b'"MESSAGE"', said)
    assert read(body) == Candidate("hi")


@pytest.mark.parametrize(
    "found",
    [
        {"finishMessage": 7, "safetyRatings": "x", "citationMetadata": [1]},
        {
            "finishMessage": None,
            "safetyRatings": [None],
            "citationMetadata": {"citationSources": 1},
        },
        {"safetyRatings": [{"category": 7}], "citationMetadata": {"citationSources": [[]]}},
    ],
)
def test_what_cannot_be_understood_of_it_does_not_hurt_the_answer(found: dict[str, Any]) -> None:
    assert read(document({"text": "hi"}, **found)) == Candidate("hi")


def test_a_blocked_prompt_says_what_was_found_in_it() -> None:
    feedback = {"blockReason": "SAFETY", "safetyRatings": FOUND["safetyRatings"]}
    reply = read_reply(msgspec.json.encode({"promptFeedback": feedback}), HELLO, "m")
    assert reply.blocked is Withheld.SAFETY
    assert reply.candidates[0].ratings == RATINGS
