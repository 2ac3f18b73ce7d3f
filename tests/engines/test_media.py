"""Engines over the wire show media to their models, of the types that they are said to read."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator
from typing import Any

import pytest
from msgspec import structs

from nightrate import endpoint_limits
from nightrate.domain.generation import Capability, Message, Prompt
from nightrate.domain.medium import Medium
from nightrate.domain.picture import PictureWish
from nightrate.engines.endpoint_engine import EndpointEngine
from nightrate.engines.registry import create_engine
from nightrate.errors import Code, RequestFailed, SettingsFault
from nightrate.testing.engine_contract import pieces_of, text_of
from tests.engines.gemini_upstream import GeminiUpstream, engine_of
from tests.engines.upstream import Upstream, made, says, serving, words_of

CAT, DOG, SONG = b"a cat", b"a dog", b"a song"
READS = ["image/*", "audio/wav"]
BOTH: Any = [
    pytest.param((Upstream, made), id="openai"),
    pytest.param((GeminiUpstream, engine_of), id="gemini"),
]


def medium(content: bytes, offset: int, turn: int = 0, mime_type: str = "image/png") -> Medium:
    data = b64encode(content).decode()
    field = f"contents[{turn}].parts[1].inlineData"
    return Medium(turn=turn, offset=offset, field=field, mime_type=mime_type, data=data)


SHOWN = Prompt(
    messages=(Message("user", "first"), Message("model", "yes"), Message("user", "one two")),
    media=(
        medium(DOG, 0),
        medium(CAT, 4, turn=2),
        medium(SONG, 7, turn=2, mime_type="audio/wav"),
    ),
)
ANSWER = f"one {words_of('image/png', CAT)}two{words_of('audio/wav', SONG)}"


@pytest.fixture(params=BOTH)
async def pair(request: pytest.FixtureRequest) -> AsyncIterator[tuple[EndpointEngine, Upstream]]:
    kind, make = request.param
    async with serving(kind) as upstream:
        engine = make(upstream, media=READS)
        await engine.open()
        yield engine, upstream
        await engine.close()


async def test_a_model_sees_what_it_is_shown_where_it_stands(
    pair: tuple[EndpointEngine, Upstream],
) -> None:
    engine, upstream = pair
    assert text_of(await engine.generate(SHOWN)) == ANSWER
    texts, reply = await pieces_of(engine, SHOWN)
    assert "".join(texts) == text_of(reply) == ANSWER
    assert len(upstream.bodies) == 2
    other = structs.replace(SHOWN.media[1], data=SHOWN.media[0].data)
    changed = structs.replace(SHOWN, media=(SHOWN.media[0], other, SHOWN.media[2]))
    assert text_of(await engine.generate(changed)) != ANSWER


async def test_a_large_film_is_sent_whole_and_without_a_warning(
    pair: tuple[EndpointEngine, Upstream],
) -> None:
    engine, _ = pair
    content = bytes(range(256)) * 8192
    prompt = Prompt(messages=(Message("user", ""),), media=(medium(content, 0),))
    assert text_of(await engine.generate(prompt)) == words_of("image/png", content)
    texts, _ = await pieces_of(engine, prompt)
    assert "".join(texts) == words_of("image/png", content)


async def test_an_engine_reads_what_its_options_say(pair: tuple[EndpointEngine, Upstream]) -> None:
    engine, _ = pair
    assert engine.media == tuple(READS)
    assert Capability.MEDIA in engine.capabilities


async def test_media_are_reckoned_where_tokens_are_limited() -> None:
    limited = {"base_url": "http://gpu:8000/v1", "tokens_per_minute": 1000, "media": ["image/*"]}
    for kind in ("openai", "gemini"):
        engine = create_engine(kind, limited)
        plain = structs.replace(SHOWN, media=())
        more = engine.cost(SHOWN) - engine.cost(plain)
        assert more == 2 * endpoint_limits.ESTIMATED_PICTURE_TOKENS + 1


async def test_usage_is_reckoned_with_media_where_the_server_does_not_say(
    upstream: Upstream,
) -> None:
    engine = made(upstream, media=READS)
    await engine.open()
    said = b'{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}],"model":"m"}'
    upstream.faults = [says(said), says(said)]
    plain = await engine.generate(structs.replace(SHOWN, media=()))
    shown = await engine.generate(SHOWN)
    assert shown.usage.prompt_tokens - plain.usage.prompt_tokens == 3201
    await engine.close()


async def test_gemini_counts_media_and_others_refuse_to() -> None:
    async with serving(GeminiUpstream) as upstream:
        gemini = engine_of(upstream)
        await gemini.open()
        plain = await gemini.count_tokens(structs.replace(SHOWN, media=()))
        assert await gemini.count_tokens(SHOWN) > plain
        await gemini.close()
    async with serving(Upstream) as server:
        openai = made(server, media=READS)
        await openai.open()
        with pytest.raises(RequestFailed, match=r"^contents\[0\]\.parts\[1\]") as refused:
            await openai.count_tokens(SHOWN)
        assert refused.value.code is Code.UNIMPLEMENTED
        assert server.bodies == []
        await openai.close()


async def test_an_endpoint_that_draws_by_a_text_is_shown_nothing(upstream: Upstream) -> None:
    engine = made(upstream, images=True, media=READS)
    await engine.open()
    wish = PictureWish(64, 64, with_text=True, field="modalities")
    drawn = Prompt(messages=(Message("user", "so"),), media=(medium(CAT, 0),), picture=wish)
    with pytest.raises(RequestFailed, match="draws by a text alone") as refused:
        await engine.generate(drawn)
    assert refused.value.code is Code.UNIMPLEMENTED
    assert upstream.bodies == []
    await engine.close()


async def test_a_picture_is_drawn_by_another_where_the_protocol_has_both() -> None:
    wish = PictureWish(512, 512, with_text=True, field="modalities")
    drawn = Prompt(messages=(Message("user", "so"),), media=(medium(CAT, 0),), picture=wish)
    async with serving(GeminiUpstream) as upstream:
        engine = engine_of(upstream, images=True)
        await engine.open()
        (candidate,) = (await engine.generate(drawn)).candidates
        assert candidate.text == f"{words_of('image/png', CAT)}so"
        assert len(candidate.pictures) == 1
        await engine.close()


# options --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "options", "complaint"),
    [
        ("openai", {"media": ["video/mp4"]}, "media: 'video/mp4' is none of image/"),
        ("openai", {"media": ["audio/*"]}, "media: 'audio/\\*' is none of image/"),
        ("openai", {"media": ["image"]}, "media: 'image' is none of"),
        (
            "openai",
            {"media": ["image/*"], "text": False, "images": True},
            "media: they stand in prompts for text",
        ),
        ("gemini", {"media": ["image"]}, "media: 'image' is neither a type"),
        ("gemini", {"media": ["*/*"]}, "media: '\\*/\\*' is neither a type"),
    ],
)
def test_types_that_the_protocol_has_no_words_for_are_refused(
    kind: str, options: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(SettingsFault, match=complaint):
        create_engine(kind, {"base_url": "http://gpu:8000/v1", **options})


@pytest.mark.parametrize(
    ("kind", "options", "reads"),
    [
        ("openai", {}, ()),
        (
            "openai",
            {"media": ["image/png", "audio/mpeg", "application/pdf"]},
            ("image/png", "audio/mpeg", "application/pdf"),
        ),
        ("gemini", {}, ("image/*", "audio/*", "video/*", "text/*", "application/pdf")),
        ("gemini", {"media": []}, ()),
        ("gemini", {"media": ["video/mp4"]}, ("video/mp4",)),
        ("gemini", {"text": False, "embeddings": True}, ()),
        ("gemini", {"text": False, "images": True, "media": ["image/*"]}, ("image/*",)),
        *((name, {}, ()) for name in ("echo", "openvino", "illustrator", "minilm")),
    ],
)
def test_what_is_read_and_whether_anything_is_are_one(
    kind: str, options: dict[str, Any], reads: tuple[str, ...]
) -> None:
    needed = {"base_url": "http://gpu:8000/v1"} if kind in ("openai", "gemini") else {}
    engine = create_engine(kind, {**needed, **options})
    assert engine.media == reads
    assert (Capability.MEDIA in engine.capabilities) is bool(reads)
