"""Cached contents and real servers: in batches, over kills, and after their end."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
from google import genai
from google.genai import types

from tests.acceptance.conftest import MakeServer
from tests.acceptance.server import Server, text_of, until

MODEL = "gemini-2.5-flash"
BOOK = "The keeper lit the lamp. " * 40
"""250 tokens of the echo engine."""

MISSING = "CachedContent not found (or permission denied)"


def keep(server: Server, **changes: object) -> str:
    body = {"model": f"models/{MODEL}", "contents": BOOK, **changes}
    answer = server.ask("POST", "/v1beta/cachedContents", msgspec.json.encode(body))
    assert answer.status == 200, answer.body
    return str(answer.json["name"])


def line(key: str, text: str, cache: str, **members: object) -> bytes:
    request = {"contents": text, "cachedContent": cache, **members}
    return msgspec.json.encode({"key": key, "request": request}) + b"\n"


def kept_blobs(server: Server) -> list[str]:
    return [path.name for path in (server.data / "blobs" / "caches").rglob("*") if path.is_file()]


def test_each_request_of_a_batch_may_continue_a_cached_content(client: genai.Client) -> None:
    book = " ".join(f"Chapter {number}: the keeper lit lamp {number}." for number in range(150))
    cache = client.caches.create(
        model=MODEL,
        config=types.CreateCachedContentConfig(
            display_name="book",
            system_instruction="Answer from the book.",
            contents=[{"role": "user", "parts": [{"text": book}]}],
            ttl="3600s",
        ),
    )
    assert cache.name is not None
    assert cache.usage_metadata is not None
    total = cache.usage_metadata.total_token_count
    assert total is not None
    assert total >= len(book) // 4
    texts = [f"Who keeps lamp {number}?" for number in range(4)]
    requests: list[Any] = [
        {
            "contents": [{"role": "user", "parts": [{"text": text}]}],
            "config": {"cached_content": cache.name, "max_output_tokens": 16},
        }
        for text in texts
    ]
    job = client.batches.create(model=MODEL, src=requests, config={"display_name": "cached"})
    name = job.name
    assert name is not None
    job = until(lambda: (found := client.batches.get(name=name)).done and found, 60)
    assert job.state is types.JobState.JOB_STATE_SUCCEEDED
    assert job.dest is not None
    answers = [item.response for item in job.dest.inlined_responses or [] if item.response]
    assert [answer.text for answer in answers] == texts
    for answer in answers:
        usage = answer.usage_metadata
        assert usage is not None
        assert usage.cached_content_token_count == total
        assert usage.prompt_token_count == total + 5
    client.caches.delete(name=cache.name)


def test_what_cannot_be_continued_is_an_error_line(make_server: MakeServer) -> None:
    server = make_server("--engine", "echo")
    cache, other = keep(server), keep(server, model="models/gemini-2.5-pro")
    name = server.submit(
        line("good", "Who?", cache)
        + line("missing", "Who?", "cachedContents/never-made")
        + line("model", "Who?", other)
        + line("beside", "Who?", cache, systemInstruction="Be brief.")
    )
    server.finish(name)
    good, missing, model, beside = server.results(name)
    assert text_of(good) == "Who?"
    assert good["response"]["usageMetadata"]["cachedContentTokenCount"] == 250
    assert missing["error"]["code"] == 5
    assert missing["error"]["message"] == f"{MISSING}: cachedContents/never-made"
    assert model["error"]["code"] == 3
    assert "must be the same" in model["error"]["message"]
    assert beside["error"]["code"] == 3
    assert beside["error"]["message"].startswith("Error on line 4: request.systemInstruction: ")


def test_a_kill_costs_no_cached_content(make_server: MakeServer) -> None:
    server = make_server("--engine", "echo")
    cache = keep(server)
    before = server.get(f"/v1/{cache}")
    server.kill()
    server.restart()
    assert server.get(f"/v1/{cache}") == before
    name = server.submit(line("a", "Who?", cache))
    server.finish(name)
    (answer,) = server.results(name)
    assert answer["response"]["usageMetadata"]["cachedContentTokenCount"] == 250


def test_a_batch_that_waits_keeps_what_it_names_beyond_its_end_and_a_kill(
    make_server: MakeServer, tmp_path: Path
) -> None:
    config = tmp_path / "one-at-a-time.toml"
    config.write_text("[engines.echo]\nrequests = 1\n")
    server = make_server("--engine", "echo", "--config", str(config))
    pinned, deleted = keep(server, ttl="2s"), keep(server)
    slow = line("slow", "[[delay 3]] slowly", pinned)
    held = server.submit(slow + line("a", "Who?", pinned) + line("b", "Who?", deleted))
    assert server.ask("DELETE", f"/v1/{deleted}").status == 200
    until(lambda: server.ask("GET", f"/v1/{pinned}").status == 404, 60)
    server.kill()
    server.restart()  # and sweeps at once
    late = server.submit(line("a", "Who?", pinned))
    server.finish(held)
    _, a, b = server.results(held)
    assert a["response"]["usageMetadata"]["cachedContentTokenCount"] == 250
    assert b["error"]["code"] == 5
    server.finish(late)
    (too_late,) = server.results(late)
    assert too_late["error"]["code"] == 5
    assert kept_blobs(server), "a damaged answer of the first batch would be made again"


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_curl_orders_a_batch_over_a_cached_content(echo: Server) -> None:
    def curl(path: str, *body: str) -> Any:
        data = ["-d", body[0]] if body else []
        command = ["curl", "-sS", f"{echo.base_url}{path}", "-H", "x-goog-api-key: any", *data]
        return msgspec.json.decode(subprocess.run(command, capture_output=True, check=True).stdout)

    cache = curl(
        "/v1beta/cachedContents",
        f"{{'model': 'models/{MODEL}', 'contents': [{{'parts': [{{'text': 'A book.'}}]}}]}}",
    )
    request = (
        f"{{'contents': [{{'parts': [{{'text': 'Who?'}}]}}], 'cached_content': '{cache['name']}'}}"
    )
    requests = f"{{'requests': [{{'request': {request}}}]}}"
    order = f"{{'batch': {{'input_config': {{'requests': {requests}}}}}}}"
    name = curl(f"/v1beta/models/{MODEL}:batchGenerateContent", order)["name"]
    done = until(lambda: (found := curl(f"/v1beta/{name}"))["done"] and found, 60)
    (item,) = done["response"]["inlinedResponses"]["inlinedResponses"]
    assert item["response"]["usageMetadata"]["cachedContentTokenCount"] == 2
