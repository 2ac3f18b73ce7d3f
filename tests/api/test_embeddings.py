"""Embeddings at the doors, live and in batches; Google's own client among those who ask."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from google import genai
from google.genai import errors, types

from tests.api.doors import Answer, Doors

MODEL = "/v1beta/models/gemini-embedding-001"
CREATE = f"{MODEL}:asyncBatchEmbedContent"
TEXTS = ["Why is the sky blue?", "The sky is blue because of the air.", "Best pasta recipe"]


@pytest.fixture(scope="module")
def client(doors: Doors) -> Iterator[genai.Client]:
    options = types.HttpOptions(base_url=doors.url)
    with genai.Client(api_key="any", http_options=options) as client:
        yield client


def post(doors: Doors, path: str, body: Any, method: str = "POST") -> Answer:
    return doors.ask(method, path, msgspec.json.encode(body))


def nearness(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


# live -----------------------------------------------------------------------------------------


def test_one_content_becomes_one_vector(doors: Doors) -> None:
    body = {"content": {"parts": [{"text": "hello you"}]}, "output_dimensionality": 16}
    answer = post(doors, f"{MODEL}:embedContent", body)
    assert answer.status == 200, answer.body
    values = answer.json["embedding"]["values"]
    assert len(values) == 16
    assert math.hypot(*values) == pytest.approx(1, abs=1e-5)
    assert answer.json["usageMetadata"] == {"promptTokenCount": 3}


def test_several_contents_become_vectors_in_their_order(doors: Doors) -> None:
    requests = [{"model": "models/gemini-embedding-001", "content": text} for text in TEXTS]
    answer = post(doors, f"{MODEL}:batchEmbedContents", {"requests": requests})
    vectors = [embedding["values"] for embedding in answer.json["embeddings"]]
    alone = [
        post(doors, f"{MODEL}:embedContent", {"content": text}).json["embedding"]["values"]
        for text in TEXTS
    ]
    assert vectors == alone
    assert nearness(vectors[0], vectors[1]) > nearness(vectors[0], vectors[2])


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"content": "x", "task_type": "FOO"}, "requests[1].task_type"),
        ({"content": "[[fail 3]]"}, "Request 2: The script failed"),
    ],
)
def test_one_bad_request_fails_the_call(doors: Doors, request_: Any, words: str) -> None:
    body = {"requests": [{"content": "good"}, request_]}
    code, status, message = post(doors, f"{MODEL}:batchEmbedContents", body).error
    assert (code, status) == (400, "INVALID_ARGUMENT")
    assert words in message


def test_more_than_a_hundred_are_too_many_for_a_call(doors: Doors) -> None:
    body = {"requests": [{"content": "x"}] * 101}
    assert "a call takes 100" in post(doors, f"{MODEL}:batchEmbedContents", body).error[2]


def test_a_fault_of_the_engine_is_the_fault_of_the_call(doors: Doors) -> None:
    code, status, _ = post(doors, f"{MODEL}:embedContent", {"content": "[[fail 8]]"}).error
    assert (code, status) == (429, "RESOURCE_EXHAUSTED")


@pytest.mark.parametrize(
    "path",
    [
        "gemini-2.5-flash:embedContent",
        "gemini-2.5-flash:batchEmbedContents",
        "gemini-2.5-flash:asyncBatchEmbedContent",
        "gemini-embedding-001:generateContent",
        "gemini-embedding-001:streamGenerateContent",
        "gemini-embedding-001:countTokens",
        "gemini-embedding-001:batchGenerateContent",
    ],
)
def test_a_model_is_not_asked_for_what_it_does_not_do(doors: Doors, path: str) -> None:
    request = {"contents": "x"} if "enerate" in path or "count" in path else {"content": "x"}
    body: dict[str, Any] = request
    if path.endswith("batchEmbedContents"):
        body = {"requests": [request]}
    elif "atchGenerate" in path or "asyncBatch" in path:
        body = {"batch": {"inputConfig": {"requests": {"requests": [{"request": request}]}}}}
    code, status, message = post(doors, f"/v1beta/models/{path}", body).error
    assert (code, status) == (404, "NOT_FOUND")
    assert "is not supported for" in message
    assert "These are: gemini-" in message


def test_the_list_says_which_models_embed(client: genai.Client) -> None:
    methods = {model.name: model.supported_actions for model in client.models.list()}
    embed = ["embedContent", "batchEmbedContents", "asyncBatchEmbedContent"]
    for name in ("gemini-embedding-001", "gemini-embedding-2", "text-embedding-004"):
        assert methods[f"models/{name}"] == embed
    assert not set(methods["models/gemini-2.5-flash"] or ()) & set(embed)


# Google's own client --------------------------------------------------------------------------


def test_the_sdk_embeds_texts(client: genai.Client) -> None:
    config = types.EmbedContentConfig(task_type="RETRIEVAL_DOCUMENT", title="T")
    config.output_dimensionality = 32
    found = client.models.embed_content(
        model="gemini-embedding-001", contents=list(TEXTS), config=config
    )
    assert found.embeddings is not None
    assert [len(one.values or ()) for one in found.embeddings] == [32, 32, 32]
    single = client.models.embed_content(model="gemini-embedding-2", contents=list(TEXTS))
    assert single.embeddings is not None
    assert len(single.embeddings) == 1, "one content of three parts, as the client sends it"


def test_the_sdk_reads_why_a_text_was_refused(client: genai.Client) -> None:
    with pytest.raises(errors.ClientError, match=r"outputDimensionality.*8192") as refused:
        client.models.embed_content(
            model="gemini-embedding-001", contents="x", config={"output_dimensionality": 10_000}
        )
    assert refused.value.code == 400


@pytest.mark.filterwarnings("ignore:batches.create_embeddings.* is experimental")
def test_the_sdk_orders_embeddings_of_a_file_and_of_inline_texts(
    client: genai.Client, doors: Doors
) -> None:
    file_id = doors.upload(b'{"key":"a","request":{"content":{"parts":[{"text":"x"}]}}}\n')
    jobs = [
        client.batches.create_embeddings(
            model="gemini-embedding-001", src={"file_name": f"files/{file_id}"}
        ),
        client.batches.create_embeddings(
            model="gemini-embedding-001",
            src={"inlined_requests": {"contents": list(TEXTS), "config": {"title": "T"}}},
            config={"display_name": "inlined"},
        ),
    ]
    for job in jobs:
        assert job.name is not None
        assert job.state is types.JobState.JOB_STATE_PENDING
        document = doors.ask("GET", f"/v1/{job.name}").json
        assert document["metadata"]["@type"].endswith(".EmbedContentBatch")
    assert jobs[1].display_name == "inlined"


# changing -------------------------------------------------------------------------------------


def test_each_kind_of_batch_is_changed_by_its_own_method(doors: Doors) -> None:
    body = {"batch": {"inputConfig": {"requests": {"requests": [{"request": {"content": "x"}}]}}}}
    vectors = post(doors, CREATE, body).json["name"].removeprefix("batches/")
    texts = doors.submit_inline()
    change = {"displayName": "new"}
    for batch_id, right, wrong in (
        (vectors, "updateEmbedContentBatch", "updateGenerateContentBatch"),
        (texts, "updateGenerateContentBatch", "updateEmbedContentBatch"),
    ):
        changed = post(doors, f"/v1/batches/{batch_id}:{right}", change, "PATCH")
        assert changed.json["displayName"] == "new"
        code, status, message = post(
            doors, f"/v1/batches/{batch_id}:{wrong}", change, "PATCH"
        ).error
        assert (code, status) == (400, "INVALID_ARGUMENT")
        assert f":{right}" in message
    missing = post(doors, "/v1/batches/none:updateEmbedContentBatch", change, "PATCH")
    assert missing.error[0] == 404
