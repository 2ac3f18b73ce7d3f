"""The engine for OpenAI-shaped endpoints keeps the promises of engines, over real connections."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from msgspec import structs

from nightrate.dialects.json_schema import read_schema
from nightrate.domain.calling import Call, Calling, CallMode, CallResult, Function
from nightrate.domain.generation import (
    Candidate,
    Capability,
    FinishReason,
    Message,
    Prompt,
    Sampling,
)
from nightrate.domain.guidance import Thinking
from nightrate.domain.picture import PictureWish
from nightrate.domain.schema import ChoiceForm
from nightrate.engines.base import Engine
from nightrate.engines.drawing import draw
from nightrate.engines.openai import OpenAIEngine
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
from tests.engines.upstream import Upstream, made, refuses, says


def picturing(text: str, width: int = 512, height: int = 256, **sampling: Any) -> Prompt:
    """Make a prompt whose answer has a picture."""
    wish = PictureWish(width, height, with_text=True, field="modalities")
    return structs.replace(asked(text, **sampling), picture=wish)


class TestContract(EngineContract):
    """The contract."""

    unanswerable = asked("[[fail 3]]")

    @pytest.fixture
    async def engine(self, upstream: Upstream) -> AsyncIterator[Engine]:
        engine = made(upstream, concurrency_max=4, media=["image/*"])
        await engine.open()
        yield engine
        await engine.close()

    def lasting(self, number: int) -> Prompt:
        return asked(f"{number} [[delay 3600]]")

    def telling(self, number: int) -> Prompt:
        return asked(f"{number} [[pace 3600]]")


class TestPictures(EngineContract):
    """The contract of one that draws, too."""

    unanswerable = asked("[[fail 3]]")

    @pytest.fixture
    async def engine(self, upstream: Upstream) -> AsyncIterator[Engine]:
        engine = made(upstream, images=True, concurrency_max=4)
        await engine.open()
        yield engine
        await engine.close()

    def lasting(self, number: int) -> Prompt:
        return picturing(f"{number} [[delay 3600]]")

    def telling(self, number: int) -> Prompt:
        return asked(f"{number} [[pace 3600]]")


class TestLife(EngineLifeContract):
    """The contract about opening and closing."""

    @pytest.fixture
    def fresh(self, upstream: Upstream) -> Engine:
        return made(upstream)

    def lasting(self, number: int) -> Prompt:
        return asked(f"{number} [[delay 3600]]")

    def telling(self, number: int) -> Prompt:
        return asked(f"{number} [[pace 3600]]")


class TestVectors(EmbeddingContract):
    """The contract about vectors."""

    unembeddable = passage("[[fail 3]]")

    @pytest.fixture
    async def engine(self, upstream: Upstream) -> AsyncIterator[Engine]:
        engine = made(upstream, embeddings=True, concurrency_max=4)
        await engine.open()
        yield engine
        await engine.close()


class TestVectorsLife(EmbeddingLifeContract):
    """The contract about opening and closing, for vectors."""

    @pytest.fixture
    def fresh(self, upstream: Upstream) -> Engine:
        return made(upstream, embeddings=True)


# what is asked --------------------------------------------------------------------------------


async def test_everything_that_a_prompt_asks_for_is_sent(
    engine: OpenAIEngine, upstream: Upstream
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
    assert upstream.bodies == [
        {
            "model": "the-model",
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "a"},
                {"role": "assistant", "content": "b"},
                {"role": "user", "content": "c"},
            ],
            "max_tokens": 99,
            "temperature": 0.5,
            "top_p": 0.9,
            "top_k": 40,
            "seed": 7,
            "presence_penalty": 0.25,
            "frequency_penalty": -0.25,
            "stop": ["END", "\n\n"],
        }
    ]


async def test_what_nobody_asked_for_is_not_sent(engine: OpenAIEngine, upstream: Upstream) -> None:
    await engine.generate(asked("a"))
    assert upstream.bodies[0].keys() == {"model", "messages"}


async def test_a_wish_beyond_the_protocol_is_refused_where_the_server_has_no_such_thing(
    upstream: Upstream,
) -> None:
    engine = made(upstream, server="other")
    await engine.open()
    with pytest.raises(RequestFailed, match=r"^topK: ") as refused:
        await engine.generate(asked("a", top_k=5))
    assert refused.value.code is Code.UNIMPLEMENTED
    with pytest.raises(RequestFailed, match="counts no tokens") as refused:
        await engine.count_tokens(asked("a"))
    assert refused.value.code is Code.UNIMPLEMENTED
    assert upstream.bodies == []
    await engine.close()


async def test_how_hard_to_think_is_sent_where_the_model_listens(upstream: Upstream) -> None:
    prompt = structs.replace(asked("a"), thinking=Thinking(0))
    for listens, members in ((True, {"reasoning_effort"}), (False, set[str]())):
        engine = made(upstream, thinking=listens)
        await engine.open()
        await engine.generate(prompt)
        assert upstream.bodies[-1].keys() == {"model", "messages"} | members
        await engine.close()


async def test_openai_itself_calls_the_output_limit_by_its_newer_name(upstream: Upstream) -> None:
    engine = made(upstream, server="openai")
    await engine.open()
    await engine.generate(asked("a", max_output_tokens=3))
    assert upstream.bodies[0]["max_completion_tokens"] == 3
    assert "max_tokens" not in upstream.bodies[0]
    await engine.close()


async def test_keys_and_headers_are_sent_and_a_text_that_is_no_unicode_is_not(
    upstream: Upstream,
) -> None:
    upstream.key = "sk-1"
    engine = made(upstream, api_key="sk-1", headers={"x-team": "night"})
    await engine.open()
    assert text_of(await engine.generate(asked("hello"))) == "hello"
    assert {sent["x-team"] for sent in upstream.headers} == {"night"}
    with pytest.raises(RequestFailed) as refused:
        await engine.generate(asked("\ud800"))
    assert refused.value.code is Code.INVALID_ARGUMENT
    await engine.close()


async def test_a_choice_comes_out_of_the_form_that_it_was_put_into(engine: OpenAIEngine) -> None:
    form = ChoiceForm(("red", "green"), "schema")
    prompt = Prompt(messages=(Message("user", "Which?"),), form=form)
    reply = await engine.generate(prompt)
    assert text_of(reply) in ("red", "green")
    texts, streamed = await pieces_of(engine, prompt)
    assert texts == [text_of(streamed)] == [text_of(reply)]


async def test_a_picture_is_drawn_by_the_call_for_pictures(upstream: Upstream) -> None:
    engine = made(upstream, images=True)
    await engine.open()
    reply = await engine.generate(picturing("a cat"))
    assert upstream.bodies == [
        {
            "model": "the-model",
            "prompt": "a cat",
            "size": "512x256",
            "n": 1,
            "response_format": "b64_json",
        }
    ]
    (candidate,) = reply.candidates
    (picture,) = candidate.pictures
    assert picture.data == draw("a cat", 512, 256)
    assert (candidate.text, reply.model_version) == ("A picture by the-model.", "the-model")
    assert text_of(await engine.generate(asked("hello"))) == "hello"
    with pytest.raises(RequestFailed, match=r"^seed: "):
        await engine.generate(picturing("a cat", seed=1))
    upstream.faults = [says(b'{"data":[{"url":"http://elsewhere"}]}')]
    with pytest.raises(RequestFailed, match="not of the protocol"):
        await engine.generate(picturing("a cat"))
    await engine.close()


async def test_the_hosted_service_is_asked_for_its_sizes_and_others_as_configured(
    upstream: Upstream,
) -> None:
    for options, size in (
        ({"server": "openai"}, "1536x1024"),
        ({"image_sizes": ["1200x800", "800x1200"]}, "1200x800"),
    ):
        engine = made(upstream, images=True, schema=False, **options)
        await engine.open()
        await engine.generate(picturing("a cat", 1248, 832))
        assert upstream.bodies[-1]["size"] == size
        with pytest.raises(RequestFailed, match=r"^imageConfig: "):
            await engine.generate(picturing("a cat", 1360, 768))
        await engine.close()


CLOCKS = tuple(
    Function(name, "Tells the time.", read_schema({"properties": {"zone": {"type": "string"}}}))
    for name in ("clock", "watch")
)


async def test_a_call_that_is_demanded_is_written_where_the_model_knows_no_functions(
    upstream: Upstream,
) -> None:
    engine = made(upstream, functions=False)
    assert Capability.CALLS in engine.capabilities
    assert Capability.TOOLS not in engine.capabilities
    await engine.open()
    calling = Calling(CLOCKS, CallMode.ANY, "tools", "mode")
    before = Message("model", "", calls=(Call("clock", '{"zone":"UTC"}'),))
    answered = Message("user", "", results=(CallResult("clock", "12:00"),))
    prompt = structs.replace(asked("When?"), messages=(before, answered), calling=calling)
    for texts, reply in (([], await engine.generate(prompt)), await pieces_of(engine, prompt)):
        assert texts == []
        (candidate,) = reply.candidates
        assert candidate == Candidate("", calls=(Call("clock", '{"zone":"text"}'),))
        body = upstream.bodies[-1]
        assert "tools" not in body
        assert body["response_format"]["json_schema"]["schema"]["anyOf"]
        system, said, heard = body["messages"]
        assert "- watch: Tells the time." in system["content"]
        assert "clock" in said["content"]
        assert "12:00" in heard["content"]
    upstream.faults = [says((COMPLETION % (r'"{\"name\":"', '"length"', USED)).encode())]
    cut = await engine.generate(prompt)
    assert cut.candidates == (Candidate("", FinishReason.LENGTH),)
    await engine.close()


async def test_an_engine_that_only_draws_gives_no_text(upstream: Upstream) -> None:
    engine = made(upstream, text=False, schema=False, functions=False, images=True)
    assert engine.capabilities == {Capability.IMAGES}
    await engine.open()
    assert (await engine.generate(picturing("a cat"))).candidates[0].pictures
    with pytest.raises(RequestFailed, match="no text here"):
        await engine.generate(asked("a"))
    await engine.close()


# what is answered -----------------------------------------------------------------------------

COMPLETION = (
    '{"choices":[{"message":{"content":%s},"finish_reason":%s}],"usage":%s,"model":"m-1","new":[1]}'
)
USED = '{"prompt_tokens":3,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":1}}'


async def test_an_answer_is_read_with_its_usage(engine: OpenAIEngine, upstream: Upstream) -> None:
    upstream.faults = [says((COMPLETION % ('"hi"', '"length"', USED)).encode())]
    reply = await engine.generate(asked("a"))
    assert (text_of(reply), reply.candidates[0].finish_reason) == ("hi", "length")
    assert (reply.usage.prompt_tokens, reply.usage.output_tokens) == (3, 2)
    assert reply.usage.cached_tokens == 1
    assert reply.model_version == "m-1"


async def test_usage_is_reckoned_where_the_server_does_not_say(
    engine: OpenAIEngine, upstream: Upstream
) -> None:
    upstream.faults = [says((COMPLETION % ('"12345"', '"stop"', "null")).encode())]
    usage = (await engine.generate(asked("123456789"))).usage
    assert (usage.prompt_tokens, usage.output_tokens) == (3, 2)


# opening --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("models", "options", "complaint"),
    [
        (["a", "b"], {}, "lists 2 models: set `model`"),
        ([], {}, "lists 0 models"),
        (["a", "b"], {"model": "b"}, None),
        (["a"], {"model": "unlisted"}, None),
    ],
)
async def test_the_model_is_the_one_that_is_configured_or_the_only_one(
    upstream: Upstream, models: list[str], options: dict[str, str], complaint: str | None
) -> None:
    upstream.models = models
    engine = made(upstream, **options)
    if complaint is not None:
        with pytest.raises(EngineDown, match=complaint):
            await engine.open()
        return
    await engine.open()
    await engine.generate(asked("hello"))
    assert upstream.bodies[0]["model"] == options["model"]
    await engine.close()


@pytest.mark.parametrize(
    ("fault", "complaint"),
    [
        (refuses(401), "status 401: check `api_key`"),
        (refuses(302), "status 302: check `base_url`"),
        (says(b"<html>SECRET"), "none of the protocol: check `base_url`"),
        (refuses(404), None),
        (refuses(403), None),
        (refuses(503), None),
    ],
)
async def test_an_endpoint_that_shows_no_models_is_taken_at_its_word_or_not(
    upstream: Upstream, fault: Any, complaint: str | None
) -> None:
    upstream.models_fault = fault
    named = made(upstream, model="mine")
    if complaint is None:
        await named.open()
        await named.close()
        complaint = "set `model`"
    else:
        with pytest.raises(EngineDown, match=complaint):
            await named.open()
    with pytest.raises(EngineDown, match=complaint):
        await made(upstream).open()


# options --------------------------------------------------------------------------------------


def test_all_problems_of_the_options_are_told_at_once() -> None:
    with pytest.raises(SettingsFault) as fault:
        create_engine("openai", {"colour": "red", "concurrency_max": 0, "server": "gpu"})
    wrong = [problem.split(":")[0] for problem in fault.value.problems]
    assert sorted(wrong) == [
        "engines.openai.base_url",
        "engines.openai.colour",
        "engines.openai.concurrency_max",
        "engines.openai.server",
    ]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"base_url": "gpu:8000/v1"}, "base_url"),
        ({"base_url": "http://user:word@gpu/v1"}, "base_url"),
        ({"base_url": "http://gpu/v1?key=x"}, "base_url"),
        ({"text": False}, "the engine does nothing"),
        ({"text": False, "embeddings": True, "schema": True}, "schema"),
        ({"images": True, "image_sizes": ["1024"]}, "no size such as 1024x1024"),
        ({"image_sizes": ["1024x1024"]}, "`images` is false"),
        ({"api_key": "a\nb"}, "api_key"),
        ({"text": False, "embeddings": True, "functions": True}, "functions"),
        ({"text": False, "embeddings": True, "logprobs": True}, "logprobs"),
        ({"text": False, "embeddings": True, "thinking": True}, "thinking"),
        ({"headers": {"a b": "c"}}, "headers"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    options: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(SettingsFault, match=complaint):
        create_engine("openai", {"base_url": "http://gpu:8000/v1", **options})


def test_it_can_what_it_was_told_that_the_endpoint_can() -> None:
    engine = create_engine("openai", {"base_url": "http://gpu:8000/v1"})
    assert engine.capabilities == {Capability.TEXT, Capability.STREAM}
    calls = create_engine("openai", {"base_url": "http://gpu:8000/v1", "functions": True})
    assert calls.capabilities - engine.capabilities == {Capability.CALLS, Capability.TOOLS}
    likely = create_engine("openai", {"base_url": "http://gpu:8000/v1", "logprobs": True})
    told = {Capability.LOGPROBS, Capability.TOP_LOGPROBS}
    assert likely.capabilities - engine.capabilities == told
    vectors = {"base_url": "http://gpu:8000/v1", "text": False, "embeddings": True}
    assert create_engine("openai", vectors).capabilities == {Capability.EMBEDDINGS}


async def test_an_engine_for_vectors_gives_no_text(upstream: Upstream) -> None:
    engine = made(upstream, text=False, schema=False, functions=False, embeddings=True)
    await engine.open()
    for call in (engine.generate, engine.count_tokens):
        with pytest.raises(RequestFailed) as refused:
            await call(asked("a"))
        assert refused.value.code is Code.UNIMPLEMENTED
    await engine.close()
