"""Forms, searches and pictures, through Google's clients and curl."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from google import genai
from google.genai import errors, types
from PIL import Image
from pydantic import BaseModel, TypeAdapter

from tests.acceptance.server import Server, until
from tests.clients.javascript import JavaScript
from tests.clients.test_samples import polled

TEXT_MODEL = "gemini-3.5-flash"
IMAGE_MODEL = "gemini-3-pro-image-preview"
LETTERS = [f"A big letter {one} surrounded by animals starting with it" for one in "AB"]
BOTH = {"responseModalities": ["TEXT", "IMAGE"]}

in_node = pytest.mark.xdist_group("javascript")


class Recipe(BaseModel):
    """What is wanted of a recipe."""

    recipe_name: str
    ingredients: list[str]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("answers") / "data", "--engine", "echo")
    try:
        yield server.start()
    finally:
        server.close()


@pytest.fixture(scope="module")
def said(javascript: JavaScript, server: Server, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return javascript.run("answers.mjs", server.base_url, tmp_path_factory.mktemp("answers"))


def ran(client: genai.Client, model: str, *requests: types.InlinedRequest) -> list[Any]:
    """Run a batch to its end and give its responses."""
    job = polled(client, client.batches.create(model=model, src=list(requests)).name)
    assert job.dest is not None
    responses = [item.response for item in job.dest.inlined_responses or []]
    assert all(responses), job
    return responses


def asking(text: str, **config: Any) -> types.InlinedRequest:
    made = types.GenerateContentConfig(**config) if config else None
    return types.InlinedRequest(contents=text, config=made)


def picture_in(data: bytes) -> Image.Image:
    Image.open(io.BytesIO(data)).verify()
    return Image.open(io.BytesIO(data))


# structured output --------------------------------------------------------------------------------


def test_recipes_come_as_their_schema_says(client: genai.Client) -> None:
    config = {"response_mime_type": "application/json", "response_schema": list[Recipe]}
    responses = ran(
        client,
        TEXT_MODEL,
        *(asking(f"List {kind} recipes.", **config) for kind in ("popular", "gluten free")),
    )
    for response in responses:
        recipes = TypeAdapter(list[Recipe]).validate_json(response.text)
        assert recipes
        assert response.candidates[0].finish_reason is types.FinishReason.STOP


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"response_mime_type": "application/json"}, "{}"),
        (
            {
                "response_mime_type": "application/json",
                "response_json_schema": {"type": "array", "items": {"const": 7}, "minItems": 2},
            },
            "[7,7]",
        ),
        (
            {
                "response_mime_type": "text/x.enum",
                "response_schema": {"type": "STRING", "enum": ["Percussion", "String"]},
            },
            "Percussion",
        ),
    ],
)
def test_other_forms_are_kept_live_and_in_batches(
    client: genai.Client, config: Any, text: str
) -> None:
    live = client.models.generate_content(model=TEXT_MODEL, contents="Hi", config=config)
    (response,) = ran(client, TEXT_MODEL, asking("Hi", **config))
    assert live.text == response.text == text


def test_a_parsed_answer_is_offered_by_the_client(client: genai.Client) -> None:
    config = types.GenerateContentConfig(
        response_mime_type="application/json", response_schema=Recipe
    )
    response = client.models.generate_content(model=TEXT_MODEL, contents="Hi", config=config)
    assert isinstance(response.parsed, Recipe)


def test_a_schema_that_cannot_be_kept_fails_its_request_by_the_path(client: genai.Client) -> None:
    config = {
        "response_mime_type": "application/json",
        "response_json_schema": {"type": "array", "items": {"type": "string", "pattern": "(?=a)"}},
    }
    requests = [asking("bad", **config), asking("good")]
    job = polled(client, client.batches.create(model=TEXT_MODEL, src=requests).name)
    assert job.dest is not None
    bad, good = job.dest.inlined_responses or []
    assert bad.error is not None
    assert bad.error.code == 12
    assert "responseJsonSchema.items.pattern" in (bad.error.message or "")
    assert good.response is not None


@in_node
def test_javascript_gets_recipes_as_their_schema_says(said: Any) -> None:
    (item,) = said["structured"]["gave"]["dest"]["inlinedResponses"]
    (recipe,) = json.loads(item["response"]["candidates"][0]["content"]["parts"][0]["text"])
    assert recipe.keys() == {"recipeName", "ingredients"}


# search -------------------------------------------------------------------------------------------


def test_a_searched_answer_names_its_query_and_a_plain_one_does_not(client: genai.Client) -> None:
    tools = [types.Tool(google_search=types.GoogleSearch())]
    plain, searched = ran(
        client,
        TEXT_MODEL,
        asking("Who won the euro 1998?"),
        asking("Who won the euro 2025?", tools=tools),
    )
    assert plain.candidates[0].grounding_metadata is None
    assert searched.text == "Who won the euro 2025?"
    metadata = searched.candidates[0].grounding_metadata
    assert metadata.web_search_queries == ["Who won the euro 2025?"]
    assert "Who won the euro 2025?" in metadata.search_entry_point.rendered_content
    assert not metadata.grounding_chunks


@in_node
def test_javascript_sees_what_was_searched(said: Any) -> None:
    plain, searched = said["searched"]["gave"]["dest"]["inlinedResponses"]
    assert "groundingMetadata" not in plain["response"]["candidates"][0]
    metadata = searched["response"]["candidates"][0]["groundingMetadata"]
    assert metadata["webSearchQueries"] == ["Who won the euro 2025?"]


def test_a_server_without_searches_says_so_for_each_request(tmp_path: Path) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_text('search = "refuse"\n')
    server = Server(tmp_path / "data", "--engine", "echo", "--config", str(settings))
    options = types.HttpOptions(base_url=server.start().base_url)
    tools = [types.Tool(google_search=types.GoogleSearch())]
    try:
        with genai.Client(api_key="any", http_options=options) as client:
            requests = [asking("plain"), asking("searched", tools=tools)]
            job = polled(client, client.batches.create(model=TEXT_MODEL, src=requests).name)
    finally:
        server.close()
    assert job.dest is not None
    plain, searched = job.dest.inlined_responses or []
    assert plain.response is not None
    assert searched.error is not None
    assert searched.error.code == 12
    assert "tools[0].googleSearch" in (searched.error.message or "")


# pictures -----------------------------------------------------------------------------------------


def test_pictures_of_inline_requests_are_opened_and_saved(
    client: genai.Client, tmp_path: Path
) -> None:
    requests = [asking(text, response_modalities=["TEXT", "IMAGE"]) for text in LETTERS]
    for index, response in enumerate(ran(client, IMAGE_MODEL, *requests)):
        text, picture = response.candidates[0].content.parts
        assert text.text == LETTERS[index]
        path = tmp_path / f"image_{index}.png"
        picture.as_image().save(path)
        assert picture_in(path.read_bytes()).size == (1024, 1024)


def test_pictures_of_a_file_are_read_line_by_line(client: genai.Client, server: Server) -> None:
    rows = [
        {"key": text, "request": {"contents": [{"parts": [{"text": text}]}],
                                  "generation_config": BOTH}}
        for text in LETTERS
    ]  # fmt: skip
    name = server.upload(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
    job = polled(client, client.batches.create(model=IMAGE_MODEL, src=name).name)
    assert job.dest is not None
    assert job.dest.file_name is not None
    lines = client.files.download(file=job.dest.file_name).decode("utf-8").splitlines()
    assert [json.loads(line)["key"] for line in lines] == LETTERS
    for line in lines:
        _, part = json.loads(line)["response"]["candidates"][0]["content"]["parts"]
        assert part["inlineData"]["mimeType"] == "image/png"
        assert picture_in(base64.b64decode(part["inlineData"]["data"])).size == (1024, 1024)


def test_a_model_that_draws_does_so_live_and_streamed(client: genai.Client) -> None:
    config = types.GenerateContentConfig(
        response_modalities=["IMAGE"],
        image_config=types.ImageConfig(aspect_ratio="1:4", image_size="512"),
    )
    live = client.models.generate_content(model=IMAGE_MODEL, contents="A", config=config)
    streamed = list(
        client.models.generate_content_stream(model=IMAGE_MODEL, contents="A", config=config)
    )
    for response in (live, streamed[-1]):
        (part,) = response.candidates[0].content.parts  # type: ignore[index, union-attr, misc]
        assert part.inline_data is not None
        assert picture_in(part.inline_data.data or b"").size == (256, 1024)


def test_a_picture_of_a_text_model_is_drawn_where_its_engine_can(client: genai.Client) -> None:
    response = client.models.generate_content(
        model=TEXT_MODEL, contents="A", config={"response_modalities": ["TEXT", "IMAGE"]}
    )
    assert response.candidates
    with pytest.raises(errors.ClientError, match="imageConfig") as refused:
        client.models.generate_content(
            model=TEXT_MODEL, contents="A", config={"image_config": {"aspect_ratio": "1:1"}}
        )
    assert refused.value.code == 400


@in_node
@pytest.mark.parametrize(("scenario", "size"), [("drawn", (1024, 1024)), ("live", (688, 384))])
def test_javascript_gets_pictures(said: Any, scenario: str, size: tuple[int, int]) -> None:
    gave = said[scenario]["gave"]
    response = gave if scenario == "live" else gave["dest"]["inlinedResponses"][0]["response"]
    text, picture = response["candidates"][0]["content"]["parts"]
    assert text["text"].startswith("A big letter A")
    assert picture["inlineData"]["mimeType"] == "image/png"
    assert picture_in(base64.b64decode(picture["inlineData"]["data"])).size == size


@in_node
def test_javascript_gets_pictures_of_a_file(said: Any) -> None:
    line = said["drawnFromFile"]["gave"]
    assert line["key"] == "request-1"
    _, picture = line["response"]["candidates"][0]["content"]["parts"]
    assert picture_in(base64.b64decode(picture["inlineData"]["data"])).size == (1024, 1024)


CREATE = """
curl -s "$BASE/v1beta/models/gemini-3-pro-image-preview:batchGenerateContent" -X POST \\
  -H "x-goog-api-key: $GEMINI_API_KEY" -H "Content-Type:application/json" \\
  -d "$REQUEST" > created_batch.json
jq -r '.name' created_batch.json
"""

LOOK = """
curl -s "$BASE/v1beta/$BATCH_NAME" -H "x-goog-api-key: $GEMINI_API_KEY" \\
  -H "Content-Type:application/json" > batch_status.json
if [[ $(jq -r '.state' batch_status.json) = "JOB_STATE_SUCCEEDED" ]]; then
  responses_file_name=$(jq -r '.dest.fileName' batch_status.json)
  if [[ $responses_file_name = "null" ]]; then
    jq -r -c '.dest.inlinedResponses' batch_status.json
  else
    curl -s "$BASE/download/v1beta/$responses_file_name:download?alt=media" \\
      -H "x-goog-api-key: $GEMINI_API_KEY" | jq -c --slurp .
  fi
fi
"""


@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("jq")), reason="needs curl and jq")
@pytest.mark.parametrize("form", ["inline", "file"])
def test_a_shell_script_gets_pictures(server: Server, tmp_path: Path, form: str) -> None:
    def ran(script: str, **environment: str) -> str:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=tmp_path,
            env={
                "PATH": os.environ["PATH"],
                "BASE": server.base_url,
                "GEMINI_API_KEY": "any",
                **environment,
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return done.stdout.strip()

    requests = [
        {"contents": [{"parts": [{"text": text}]}], "generation_config": BOTH} for text in LETTERS
    ]
    if form == "inline":
        items = [{"request": one, "metadata": {"key": "k"}} for one in requests]
        source: Any = {"requests": {"requests": items}}
    else:
        lines = [msgspec.json.encode({"key": "k", "request": one}) for one in requests]
        source = {"file_name": server.upload(b"\n".join(lines))}
    order = {"batch": {"display_name": "my-batch-image-requests", "input_config": source}}
    name = ran(CREATE, REQUEST=json.dumps(order))
    results = until(lambda: ran(LOOK, BATCH_NAME=name), 60)
    found = json.loads(results)
    assert len(found) == len(LETTERS)
    for item in found:
        _, part = item["response"]["candidates"][0]["content"]["parts"]
        assert picture_in(base64.b64decode(part["inlineData"]["data"])).size == (1024, 1024)
