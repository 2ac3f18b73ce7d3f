"""The engine for Gemini-shaped endpoints keeps the promises of engines, over real connections."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from msgspec import structs

from nightrate.domain.embedding import EmbeddingTask, Passage
from nightrate.domain.generation import Capability, Message, Prompt, Sampling
from nightrate.domain.picture import PictureWish
from nightrate.domain.schema import ChoiceForm
from nightrate.engines.base import Engine
from nightrate.engines.drawing import draw
from nightrate.engines.gemini import GeminiEngine
from nightrate.engines.registry import create_engine
from nightrate.errors import Code, EngineDown, RequestFailed, SettingsFault
from nightrate.testing.embedding_contract import EmbeddingContract, EmbeddingLifeContract, passage
from nightrate.testing.engine_contract import (
    EngineContract,
    EngineLifeContract,
    asked,
    pieces_of,
    text_of,
)
from tests.engines.gemini_upstream import ABROAD, WRONG_KEY, GeminiUpstream, engine_of
from tests.engines.upstream import refuses, says, serving


@pytest.fixture
async def upstream() -> AsyncIterator[GeminiUpstream]:
    async with serving(GeminiUpstream) as upstream:
        yield upstream


@pytest.fixture
async def engine(upstream: GeminiUpstream) -> AsyncIterator[GeminiEngine]:
    engine = engine_of(upstream)
    await engine.open()
    yield engine
    await engine.close()


def picturing(text: str, width: int = 1024, height: int = 1024) -> Prompt:
    """Make a prompt whose answer has a picture."""
    wish = PictureWish(width, height, with_text=True, field="responseModalities")
    return structs.replace(asked(text), picture=wish)


class TestContract(EngineContract):
    """The contract, of one that can do all."""

    unanswerable = asked("[[fail 3]]")

    @pytest.fixture
    async def engine(self, upstream: GeminiUpstream) -> AsyncIterator[Engine]:
        engine = engine_of(upstream, images=True, logprobs=True, concurrency_max=4)
        await engine.open()
        yield engine
        await engine.close()

    def lasting(self, number: int) -> Prompt:
        return asked(f"{number} [[delay 3600]]")

    def telling(self, number: int) -> Prompt:
        return asked(f"{number} [[pace 3600]]")


class TestLife(EngineLifeContract):
    """The contract about opening and closing."""

    @pytest.fixture
    def fresh(self, upstream: GeminiUpstream) -> Engine:
        return engine_of(upstream)

    def lasting(self, number: int) -> Prompt:
        return asked(f"{number} [[delay 3600]]")

    def telling(self, number: int) -> Prompt:
        return asked(f"{number} [[pace 3600]]")


class TestVectors(EmbeddingContract):
    """The contract about vectors."""

    unembeddable = passage("[[fail 3]]")

    @pytest.fixture
    async def engine(self, upstream: GeminiUpstream) -> AsyncIterator[Engine]:
        engine = engine_of(upstream, embeddings=True, concurrency_max=4)
        await engine.open()
        yield engine
        await engine.close()


class TestVectorsLife(EmbeddingLifeContract):
    """The contract about opening and closing, for vectors."""

    @pytest.fixture
    def fresh(self, upstream: GeminiUpstream) -> Engine:
        return engine_of(upstream, embeddings=True)


# what is asked --------------------------------------------------------------------------------


async def test_everything_that_a_prompt_asks_for_is_sent(
    engine: GeminiEngine, upstream: GeminiUpstream
) -> None:
    sampling = Sampling(
        temperature=0.5,
        top_p=0.9,
        top_k=40,
        seed=7,
        presence_penalty=0.25,
        frequency_penalty=-0.25,
        max_output_tokens=99,
        stop=("END", "\n\n"),
    )
    turns = (Message("user", "a"), Message("model", "b"), Message("user", "c"))
    await engine.generate(Prompt(messages=turns, system="Be brief.", sampling=sampling))
    assert upstream.paths == ["/v1beta/models/the-model:generateContent"]
    assert upstream.bodies == [
        {
            "contents": [
                {"role": "user", "parts": [{"text": "a"}]},
                {"role": "model", "parts": [{"text": "b"}]},
                {"role": "user", "parts": [{"text": "c"}]},
            ],
            "systemInstruction": {"parts": [{"text": "Be brief."}]},
            "generationConfig": {
                "temperature": 0.5,
                "topP": 0.9,
                "topK": 40,
                "seed": 7,
                "presencePenalty": 0.25,
                "frequencyPenalty": -0.25,
                "maxOutputTokens": 99,
                "stopSequences": ["END", "\n\n"],
            },
        }
    ]


async def test_what_nobody_asked_for_is_not_sent(
    engine: GeminiEngine, upstream: GeminiUpstream
) -> None:
    await engine.generate(asked("a"))
    assert upstream.bodies[0].keys() == {"contents"}


async def test_keys_and_headers_are_sent_and_a_text_that_is_no_unicode_is_not(
    upstream: GeminiUpstream,
) -> None:
    upstream.key = "AIza-1"
    engine = engine_of(upstream, api_key="AIza-1", headers={"x-team": "night"})
    await engine.open()
    assert text_of(await engine.generate(asked("hello"))) == "hello"
    assert {sent["x-team"] for sent in upstream.headers} == {"night"}
    with pytest.raises(RequestFailed) as refused:
        await engine.generate(asked("\ud800"))
    assert refused.value.code is Code.INVALID_ARGUMENT
    await engine.close()


async def test_a_choice_is_asked_for_as_one_and_comes_whole(
    engine: GeminiEngine, upstream: GeminiUpstream
) -> None:
    form = ChoiceForm(("red", "green"), "schema")
    prompt = Prompt(messages=(Message("user", "Which?"),), form=form)
    reply = await engine.generate(prompt)
    assert text_of(reply) in ("red", "green")
    texts, streamed = await pieces_of(engine, prompt)
    assert texts == [text_of(streamed)] == [text_of(reply)]
    assert upstream.bodies[0]["generationConfig"] == {
        "responseMimeType": "text/x.enum",
        "responseSchema": {"type": "STRING", "enum": ["red", "green"]},
    }


async def test_a_passage_is_sent_with_all_that_is_said_of_it(upstream: GeminiUpstream) -> None:
    engine = engine_of(upstream, text=False, embeddings=True)
    assert engine.capabilities == {Capability.EMBEDDINGS}
    await engine.open()
    task = EmbeddingTask.RETRIEVAL_DOCUMENT
    said = Passage(text="a b", task=task, title="T", dimensions=3, truncate=False)
    found = await engine.embed(said)
    assert len(found.values) == 3
    assert sum(value * value for value in found.values) == pytest.approx(1)
    assert found.model_version == "the-model"
    assert upstream.bodies == [
        {
            "content": {"parts": [{"text": "a b"}]},
            "taskType": "RETRIEVAL_DOCUMENT",
            "title": "T",
            "outputDimensionality": 3,
            "embedContentConfig": {"autoTruncate": False},
        }
    ]
    for call in (engine.generate, engine.count_tokens):
        with pytest.raises(RequestFailed, match="no text here") as refused:
            await call(asked("a"))
        assert refused.value.code is Code.UNIMPLEMENTED
    await engine.close()


async def test_a_picture_is_asked_for_in_the_words_of_the_protocol(
    upstream: GeminiUpstream,
) -> None:
    engine = engine_of(upstream, images=True)
    await engine.open()
    reply = await engine.generate(picturing("a cat", 672, 384))
    assert upstream.bodies[0]["generationConfig"] == {
        "responseModalities": ["TEXT", "IMAGE"],
        "imageConfig": {"aspectRatio": "16:9", "imageSize": "512"},
    }
    (picture,) = reply.candidates[0].pictures
    assert picture.data == draw("a cat", 688, 384)
    with pytest.raises(RequestFailed, match=r"^imageConfig: "):
        await engine.generate(picturing("a cat", 100, 4000))
    await engine.close()


async def test_a_tuned_model_is_asked_under_its_own_name(upstream: GeminiUpstream) -> None:
    engine = engine_of(upstream, model="tunedModels/mine-1")
    upstream.models_fault = refuses(404)
    await engine.open()
    with pytest.raises(EngineDown, match="status 404"):
        await engine.generate(asked("a"))
    await engine.close()


# opening --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("models", "options", "complaint"),
    [
        (["a", "b"], {}, "lists 2 models: set `model`"),
        ([], {}, "lists 0 models"),
        (["a", "b"], {"model": "b"}, None),
        (["a"], {"model": "models/unlisted"}, None),
    ],
)
async def test_the_model_is_the_one_that_is_configured_or_the_only_one(
    upstream: GeminiUpstream, models: list[str], options: dict[str, str], complaint: str | None
) -> None:
    upstream.models = models
    engine = engine_of(upstream, **options)
    if complaint is not None:
        with pytest.raises(EngineDown, match=complaint):
            await engine.open()
        return
    await engine.open()
    await engine.generate(asked("hello"))
    name = options["model"].removeprefix("models/")
    assert upstream.paths == [f"/v1beta/models/{name}:generateContent"]
    await engine.close()


@pytest.mark.parametrize(
    ("fault", "complaint"),
    [
        (WRONG_KEY, r"\(API_KEY_INVALID\): check `api_key`"),
        (ABROAD, "serves nobody from where this server is"),
        (refuses(401), "status 401: check `api_key`"),
        (says(b"<html>SECRET"), "none of the protocol: check `base_url`"),
    ],
)
async def test_an_endpoint_that_does_not_know_us_is_not_opened(
    upstream: GeminiUpstream, fault: Any, complaint: str
) -> None:
    upstream.models_fault = fault
    with pytest.raises(EngineDown, match=complaint):
        await engine_of(upstream, model="mine").open()


# options --------------------------------------------------------------------------------------


def test_all_problems_of_the_options_are_told_at_once() -> None:
    with pytest.raises(SettingsFault) as fault:
        create_engine("gemini", {"colour": "red", "concurrency_max": 0, "schema": "no"})
    wrong = [problem.split(":")[0] for problem in fault.value.problems]
    assert sorted(wrong) == [
        "engines.gemini.base_url",
        "engines.gemini.colour",
        "engines.gemini.concurrency_max",
        "engines.gemini.schema",
    ]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"base_url": "gpu:8000/v1beta"}, "base_url"),
        ({"model": "a/b"}, "model: 'a/b' is no name"),
        ({"text": False}, "the engine does nothing"),
        ({"text": False, "embeddings": True, "logprobs": True}, "logprobs"),
        ({"api_key": "a\nb"}, "api_key"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    options: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(SettingsFault, match=complaint):
        create_engine("gemini", {"base_url": "http://far/v1beta", **options})


def test_it_can_what_the_protocol_can_unless_it_is_told_otherwise() -> None:
    usual = create_engine("gemini", {"base_url": "http://far/v1beta"}).capabilities
    assert usual == {
        *(Capability.TEXT, Capability.STREAM, Capability.SCHEMA),
        *(Capability.CALLS, Capability.TOOLS, Capability.MEDIA),
    }
    plain: dict[str, Any] = {"base_url": "http://far/v1beta", "schema": False, "functions": False}
    plain |= {"media": []}
    assert create_engine("gemini", plain).capabilities == {Capability.TEXT, Capability.STREAM}
    drawn = create_engine("gemini", plain | {"images": True, "logprobs": True}).capabilities
    assert drawn - {Capability.TEXT, Capability.STREAM} == {
        *(Capability.IMAGES, Capability.LOGPROBS, Capability.TOP_LOGPROBS),
    }
