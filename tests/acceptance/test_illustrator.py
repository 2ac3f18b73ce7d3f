"""The illustrator in a real server: the documented samples for pictures, unconfigured."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator

import msgspec
import openai
import pytest
from google import genai
from google.genai import types
from PIL import Image

from tests.acceptance.server import START_SECONDS, Server, until

pytestmark = pytest.mark.embedded

MODEL = "gemini-3-pro-image-preview"
LETTERS = [
    f"A big letter {one} surrounded by animals starting with the {one} letter" for one in "AB"
]
BOTH = types.GenerateContentConfig(response_modalities=["TEXT", "IMAGE"])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Give a server as it is right after installation, but that nothing loads the text model."""
    folder = tmp_path_factory.mktemp("illustrator")
    settings = folder / "nightrate.toml"
    settings.write_text('[models]\n"*image*" = "illustrator"\n', "utf-8")
    server = Server(folder / "data", "--config", str(settings))
    server.start_seconds = max(START_SECONDS, 300.0)
    try:
        yield server.start()
    finally:
        server.close()


@pytest.fixture
def client(server: Server) -> Iterator[genai.Client]:
    options = types.HttpOptions(base_url=server.base_url)
    with genai.Client(api_key="any-key", http_options=options) as client:
        yield client


def ended(client: genai.Client, job: types.BatchJob) -> types.BatchJob:
    """Poll until a batch has succeeded."""
    name = job.name or ""

    def look() -> types.BatchJob | None:
        found = client.batches.get(name=name)
        return found if found.done else None

    found: types.BatchJob = until(look, 120.0)
    assert found.state is types.JobState.JOB_STATE_SUCCEEDED
    return found


def size_of(data: bytes) -> tuple[int, int]:
    image = Image.open(io.BytesIO(data))
    image.load()
    assert image.format == "PNG"
    width, height = image.size
    return width, height


def test_live_inline_and_in_a_file_the_same_request_gets_the_same_picture(
    client: genai.Client, server: Server
) -> None:
    live = client.models.generate_content(model=MODEL, contents=LETTERS[0], config=BOTH)
    assert live.model_version == "nightrate-illustrator-1"
    assert live.parts is not None
    text, picture = live.parts
    assert "ant" in (text.text or "")
    assert "not by a generative model" in (text.text or "")
    assert picture.inline_data is not None
    drawn = picture.inline_data.data or b""
    assert size_of(drawn) == (1024, 1024)

    src = [types.InlinedRequest(contents=text, config=BOTH) for text in LETTERS]
    inline = ended(client, client.batches.create(model=MODEL, src=src))
    assert inline.dest is not None
    found = [
        one.response.parts[1].inline_data.data  # type: ignore[union-attr, index]
        for one in inline.dest.inlined_responses or []
    ]
    assert found[0] == drawn
    assert size_of(found[1] or b"") == (1024, 1024)

    rows = [
        {
            "key": text,
            "request": {
                "contents": [{"parts": [{"text": text}]}],
                "generation_config": {"responseModalities": ["TEXT", "IMAGE"]},
            },
        }
        for text in LETTERS
    ]
    name = server.upload(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
    job = ended(client, client.batches.create(model=MODEL, src=name))
    assert job.dest is not None
    lines = client.files.download(file=job.dest.file_name or "").decode("utf-8").splitlines()
    pictures = [
        json.loads(line)["response"]["candidates"][0]["content"]["parts"][1] for line in lines
    ]
    assert [base64.b64decode(one["inlineData"]["data"]) for one in pictures] == found


@pytest.mark.parametrize(
    ("ratio", "size", "sides"),
    [("16:9", "1K", (1360, 768)), ("1:8", "512", (176, 1456)), ("3:2", "4K", (5024, 3344))],
)
def test_a_picture_has_the_ratio_and_the_size_that_are_asked_for(
    client: genai.Client, ratio: str, size: str, sides: tuple[int, int]
) -> None:
    config = types.GenerateContentConfig(
        response_modalities=["IMAGE"],
        image_config=types.ImageConfig(aspect_ratio=ratio, image_size=size),
    )
    reply = client.models.generate_content(model=MODEL, contents="a farm", config=config)
    assert reply.parts is not None
    (part,) = reply.parts
    assert part.inline_data is not None
    assert size_of(part.inline_data.data or b"") == sides


def test_openais_clients_get_pictures(server: Server) -> None:
    with openai.OpenAI(base_url=f"{server.base_url}/v1beta/openai/", api_key="any") as client:
        drawn = client.images.generate(model="gpt-image-1", prompt="a cat", size="1536x1024")
    assert drawn.data is not None
    (picture,) = drawn.data
    assert size_of(base64.b64decode(picture.b64_json or "")) == (1536, 1024)


def test_a_schema_and_a_text_model_are_refused(client: genai.Client) -> None:
    form = types.GenerateContentConfig(response_mime_type="application/json")
    with pytest.raises(genai.errors.APIError, match="responseMimeType"):
        client.models.generate_content(model=MODEL, contents="a cat", config=form)
    with pytest.raises(genai.errors.ClientError, match="not found"):
        client.models.generate_content(model="gemini-2.5-flash", contents="a cat", config=BOTH)
