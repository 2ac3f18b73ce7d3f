"""Tools in requests: a search becomes a wish, everything else is refused by its path."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from nightrate.dialects.gemini import StreamWriter, framing_of, parse_prompt, render_reply
from nightrate.domain.generation import Candidate, Reply, Usage
from nightrate.domain.grounding import Grounding, LookupWish, Page, PageStatus, Source, Support
from nightrate.errors import BadRequest, NotSupported, Refused


def wish(*tools: Any) -> LookupWish | None:
    body = msgspec.json.encode({"contents": "hi", "tools": list(tools)})
    return parse_prompt(body, "m").lookup


@pytest.mark.parametrize(
    ("tool", "name"),
    [
        ({"googleSearch": {}}, "googleSearch"),
        ({"google_search": {}}, "google_search"),
        ({"googleSearch": {"searchTypes": {"webSearch": {}, "imageSearch": None}}}, "googleSearch"),
        ({"googleSearch": {"search_types": None, "timeRangeFilter": {}}}, "googleSearch"),
        ({"googleSearchRetrieval": {}}, "googleSearchRetrieval"),
        (
            {"google_search_retrieval": {"dynamic_retrieval_config": {"dynamicThreshold": 0.3}}},
            "google_search_retrieval",
        ),
    ],
)
def test_a_search_is_a_wish_however_it_is_spelled(tool: Any, name: str) -> None:
    assert wish({}, tool) == LookupWish(f"tools[1].{name}")


def test_the_same_tool_twice_is_one_wish() -> None:
    assert wish({"googleSearch": {}}, {"googleSearchRetrieval": {}}) == LookupWish(
        "tools[0].googleSearch"
    )
    assert wish({"googleSearch": None}, {"urlContext": None}) is None


@pytest.mark.parametrize(
    ("tool", "field", "kind"),
    [
        ({"googleSearch": True}, "googleSearch", BadRequest),
        ({"googleSearch": {"depth": 1}}, "googleSearch.depth", BadRequest),
        ({"googleSearch": {"searchTypes": "web"}}, "googleSearch.searchTypes", BadRequest),
        ({"googleSearch": {"searchTypes": {"imageSearch": {}}}},
         "googleSearch.searchTypes.imageSearch", NotSupported),
        ({"googleSearch": {"timeRangeFilter": {"startTime": "x"}}}, "googleSearch.timeRangeFilter",
         NotSupported),
        ({"googleSearchRetrieval": {"timeRangeFilter": {}}},
         "googleSearchRetrieval.timeRangeFilter", BadRequest),
        ({"urlContext": {"urls": []}}, "urlContext.urls", BadRequest),
        ({"urlContext": []}, "urlContext", BadRequest),
        ({"fooBar": {}}, "fooBar", BadRequest),
        ({"googleSearchRetrieval": {"dynamicRetrievalConfig": {"mode": "MODE_ODD"}}},
         "googleSearchRetrieval.dynamicRetrievalConfig.mode", BadRequest),
        ({"googleSearchRetrieval": {"dynamicRetrievalConfig": {"dynamicThreshold": 2}}},
         "googleSearchRetrieval.dynamicRetrievalConfig.dynamicThreshold", BadRequest),
        *(({name: {}}, name, NotSupported) for name in (
            "codeExecution", "googleMaps", "fileSearch", "computerUse")),
    ],
)  # fmt: skip
def test_what_no_search_can_do_is_refused(tool: Any, field: str, kind: type[Refused]) -> None:
    with pytest.raises(Refused) as refused:
        wish(tool)
    assert type(refused.value) is kind
    assert refused.value.field == f"tools[0].{field}"


@pytest.mark.parametrize("name", ["urlContext", "url_context"])
def test_pages_are_a_wish_beside_a_search_or_alone(name: str) -> None:
    assert wish({name: {}}) == LookupWish(pages=f"tools[0].{name}")
    assert wish({name: {}}, {name: {}}) == LookupWish(pages=f"tools[0].{name}")
    both = LookupWish("tools[0].googleSearch", f"tools[0].{name}")
    assert wish({"googleSearch": {}, name: {}}) == both


def test_nothing_is_looked_up_for_an_answer_that_may_call_functions() -> None:
    declared = {"functionDeclarations": [{"name": "f"}]}
    for tool in ("googleSearch", "urlContext"):
        with pytest.raises(BadRequest, match="nothing is looked up") as refused:
            wish(declared, {tool: {}})
        assert refused.value.field == f"tools[1].{tool}"


REPLY = Reply((Candidate("Zürich won."),), Usage(1, 2), "m")
SEARCHED = {
    "webSearchQueries": ["who <won>?"],
    "searchEntryPoint": {
        "renderedContent": '<div class="container"><span class="chip">who &lt;won&gt;?</span></div>'
    },
}


def metadata(grounding: Grounding, *supports: Support, thoughts: str = "") -> Any:
    candidate = msgspec.structs.replace(REPLY.candidates[0], supports=supports, thoughts=thoughts)
    reply = msgspec.structs.replace(REPLY, candidates=(candidate,), grounding=grounding)
    (written,) = msgspec.json.decode(render_reply(reply, "r"))["candidates"]
    return written["groundingMetadata"]


def test_an_answer_after_an_empty_search_names_the_query_and_no_source() -> None:
    assert metadata(Grounding(("who <won>?",))) == SEARCHED


def test_an_answer_names_its_sources_and_what_rests_on_them() -> None:
    grounding = Grounding(
        ("who <won>?",),
        (Source("https://example.com/a", "A", "…"),),
    )
    supports = (Support(0, 7, "Zürich", (0,), (0.8,)), Support(8, 12, "won.", (0,), (1.0,)))
    assert metadata(grounding, *supports) == {
        **SEARCHED,
        "groundingChunks": [{"web": {"uri": "https://example.com/a", "title": "A"}}],
        "groundingSupports": [
            {
                "segment": {"text": "Zürich", "endIndex": 7},
                "groundingChunkIndices": [0],
                "confidenceScores": [0.8],
            },
            {
                "segment": {"text": "won.", "startIndex": 8, "endIndex": 12},
                "groundingChunkIndices": [0],
                "confidenceScores": [1.0],
            },
        ],
    }


def test_thoughts_before_a_text_change_the_place_of_what_rests_on_a_source() -> None:
    support = Support(0, 7, "Z\u00fcrich", (0,), (0.8,))
    found = metadata(Grounding(("who won?",)), support, thoughts="Hm.")
    (told,) = found["groundingSupports"]
    assert told["segment"] == {"text": "Z\u00fcrich", "endIndex": 7, "partIndex": 1}


def test_an_answer_says_what_became_of_the_pages_that_were_named() -> None:
    pages = tuple(Page(f"https://x.example/{status}", status) for status in PageStatus)
    reply = msgspec.structs.replace(REPLY, grounding=Grounding(pages=pages))
    (written,) = msgspec.json.decode(render_reply(reply, "r"))["candidates"]
    assert "groundingMetadata" not in written, "no search was made, and no page came"
    assert written["urlContextMetadata"]["urlMetadata"] == [
        {
            "retrievedUrl": f"https://x.example/{status}",
            "urlRetrievalStatus": f"URL_RETRIEVAL_STATUS_{status.value.upper()}",
        }
        for status in PageStatus
    ]
    source = Source("https://x.example/success", "A", "…")
    assert metadata(Grounding((), (source,), pages)) == {
        "groundingChunks": [{"web": {"uri": "https://x.example/success", "title": "A"}}]
    }


def test_an_answer_without_a_search_says_nothing_of_one() -> None:
    assert b"grounding" not in render_reply(REPLY, "r")


def test_the_last_document_of_a_stream_names_the_query() -> None:
    writer = StreamWriter(framing_of("json"), "r")
    writer.write("Zürich won.")
    last = writer.write(msgspec.structs.replace(REPLY, grounding=Grounding(("who <won>?",))))
    (candidate,) = msgspec.json.decode(last.strip(b",]\n"))["candidates"]
    assert candidate["groundingMetadata"] == SEARCHED
    assert candidate["content"]["parts"] == [{"text": ""}]
