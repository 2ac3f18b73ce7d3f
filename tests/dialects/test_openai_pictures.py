"""What is asked of a server that draws, and how its pictures are read."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
import pytest

from nightrate.dialects.openai_pictures import (
    OPENAI_SIZES,
    PictureCustoms,
    read_picture,
    render_picture,
    sides_of_size,
)
from nightrate.domain.generation import FinishReason, Message, Prompt, Sampling
from nightrate.domain.picture import PictureWish
from nightrate.errors import Code, RequestFailed

PNG = b"\x89PNG\r\n\x1a\n and more"
HOSTED = PictureCustoms(sizes=OPENAI_SIZES, says_format=False)


def wanted(width: int = 1024, height: int = 1024, *, with_text: bool = True) -> PictureWish:
    return PictureWish(width, height, with_text, "modalities")


def prompt_of(text: str = "a cat", *, system: str | None = None, **sampling: Any) -> Prompt:
    return Prompt(messages=(Message("user", text),), system=system, sampling=Sampling(**sampling))


def asked(prompt: Prompt, wish: PictureWish, customs: PictureCustoms) -> dict[str, Any]:
    body: dict[str, Any] = msgspec.json.decode(render_picture(prompt, wish, "m", customs))
    return body


def test_a_picture_is_asked_for_by_its_size_and_as_itself() -> None:
    assert asked(prompt_of(), wanted(1360, 768), PictureCustoms()) == {
        "model": "m",
        "prompt": "a cat",
        "size": "1360x768",
        "n": 1,
        "response_format": "b64_json",
    }


def test_instructions_stand_before_the_prompt() -> None:
    body = asked(prompt_of(system="In blue.", max_output_tokens=5), wanted(), PictureCustoms())
    assert body["prompt"] == "In blue.\n\na cat"


@pytest.mark.parametrize(
    ("sides", "size"),
    [
        ((1024, 1024), "1024x1024"),
        ((1248, 832), "1536x1024"),
        ((832, 1248), "1024x1536"),
        ((1536, 1024), "1536x1024"),
        ((1360, 768), None),
        ((2048, 2048), None),
        ((512, 512), None),
    ],
)
def test_of_the_sizes_that_there_are_the_one_that_is_meant_is_asked_for(
    sides: tuple[int, int], size: str | None
) -> None:
    if size is not None:
        body = asked(prompt_of(), wanted(*sides), HOSTED)
        assert body["size"] == size
        assert "response_format" not in body
        return
    with pytest.raises(RequestFailed, match=r"^imageConfig: .*1536x1024") as refused:
        render_picture(prompt_of(), wanted(*sides), "m", HOSTED)
    assert refused.value.code is Code.UNIMPLEMENTED


@pytest.mark.parametrize(
    ("sampling", "field"),
    [
        *(({"temperature": 0.0}, "temperature"), ({"top_p": 0.5}, "topP"), ({"top_k": 1}, "topK")),
        *(({"seed": 0}, "seed"), ({"presence_penalty": 1.0}, "presencePenalty")),
        ({"frequency_penalty": 1.0}, "frequencyPenalty"),
    ],
)
def test_what_such_a_server_cannot_do_is_refused_by_its_field(
    sampling: dict[str, Any], field: str
) -> None:
    with pytest.raises(RequestFailed, match=f"^{field}: ") as refused:
        render_picture(prompt_of(**sampling), wanted(), "m", PictureCustoms())
    assert refused.value.code is Code.UNIMPLEMENTED


def test_a_conversation_and_what_is_no_unicode_are_refused() -> None:
    turns = (Message("user", "a"), Message("model", "b"), Message("user", "c"))
    with pytest.raises(RequestFailed, match=r"^contents: .*a single turn"):
        render_picture(Prompt(messages=turns), wanted(), "m", PictureCustoms())
    with pytest.raises(RequestFailed, match="Unicode"):
        render_picture(prompt_of("\ud800"), wanted(), "m", PictureCustoms())


def test_a_size_is_two_sides() -> None:
    assert sides_of_size("16x32") == (16, 32)
    for text in ("", "16", "16x", "ax16", "16x16x16", "0x16"):
        with pytest.raises(ValueError):  # noqa: PT011 - whichever of several
            sides_of_size(text)


# what is answered -------------------------------------------------------------------------------


def drawn(data: bytes = PNG, *, usage: Any = None, **more: Any) -> bytes:
    item = {"b64_json": base64.b64encode(data).decode(), **more}
    document = {"created": 1, "data": [item]} | ({"usage": usage} if usage else {})
    return msgspec.json.encode(document)


@pytest.mark.parametrize(
    ("data", "mime_type"),
    [
        (PNG, "image/png"),
        (b"\xff\xd8\xff\xe0 and more", "image/jpeg"),
        (b"RIFF----WEBP and more", "image/webp"),
    ],
)
def test_a_picture_is_named_by_how_it_begins(data: bytes, mime_type: str) -> None:
    reply = read_picture(drawn(data), prompt_of(), wanted(), "m")
    (candidate,) = reply.candidates
    (picture,) = candidate.pictures
    assert (picture.mime_type, picture.data) == (mime_type, data)
    assert reply.model_version == "m"


def test_the_text_beside_it_is_what_it_was_drawn_by_or_names_what_drew() -> None:
    def said(body: bytes, wish: PictureWish, **sampling: Any) -> tuple[str, FinishReason]:
        (candidate,) = read_picture(body, prompt_of(**sampling), wish, "m").candidates
        return candidate.text, candidate.finish_reason

    revised = drawn(revised_prompt="A grey cat.")
    assert said(revised, wanted()) == ("A grey cat.", FinishReason.STOP)
    assert said(drawn(), wanted())[0] == "A picture by m."
    assert said(revised, wanted(with_text=False))[0] == ""
    assert said(revised, wanted(), max_output_tokens=1) == ("A gr", FinishReason.LENGTH)
    assert said(revised, wanted(), max_output_tokens=9)[1] is FinishReason.STOP
    assert said(revised, wanted(), stop=("cat",)) == ("A grey ", FinishReason.STOP)


def test_usage_is_what_the_server_says_or_reckoned() -> None:
    body = drawn(usage={"input_tokens": 7, "output_tokens": 1120, "total_tokens": 1127})
    usage = read_picture(body, prompt_of(), wanted(), "m").usage
    assert (usage.prompt_tokens, usage.output_tokens) == (7, 1120)
    usage = read_picture(drawn(), prompt_of("12345", system="678"), wanted(), "m").usage
    assert (usage.prompt_tokens, usage.output_tokens) == (3, 4)
    assert read_picture(drawn(), prompt_of(""), wanted(), "m").usage.prompt_tokens == 1


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{}", b'{"data": []}', b'{"data": [{"b64_json": "%%%"}]}', b"\xff"),
        *(
            b'{"data": [{"url": "http://elsewhere"}]}',
            drawn(b"GIF89a"),
            b'{"data": [{"b64_json": 1}]}',
        ),
    ],
)
def test_what_is_no_picture_is_no_answer(body: bytes) -> None:
    with pytest.raises(RequestFailed, match="not of the protocol") as refused:
        read_picture(body, prompt_of(), wanted(), "m")
    assert refused.value.retriable
