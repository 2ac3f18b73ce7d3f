"""A user's own text-to-image model in a real server; the model is tiny, and all of it is real."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import msgspec
from PIL import Image

from tests.acceptance.conftest import MakeServer
from tests.engines.tiny_painter import write_painter

SETTINGS = """
[models]
"*image*" = "painter"

[engines.painter]
kind = "openvino_images"
model = "{folder}"
steps = 3
"""


def line_of(key: str, seed: int, ratio: str = "3:2") -> bytes:
    """Write a line that asks for a small picture."""
    config = {
        "responseModalities": ["IMAGE"],
        "imageConfig": {"aspectRatio": ratio, "imageSize": "512"},
        "seed": seed,
    }
    request = {"contents": [{"parts": [{"text": "a cat"}]}], "generationConfig": config}
    return msgspec.json.encode({"key": key, "request": request}) + b"\n"


def test_a_batch_of_pictures_is_drawn_by_the_model_of_the_settings(
    make_server: MakeServer, tmp_path: Path
) -> None:
    folder = write_painter(tmp_path / "tiny-painter")
    config = tmp_path / "settings.toml"
    config.write_text(SETTINGS.format(folder=folder))
    server = make_server("--config", str(config))
    rows = b"".join((line_of("1", 1), line_of("2", 2), line_of("3", 1)))
    created = server.create(server.upload(rows), "gemini-3-pro-image-preview")
    assert created.status == 200, created.body
    assert server.finish(created.json["name"])["done"]
    pictures = []
    for result in server.results(created.json["name"]):
        response = result["response"]
        assert response["modelVersion"] == "tiny-painter"
        (part,) = response["candidates"][0]["content"]["parts"]
        pictures.append(base64.b64decode(part["inlineData"]["data"]))
    assert Image.open(io.BytesIO(pictures[0])).size == (624, 416)
    assert pictures[0] == pictures[2] != pictures[1]
