"""Cached contents at the doors: raw calls, curl, and Google's own client."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from google import genai
from google.genai import errors, types

from nightrate import clock, limits
from tests.api.doors import Answer, Doors

MODEL = "gemini-2.5-flash"
BOOK = "The keeper lit the lamp. " * 40
"""250 tokens of the echo engine."""

BODY = {"model": f"models/{MODEL}", "contents": [{"role": "user", "parts": [{"text": BOOK}]}]}
MISSING = "CachedContent not found (or permission denied)"


@pytest.fixture(scope="module")
def client(doors: Doors) -> Iterator[genai.Client]:
    options = types.HttpOptions(base_url=doors.url)
    with genai.Client(api_key="any", http_options=options) as client:
        yield client


def post(doors: Doors, path: str, body: object) -> Answer:
    return doors.ask("POST", path, msgspec.json.encode(body))


def created(doors: Doors, **changes: object) -> str:
    answer = post(doors, "/v1beta/cachedContents", {**BODY, **changes})
    assert answer.status == 200, answer.body
    name: str = answer.json["name"]
    return name


def asking(name: str, text: str = "Who?", **members: object) -> dict[str, object]:
    return {"contents": [{"parts": [{"text": text}]}], "cachedContent": name, **members}


def generated(doors: Doors, body: object, prefix: str = "/v1beta", verb: str = "") -> Answer:
    return post(doors, f"{prefix}/models/{MODEL}:{verb or 'generateContent'}", body)


# Google's client ------------------------------------------------------------------------------


def test_the_sdk_makes_finds_changes_and_deletes(client: genai.Client) -> None:
    made = client.caches.create(
        model=MODEL,
        config=types.CreateCachedContentConfig(
            display_name="book",
            system_instruction="Answer from the book.",
            contents=[types.Content(role="user", parts=[types.Part(text=BOOK)])],
            ttl="300s",
        ),
    )
    assert made.name is not None
    assert made.name.startswith("cachedContents/")
    assert (made.model, made.display_name) == (f"models/{MODEL}", "book")
    assert made.usage_metadata is not None
    assert made.usage_metadata.total_token_count == 250 + 6
    assert made.create_time is not None
    assert made.expire_time is not None
    assert made.expire_time - made.create_time == timedelta(seconds=300)
    bare = made.name.removeprefix("cachedContents/")
    assert client.caches.get(name=made.name) == client.caches.get(name=bare) == made
    longer = client.caches.update(name=bare, config=types.UpdateCachedContentConfig(ttl="7200s"))
    assert longer.expire_time is not None
    assert longer.expire_time - made.create_time > timedelta(seconds=7199)
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    moved = client.caches.update(
        name=made.name, config=types.UpdateCachedContentConfig(expire_time=until)
    )
    assert moved.expire_time == until
    assert made.name in {cache.name for cache in client.caches.list()}
    client.caches.delete(name=bare)
    with pytest.raises(errors.ClientError) as gone:
        client.caches.get(name=made.name)
    assert (gone.value.code, gone.value.status) == (404, "NOT_FOUND")
    assert made.name not in {cache.name for cache in client.caches.list()}


def test_the_sdk_answers_streams_and_counts_with_a_cached_content(
    client: genai.Client, doors: Doors
) -> None:
    name = created(doors, systemInstruction="Be brief.")
    config = types.GenerateContentConfig(cached_content=name, max_output_tokens=16)
    reply = client.models.generate_content(model=MODEL, contents="Who is it?", config=config)
    assert reply.text == "Who is it?"
    usage = reply.usage_metadata
    assert usage is not None
    assert usage.cached_content_token_count == 250 + 3
    assert usage.prompt_token_count == 250 + 3 + 3
    assert usage.total_token_count == 250 + 3 + 3 + 3
    *_, last = client.models.generate_content_stream(
        model=MODEL, contents="Who is it?", config=config
    )
    assert last.usage_metadata is not None
    assert last.usage_metadata.cached_content_token_count == 250 + 3


def test_every_one_is_listed_once_over_many_pages(client: genai.Client, doors: Doors) -> None:
    made = [created(doors) for _ in range(5)]
    listed = [cache.name for cache in client.caches.list(config={"page_size": 2})]
    assert [name for name in listed if name in made] == made[::-1]
    assert len(listed) == len(set(listed))


def test_the_model_tells_that_it_can(client: genai.Client) -> None:
    model = client.models.get(model=MODEL)
    assert "createCachedContent" in (model.supported_actions or [])


# raw calls ------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["v1", "v1beta", "v1alpha"])
@pytest.mark.parametrize("profile", ["", "/exact"])
def test_one_made_under_a_version_is_seen_under_all(
    doors: Doors, version: str, profile: str
) -> None:
    answer = post(doors, f"{profile}/{version}/cachedContents", BODY)
    assert answer.status == 200
    assert set(answer.json) == {
        "name",
        "model",
        "createTime",
        "updateTime",
        "expireTime",
        "usageMetadata",
    }
    assert BOOK not in answer.body.decode()
    for other in ("/v1", "/v1beta", "/exact/v1alpha"):
        assert doors.ask("GET", f"{other}/{answer.json['name']}").json == answer.json


def test_the_mask_is_a_parameter(doors: Doors) -> None:
    path = f"/v1beta/{created(doors)}"
    body = msgspec.json.encode({"ttl": "60s"})
    assert doors.ask("PATCH", f"{path}?updateMask=ttl", body).status == 200
    assert doors.ask("PATCH", f"{path}?update_mask=expire_time", body).status == 400
    fixed = msgspec.json.encode({"ttl": "60s", "contents": []})
    code, status, message = doors.ask("PATCH", path, fixed).error
    assert (code, status) == (400, "INVALID_ARGUMENT")
    assert "make another cached content" in message


@pytest.mark.parametrize(
    "change",
    [
        {"model": None},
        {"contents": None},
        {"ttl": "0s"},
        {"ttl": "60s", "expireTime": "2100-01-01T00:00:00Z"},
        {"generationConfig": {"temperature": 0}},
        {"displayName": "x" * 129},
    ],
)
def test_what_cannot_be_kept_is_refused(doors: Doors, change: dict[str, Any]) -> None:
    answer = post(doors, "/v1/cachedContents", {**BODY, **change})
    assert answer.error[:2] == (400, "INVALID_ARGUMENT")


def test_a_model_that_is_not_served_keeps_nothing(doors: Doors) -> None:
    answer = post(doors, "/v1/cachedContents", {**BODY, "model": "models/text-embedding-4"})
    assert answer.error[:2] == (404, "NOT_FOUND")


def test_a_body_has_a_bound(doors: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CACHE_BYTES_MAX", 100)
    assert post(doors, "/v1/cachedContents", BODY).error[0] == 400


def test_an_engine_that_is_not_open_cannot_count(doors: Doors) -> None:
    doors.loop.call_soon_threadsafe(doors.lane.opened.clear)
    doors.eventually(lambda: not doors.lane.opened.is_set())
    try:
        answer = post(doors, "/v1/cachedContents", BODY)
    finally:
        doors.loop.call_soon_threadsafe(doors.lane.opened.set)
    assert answer.error[:2] == (503, "UNAVAILABLE")


# use ------------------------------------------------------------------------------------------


def test_tokens_are_counted_with_the_cached_ones(doors: Doors) -> None:
    whole = {"generateContentRequest": asking(created(doors), "Who is it?")}
    answer = generated(doors, whole, verb="countTokens")
    assert answer.json["totalTokens"] == 253
    assert answer.json["cachedContentTokenCount"] == 250


def test_the_cached_contents_may_ask_by_themselves(doors: Doors) -> None:
    answer = generated(doors, {"cachedContent": created(doors, contents="Say this.")})
    assert answer.json["candidates"][0]["content"]["parts"] == [{"text": "Say this."}]


@pytest.mark.parametrize("verb", ["generateContent", "streamGenerateContent", "countTokens"])
@pytest.mark.parametrize(
    ("prefix", "code", "status"),
    [("/v1", 404, "NOT_FOUND"), ("/exact/v1beta", 403, "PERMISSION_DENIED")],
)
def test_what_is_not_there_cannot_be_continued(
    doors: Doors, verb: str, prefix: str, code: int, status: str
) -> None:
    name = created(doors)
    doors.ask("DELETE", f"/v1/{name}")
    for gone in (name, "cachedContents/never-made"):
        body = asking(gone)
        body = {"generateContentRequest": body} if verb == "countTokens" else body
        error = generated(doors, body, prefix, verb).error
        assert error == (code, status, f"{MISSING}: {gone}")


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    ("prefix", "code", "status"),
    [("/v1", 404, "NOT_FOUND"), ("/exact/v1", 403, "PERMISSION_DENIED")],
)
def test_what_is_not_there_is_not_found(
    doors: Doors, method: str, prefix: str, code: int, status: str
) -> None:
    name = "cachedContents/never-made"
    answer = doors.ask(method, f"{prefix}/{name}", b'{"ttl": "60s"}')
    assert answer.error == (code, status, f"{MISSING}: {name}")


def test_one_that_expired_is_as_if_it_never_was(
    doors: Doors, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = created(doors, ttl="60s")
    later = clock.later(clock.now(), 61)
    monkeypatch.setattr("nightrate.clock.now", lambda: later)
    assert doors.ask("GET", f"/v1/{name}").error[0] == 404
    assert doors.ask("PATCH", f"/v1/{name}", b'{"ttl": "60s"}').error[0] == 404
    assert doors.ask("DELETE", f"/v1/{name}").error[0] == 404
    assert generated(doors, asking(name)).error[0] == 404


def test_only_its_own_model_continues_it(doors: Doors) -> None:
    name = created(doors, model="models/gemini-2.5-pro")
    code, status, message = generated(doors, asking(name)).error
    assert (code, status) == (400, "INVALID_ARGUMENT")
    assert "must be the same" in message


@pytest.mark.parametrize(
    "member",
    [
        {"systemInstruction": {"parts": [{"text": "Be brief."}]}},
        {"tools": [{"googleSearch": {}}]},
        {"toolConfig": {"functionCallingConfig": {"mode": "ANY"}}},
    ],
)
def test_what_belongs_into_it_is_refused_beside_it(doors: Doors, member: dict[str, Any]) -> None:
    code, _, message = generated(doors, asking(created(doors), **member)).error
    assert code == 400
    assert "CachedContent can not be used with GenerateContent request" in message


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_curl_makes_and_continues_one_in_single_quotes(doors: Doors) -> None:
    def curl(path: str, body: str) -> Any:
        command = ["curl", "-sS", f"{doors.url}{path}", "-H", "x-goog-api-key: any", "-d", body]
        return msgspec.json.decode(subprocess.run(command, capture_output=True, check=True).stdout)

    body = f"{{'model': 'models/{MODEL}', 'contents': [{{'parts': [{{'text': 'A book.'}}]}}],}}"
    made = curl("/v1beta/cachedContents", body)
    assert made["usageMetadata"] == {"totalTokenCount": 2}
    question = f"{{'contents': 'Who?', 'cachedContent': '{made['name']}'}}"
    answer = curl(f"/v1beta/models/{MODEL}:generateContent", question)
    assert answer["usageMetadata"]["cachedContentTokenCount"] == 2
