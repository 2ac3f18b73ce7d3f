"""What both of Google's clients make of every document that a batch can have.

A single value of the wrong kind makes the Python client refuse the whole document, and a list is
as good as its worst entry.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from google import genai
from google.genai import types

from nightrate.dialects.gemini_items import ItemJoiner
from nightrate.dialects.gemini_profiles import Profile
from nightrate.domain.batch import Method
from tests.clients.golden import CASES, FAULTS, ITEMS, MODEL, SEPARATORS, document, served
from tests.clients.javascript import JavaScript

NAMES = [f"batches/{name}" for name in CASES]
STATES = [wanted for _, _, wanted in CASES.values()]
TEXTS = ["plain", "no metadata", SEPARATORS, "nested", "cut", "", "first", "drawn"]
METADATA = [
    {"key": "request-1"},
    None,
    {"key": "\u00e9", "note": "caf\u00e9"},
    {"n": "1", "list": '[1,{"a":null}]', "map": '{"b":true}', "none": "null", "s": "x"},
    {},
    {"key": "empty"},
    {"key": "two"},
    {"key": "all"},
    {"key": "8", "deep": "[[]]"},
    None,
]
ERRORS = [(3, "contents: it is empty."), (13, SEPARATORS)]

in_node = pytest.mark.xdist_group("javascript")


@pytest.fixture(scope="session")
def base_url() -> Iterator[str]:
    with served() as url:
        yield url


@pytest.fixture(scope="module")
def client(base_url: str) -> Iterator[genai.Client]:
    options = types.HttpOptions(base_url=base_url)
    with genai.Client(api_key="any", http_options=options) as client:
        yield client


@pytest.fixture(scope="session")
def said(javascript: JavaScript, base_url: str, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder: Path = tmp_path_factory.mktemp("golden")
    return javascript.run("golden.mjs", base_url, folder, *NAMES)


# Python -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_python_reads_every_state(client: genai.Client, name: str) -> None:
    made, items, wanted = CASES[name]
    job = client.batches.get(name=f"batches/{name}")
    assert job.name == f"batches/{name}"
    assert job.state is types.JobState(wanted)
    assert job.display_name == made.display_name
    assert job.model == f"models/{MODEL}"
    assert job.create_time is not None
    assert job.update_time is not None
    assert (job.end_time is not None) == (made.ended_at is not None)
    assert job.done == (made.ended_at is not None)
    if wanted != "JOB_STATE_SUCCEEDED":
        assert job.dest is None
        return
    assert job.dest is not None
    if items:
        texts, vectors = job.dest.inlined_responses, job.dest.inlined_embed_content_responses
        assert job.dest.file_name is None
        embeds = made.kind.method is Method.EMBED
        assert [len(texts or ()), len(vectors or ())][embeds] == len(items)
        assert not [texts, vectors][not embeds]
    else:
        assert job.dest.file_name == f"files/batch-{name}"
        assert job.dest.inlined_responses is None


def test_python_reads_every_kind_of_item(client: genai.Client) -> None:
    job = client.batches.get(name="batches/inline")
    assert job.dest is not None
    items = job.dest.inlined_responses or []
    answered = [found.response for found in items if found.response is not None]
    assert [response.candidates[0].content.parts[0].text for response in answered] == TEXTS  # type: ignore[index, union-attr]
    assert [found.metadata for found in items] == METADATA
    errors = [found.error for found in items if found.error is not None]
    assert [(error.code, error.message) for error in errors] == ERRORS
    assert [found.response is None for found in items] == [False] * len(TEXTS) + [True, True]
    reasons = [response.candidates[0].finish_reason for response in answered]  # type: ignore[index]
    assert reasons[3:5] == [types.FinishReason.STOP, types.FinishReason.MAX_TOKENS]
    assert len(answered[6].candidates or ()) == 2
    (everything,) = answered[7].candidates or []
    assert everything.content is not None
    picture = (everything.content.parts or [])[1].inline_data
    assert picture is not None
    assert (picture.mime_type, picture.data) == ("image/png", b"\x89PNG")
    grounding = everything.grounding_metadata
    assert grounding is not None
    assert grounding.web_search_queries == ["who won?"]
    assert [chunk.web.uri for chunk in grounding.grounding_chunks or [] if chunk.web] == [
        "https://example.com/"
    ]
    (support,) = grounding.grounding_supports or []
    assert support.segment is not None
    assert (support.segment.start_index, support.segment.end_index) == (None, 5)
    assert (support.grounding_chunk_indices, support.confidence_scores) == ([0], [0.75])
    usage = answered[0].usage_metadata
    assert usage is not None
    assert (usage.prompt_token_count, usage.total_token_count) == (7, 10)
    assert usage.cached_content_token_count == 2


def test_python_reads_vectors_and_what_has_none(client: genai.Client) -> None:
    found = []
    for name in ("vectors", "one-vector", "no-vector"):
        dest = client.batches.get(name=f"batches/{name}").dest
        assert dest is not None
        found.append(dest.inlined_embed_content_responses or [])
    assert [one.response is not None for one in found[0]] == [True, False, True]
    first = found[0][0].response
    assert first is not None
    assert first.embedding is not None
    assert first.embedding.values == [0.25, -0.012345679]
    assert first.token_count == 4
    assert [one.metadata for one in found[0]] == [{"key": "request-1"}, {"n": "1"}, None]
    for failed in (found[0][1], found[2][0]):
        assert failed.error is not None
        assert (failed.error.code, failed.error.message) == (3, "content: it has no text.")


@pytest.mark.parametrize("size", [1, 2, 4, 100])
def test_python_reads_every_page_of_the_list(client: genai.Client, size: int) -> None:
    jobs = list(client.batches.list(config={"page_size": size}))
    assert [job.name for job in jobs] == NAMES
    assert [job.state for job in jobs] == [types.JobState(state) for state in STATES]
    assert all(not (job.dest and job.dest.inlined_responses) for job in jobs)
    assert all(not (job.dest and job.dest.inlined_embed_content_responses) for job in jobs)
    files = [job.dest.file_name for job in jobs if job.dest]
    assert files == ["files/batch-file"]


# JavaScript ---------------------------------------------------------------------------------------


@in_node
def test_javascript_reads_every_state(said: Any) -> None:
    jobs = [said[name]["gave"] for name in NAMES]
    assert [job["name"] for job in jobs] == NAMES
    assert [job["state"] for job in jobs] == STATES
    assert [job["displayName"] for job in jobs] == [
        made.display_name for made, *_ in CASES.values()
    ]
    for job, (made, items, wanted) in zip(jobs, CASES.values(), strict=True):
        assert job["model"] == f"models/{MODEL}"
        assert ("endTime" in job) == (made.ended_at is not None)
        assert ("dest" in job) == (wanted == "JOB_STATE_SUCCEEDED")
        if "dest" in job:
            embeds = made.kind.method is Method.EMBED
            member = "inlinedEmbedContentResponses" if embeds else "inlinedResponses"
            assert [*job["dest"]] == [member if items else "fileName"]
            assert len(job["dest"].get(member, ())) == len(items)
            file_name = None if items else f"files/batch-{made.batch_id}"
            assert job["dest"].get("fileName") == file_name


@in_node
def test_javascript_reads_every_kind_of_item(said: Any) -> None:
    items = said["batches/inline"]["gave"]["dest"]["inlinedResponses"]
    answered = [found["response"]["candidates"] for found in items if "response" in found]
    assert [candidates[0]["content"]["parts"][0]["text"] for candidates in answered] == TEXTS
    assert [found.get("metadata") for found in items] == METADATA
    (everything,) = answered[7]
    assert everything["content"]["parts"][1]["inlineData"]["data"] == "iVBORw=="
    assert everything["groundingMetadata"]["webSearchQueries"] == ["who won?"]
    errors = [found["error"] for found in items if "error" in found]
    assert [(error["code"], error["message"]) for error in errors] == ERRORS


@in_node
def test_javascript_reads_vectors_and_what_has_none(said: Any) -> None:
    names = [f"batches/{name}" for name in ("vectors", "one-vector", "no-vector")]
    found = [said[name]["gave"]["dest"]["inlinedEmbedContentResponses"] for name in names]
    assert ["response" in one for one in found[0]] == [True, False, True]
    assert found[0][0]["response"]["embedding"]["values"] == [0.25, -0.012345679]
    assert [one.get("metadata") for one in found[0]] == [{"key": "request-1"}, {"n": "1"}, None]
    assert found[2][0]["error"]["code"] == 3


@in_node
def test_javascript_reads_every_page_of_the_list_and_ends(said: Any) -> None:
    jobs = said["list"]["gave"]
    assert [(job["name"], job["state"]) for job in jobs] == list(zip(NAMES, STATES, strict=True))
    assert not any("inlinedResponses" in job.get("dest", {}) for job in jobs)


# any reader of JSON -------------------------------------------------------------------------------


def test_why_a_job_failed_stands_in_its_document_for_readers_of_json() -> None:
    # Neither client reads it: their `error` of a job stays empty whatever a server says.
    errors = {name: msgspec.json.decode(document(name)).get("error") for name in CASES}
    assert {name: error["code"] for name, error in errors.items() if error} == {
        "failed": 3,
        "cancelled": 1,
        "expired": 4,
    }
    assert errors["failed"]["message"] == FAULTS


def test_every_document_of_an_inline_batch_repeats_its_items_in_three_places() -> None:
    found = msgspec.json.decode(document("inline"))
    joined = ItemJoiner(Profile.DOCUMENTED).feed(b"".join(one + b"\n" for one in ITEMS))
    items = msgspec.json.decode(b"[" + joined + b"]")
    assert found["dest"]["inlinedResponses"] == items
    assert found["response"]["inlinedResponses"]["inlinedResponses"] == items
    assert found["metadata"]["output"]["inlinedResponses"]["inlinedResponses"] == items
