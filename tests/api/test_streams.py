"""Streamed answers at the doors: framing, timing, errors, and clients that leave."""

from __future__ import annotations

import http.client
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import pytest
from google import genai
from google.genai import errors, types

from nightrate.domain.generation import Prompt, Reply
from nightrate.errors import EngineDown
from tests.api.doors import TIMEOUT_SECONDS, Doors

STREAM = "/v1beta/models/gemini-2.5-flash:streamGenerateContent"
EVENTS = f"{STREAM}?alt=sse"


def prompt(text: str, **config: Any) -> bytes:
    return msgspec.json.encode(
        {"contents": [{"parts": [{"text": text}]}], "generationConfig": config}
    )


@contextmanager
def streaming(doors: Doors, path: str, body: bytes) -> Iterator[http.client.HTTPResponse]:
    """Send a request and give the answer, whose body may be still in the making."""
    connection = http.client.HTTPConnection("127.0.0.1", doors.port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("POST", path, body)
        response = connection.getresponse()
        yield response
        response.close()
    finally:
        connection.close()


def document_of(event: bytes) -> Any:
    assert event.startswith(b"data: ")
    return msgspec.json.decode(event.removeprefix(b"data: "))


def texts_of(documents: list[Any]) -> list[str]:
    return [one["candidates"][0]["content"]["parts"][0]["text"] for one in documents]


def test_events_carry_the_answer_and_the_last_one_its_end(doors: Doors) -> None:
    answer = doors.ask("POST", EVENTS, prompt("good day, 漢字"))
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.body.endswith(b"\n\n")
    documents = [document_of(event) for event in answer.body[:-2].split(b"\n\n")]
    assert texts_of(documents) == ["good", " day", ", 漢字", ""]
    assert all("finishReason" not in one["candidates"][0] for one in documents[:-1])
    assert documents[-1]["candidates"][0]["finishReason"] == "STOP"
    assert documents[-1]["usageMetadata"] == {
        "promptTokenCount": 3,
        "candidatesTokenCount": 3,
        "totalTokenCount": 6,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 3}],
        "candidatesTokensDetails": [{"modality": "TEXT", "tokenCount": 3}],
    }
    assert documents[-1]["modelVersion"] == "echo"
    assert len({one["responseId"] for one in documents}) == 1


@pytest.mark.parametrize("path", [STREAM, f"{STREAM}?alt=json"])
def test_without_events_the_answer_is_one_array(doors: Doors, path: str) -> None:
    answer = doors.ask("POST", path, prompt("good day", maxOutputTokens=1))
    assert answer.headers["content-type"].startswith("application/json")
    assert texts_of(answer.json) == ["good", ""]
    assert answer.json[-1]["candidates"][0]["finishReason"] == "MAX_TOKENS"


@pytest.mark.parametrize("path", [EVENTS, STREAM])
def test_the_first_piece_comes_while_the_rest_is_not_made_and_leaving_frees_the_place(
    doors: Doors, path: str
) -> None:
    with streaming(doors, path, prompt("[[pace 3600]]")) as response:
        first = response.readline().rstrip()
        document = document_of(first) if path == EVENTS else msgspec.json.decode(first[1:])
        assert texts_of([document]) == ["[[pa"]
        doors.eventually(lambda: doors.lane.places.requests == 1)
    doors.eventually(lambda: doors.lane.places.requests == 0)


def test_leaving_before_the_first_piece_frees_the_place(doors: Doors) -> None:
    body = prompt("[[delay 3600]]")
    with doors.connect() as connection:
        head = f"POST {EVENTS} HTTP/1.1\r\nHost: {doors.host}\r\nContent-Length: {len(body)}\r\n"
        connection.sendall(head.encode() + b"\r\n" + body)
        doors.eventually(lambda: doors.lane.places.requests == 1)
    doors.eventually(lambda: doors.lane.places.requests == 0)


@pytest.mark.parametrize("path", [EVENTS, STREAM])
def test_what_fails_before_the_first_piece_is_answered_as_any_call(doors: Doors, path: str) -> None:
    assert doors.ask("POST", path, prompt("[[fail 3]]")).error[:2] == (400, "INVALID_ARGUMENT")
    assert doors.ask("POST", path, b"{}").error[:2] == (400, "INVALID_ARGUMENT")
    unknown = path.replace("gemini-2.5-flash", "gemini-embedding-001")
    assert doors.ask("POST", unknown, prompt("x")).error[:2] == (404, "NOT_FOUND")
    assert doors.ask("POST", f"{STREAM}?alt=media", prompt("x")).error[:2] == (
        400,
        "INVALID_ARGUMENT",
    )
    assert doors.lane.places.requests == 0


def test_what_fails_later_is_the_last_document(doors: Doors) -> None:
    body = prompt("[[break 8]] and more")
    events = doors.ask("POST", EVENTS, body).body[:-2].split(b"\n\n")
    first, last = (document_of(event) for event in events)
    assert texts_of([first]) == ["[[br"]
    assert (last["error"]["code"], last["error"]["status"]) == (429, "RESOURCE_EXHAUSTED")
    assert doors.ask("POST", STREAM, body).json[1:] == [last]


def test_an_engine_that_dies_in_the_middle_is_the_last_event(
    doors: Doors, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def dying(_prompt: Prompt) -> AsyncGenerator[str | Reply, None]:
        yield "well"
        raise EngineDown("Last words: a secret.", in_flight=True)

    monkeypatch.setattr(doors.lane.engine, "stream", dying)
    body = doors.ask("POST", EVENTS, prompt("x")).body
    last = document_of(body[:-2].split(b"\n\n")[-1])
    assert last["error"]["status"] == "UNAVAILABLE"
    assert b"secret" not in body


def test_a_mistake_of_ours_cuts_the_stream_off(
    doors: Doors, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def mistaken(_prompt: Prompt) -> AsyncGenerator[str | Reply, None]:
        yield "well"
        raise ZeroDivisionError

    monkeypatch.setattr(doors.lane.engine, "stream", mistaken)
    with pytest.raises(http.client.IncompleteRead):
        doors.ask("POST", EVENTS, prompt("x"))
    doors.eventually(lambda: doors.lane.places.requests == 0)


# Google's client -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def client(doors: Doors) -> Iterator[genai.Client]:
    options = types.HttpOptions(base_url=doors.url)
    with genai.Client(api_key="any", http_options=options) as client:
        yield client


def test_googles_client_reads_a_stream(client: genai.Client) -> None:
    text = "One line.\u2028Another\x85 \u2029 one: 漢字 😀\r\n\ndata: {"
    chunks = list(client.models.generate_content_stream(model="gemini-2.5-flash", contents=text))
    assert "".join(chunk.text or "" for chunk in chunks) == text
    assert len(chunks) > 2
    last = chunks[-1]
    assert last.candidates is not None
    assert last.candidates[0].finish_reason is types.FinishReason.STOP
    assert last.usage_metadata is not None
    assert last.usage_metadata.prompt_token_count == last.usage_metadata.candidates_token_count


@pytest.mark.filterwarnings("ignore:Inheritance class:DeprecationWarning")  # of the client's
async def test_googles_client_reads_a_stream_without_blocking(doors: Doors) -> None:
    options = types.HttpOptions(base_url=doors.url)
    async with genai.Client(api_key="any", http_options=options).aio as client:
        stream = await client.models.generate_content_stream(
            model="gemini-2.5-flash", contents="good day"
        )
        assert [chunk.text async for chunk in stream] == ["good", " day", ""]


def test_googles_client_has_the_first_piece_before_the_last(
    client: genai.Client, doors: Doors
) -> None:
    stream = client.models.generate_content_stream(
        model="gemini-2.5-flash", contents="[[pace 3600]]"
    )
    assert next(stream).text == "[[pa"
    doors.eventually(lambda: doors.lane.places.requests == 1)
    stream.close()  # type: ignore[attr-defined]
    doors.eventually(lambda: doors.lane.places.requests == 0)


def test_googles_client_raises_what_ends_a_stream(client: genai.Client) -> None:
    stream = client.models.generate_content_stream(
        model="gemini-2.5-flash", contents="[[break 14]]"
    )
    assert next(stream).text == "[[br"
    with pytest.raises(errors.ServerError) as failed:
        next(stream)
    assert (failed.value.code, failed.value.status) == (503, "UNAVAILABLE")
    stream = client.models.generate_content_stream(model="gemini-2.5-flash", contents="[[fail 3]]")
    with pytest.raises(errors.ClientError):
        next(stream)
