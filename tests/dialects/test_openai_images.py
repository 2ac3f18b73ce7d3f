"""OpenAI's requests for pictures, and their answers."""

from __future__ import annotations

import base64
import json
from typing import Any

import msgspec
import pytest
from openai.types import ImagesResponse

from nightrate.dialects.openai import parse_image, render_image
from nightrate.dialects.openai_images import HINTS, UNSERVED
from nightrate.domain.generation import Candidate, Message, Prompt, Reply, Usage
from nightrate.domain.picture import Picture, PictureWish
from nightrate.errors import BadRequest, NotSupported

ASK = {"model": "models/an-image", "prompt": "A river."}


def parsed(**members: Any) -> Any:
    return parse_image(msgspec.json.encode({**ASK, **members}))


def test_a_picture_is_asked_for_by_its_size() -> None:
    call = parsed(size="512x256", response_format="b64_json", output_format="png", n=1)
    assert call.model == "an-image"
    assert call.prompt == Prompt(
        messages=(Message("user", "A river."),),
        picture=PictureWish(512, 256, with_text=False, field="model"),
    )
    for size in (None, "auto"):
        picture = parsed(size=size).prompt.picture
        assert (picture.width, picture.height) == (1024, 1024)


def test_what_asks_for_nothing_and_hints_are_passed_over() -> None:
    nothing = {"quality": "auto", "background": "auto", "stream": False, "partial_images": 0}
    assert parsed(**nothing, **dict.fromkeys(HINTS, "x")) == parsed()


@pytest.mark.parametrize(
    ("members", "field"),
    [
        ({"prompt": ""}, "prompt"),
        ({"model": ""}, "model"),
        ({"size": "huge"}, "size"),
        ({"size": "15x1024"}, "size"),
        ({"size": "1024x4097"}, "size"),
        ({"response_format": "tar"}, "response_format"),
        ({"seed": 5}, "seed"),
    ],
)
def test_what_is_wrong_is_refused_by_its_path(members: dict[str, Any], field: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parsed(**members)
    assert caught.value.field == field


@pytest.mark.parametrize(
    "members",
    [
        {"n": 2},
        {"response_format": "url"},
        {"output_format": "webp"},
        {"stream": True},
        {"output_compression": 50},
        {"partial_images": 2},
        *({name: "x"} for name in sorted(UNSERVED) if name in ("quality", "style", "background")),
    ],
)
def test_what_is_not_served_is_refused_by_its_path(members: dict[str, Any]) -> None:
    with pytest.raises(NotSupported) as caught:
        parsed(**members)
    assert caught.value.field in members


def test_a_picture_comes_as_text() -> None:
    reply = Reply((Candidate("", pictures=(Picture("image/png", b"abc"),)),), Usage(1, 1), "echo")
    found = json.loads(render_image(reply, 7_000_000))
    assert found == {"created": 7, "data": [{"b64_json": base64.b64encode(b"abc").decode()}]}
    assert ImagesResponse.model_validate(found).created == 7
