"""Tools in requests: a search becomes a wish, everything else is refused by its path."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from nightrate.dialects.gemini import StreamWriter, framing_of, parse_prompt, render_reply
from nightrate.domain.generation import Candidate, Reply, Usage
from nightrate.domain.grounding import Grounding, SearchWish, Source, Support
from nightrate.errors import BadRequest, NotSupported, Refused


def wish(*tools: Any) -> SearchWish | None:
    body = msgspec.json.encode({"contents": "hi", "tools": list(tools)})
    return parse_prompt(body, "m").search


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
    assert wish({}, tool) == SearchWish(f"tools[1].{name}")


def test_the_same_tool_twice_is_one_wish() -> None:
    assert wish({"googleSearch": {}}, {"googleSearchRetrieval": {}}) == SearchWish(
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
        *(({name: {}}, name, NotSupported) for name in (
            "urlContext", "codeExecution", "googleMaps", "fileSearch")),
    ],
)  # fmt: skip
def test_what_no_search_can_do_is_refused(tool: Any, field: str, kind: type[Refused]) -> None:
    with pytest.raises(Refused) as refused:
        wish(tool)
    assert type(refused.value) is kind
    assert refused.value.field == f"tools[0].{field}"


REPLY = Reply((Candidate("Zürich won."),), Usage(1, 2), "m")
SEARCHED = {
    "webSearchQueries": ["who <won>?"],
    "searchEntryPoint": {
        "renderedContent": '<div class="container"><span class="chip">who &lt;won&gt;?</span></div>'
    },
}


def metadata(grounding: Grounding) -> Any:
    reply = msgspec.structs.replace(REPLY, grounding=grounding)
    (candidate,) = msgspec.json.decode(render_reply(reply, "r"))["candidates"]
    return candidate["groundingMetadata"]


def test_an_answer_after_an_empty_search_names_the_query_and_no_source() -> None:
    assert metadata(Grounding(("who <won>?",))) == SEARCHED


def test_an_answer_names_its_sources_and_what_rests_on_them() -> None:
    grounding = Grounding(
        ("who <won>?",),
        (Source("https://example.com/a", "A", "…"),),
        (Support(0, 7, "Zürich", (0,)), Support(8, 12, "won.", (0,))),
    )
    assert metadata(grounding) == {
        **SEARCHED,
        "groundingChunks": [{"web": {"uri": "https://example.com/a", "title": "A"}}],
        "groundingSupports": [
            {"segment": {"text": "Zürich", "endIndex": 7}, "groundingChunkIndices": [0]},
            {
                "segment": {"text": "won.", "startIndex": 8, "endIndex": 12},
                "groundingChunkIndices": [0],
            },
        ],
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
