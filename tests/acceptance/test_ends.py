"""Jobs that are cancelled and deleted while a real server works on them, as Google documents it."""

from __future__ import annotations

import contextlib
import http.client
import time
import urllib.parse
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from google import genai
from google.genai import errors, types

from tests.acceptance.server import Server, counters, request_line, until

MODEL = "gemini-2.5-flash"
QUICK = 12


def slow(text: str) -> str:
    """Ask the echo engine for an answer that takes longer than any of these tests."""
    return f"[[delay 600]] {text}"


def answered(echo: Server, name: str, count: int) -> None:
    """Wait until so many requests of a batch are counted as answered."""
    until(lambda: counters(echo.batch(name))[2] == count, 30)


def inline(*texts: str) -> list[types.InlinedRequestDict]:
    return [
        {
            "contents": types.ContentDict(parts=[{"text": text}], role="user"),
            "metadata": {"key": str(number)},
        }
        for number, text in enumerate(texts)
    ]


def test_a_cancelled_file_job_hands_out_what_it_finished(
    client: genai.Client, echo: Server, tmp_path: Path
) -> None:
    path = tmp_path / "input.jsonl"
    texts = ["quick"] * QUICK + [slow("never")] * 60
    path.write_bytes(b"".join(request_line(str(n), text) for n, text in enumerate(texts)))
    file = client.files.upload(file=path, config={"mime_type": "jsonl"})
    assert file.name is not None
    job = client.batches.create(model=MODEL, src=file.name)
    assert job.name is not None
    name = job.name
    answered(echo, name, QUICK)
    client.batches.cancel(name=name)
    assert client.batches.get(name=name).state is types.JobState.JOB_STATE_CANCELLED
    job = until(lambda: found if (found := client.batches.get(name=name)).dest else None, 30)
    content = client.files.download(file=job.dest.file_name)
    lines: list[Any] = [msgspec.json.decode(line) for line in content.decode().splitlines()]
    assert [line["key"] for line in lines] == [str(n) for n in range(len(texts))]
    assert all("response" in line for line in lines[:QUICK])
    assert {line["error"]["status"] for line in lines[QUICK:]} == {"CANCELLED"}
    assert counters(echo.batch(name)) == (len(texts), 0, QUICK, 60)
    assert echo.batch(name)["error"]["code"] == 1


def test_a_cancelled_inline_job_hands_out_what_it_finished(
    client: genai.Client, echo: Server
) -> None:
    job = client.batches.create(model=MODEL, src=inline("quick", slow("never"), "quick"))
    assert job.name is not None
    name = job.name
    answered(echo, name, 2)
    client.batches.cancel(name=name)
    job = until(lambda: found if (found := client.batches.get(name=name)).dest else None, 30)
    items = job.dest.inlined_responses
    assert [item.metadata["key"] for item in items] == ["0", "1", "2"]
    assert [item.response is not None for item in items] == [True, False, True]
    assert items[1].error.code == 1


def test_cancelling_frees_the_engine_at_once(client: genai.Client) -> None:
    job = client.batches.create(model=MODEL, src=inline(*[slow("never")] * 500))
    assert job.name is not None
    name = job.name
    until(lambda: client.batches.get(name=name).state is types.JobState.JOB_STATE_RUNNING, 30)
    client.batches.cancel(name=name)
    after = client.batches.create(model=MODEL, src=inline("quick"))
    assert after.name is not None
    following = after.name
    until(lambda: client.batches.get(name=following).done, 30)


def test_a_deleted_job_stops_and_is_gone(client: genai.Client, echo: Server) -> None:
    job = client.batches.create(model=MODEL, src=inline(*[slow("never")] * 20))
    assert job.name is not None
    until(lambda: counters(echo.batch(str(job.name)))[0] == 20, 30)
    client.batches.delete(name=job.name)
    with pytest.raises(errors.ClientError, match="does not exist"):
        client.batches.get(name=job.name)
    assert job.name not in {found.name for found in client.batches.list()}
    folder = echo.data / "blobs" / "batches" / "default" / job.name.removeprefix("batches/")
    until(lambda: not folder.exists(), 30)


def test_a_kill_while_a_cancelled_job_is_closed_costs_nothing(
    make_server: Callable[..., Server],
) -> None:
    server = make_server("--engine", "echo")
    texts = ["quick"] * QUICK + [slow("never")] * 3_000
    lines = b"".join(request_line(str(n), text) for n, text in enumerate(texts))
    name = server.submit(lines)
    answered(server, name, QUICK)
    assert server.ask("POST", f"/v1/{name}:cancel").status == 200
    server.kill()
    server.restart()
    assert server.batch(name)["state"] == "JOB_STATE_CANCELLED"
    document = until(lambda: found if "dest" in (found := server.batch(name)) else None, 60)
    rows = server.download(document["dest"]["fileName"]).splitlines()
    assert [msgspec.json.decode(row)["key"] for row in rows] == [str(n) for n in range(len(texts))]
    assert sum(b'"response"' in row for row in rows) == QUICK


def test_settings_hold_results_back_and_limit_the_jobs(make_server: Callable[..., Server]) -> None:
    settings = {"NIGHTRATE_PARTIAL_RESULTS": "false", "NIGHTRATE_CONCURRENT_BATCHES_MAX": "1"}
    server = make_server("--engine", "echo", environment=settings)
    file = server.upload(request_line("k", slow("never")))
    name = str(server.create(file).json["name"])
    refused = server.create(file)
    assert refused.status == 429
    assert refused.json["error"]["status"] == "RESOURCE_EXHAUSTED"
    assert "1 more batch was asked for, 1 of 1 are pending or running" in refused.message
    server.ask("GET", f"/v1beta/{name}:cancel")
    document = server.batch(name)
    assert document["state"] == "JOB_STATE_CANCELLED"
    assert "output" not in document["metadata"]
    again = server.create(file)
    assert again.status == 200
    server.ask("DELETE", f"/v1beta/{again.json['name']}")
    assert server.create(file).status == 200
    assert server.ask("GET", f"/v1beta/files/batch-{name.removeprefix('batches/')}").status == 404


def test_a_setting_switches_changes_by_get_off(make_server: Callable[..., Server]) -> None:
    server = make_server("--engine", "echo", environment={"NIGHTRATE_CHANGES_BY_GET": "false"})
    name = server.submit(request_line("k", slow("never")))
    for verb in ("cancel", "delete"):
        for prefix in ("", "/exact"):
            answer = server.ask("GET", f"{prefix}/v1beta/{name}:{verb}")
            assert answer.status == 404
            assert "changes_by_get; send POST" in answer.message
            assert answer.headers["allow"] == "POST"
    assert server.batch(name)["state"] in {"JOB_STATE_PENDING", "JOB_STATE_RUNNING"}
    assert server.ask("POST", f"/v1beta/{name}:cancel").status == 200
    assert server.batch(name)["state"] == "JOB_STATE_CANCELLED"
    assert server.ask("POST", f"/v1beta/{name}:delete").status == 200
    assert server.ask("GET", f"/v1beta/{name}").status == 404


def test_metadata_comes_back_as_it_was_sent_or_as_strings(
    client: genai.Client, echo: Server
) -> None:
    sent = [{"key": "a", "n": 1.50, "tags": ["x", "y"]}, {"key": "plain"}, {"none": None}]
    items = [
        {"request": {"contents": [{"parts": [{"text": "hi"}]}]}, "metadata": one} for one in sent
    ]
    order = {"batch": {"inputConfig": {"requests": {"requests": items}}}}
    path = "/v1beta/models/gemini-2.5-flash:batchGenerateContent"
    name = str(echo.ask("POST", path, msgspec.json.encode(order)).json["name"])
    echo.finish(name)
    exact = echo.get(f"/exact/v1beta/{name}")["response"]["inlinedResponses"]["inlinedResponses"]
    assert [item["metadata"] for item in exact] == sent
    job = client.batches.get(name=name)
    assert job.dest is not None
    assert job.dest.inlined_responses is not None
    assert [item.metadata for item in job.dest.inlined_responses] == [
        {"key": "a", "n": "1.5", "tags": '["x","y"]'},
        {"key": "plain"},
        {"none": "null"},
    ]


@contextlib.contextmanager
def followed(server: Server, name: str) -> Iterator[http.client.HTTPResponse]:
    """Open the results of a batch, to be read as they are sealed."""
    place = urllib.parse.urlsplit(server.base_url)
    connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=60)
    file_id = f"batch-{name.removeprefix('batches/')}"
    try:
        connection.request("GET", f"/download/v1beta/files/{file_id}:download?follow=true")
        response = connection.getresponse()
        assert response.status == 200
        yield response
    finally:
        connection.close()


def test_results_can_be_followed_while_the_batch_runs(echo: Server) -> None:
    lines = [request_line(str(n), "[[delay 0.3]]" if n == 16 else "x") for n in range(40)]
    name = echo.submit(b"".join(lines))
    with followed(echo, name) as reading:
        first = msgspec.json.decode(reading.readline())
        assert first["key"] == "0"
        assert not echo.batch(name)["done"]
        keys = ["0", *(msgspec.json.decode(line)["key"] for line in reading)]
    assert keys == [str(n) for n in range(40)]
    assert echo.batch(name)["done"]


def test_following_ends_with_a_cancelled_batch(echo: Server) -> None:
    name = echo.submit(b"".join([request_line("a", "x")] * 16 + [request_line("b", slow("y"))]))
    with followed(echo, name) as reading:
        assert b'"response"' in reading.readline()
        echo.ask("POST", f"/v1beta/{name}:cancel")
        rest = [msgspec.json.decode(line) for line in reading.read().splitlines()]
    assert len(rest) == 16
    assert rest[-1]["error"]["code"] == 1


def test_a_server_that_stops_does_not_wait_for_those_who_follow(
    make_server: Callable[..., Server],
) -> None:
    server = make_server("--engine", "echo")
    name = server.submit(b"".join([request_line("a", "x")] * 16 + [request_line("b", slow("y"))]))
    with followed(server, name) as reading:
        reading.readline()
        began = time.monotonic()
        server.process.popen.terminate()
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            reading.read()
    assert time.monotonic() - began < 10, "the one who follows is broken off at once"
    server.kill()


def test_a_setting_says_how_long_results_are_kept(make_server: Callable[..., Server]) -> None:
    server = make_server("--engine", "echo", environment={"NIGHTRATE_RESULTS_KEPT_DAYS": "2"})
    document = server.finish(server.submit(request_line("a", "x")))
    file = server.get(f"/v1beta/{document['response']['responsesFile']}")
    created, expires = (
        datetime.fromisoformat(file[name]) for name in ("createTime", "expirationTime")
    )
    assert expires - created == timedelta(days=2)
