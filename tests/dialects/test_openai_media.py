"""Media in OpenAI's chats: what is read, what is refused, and what is asked of a server."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec import structs

from nightrate.dialects.openai_asks import Customs, render_count, render_prompt
from nightrate.dialects.openai_chats import parse_chat
from nightrate.dialects.openai_media import is_said
from nightrate.domain.calling import Call, CallResult
from nightrate.domain.generation import Message, Prompt
from nightrate.domain.medium import Medium, Resolution
from nightrate.errors import BadRequest, Code, NotSupported, Refused, RequestFailed

PNG = "iVBORw0KGgo="
ADDRESS = f"data:image/png;base64,{PNG}"
AT = "messages[0].content[0]"


def picture(url: Any = ADDRESS, **more: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, **more}}


def sound(data: Any = "eA==", form: Any = "wav") -> dict[str, Any]:
    return {"type": "input_audio", "input_audio": {"data": data, "format": form}}


def document(**members: Any) -> dict[str, Any]:
    return {"type": "file", "file": members}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def turn(*parts: Any, role: str = "user") -> dict[str, Any]:
    return {"role": role, "content": list(parts)}


def parsed(*turns: Any) -> Prompt:
    return parse_chat(msgspec.json.encode({"model": "m", "messages": turns})).prompt


def refused(*turns: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        parsed(*turns)
    return caught.value


def test_media_stand_at_their_places_in_the_text() -> None:
    found = parsed(turn(text("ab"), picture(), text("c"), sound(), text("d")))
    assert found.messages == (Message("user", "abcd"),)
    assert found.media == (
        Medium(offset=2, field="messages[0].content[1].image_url", mime_type="image/png", data=PNG),
        Medium(
            offset=3, field="messages[0].content[3].input_audio", mime_type="audio/wav", data="eA=="
        ),
    )


def test_each_medium_knows_its_turn() -> None:
    tools: list[Any] = [
        {
            "role": "assistant",
            "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f"}}],
        },
        {"role": "tool", "tool_call_id": "1", "content": "ok"},
    ]
    turns = [{"role": "system", "content": "brief"}, turn(picture()), *tools, turn(picture())]
    found = parsed(*turns)
    assert [message.role for message in found.messages] == ["user", "model", "user", "user"]
    assert [(one.turn, one.field) for one in found.media] == [
        (0, "messages[1].content[0].image_url"),
        (3, "messages[4].content[0].image_url"),
    ]


@pytest.mark.parametrize(
    ("part", "medium"),
    [
        (
            picture("data:image/jpeg;base64,_-8", detail="low"),
            Medium(field="", mime_type="image/jpeg", data="/+8=", resolution=Resolution.LOW),
        ),
        (
            picture(detail="high"),
            Medium(field="", mime_type="image/png", data=PNG, resolution=Resolution.HIGH),
        ),
        (picture(detail="auto"), Medium(field="", mime_type="image/png", data=PNG)),
        (picture(detail=None), Medium(field="", mime_type="image/png", data=PNG)),
        (sound(form="mp3"), Medium(field="", mime_type="audio/mpeg", data="eA==")),
        (
            document(file_data="data:application/pdf;base64,eA==", filename="a.pdf"),
            Medium(field="", mime_type="application/pdf", data="eA==", name="a.pdf"),
        ),
        (document(file_id="files/abc-1"), Medium(field="", file_id="abc-1")),
        (document(file_id="abc-1", filename="a"), Medium(field="", file_id="abc-1", name="a")),
    ],
)
def test_every_kind_of_part_is_read(part: dict[str, Any], medium: Medium) -> None:
    (found,) = parsed(turn(part)).media
    assert found == structs.replace(medium, field=f"{AT}.{part['type']}")


@pytest.mark.parametrize(
    ("part", "path", "words"),
    [
        ({"type": "image_url"}, "image_url", "missing"),
        ({"type": "image_url", "image_url": ADDRESS}, "image_url", "not an object"),
        (picture(None), "image_url.url", "missing"),
        (picture(7), "image_url.url", "not a text"),
        (picture("data:image/png,x"), "image_url.url", "data:TYPE;base64,BYTES"),
        (picture("data:png;base64,eA=="), "image_url.url", '"png" is no type'),
        (picture("data:image/png;base64,*"), "image_url.url", "not Base64"),
        (picture("data:image/png;base64,"), "image_url.url", "missing or empty"),
        (picture(detail="sharp"), "image_url.detail", '"sharp" is not known'),
        (picture(size=1), "image_url.size", "no such field"),
        (sound(data=None), "input_audio.data", "missing or empty"),
        (sound(form="flac"), "input_audio.format", '"flac" is none of wav, mp3'),
        (sound(form=None), "input_audio.format", "none of wav, mp3"),
        (document(), "file.file_data", "missing"),
        (document(file_data="eA=="), "file.file_data", "data:TYPE;base64,BYTES"),
        (document(file_id="a b"), "file.file_id", "no file such as"),
        (document(file_id="a", file_data=ADDRESS), "file.file_id", "send one of them"),
    ],
)
def test_what_is_malformed_is_refused_by_its_path(part: Any, path: str, words: str) -> None:
    error = refused(turn(part))
    assert isinstance(error, BadRequest)
    assert error.field == f"{AT}.{path}"
    assert words in error.message


@pytest.mark.parametrize("scheme", ["http", "HTTPS"])
def test_nothing_is_fetched_from_elsewhere(scheme: str) -> None:
    error = refused(turn(picture(f"{scheme}://example.com/cat.png")))
    assert isinstance(error, NotSupported)
    assert error.field == f"{AT}.image_url.url"
    assert "Send the bytes" in error.message


@pytest.mark.parametrize("role", ["system", "developer", "assistant"])
def test_the_user_alone_shows_media(role: str) -> None:
    error = refused(turn(text("a"), picture(), role=role), turn(text("b")))
    assert isinstance(error, NotSupported)
    assert error.field == "messages[0].content[1].type"


# What is asked of a server --------------------------------------------------------------------


def asked(prompt: Prompt) -> Any:
    return msgspec.json.decode(render_prompt(prompt, "m", Customs(), streamed=False))["messages"]


def showing(*media: Medium, words: str = "abcd", **more: Any) -> Prompt:
    return Prompt(messages=(Message("user", words),), media=media, **more)


def medium(mime_type: str = "image/png", **more: Any) -> Medium:
    return Medium(**{"field": "contents[0]", "mime_type": mime_type, "data": PNG, **more})


def test_a_text_alone_stays_a_text() -> None:
    first = Message("user", "hi")
    prompt = Prompt(messages=(first, Message("user", "")), media=(medium(turn=1),))
    (plain, shown) = asked(prompt)
    assert plain == {"role": "user", "content": "hi"}
    assert shown == {"role": "user", "content": [picture()]}


def test_media_go_on_in_their_order() -> None:
    turns = (
        turn(text("ab"), picture(), text("c"), sound(), text("d")),
        turn(document(filename="a.pdf", file_data="data:application/pdf;base64,eA==")),
        turn(picture(detail="low"), picture(detail="high")),
    )
    assert asked(parsed(*turns)) == list(turns)


def test_types_are_sent_by_their_registered_names() -> None:
    media = medium("IMAGE/JPG"), medium("audio/mp3; rate=1"), medium("application/pdf")
    (sent,) = asked(showing(*media, words=""))
    assert sent["content"] == [
        picture(f"data:image/jpeg;base64,{PNG}"),
        sound(PNG, "mp3"),
        document(filename="document.pdf", file_data=f"data:application/pdf;base64,{PNG}"),
    ]


@pytest.mark.parametrize(
    ("own", "of_all", "detail"),
    [
        (None, None, None),
        (None, Resolution.LOW, "low"),
        (Resolution.ULTRA_HIGH, Resolution.LOW, "high"),
        (Resolution.MEDIUM, Resolution.LOW, None),
    ],
)
def test_how_closely_to_look_is_said_of_each_picture(
    own: Resolution | None, of_all: Resolution | None, detail: str | None
) -> None:
    (sent,) = asked(showing(medium(resolution=own), words="", resolution=of_all))
    assert sent["content"] == [picture(**({} if detail is None else {"detail": detail}))]


def test_media_beside_results_and_calls_keep_their_place() -> None:
    asking = Message("model", "", calls=(Call("f", "{}", "1"),))
    telling = Message("user", "see", results=(CallResult("f", "ok", "1"),))
    prompt = Prompt(messages=(asking, telling), media=(medium(turn=1, offset=3),))
    assert asked(prompt)[1:] == [
        {"role": "tool", "content": "ok", "tool_call_id": "1"},
        {"role": "user", "content": [text("see"), picture()]},
    ]


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        (showing(medium("video/mp4")), "no words for video/mp4"),
        (
            Prompt(messages=(Message("model", "drawn"),), media=(medium(),)),
            "a turn of the model has no media",
        ),
    ],
)
def test_what_the_protocol_has_no_words_for_is_refused(prompt: Prompt, words: str) -> None:
    with pytest.raises(RequestFailed, match=rf"^contents\[0\]: .*{words}") as failed:
        asked(prompt)
    assert failed.value.code is Code.UNIMPLEMENTED


def test_a_file_is_read_before_it_is_asked_about() -> None:
    with pytest.raises(AssertionError):
        asked(showing(medium(data="", file_id="a")))


def test_media_are_not_counted_wrongly() -> None:
    with pytest.raises(RequestFailed, match=r"^contents\[0\]: .*counts texts alone") as failed:
        render_count(showing(medium()), "m")
    assert failed.value.code is Code.UNIMPLEMENTED


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("image/*", True),
        ("image/png", True),
        ("audio/wav", True),
        ("audio/mpeg", True),
        ("application/pdf", True),
        ("audio/*", False),
        ("video/mp4", False),
        ("image", False),
        ("image/png; a=b", False),
    ],
)
def test_the_protocol_has_words_for_few_types(pattern: str, *, said: bool) -> None:
    assert is_said(pattern) is said
