"""Media in Gemini's requests: what is read, what is refused, and the way back."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec import structs

from nightrate.dialects.gemini_asks import render_count, render_prompt
from nightrate.dialects.gemini_prompts import parse_prompt
from nightrate.domain.calling import Call
from nightrate.domain.generation import Message, Prompt
from nightrate.domain.medium import Clip, Medium, Resolution
from nightrate.errors import BadRequest, NotSupported, Refused

PNG = {"mimeType": "image/png", "data": "iVBORw0KGgo="}
FILE = {"fileUri": "files/abc-1"}
P = "contents[0].parts[0]"


def parse(body: Any) -> Prompt:
    return parse_prompt(msgspec.json.encode(body), "m")


def parsed(*parts: Any) -> Prompt:
    return parse({"contents": [{"role": "user", "parts": list(parts)}]})


def refusal(body: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        parse(body)
    assert caught.value.message.startswith(f"{caught.value.field}: ")
    return caught.value


def refused(part: Any) -> tuple[str, str]:
    error = refusal({"contents": [{"parts": [part]}]})
    assert error.field is not None
    return error.field.removeprefix(f"{P}."), error.message


def png(**more: Any) -> Medium:
    return Medium(
        **{"field": f"{P}.inlineData", "mime_type": PNG["mimeType"], "data": PNG["data"], **more}
    )


def test_a_medium_stands_at_its_place_in_the_text() -> None:
    found = parsed({"text": "ab"}, {"inlineData": PNG}, {"text": "cd"}, {"fileData": FILE})
    assert found.messages == (Message("user", "abcd"),)
    assert found.media == (
        png(offset=2, field="contents[0].parts[1].inlineData"),
        Medium(offset=4, field="contents[0].parts[3].fileData", file_id="abc-1"),
    )


def test_turns_with_media_alone_are_turns() -> None:
    turns: list[Any] = [
        {"role": "system", "parts": "brief"},
        {"parts": {"inlineData": PNG}},
        {"role": "model", "parts": [{"inlineData": PNG}, {"text": "drawn"}]},
    ]
    found = parse({"contents": turns})
    assert found.messages == (Message("user", ""), Message("model", "drawn"))
    assert found.media == (
        png(turn=0, field="contents[1].parts.inlineData"),
        png(turn=1, field="contents[2].parts[0].inlineData"),
    )
    alone = parse({"contents": {"parts": [{"inlineData": PNG}]}})
    assert alone.media == (png(field="contents.parts[0].inlineData"),)


def test_both_spellings_are_read() -> None:
    inline = {"mime_type": "image/png", "data": PNG["data"], "display_name": "a.png"}
    file = {"file_uri": "files/a", "mime_type": "audio/mp3", "display_name": "b"}
    found = parsed({"inline_data": inline}, {"file_data": file})
    at = "contents[0].parts[1].fileData"
    assert found.media == (
        png(name="a.png"),
        Medium(field=at, mime_type="audio/mp3", file_id="a", name="b"),
    )


def test_media_marked_as_a_thought_are_looked_at_like_others() -> None:
    (medium,) = parsed({"text": "a"}, {"inlineData": PNG, "thought": True}).media
    assert medium.field == "contents[0].parts[1].inlineData"


@pytest.mark.parametrize(
    ("look", "path"),
    [
        ({"mediaResolution": {"level": "HUGE"}}, "mediaResolution.level"),
        ({"mediaResolution": {"size": 1}}, "mediaResolution.size"),
        ({"mediaResolution": "MEDIA_RESOLUTION_LOW"}, "mediaResolution"),
        ({"videoMetadata": {"fps": "1"}}, "videoMetadata.fps"),
        ({"videoMetadata": {"startOffset": 1}}, "videoMetadata.startOffset"),
        ({"videoMetadata": {"endOffset": "1"}}, "videoMetadata.endOffset"),
        ({"videoMetadata": []}, "videoMetadata"),
    ],
)
def test_how_to_look_is_checked_where_there_is_nothing_to_see(look: Any, path: str) -> None:
    for part in ({"text": "a"}, {"text": "a", "thought": True}, {"executableCode": {"code": "1"}}):
        error = refusal({"contents": [{"parts": [{**part, **look}]}]})
        assert isinstance(error, BadRequest)
        assert error.field == f"{P}.{path}"


@pytest.mark.parametrize(("data", "plain"), [("_-8", "/+8="), ("eA", "eA=="), ("eA==", "eA==")])
def test_bytes_are_given_in_the_usual_alphabet(data: str, plain: str) -> None:
    (medium,) = parsed({"inlineData": {**PNG, "data": data}}).media
    assert medium.data == plain


@pytest.mark.parametrize(
    "uri",
    [
        "files/abc-1",
        "http://127.0.0.1:8080/v1beta/files/abc-1",
        "https://night.example/mounted/v1/files/abc-1",
        "https://night.example/exact/v1alpha/files/abc-1:download?alt=media",
        "files/abc-1#page",
    ],
)
def test_files_of_this_server_are_known_in_all_forms(uri: str) -> None:
    (medium,) = parsed({"fileData": {"fileUri": uri}}).media
    assert medium.file_id == "abc-1"


@pytest.mark.parametrize(
    "uri",
    [
        "gs://bucket/files/abc",
        "https://example.com/cat.png",
        "https://example.com/files/abc",
        "https://example.com/?v1/files/abc",
        "https://www.youtube.com/watch?v=9hE5-98ZeCg",
        "https://example.com/v2/files/abc",
    ],
)
def test_nothing_is_fetched_from_elsewhere(uri: str) -> None:
    error = refusal({"contents": [{"parts": [{"fileData": {"fileUri": uri}}]}]})
    assert isinstance(error, NotSupported)
    assert error.field == f"{P}.fileData.fileUri"
    assert uri in error.message
    assert "Upload it with the Files API" in error.message


@pytest.mark.parametrize(
    ("part", "path", "words"),
    [
        ({"inlineData": {}}, "inlineData.mimeType", "missing"),
        ({"inlineData": []}, "inlineData", "not an object"),
        ({"inlineData": {"data": "eA=="}}, "inlineData.mimeType", "missing"),
        ({"inlineData": {**PNG, "mimeType": ""}}, "inlineData.mimeType", "missing"),
        ({"inlineData": {**PNG, "mimeType": "png"}}, "inlineData.mimeType", '"png" is no type'),
        ({"inlineData": {**PNG, "mimeType": 0}}, "inlineData.mimeType", '"0" is no type'),
        ({"inlineData": {**PNG, "mimeType": ["a/b"]}}, "inlineData.mimeType", "is no type"),
        ({"inlineData": {**PNG, "mimeType": []}}, "inlineData.mimeType", "is no type"),
        ({"inlineData": {"mimeType": "image/png"}}, "inlineData.data", "missing or empty"),
        ({"inlineData": {**PNG, "data": ""}}, "inlineData.data", "missing or empty"),
        ({"inlineData": {**PNG, "data": "*"}}, "inlineData.data", "not Base64"),
        ({"inlineData": {**PNG, "data": 7}}, "inlineData.data", "not Base64"),
        ({"inlineData": {**PNG, "displayName": 7}}, "inlineData.displayName", "not a text"),
        ({"inlineData": {**PNG, "uri": "a"}}, "inlineData.uri", "no such field"),
        ({"fileData": {}}, "fileData.fileUri", "missing"),
        ({"fileData": {"fileUri": ""}}, "fileData.fileUri", "missing"),
        ({"fileData": {"fileUri": 7}}, "fileData.fileUri", "missing"),
        ({"fileData": {"fileUri": "abc"}}, "fileData.fileUri", "no file such as"),
        ({"fileData": {"fileUri": "files/A b"}}, "fileData.fileUri", "no file such as"),
        ({"fileData": {**FILE, "mimeType": "png"}}, "fileData.mimeType", "no type"),
        ({"fileData": FILE, "inlineData": PNG}, "fileData", "holds one thing"),
        (
            {"inlineData": PNG, "functionCall": {"name": "f"}},
            "inlineData",
            "about a call",
        ),
        ({"inlineData": PNG, "text": "a"}, "text", "a part of its own"),
        ({"inlineData": PNG, "videoMetadata": 7}, "videoMetadata", "not an object"),
        (
            {"inlineData": PNG, "videoMetadata": {"startOffset": "1"}},
            "videoMetadata.startOffset",
            "no offset",
        ),
        (
            {"inlineData": PNG, "videoMetadata": {"endOffset": 1}},
            "videoMetadata.endOffset",
            "no offset",
        ),
        ({"inlineData": PNG, "videoMetadata": {"fps": 0}}, "videoMetadata.fps", "above 0"),
        ({"inlineData": PNG, "videoMetadata": {"fps": 25}}, "videoMetadata.fps", "above 0"),
        ({"inlineData": PNG, "videoMetadata": {"fps": True}}, "videoMetadata.fps", "above 0"),
        ({"inlineData": PNG, "videoMetadata": {"fps": "1"}}, "videoMetadata.fps", "above 0"),
        ({"inlineData": PNG, "mediaResolution": "LOW"}, "mediaResolution", "not an object"),
        (
            {"inlineData": PNG, "mediaResolution": {"level": "LOW"}},
            "mediaResolution.level",
            "not known",
        ),
        (
            {"inlineData": PNG, "mediaResolution": {"level": 7}},
            "mediaResolution.level",
            "not known",
        ),
    ],
)
def test_what_is_malformed_is_refused_by_its_path(part: Any, path: str, words: str) -> None:
    field, message = refused(part)
    assert field == path
    assert words in message


def test_instructions_are_text() -> None:
    turn = {"parts": [{"text": "Be brief."}, {"inline_data": PNG}]}
    for body, path in (
        (
            {"contents": "hi", "system_instruction": turn},
            "system_instruction.parts[1].inline_data",
        ),
        (
            {"contents": ["hi", {**turn, "role": "system"}]},
            "contents[1].parts[1].inline_data",
        ),
    ):
        error = refusal(body)
        assert isinstance(error, NotSupported)
        assert error.field == path
        assert "a turn of the user" in error.message
    calls: Any = {"role": "system", "parts": [{"functionCall": {"name": "f"}}]}
    assert isinstance(refusal({"contents": ["hi", calls]}), BadRequest)


def test_how_a_medium_is_looked_at_is_read() -> None:
    looked = {
        "inlineData": {**PNG, "mimeType": "video/mp4"},
        "videoMetadata": {"startOffset": "1.5s", "endOffset": "60s", "fps": 0.5},
        "mediaResolution": {"level": "media_resolution_low", "numTokens": 7},
    }
    (medium,) = parsed(looked).media
    assert medium.clip == Clip("1.5s", "60s", 0.5)
    assert medium.resolution is Resolution.LOW
    plain = {"videoMetadata": {}, "mediaResolution": {"level": "MEDIA_RESOLUTION_UNSPECIFIED"}}
    assert parsed({"inlineData": PNG, **plain}).media == (png(),)
    nothing = {"videoMetadata": {"fps": None}, "mediaResolution": {"level": ""}}
    assert parsed({"inlineData": PNG, **nothing}).media == (png(),)


@pytest.mark.parametrize(
    ("name", "resolution"),
    [
        ("MEDIA_RESOLUTION_HIGH", Resolution.HIGH),
        ("media_resolution_medium", Resolution.MEDIUM),
        ("MEDIA_RESOLUTION_UNSPECIFIED", None),
    ],
)
def test_how_all_media_are_looked_at_is_read(name: str, resolution: Resolution | None) -> None:
    found = parse({"contents": "hi", "generationConfig": {"mediaResolution": name}})
    assert found.resolution is resolution


# What is asked of a server --------------------------------------------------------------------


def again(prompt: Prompt) -> Prompt:
    return parse_prompt(render_prompt(prompt), "m")


@pytest.mark.parametrize(
    "parts",
    [
        [{"inlineData": PNG}],
        [{"text": "a"}, {"inlineData": PNG}, {"text": "b"}],
        [{"inlineData": PNG}, {"inlineData": {**PNG, "mimeType": "image/jpeg"}}, {"text": "b"}],
        [
            {
                "inlineData": {**PNG, "mimeType": "video/mp4"},
                "videoMetadata": {"startOffset": "1s", "fps": 2},
                "mediaResolution": {"level": "MEDIA_RESOLUTION_HIGH"},
            }
        ],
    ],
)
def test_media_go_on_in_their_order(parts: list[Any]) -> None:
    body = {
        "contents": [
            {"role": "user", "parts": [{"text": "first"}]},
            {"role": "model", "parts": [{"text": "second"}]},
            {"role": "user", "parts": parts},
        ]
    }
    prompt = parse(body)
    assert msgspec.json.decode(render_prompt(prompt)) == body
    assert again(prompt) == prompt


def test_a_file_that_was_read_goes_on_as_its_bytes() -> None:
    prompt = parsed({"fileData": FILE}, {"text": "a"})
    with pytest.raises(AssertionError):
        render_prompt(prompt)
    (medium,) = prompt.media
    read = structs.replace(medium, mime_type="image/png", data=str(PNG["data"]))
    ready = structs.replace(prompt, media=(read,))
    sent = msgspec.json.decode(render_prompt(ready))
    assert sent["contents"][0]["parts"] == [{"inlineData": PNG}, {"text": "a"}]


def test_media_stand_between_results_and_calls() -> None:
    prompt = parsed(
        {"functionResponse": {"name": "f", "response": {}}}, {"text": "a"}, {"inlineData": PNG}
    )
    message = structs.replace(prompt.messages[0], calls=(Call("g", "{}"),))
    sent = msgspec.json.decode(render_prompt(structs.replace(prompt, messages=(message,))))
    kinds = [next(iter(part)) for part in sent["contents"][0]["parts"]]
    assert kinds == ["functionResponse", "text", "inlineData", "functionCall"]


def test_how_closely_to_look_goes_on_where_there_is_something_to_look_at() -> None:
    config = {"mediaResolution": "MEDIA_RESOLUTION_LOW"}
    with_media = parse({"contents": [{"parts": [{"inlineData": PNG}]}], "generationConfig": config})
    assert msgspec.json.decode(render_prompt(with_media))["generationConfig"] == config
    without = parse({"contents": "hi", "generationConfig": config})
    assert "generationConfig" not in msgspec.json.decode(render_prompt(without))


def test_media_are_counted_with_the_prompt() -> None:
    sent = msgspec.json.decode(render_count(parsed({"inlineData": PNG}), "models/m"))
    (turn,) = sent["generateContentRequest"]["contents"]
    assert turn["parts"] == [{"inlineData": PNG}]
