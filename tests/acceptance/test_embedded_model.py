"""The embedded model in a real server: documented flows, and the death of either process."""

from __future__ import annotations

import operator
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
from google import genai
from google.genai import errors, types
from pydantic import BaseModel, TypeAdapter

from nightrate.engines.prefixes import BLOCK_TOKENS
from tests.acceptance.server import (
    START_SECONDS,
    Process,
    Server,
    counters,
    request_line,
    text_of,
    until,
)

pytestmark = pytest.mark.embedded

MODEL = "gemini-2.5-flash"
MODEL_VERSION = "smollm2-135m-instruct"
REQUESTS = 40
CHILD = "nightrate.engines.openvino_child"
SECONDS = 300.0
"""A slow machine's patience: the tests wait for what happens, not for this."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Give a server with the engine that it has right after installation."""
    server = Server(tmp_path_factory.mktemp("embedded") / "data")
    server.start_seconds = max(START_SECONDS, SECONDS)
    try:
        yield server.start()
    finally:
        server.close()


@pytest.fixture
def client(server: Server) -> Iterator[genai.Client]:
    options = types.HttpOptions(base_url=server.base_url)
    with genai.Client(api_key="any-key", http_options=options) as client:
        yield client


def finished(client: genai.Client, job: types.BatchJob) -> types.BatchJob:
    """Poll until a batch has ended."""
    assert job.name is not None
    name = job.name

    def ended() -> types.BatchJob | None:
        found = client.batches.get(name=name)
        return found if found.done else None

    found: types.BatchJob = until(ended, SECONDS)
    assert found.state is types.JobState.JOB_STATE_SUCCEEDED
    return found


def assert_answered(response: types.GenerateContentResponse | None) -> None:
    """Check that a model said something, and what it cost."""
    assert response is not None
    assert response.text is not None
    assert response.text.strip()
    assert MODEL_VERSION in (response.model_version or "").lower()
    usage = response.usage_metadata
    assert usage is not None
    assert (usage.prompt_token_count or 0) > 0
    assert (usage.candidates_token_count or 0) > 0
    assert (usage.total_token_count or 0) >= (usage.prompt_token_count or 0) + (
        usage.candidates_token_count or 0
    )


def test_two_inline_requests_are_answered_by_the_real_model(client: genai.Client) -> None:
    requests: list[types.InlinedRequestDict] = [
        {"contents": types.ContentDict(parts=[{"text": text}], role="user")}
        for text in ("Tell me a joke in one sentence.", "Why is the sky blue?")
    ]
    config = types.CreateBatchJobConfig(display_name="two")
    job = finished(client, client.batches.create(model=MODEL, src=requests, config=config))
    assert job.dest is not None
    assert job.dest.inlined_responses is not None
    assert len(job.dest.inlined_responses) == 2
    for item in job.dest.inlined_responses:
        assert item.error is None
        assert_answered(item.response)


class Recipe(BaseModel):
    """What is wanted of a recipe."""

    recipe_name: str
    ingredients: list[str]


def test_recipes_searches_and_plain_texts_are_answered_in_one_batch(client: genai.Client) -> None:
    formed = types.GenerateContentConfig(
        response_mime_type="application/json", response_schema=list[Recipe], max_output_tokens=200
    )
    searched = types.GenerateContentConfig(
        tools=[types.Tool(google_search=types.GoogleSearch())], max_output_tokens=20
    )
    drawn = types.GenerateContentConfig(response_modalities=["IMAGE"])
    requests = [
        types.InlinedRequest(contents="List a few popular cookie recipes.", config=formed),
        types.InlinedRequest(contents="Who won the euro 2025?", config=searched),
        types.InlinedRequest(contents="Draw a letter.", config=drawn),
    ]
    job = finished(client, client.batches.create(model=MODEL, src=requests))
    assert job.dest is not None
    recipes, found, picture = job.dest.inlined_responses or []
    assert_answered(recipes.response)
    assert recipes.response is not None
    assert recipes.response.candidates
    text = recipes.response.text or ""
    if recipes.response.candidates[0].finish_reason is types.FinishReason.STOP:
        assert isinstance(TypeAdapter(list[Recipe]).validate_json(text), list)
    else:
        assert text.startswith("[")
    assert_answered(found.response)
    assert found.response is not None
    assert found.response.candidates
    grounding = found.response.candidates[0].grounding_metadata
    assert grounding is not None
    assert grounding.web_search_queries == ["Who won the euro 2025?"]
    assert picture.error is not None
    assert picture.error.code == 3
    assert "responseModalities" in (picture.error.message or "")


@pytest.mark.filterwarnings("ignore:batches.create_embeddings.* is experimental")
def test_paraphrases_are_near_each_other_in_the_real_model(client: genai.Client) -> None:
    texts = [
        "Why is the sky blue?",
        "The sky is blue because of Rayleigh scattering.",
        "Best pasta recipe",
    ]
    job = client.batches.create_embeddings(
        model="gemini-embedding-001", src={"inlined_requests": {"contents": list(texts)}}
    )
    job = finished(client, job)
    assert job.dest is not None
    vectors = []
    for item in job.dest.inlined_embed_content_responses or ():
        assert item.response is not None
        assert item.response.embedding is not None
        vectors.append(item.response.embedding.values or [])
    assert [len(vector) for vector in vectors] == [384, 384, 384]
    cosines = [sum(map(operator.mul, vectors[0], other)) for other in vectors[1:]]
    assert cosines[0] > 0.6
    assert cosines[1] < 0.2
    live = client.models.embed_content(model="gemini-embedding-001", contents=texts[0])
    assert live.embeddings is not None
    assert live.embeddings[0].values == pytest.approx(vectors[0], abs=1e-4)


def test_a_streamed_answer_of_the_real_model_is_its_whole_answer(client: genai.Client) -> None:
    question = "Describe a river in one sentence."
    config = types.GenerateContentConfig(
        temperature=0, max_output_tokens=24, stop_sequences=["no such text"]
    )
    whole = client.models.generate_content(model=MODEL, contents=question, config=config)
    stream = client.models.generate_content_stream(model=MODEL, contents=question, config=config)
    chunks = list(stream)
    assert len(chunks) > 2
    assert "".join(chunk.text or "" for chunk in chunks) == whole.text
    last = chunks[-1]
    assert last.model_version == whole.model_version
    count = client.models.count_tokens(model=MODEL, contents=question)
    for usage in (whole.usage_metadata, last.usage_metadata):
        assert usage is not None
        assert usage.prompt_token_count == count.total_tokens


def test_a_function_is_called_by_the_real_model_live_streamed_and_in_a_batch(
    client: genai.Client,
) -> None:
    cities = ("Oslo", "Bergen")
    city = types.Schema(type=types.Type.STRING, enum=list(cities))
    weather = types.FunctionDeclaration(
        name="weather",
        description="Tells the weather of a city.",
        parameters=types.Schema(
            type=types.Type.OBJECT, properties={"city": city}, required=["city"]
        ),
    )
    tools = [types.Tool(function_declarations=[weather])]
    must = types.FunctionCallingConfig(mode=types.FunctionCallingConfigMode.ANY)
    config = types.GenerateContentConfig(
        tools=[*tools], tool_config=types.ToolConfig(function_calling_config=must), seed=5
    )
    text = "How is the weather in Bergen?"
    whole = client.models.generate_content(model=MODEL, contents=text, config=config)
    (streamed,) = client.models.generate_content_stream(model=MODEL, contents=text, config=config)
    requests = [types.InlinedRequest(contents=text, config=config)]
    job = finished(client, client.batches.create(model=MODEL, src=[*requests]))
    assert job.dest is not None
    (item,) = job.dest.inlined_responses or []
    assert item.response is not None
    found = [
        [(call.name, call.args) for call in response.function_calls or []]
        for response in (whole, streamed, item.response)
    ]
    assert found[0] == found[1] == found[2]
    ((name, arguments),) = found[0]
    assert name == "weather"
    assert arguments is not None
    assert arguments["city"] in cities
    with pytest.raises(errors.ServerError, match=r"toolConfig\.functionCallingConfig\.mode") as no:
        client.models.generate_content(
            model=MODEL, contents=text, config=types.GenerateContentConfig(tools=[*tools])
        )
    assert no.value.code == 501


def test_a_cached_content_is_continued_by_the_real_model(client: genai.Client) -> None:
    book = " ".join(f"Chapter {number}: the keeper lit lamp {number}." for number in range(60))
    config = types.CreateCachedContentConfig(
        system_instruction="Answer from the book.", contents=book, ttl="3600s"
    )
    cache = client.caches.create(model=MODEL, config=config)
    assert cache.usage_metadata is not None
    total = cache.usage_metadata.total_token_count
    assert total is not None
    requests: list[types.InlinedRequestDict] = [
        {
            "contents": types.ContentDict(parts=[{"text": f"Lamp {number}?"}], role="user"),
            "config": types.GenerateContentConfigDict(
                cached_content=cache.name, max_output_tokens=8
            ),
        }
        for number in range(4)
    ]
    job = finished(client, client.batches.create(model=MODEL, src=requests))
    assert job.dest is not None
    assert len(job.dest.inlined_responses or []) == len(requests)
    for item in job.dest.inlined_responses or []:
        assert_answered(item.response)
        assert item.response is not None
        usage = item.response.usage_metadata
        assert usage is not None
        # Whole blocks of the attention cache, of the first request, too: it was read before it.
        assert usage.cached_content_token_count == total // BLOCK_TOKENS * BLOCK_TOKENS
        assert usage.prompt_token_count is not None
        # What follows the kept beginning: one short turn, in the template of the model.
        assert 0 < usage.prompt_token_count - total < 24


def test_a_file_of_two_is_answered_by_the_real_model(client: genai.Client, tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    path.write_bytes(
        request_line("request-1", "Describe how plants grow.", temperature=0.7, maxOutputTokens=60)
        + request_line("request-2", "What goes onto a pizza?", maxOutputTokens=60)
    )
    file = client.files.upload(file=path, config=types.UploadFileConfig(mime_type="jsonl"))
    assert file.name is not None
    job = finished(client, client.batches.create(model=MODEL, src=file.name))
    assert job.dest is not None
    assert job.dest.file_name is not None
    content = client.files.download(file=job.dest.file_name)
    lines = [msgspec.json.decode(line) for line in content.splitlines()]
    assert [line["key"] for line in lines] == ["request-1", "request-2"]
    for line in lines:
        assert_answered(types.GenerateContentResponse.model_validate(line["response"]))


def forty() -> bytes:
    """Write a batch whose answers end one after another, half of them in the exact mode."""
    return b"".join(
        request_line(
            i, f"Write a story about the number {i}.", maxOutputTokens=4 + i, temperature=i % 2
        )
        for i in range(REQUESTS)
    )


def engine_process(server: Server) -> psutil.Process:
    """Find the process that computes."""
    (process,) = until(lambda: server.process.descendants(CHILD), SECONDS)
    assert isinstance(process, psutil.Process)
    return process


def some_answered(server: Server, name: str, most: int) -> int:
    """Wait until some requests are answered, and check that not all are."""

    def some() -> int:
        return counters(server.batch(name))[2]

    answered: int = until(some, SECONDS)
    assert answered < most
    return answered


def assert_all_answered(server: Server, document: Any) -> None:
    """Check that no request was lost or failed, and that each has its own line."""
    assert counters(document) == (REQUESTS, 0, REQUESTS, 0)
    lines = server.results(document["name"])
    assert [line["key"] for line in lines] == list(range(REQUESTS))
    assert all(text_of(line).strip() for line in lines)


def test_an_engine_that_is_killed_costs_nothing(server: Server) -> None:
    name = server.submit(forty())
    victim = engine_process(server)
    some_answered(server, name, REQUESTS)
    victim.kill()
    document = server.finish(name, SECONDS)
    assert_all_answered(server, document)
    assert engine_process(server).pid != victim.pid


def test_a_server_that_is_killed_with_its_engine_at_work_costs_nothing(server: Server) -> None:
    name = server.submit(forty())
    orphan = engine_process(server)
    some_answered(server, name, REQUESTS)
    server.kill()
    gone, alive = psutil.wait_procs([orphan], SECONDS)
    assert (len(gone), alive) == (1, []), "the engine's process outlives its server"
    server.restart()
    assert_all_answered(server, server.finish(name, SECONDS))


def test_an_interrupted_run_ends_at_once_and_goes_on_with_the_real_model(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(forty())
    first = Process(["run", "in.jsonl"], directory=tmp_path)
    try:
        (child,) = until(lambda: first.descendants(CHILD), SECONDS)
        until(lambda: child.cpu_times().user > 1, SECONDS)
        first.popen.send_signal(signal.SIGINT)
        assert first.wait(SECONDS) == 130, first.said
        assert not child.is_running()
    finally:
        first.close()
    second = Process(["run", "in.jsonl", "--json"], directory=tmp_path)
    try:
        assert second.wait(SECONDS) == 0, second.said
    finally:
        second.close()
    lines = [
        msgspec.json.decode(line) for line in (tmp_path / "in.out.jsonl").read_bytes().splitlines()
    ]
    assert [line["key"] for line in lines] == list(range(REQUESTS))
    assert all(text_of(line).strip() for line in lines)
    figures = msgspec.json.decode(second.stdout.lines[-1])
    assert (figures["succeeded"], figures["failed"]) == (REQUESTS, 0)
    assert figures["outputTokens"] == sum(
        line["response"]["usageMetadata"]["candidatesTokenCount"] for line in lines
    )
