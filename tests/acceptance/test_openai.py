"""OpenAI's own client against a real server: batches from their upload to their two files."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, Final

import msgspec
import openai
import pytest
from openai import OpenAI
from openai.types import Batch

from tests.acceptance.conftest import MakeServer
from tests.acceptance.counting import Counting
from tests.acceptance.server import Server, counters, until

MODEL = "gemini-3.5-flash"
VECTORS = "gemini-embedding-001"
ENDPOINT: Final = "/v1/chat/completions"
REQUESTS = 600
KILLS = 4


def line(custom_id: str, text: str, **members: Any) -> bytes:
    """Write one line of a batch file."""
    body = {"model": MODEL, "messages": [{"role": "user", "content": text}], **members}
    row = {"custom_id": custom_id, "method": "POST", "url": ENDPOINT, "body": body}
    return msgspec.json.encode(row) + b"\n"


def client_of(server: Server) -> OpenAI:
    return OpenAI(api_key="any", base_url=f"{server.base_url}/v1beta/openai/", max_retries=0)


@pytest.fixture
def openai_client(echo: Server) -> Iterator[OpenAI]:
    with client_of(echo) as client:
        yield client


def submit(client: OpenAI, content: bytes, **options: Any) -> Batch:
    """Upload a file and create a batch over it."""
    file = client.files.create(file=("in.jsonl", content), purpose="batch")
    return client.batches.create(
        input_file_id=file.id, endpoint=ENDPOINT, completion_window="24h", **options
    )


def finished(client: OpenAI, batch: Batch, seconds: float = 60) -> Batch:
    """Poll as the documented loop does: any other word than these is the end."""

    def look() -> Batch | None:
        found = client.batches.retrieve(batch.id)
        return None if found.status in ("in_progress", "cancelling") else found

    found: Batch = until(look, seconds)
    return found


def rows(client: OpenAI, file_id: str | None) -> list[Any]:
    """Give the rows of a result file; none of a file that does not exist."""
    if file_id is None:
        return []
    return [msgspec.json.decode(row) for row in client.files.content(file_id).text.splitlines()]


def text_of(row: Any) -> str:
    text: str = row["response"]["body"]["choices"][0]["message"]["content"]
    return text


def test_a_batch_is_run_and_its_answers_are_those_of_live_calls(openai_client: OpenAI) -> None:
    content = b"".join(line(f"r{n}", f"Say the number {n}.", max_tokens=3) for n in range(20))
    created = submit(openai_client, content, metadata={"for": "tests"})
    assert created.status == "in_progress"
    batch = finished(openai_client, created)
    assert (batch.status, batch.error_file_id, batch.metadata) == (
        "completed",
        None,
        {"for": "tests"},
    )
    assert batch.in_progress_at is not None
    assert batch.completed_at is not None
    assert created.created_at <= batch.in_progress_at <= batch.completed_at
    assert batch.request_counts is not None
    assert (batch.request_counts.total, batch.request_counts.completed) == (20, 20)
    assert batch.usage is not None
    assert batch.usage.output_tokens == 60
    found = rows(openai_client, batch.output_file_id)
    assert [row["custom_id"] for row in found] == [f"r{n}" for n in range(20)]
    live = openai_client.chat.completions.create(
        model=MODEL, max_tokens=3, messages=[{"role": "user", "content": "Say the number 5."}]
    )
    body = found[5]["response"]["body"]
    changing = {"id", "created"}
    expected = {name: value for name, value in live.to_dict().items() if name not in changing}
    assert {name: value for name, value in body.items() if name not in changing} == expected


def test_how_likely_tokens_were_is_told_live_streamed_and_in_batches(openai_client: OpenAI) -> None:
    row = line("a", "Hello there", logprobs=True, top_logprobs=1)
    batch = finished(openai_client, submit(openai_client, row))
    (found,) = rows(openai_client, batch.output_file_id)
    told = found["response"]["body"]["choices"][0]["logprobs"]["content"]
    assert "".join(token["token"] for token in told) == "Hello there"
    asked: dict[str, Any] = {"model": MODEL, "logprobs": True, "top_logprobs": 1}
    asked["messages"] = [{"role": "user", "content": "Hello there"}]
    live = openai_client.chat.completions.create(**asked).choices[0].logprobs
    assert live is not None
    assert [token.to_dict() for token in live.content or ()] == told
    with openai_client.chat.completions.stream(**asked) as stream:
        streamed = stream.get_final_completion().choices[0].logprobs
    assert streamed is not None
    assert [token.to_dict() for token in streamed.content or ()] == told


def test_failures_stand_in_a_file_of_their_own(openai_client: OpenAI) -> None:
    content = line("a", "x") + line("b", "x", n=9) + line("c", "[[fail 7]]") + line("d", "y")
    batch = finished(openai_client, submit(openai_client, content))
    assert [text_of(row) for row in rows(openai_client, batch.output_file_id)] == ["x", "y"]
    refused, failed = rows(openai_client, batch.error_file_id)
    assert (refused["custom_id"], refused["response"]["status_code"]) == ("b", 400)
    assert (failed["custom_id"], failed["response"]["status_code"]) == ("c", 403)
    with pytest.raises(openai.BadRequestError) as caught:
        openai_client.chat.completions.create(
            model=MODEL, n=9, messages=[{"role": "user", "content": "x"}]
        )
    assert refused["response"]["body"]["error"] == caught.value.body


def test_an_input_that_is_refused_lists_its_faults(openai_client: OpenAI) -> None:
    content = line("a", "x") + b"junk\n" + line("a", "y") + line("b", "z", model="gemini-2.5-pro")
    batch = finished(openai_client, submit(openai_client, content))
    assert batch.status == "failed"
    assert batch.errors is not None
    assert batch.errors.data is not None
    assert [(fault.line, fault.code, fault.param) for fault in batch.errors.data] == [
        (2, "invalid_json_line", None),
        (3, "duplicate_custom_id", "custom_id"),
        (4, "model_mismatch", "body.model"),
    ]


def test_vectors_are_made_in_batches_as_live(openai_client: OpenAI) -> None:
    inputs: list[Any] = ["one", ["two", "one"], [1, 2]]
    content = b"".join(
        msgspec.json.encode(
            {
                "custom_id": str(number),
                "method": "POST",
                "url": "/v1/embeddings",
                "body": {"model": VECTORS, "input": given},
            }
        )
        + b"\n"
        for number, given in enumerate(inputs)
    )
    file = openai_client.files.create(file=("in.jsonl", content), purpose="batch")
    created = openai_client.batches.create(
        input_file_id=file.id, endpoint="/v1/embeddings", completion_window="24h"
    )
    batch = finished(openai_client, created)
    assert (batch.status, batch.endpoint) == ("completed", "/v1/embeddings")
    (refused,) = rows(openai_client, batch.error_file_id)
    assert refused["response"]["body"]["error"]["param"] == "input[0]"
    one, two = (row["response"]["body"] for row in rows(openai_client, batch.output_file_id))
    live = openai_client.embeddings.create(
        model=VECTORS, input=["two", "one"], encoding_format="float"
    )
    assert two == live.to_dict()
    assert one["data"][0]["embedding"] == two["data"][1]["embedding"]


def test_a_file_that_the_other_client_uploaded_is_run_and_read_by_it(
    openai_client: OpenAI, echo: Server
) -> None:
    name = echo.upload(line("a", "x"))
    created = openai_client.batches.create(
        input_file_id=name, endpoint=ENDPOINT, completion_window="24h"
    )
    batch = finished(openai_client, created)
    document = echo.finish(batch.id)
    assert document["state"] == "JOB_STATE_SUCCEEDED"
    assert document["response"]["responsesFile"] == batch.output_file_id
    content = echo.download(str(batch.output_file_id))
    assert msgspec.json.decode(content)["custom_id"] == "a"


def test_a_job_of_the_other_client_is_shown_in_this_form(
    openai_client: OpenAI, echo: Server
) -> None:
    request = {"contents": [{"parts": [{"text": "x"}]}]}
    name = echo.submit(msgspec.json.encode({"key": "k", "request": request}) + b"\n")
    echo.finish(name)
    batch = openai_client.batches.retrieve(name)
    assert (batch.status, batch.error_file_id) == ("completed", None)
    assert [row["key"] for row in rows(openai_client, batch.output_file_id)] == ["k"]
    assert name in {found.id for found in openai_client.batches.list(limit=100)}


def test_a_cancelled_batch_hands_out_what_it_finished_whatever_the_settings(
    make_server: MakeServer,
) -> None:
    settings = {"NIGHTRATE_PARTIAL_RESULTS": "false"}
    server = make_server("--engine", "echo", environment=settings)
    quick = b"".join(line(f"q{n}", "quick") for n in range(9))
    slow = b"".join(line(f"s{n}", "[[delay 600]] slow") for n in range(30))
    with client_of(server) as client:
        created = submit(client, quick + slow)
        until(lambda: counters(server.batch(created.id))[2] == 9, 30)
        partial = server.download(f"files/batch-{created.id.removeprefix('batches/')}")
        assert client.batches.cancel(created.id).status in ("cancelling", "cancelled")
        batch = finished(client, created)
        assert batch.status == "cancelled"
        good, bad = rows(client, batch.output_file_id), rows(client, batch.error_file_id)
    assert [row["custom_id"] for row in good] == [f"q{n}" for n in range(9)]
    assert [row["custom_id"] for row in bad] == [f"s{n}" for n in range(30)]
    assert {row["error"]["code"] for row in bad} == {"batch_cancelled"}
    assert len(partial.splitlines()) <= 9


def test_every_id_is_there_once_whatever_was_killed(
    make_server: MakeServer, counting: Counting
) -> None:
    chance = random.Random(7)
    config = counting.settings(requests=24, delay_seconds=0.05)
    server = make_server("--config", config, environment=counting.environment)
    content = b"".join(
        line(f"r{n}", f"question-{n}", n=9 if n % 5 == 0 else 1) for n in range(REQUESTS)
    )
    with client_of(server) as client:
        created = submit(client, content)
    for kill in range(KILLS):
        left = REQUESTS * 4 // 5 - len(counting.answered())
        goal = counting.answers() + chance.randrange(1, 2 + left // (KILLS + 1 - kill))
        until(counting.answers_reach(goal), 30, every=0.005)
        server.kill()
        server.restart()
    with client_of(server) as client:
        batch = finished(client, created)
        good, bad = rows(client, batch.output_file_id), rows(client, batch.error_file_id)
    assert batch.status == "completed"
    refused = [f"r{n}" for n in range(REQUESTS) if n % 5 == 0]
    assert [row["custom_id"] for row in bad] == refused
    assert [row["custom_id"] for row in good] == [f"r{n}" for n in range(REQUESTS) if n % 5]
    assert [text_of(row) for row in good] == [f"question-{n}" for n in range(REQUESTS) if n % 5]
    assert len({row["id"] for row in good + bad}) == REQUESTS
