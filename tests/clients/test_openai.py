"""OpenAI's JavaScript client at the doors, and what both of its clients make of every document."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from openai import OpenAI
from openai.types import Batch

from tests.acceptance.server import Server
from tests.clients.golden import SEPARATORS, served
from tests.clients.golden_openai import READ, Handler
from tests.clients.javascript import JavaScript

NAMES = [f"batches/{name}" for name in READ]

in_node = pytest.mark.xdist_group("javascript")


@pytest.fixture(scope="session")
def base_url() -> Iterator[str]:
    with served(Handler) as url:
        yield url


@pytest.fixture(scope="module")
def client(base_url: str) -> Iterator[OpenAI]:
    with OpenAI(api_key="any", base_url=f"{base_url}/v1/openai", max_retries=0) as client:
        yield client


@pytest.fixture(scope="session")
def read(javascript: JavaScript, base_url: str, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("golden")
    return javascript.run("golden_openai.mjs", base_url, folder, *NAMES)


@pytest.fixture(scope="session")
def said(javascript: JavaScript, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("openai")
    server = Server(folder / "data", "--engine", "echo")
    try:
        return javascript.run("openai.mjs", server.start().base_url, folder)
    finally:
        server.close()


def gave(said: Any, scenario: str) -> Any:
    assert "threw" not in said[scenario], said[scenario]
    return said[scenario]["gave"]


def rows(text: str) -> list[Any]:
    return [msgspec.json.decode(row) for row in text.splitlines()]


# golden documents ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", READ)
def test_python_reads_every_state(client: OpenAI, name: str) -> None:
    made, status = READ[name]
    batch = client.batches.retrieve(f"batches/{name}")
    assert Batch.model_validate(batch.to_dict()) == batch, "every member has its type"
    assert (batch.id, batch.status, batch.model) == (f"batches/{name}", status, made.model)
    assert batch.request_counts is not None
    assert batch.request_counts.completed == made.tally.succeeded
    assert (batch.errors is not None) == (status == "failed")


def test_python_reads_every_page_of_the_list(client: OpenAI) -> None:
    for limit in (1, 2, 4, 100):
        assert [batch.id for batch in client.batches.list(limit=limit)] == NAMES


@in_node
@pytest.mark.parametrize("name", READ)
def test_javascript_reads_every_state(read: Any, name: str) -> None:
    made, status = READ[name]
    batch = gave(read, f"batches/{name}")
    assert (batch["id"], batch["status"]) == (f"batches/{name}", status)
    assert batch["request_counts"]["failed"] == made.tally.failed


@in_node
def test_javascript_reads_every_page_of_the_list_and_every_separator(read: Any) -> None:
    assert [batch["id"] for batch in gave(read, "list")] == NAMES
    fault, more = gave(read, "batches/refused")["errors"]["data"]
    assert (fault["line"], fault["message"]) == (7, f"Line 7: {SEPARATORS}")
    assert more["line"] is None


# doors ----------------------------------------------------------------------------------------


@in_node
def test_a_chat_is_answered_and_streamed(said: Any) -> None:
    reply = gave(said, "chat")
    assert reply["choices"][0]["message"]["content"] == "hello th"
    assert reply["choices"][0]["finish_reason"] == "length"
    chunks = gave(said, "stream")
    texts = [
        chunk["choices"][0]["delta"].get("content", "") for chunk in chunks if chunk["choices"]
    ]
    assert "".join(texts) == "hello there"
    assert chunks[-1]["usage"]["completion_tokens"] == 3


@in_node
def test_models_are_listed_and_found(said: Any) -> None:
    found = gave(said, "models")
    assert found["one"]["id"] == "models/gemini-3.5-flash"
    assert found["one"]["id"] in found["list"]


@in_node
def test_vectors_come_packed_and_as_numbers(said: Any) -> None:
    packed, plain = gave(said, "vectors")["packed"], gave(said, "vectors")["plain"]
    for one, other in zip(packed["data"], plain["data"], strict=True):
        assert one["embedding"] == pytest.approx(other["embedding"], abs=1e-7)
        assert len(one["embedding"]) == 4


@in_node
def test_a_file_goes_up_in_chunks_and_is_found_read_listed_and_deleted(said: Any) -> None:
    found = gave(said, "files")
    assert found["file"]["bytes"] == 3 * 1024 * 1024 + 1
    assert found["file"]["filename"] == "big.jsonl"
    assert found["file"]["expires_at"] == found["file"]["created_at"] + 3600
    assert found["found"] == found["file"]
    assert found["same"]
    assert found["file"]["id"] in found["listed"]
    assert found["deleted"] == {"id": found["file"]["id"], "object": "file", "deleted": True}


@in_node
def test_a_batch_is_run_to_its_two_files(said: Any) -> None:
    found = gave(said, "batch")
    assert found["created"]["status"] == "in_progress"
    assert found["batch"]["status"] == "completed"
    assert found["batch"]["metadata"] == {"for": "tests"}
    assert [row["custom_id"] for row in rows(found["output"])] == ["a", "c"]
    (refused,) = rows(found["errors"])
    assert refused["response"]["body"]["error"]["param"] == "n"


@in_node
def test_an_input_that_is_refused_lists_its_faults(said: Any) -> None:
    batch = gave(said, "refused")
    assert batch["status"] == "failed"
    assert [fault["line"] for fault in batch["errors"]["data"]] == [2]


@in_node
def test_batches_are_listed_page_by_page_newest_first(said: Any) -> None:
    found = gave(said, "pages")
    assert found["listed"][:3] == found["ids"][::-1]


@in_node
def test_a_cancelled_batch_tells_what_it_never_ran(said: Any) -> None:
    batch = gave(said, "cancel")
    assert (batch["status"], batch["output_file_id"]) == ("cancelled", None)
    assert batch["request_counts"] == {"total": 1, "completed": 0, "failed": 1}
    assert batch["error_file_id"].endswith("-errors")


@in_node
def test_what_is_wrong_is_thrown_with_its_status(said: Any) -> None:
    threw = said["wrong"]["threw"]
    assert threw["status"] == 400
    assert "temperature" in threw["message"]
