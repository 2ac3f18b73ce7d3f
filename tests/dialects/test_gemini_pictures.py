"""Pictures on Gemini's wire: what is asked for, and how it is answered."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from nightrate.dialects.gemini import StreamWriter, framing_of, parse_prompt, render_reply
from nightrate.dialects.gemini_pictures import settings_of
from nightrate.dialects.gemini_results import render_line
from nightrate.dialects.row import Echo
from nightrate.domain.batch import BatchForm
from nightrate.domain.generation import Candidate, Reply, Usage
from nightrate.domain.picture import Picture, PictureWish
from nightrate.errors import BadRequest, Code, NotSupported, Refused, RequestFailed

BOTH = {"responseModalities": ["TEXT", "IMAGE"]}
FIELD = "generationConfig.responseModalities"
SQUARE = PictureWish(1024, 1024, with_text=True, field=FIELD)


def wish(config: dict[str, Any] | None, model: str = "m") -> PictureWish | None:
    body = {"contents": "hi"} if config is None else {"contents": "hi", "generationConfig": config}
    return parse_prompt(msgspec.json.encode(body), model).picture


def refusal(config: dict[str, Any]) -> Refused:
    with pytest.raises(Refused) as refused:
        wish(config)
    return refused.value


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (None, None),
        ({}, None),
        ({"responseModalities": ["TEXT"], "imageConfig": {}}, None),
        (BOTH, SQUARE),
        ({"response_modalities": ["text", "image"], "image_config": {"image_size": None}}, SQUARE),
        ({"responseModalities": ["IMAGE"]},
         PictureWish(1024, 1024, with_text=False, field=FIELD)),
        ({**BOTH, "imageConfig": {"aspectRatio": "16:9"}},
         PictureWish(1360, 768, with_text=True, field=FIELD)),
        ({**BOTH, "imageConfig": {"aspect_ratio": "1:4", "imageSize": "4k"}},
         PictureWish(2048, 8192, with_text=True, field=FIELD)),
        ({**BOTH, "imageConfig": {"aspectRatio": "", "imageSize": "512"}},
         PictureWish(512, 512, with_text=True, field=FIELD)),
    ],
)  # fmt: skip
def test_a_picture_is_asked_for_by_its_modality(config: Any, expected: object) -> None:
    assert wish(config) == expected


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (None, SQUARE),
        ({}, SQUARE),
        ({"responseModalities": ["MODALITY_UNSPECIFIED"]}, SQUARE),
        ({"imageConfig": {"imageSize": "512"}},
         PictureWish(512, 512, with_text=True, field=FIELD)),
        ({"responseModalities": ["TEXT"]}, None),
        ({"responseModalities": ["IMAGE"]},
         PictureWish(1024, 1024, with_text=False, field=FIELD)),
    ],
)  # fmt: skip
def test_a_model_that_draws_does_so_unless_it_is_told_otherwise(
    config: Any, expected: object
) -> None:
    assert wish(config, "gemini-2.5-flash-image") == expected


@pytest.mark.parametrize(
    ("config", "field", "kind"),
    [
        ({"responseModalities": ["SMELL"]}, "responseModalities[0]", BadRequest),
        ({"responseModalities": ["TEXT", "AUDIO"]}, "responseModalities[1]", NotSupported),
        ({"imageConfig": {"aspectRatio": "1:1"}}, "imageConfig", BadRequest),
        ({"responseModalities": ["TEXT"], "imageConfig": {"a": 1}}, "imageConfig", BadRequest),
        ({"imageConfig": []}, "imageConfig", BadRequest),
        ({**BOTH, "imageConfig": []}, "imageConfig", BadRequest),
        ({**BOTH, "imageConfig": "large"}, "imageConfig", BadRequest),
        ({**BOTH, "imageConfig": {"aspectRatio": "7:3"}}, "imageConfig.aspectRatio", BadRequest),
        ({**BOTH, "imageConfig": {"imageSize": 2}}, "imageConfig.imageSize", BadRequest),
        ({**BOTH, "imageConfig": {"imageSize": "8K"}}, "imageConfig.imageSize", BadRequest),
        ({**BOTH, "imageConfig": {"style": "oil"}}, "imageConfig.style", BadRequest),
        ({**BOTH, "responseMimeType": "application/json"}, "responseMimeType", BadRequest),
    ],
)
def test_what_cannot_be_drawn_is_refused_by_its_path(
    config: dict[str, Any], field: str, kind: type[Refused]
) -> None:
    error = refusal(config)
    assert type(error) is kind
    assert error.field == f"generationConfig.{field}"


PICTURE = Picture("image/png", b"\x89PNG\xff\xfe")
PART = {"inlineData": {"mimeType": "image/png", "data": "iVBOR//+"}}


def reply(text: str) -> Reply:
    return Reply((Candidate(text, pictures=(PICTURE,)),), Usage(1, 2), "m")


@pytest.mark.parametrize(
    ("text", "parts"),
    [("Here: é", [{"text": "Here: é"}, PART]), ("", [PART])],
)
def test_a_picture_comes_after_the_text(text: str, parts: list[Any]) -> None:
    live = msgspec.json.decode(render_reply(reply(text), "r"))
    assert live["candidates"][0]["content"] == {"parts": parts, "role": "model"}
    for form in BatchForm:
        line = render_line(Echo(), reply(text), form, "r")
        assert line.isascii()
        assert msgspec.json.decode(line)["response"] == live


def test_the_last_document_of_a_stream_has_the_picture_and_no_text() -> None:
    writer = StreamWriter(framing_of("json"), "r")
    writer.write("Here")
    last = msgspec.json.decode(writer.write(reply("Here")).strip(b",]\n"))
    assert last["candidates"][0]["content"]["parts"] == [PART]


# from the other side --------------------------------------------------------------------------


@pytest.mark.parametrize("ratio", ["1:1", "2:3", "4:5", "16:9", "21:9", "1:8", "4:1"])
@pytest.mark.parametrize("size", ["512", "1K", "2K", "4K"])
def test_a_wish_is_said_in_the_words_that_it_was_read_from(ratio: str, size: str) -> None:
    asked = wish(BOTH | {"imageConfig": {"aspectRatio": ratio, "imageSize": size}})
    assert asked is not None
    usual = {"aspectRatio": ratio}
    assert settings_of(asked) == (usual if size == "1K" else usual | {"imageSize": size})


@pytest.mark.parametrize(
    ("width", "height", "settings"),
    [
        (1536, 1024, {"aspectRatio": "3:2"}),
        (1024, 1024, {"aspectRatio": "1:1"}),
        (500, 510, {"aspectRatio": "1:1", "imageSize": "512"}),
    ],
)
def test_a_size_of_another_protocol_is_asked_for_by_the_nearest_one(
    width: int, height: int, settings: dict[str, str]
) -> None:
    assert settings_of(PictureWish(width, height, with_text=True, field="x")) == settings


@pytest.mark.parametrize(("width", "height"), [(2048, 1024), (64, 64), (100, 4000)])
def test_a_size_that_the_protocol_has_not_is_refused(width: int, height: int) -> None:
    with pytest.raises(RequestFailed, match=r"^imageConfig: ") as refused:
        settings_of(PictureWish(width, height, with_text=True, field="x"))
    assert refused.value.code is Code.UNIMPLEMENTED
