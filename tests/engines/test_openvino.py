"""The embedded engine: its parent side over a fake child, and all of it over the real model."""

from __future__ import annotations

import asyncio
import sys
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from nightrate import limits
from nightrate.domain.cache import continued
from nightrate.domain.generation import Message, Prompt, Sampling
from nightrate.engines.base import Capacity, Engine
from nightrate.engines.openvino import OpenVINOEngine, OpenVINOOptions
from nightrate.engines.prefixes import BLOCK_TOKENS
from nightrate.engines.registry import create_engine
from nightrate.engines.sampling import output_tokens_max
from nightrate.errors import Code, EngineDown, RequestFailed, SettingsFault
from nightrate.testing.engine_contract import (
    asked,
    text_of,
)
from nightrate.testing.engine_wishes import formed
from tests.engines.fake_child import DIE, HOLD
from tests.engines.forms import form_of
from tests.engines.model_contract import (
    FakeChildContract,
    FakeChildLifeContract,
    ModelContract,
    embedded_model,
)
from tests.engines.test_child import FAKE
from tests.fuzz import forms

CONTEXT_TOKENS = 8192


def faked(gguf: Path, **options: Any) -> OpenVINOEngine:
    return OpenVINOEngine(OpenVINOOptions(model=str(gguf), requests=4, **options), FAKE)


class TestParentSide(FakeChildContract):
    """The contract, over a child that answers like the echo engine."""

    @pytest.fixture
    def fresh(self, tiny_gguf: Path) -> Engine:
        return faked(tiny_gguf)


class TestParentSideLife(FakeChildLifeContract):
    """The contract about opening and closing, over the same child."""

    @pytest.fixture
    def fresh(self, tiny_gguf: Path) -> Engine:
        return faked(tiny_gguf)


@pytest.mark.parametrize(
    ("options", "live", "tokens"),
    [({}, 8, 43_750), ({"live_requests": 3}, 3, 50_000), ({"live_requests": 0}, 0, 50_000)],
)
async def test_a_model_of_ones_own_keeps_places_and_cache_for_live_requests(
    tiny_gguf: Path, options: dict[str, Any], live: int, tokens: int
) -> None:
    engine = faked(tiny_gguf, **options)
    await engine.open()
    assert engine.capacity == Capacity(5, tokens, live)
    held = [asyncio.create_task(engine.generate(asked(HOLD))) for _ in range(5)]
    await engine.count_tokens(asked("Are you there?"))
    waiting = structs.replace(asked("hello"), live=True)
    assert text_of(await engine.generate(waiting)) == "hello"
    assert (engine._front._opening is not None) == (live == 3), "memory for the weights once more"
    assert not any(one.done() for one in held)
    await engine.close()
    await asyncio.gather(*held, return_exceptions=True)


async def test_live_requests_beyond_those_of_their_process_have_that_of_batches(
    tiny_gguf: Path,
) -> None:
    engine = faked(tiny_gguf, live_requests=1)
    await engine.open()
    batch = asyncio.create_task(engine.generate(asked(HOLD)))
    await engine.count_tokens(asked("Are you there?"))
    first, second = (structs.replace(asked(text), live=True) for text in (HOLD, "hello"))
    assert text_of(await engine.generate(second)) == "hello"
    opening = engine._front._opening
    assert opening is not None
    await asyncio.wait([opening])
    assert engine._line(first) == engine._front.answers
    async with aclosing(engine.stream(first)) as pieces:
        assert await anext(pieces) == HOLD
        assert engine._line(second) == engine._child.answers
        assert text_of(await engine.generate(second)) == "hello"
    assert engine._line(second) == engine._front.answers
    await engine.close()
    await asyncio.gather(batch, return_exceptions=True)


async def test_a_prompt_that_kills_the_engine_is_told_so_each_time(tiny_gguf: Path) -> None:
    engine = faked(tiny_gguf)
    await engine.open()
    for _ in range(3):
        await engine.ready()
        with pytest.raises(EngineDown) as down:
            await engine.generate(asked(DIE))
        assert down.value.in_flight
    await engine.ready()
    assert text_of(await engine.generate(asked("hello"))) == "hello"
    await engine.close()


async def test_text_that_is_no_unicode_is_refused(tiny_gguf: Path) -> None:
    engine = faked(tiny_gguf)
    await engine.open()
    with pytest.raises(RequestFailed, match="Unicode") as failed:
        await engine.generate(asked("a\ud800"))
    assert failed.value.code is Code.INVALID_ARGUMENT
    await engine.close()


async def test_a_stream_of_what_is_no_unicode_or_too_long_is_refused(tiny_gguf: Path) -> None:
    engine = faked(tiny_gguf)
    await engine.open()
    for text in ("a\ud800", "x" * 2_000_000):
        with pytest.raises(RequestFailed) as failed:
            await anext(engine.stream(asked(text)))
        assert failed.value.code is Code.INVALID_ARGUMENT
    await engine.close()


async def test_a_monstrous_prompt_is_refused_without_counting_it(tiny_gguf: Path) -> None:
    engine = faked(tiny_gguf)
    await engine.open()
    with pytest.raises(RequestFailed, match="2,000,000 characters") as failed:
        await engine.generate(asked("x" * 2_000_000))
    assert failed.value.code is Code.INVALID_ARGUMENT
    await engine.close()


async def test_an_engine_that_cannot_start_names_the_alternatives(tiny_gguf: Path) -> None:
    options = OpenVINOOptions(model=str(tiny_gguf))
    without_library = (
        "import sys; sys.modules['openvino'] = None;"
        "import nightrate.engines.openvino_child as child; child.main()"
    )
    engine = OpenVINOEngine(options, (sys.executable, "-c", without_library))
    with pytest.raises(EngineDown, match="cannot be used on this machine") as down:
        await engine.open()
    assert "--engine echo" in down.value.message


async def test_progress_is_told_where_the_caller_runs(misread_gguf: Path, tmp_path: Path) -> None:
    told: list[tuple[str, float | None, object]] = []
    engine = faked(misread_gguf, convert=True, cache_directory=str(tmp_path / "cache"))
    await engine.open(lambda doing, share: told.append((doing, share, asyncio.current_task())))
    await engine.close()
    assert ("Re-encoding the weights to Q8_0", 1.0) in [entry[:2] for entry in told]
    assert told[-1][0].startswith("Loading misread")


@pytest.mark.parametrize(
    "options",
    [
        {"colour": "red"},
        {"requests": 0},
        {"reproducible": "maybe"},
        {"kv_cache_gib": "x"},
        {"kv_cache_precision": "f32"},
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(SettingsFault, match=r"engines\.openvino"):
        create_engine("openvino", options)


@pytest.mark.parametrize(
    ("asked_for", "prompt_tokens", "given"),
    [
        (None, 10, limits.OUTPUT_TOKENS_DEFAULT),
        (5, 10, 5),
        (5000, 10, 5000),
        (5000, CONTEXT_TOKENS - 100, 100),
        (None, CONTEXT_TOKENS - 1, 1),
    ],
)
def test_an_answer_is_clipped_to_the_room_that_the_prompt_leaves(
    asked_for: int | None, prompt_tokens: int, given: int
) -> None:
    sampling = Sampling(max_output_tokens=asked_for)
    assert output_tokens_max(sampling, prompt_tokens, CONTEXT_TOKENS) == given


class TestRealModel(ModelContract):
    """The contract, over the real model."""

    pytestmark = embedded_model
    context_tokens = CONTEXT_TOKENS
    unanswerable = asked("word " * (CONTEXT_TOKENS + 100))

    @pytest.fixture
    def engine(self, embedded: OpenVINOEngine) -> Engine:
        return embedded

    @pytest.mark.parametrize("mode", ["fast", "exact"])
    async def test_the_model_is_computed_rightly(self, embedded: OpenVINOEngine, mode: Any) -> None:
        check = await embedded.likelihood(mode)
        assert check.keys() == {"short", "long"}
        assert all(passage["passed"] for passage in check.values()), check

    async def test_a_seed_gives_the_same_answer_in_a_full_and_changing_batch(
        self, embedded: OpenVINOEngine
    ) -> None:
        prompts = [
            asked(f"Name something odd about topic {number}.", max_output_tokens=24, seed=number)
            for number in range(12)
        ]
        alone = [text_of(await embedded.generate(prompt)) for prompt in prompts[:4]]
        others = [asked(f"Story {number}", max_output_tokens=16) for number in range(8)]
        batch = await asyncio.gather(*map(embedded.generate, [*others, *prompts[::-1]]))
        assert [text_of(reply) for reply in batch[::-1][:4]] == alone

    async def test_a_stop_in_the_middle_of_a_word_keeps_what_is_before_it(
        self, embedded: OpenVINOEngine
    ) -> None:
        whole = text_of(
            await embedded.generate(asked("Describe a river.", temperature=0, max_output_tokens=30))
        )
        stop = max(whole.split(), key=len)[2:5]
        cut = await embedded.generate(
            asked("Describe a river.", temperature=0, max_output_tokens=30, stop=(stop, "\x00"))
        )
        assert text_of(cut) == whole[: whole.index(stop)]
        assert text_of(cut)[-1:].isalpha()

    async def test_a_long_beginning_shared_by_many_is_read_once(
        self, embedded: OpenVINOEngine
    ) -> None:
        shared = " ".join(f"Keeper {number} lit lamp {number * 3 % 11}." for number in range(100))
        prompts = [
            asked(f"{shared} Question {number}?", max_output_tokens=4, seed=1)
            for number in range(6)
        ]
        alone = [text_of(await embedded.generate(prompt)) for prompt in prompts]
        together = await asyncio.gather(*map(embedded.generate, prompts))
        assert [text_of(reply) for reply in together] == alone

    async def test_every_request_that_continues_a_cached_content_reuses_it(
        self, embedded: OpenVINOEngine
    ) -> None:
        book = " ".join(f"Keeper {number} sold lamp {number * 7 % 13}." for number in range(60))
        kept = asked(book)
        kept_tokens = await embedded.count_tokens(kept)
        prompts = [asked(f"Question {number}?", max_output_tokens=4, seed=1) for number in range(6)]
        whole = [continued(kept, prompt, kept_tokens) for prompt in prompts]
        replies = await asyncio.gather(*map(embedded.generate, whole))
        reused = kept_tokens // BLOCK_TOKENS * BLOCK_TOKENS
        # The last block may hold the beginning of the turn after the book, which is the same here.
        assert {reply.usage.cached_tokens for reply in replies} == {reused}
        unnamed = [structs.replace(prompt, cached_tokens=0) for prompt in whole]
        again = await asyncio.gather(*map(embedded.generate, unnamed))
        assert list(map(text_of, replies)) == list(map(text_of, again))

    async def test_who_waits_is_answered_in_a_process_of_its_own_once_there_is_a_batch(
        self, embedded: OpenVINOEngine
    ) -> None:
        prompt = asked("Name a river.", max_output_tokens=12, seed=5)
        live = structs.replace(prompt, live=True)
        alone = await embedded.generate(prompt)
        assert await embedded.generate(live) == alone
        held = asyncio.create_task(embedded.generate(self.lasting(0)))
        await embedded.count_tokens(prompt)
        assert await embedded.generate(live) == alone
        opening = embedded._front._opening
        assert opening is not None
        await asyncio.wait([opening])
        assert embedded.live_pid not in (None, embedded.child_pid)
        assert await embedded.generate(live) == alone
        *texts, reply = [piece async for piece in embedded.stream(live)]
        assert reply == alone
        assert "".join(map(str, texts)) == text_of(alone)
        assert await embedded.count_tokens(prompt) == alone.usage.prompt_tokens
        held.cancel()

    async def test_turns_of_the_model_are_read_as_its_own(self, embedded: OpenVINOEngine) -> None:
        turns = (Message("user", "Hi"), Message("model", "Yo"), Message("user", "Hi"))
        swapped = (Message("user", "Hi"), Message("user", "Yo"), Message("user", "Hi"))
        counts = [await embedded.count_tokens(Prompt(messages=one)) for one in (turns, swapped)]
        assert all(count > 30 for count in counts)

    async def test_a_schema_that_cannot_be_kept_fails_alone(self, embedded: OpenVINOEngine) -> None:
        wild = formed("Hi", form_of({"items": {"pattern": "\\x00"}}))
        good = formed("Hi", form_of({"anyOf": [{"$ref": "#"}, {"type": "null"}]}))
        child = embedded.child_pid
        outcomes = await asyncio.gather(
            *map(embedded.generate, [good, wild, good]), return_exceptions=True
        )
        failed = outcomes.pop(1)
        assert isinstance(failed, RequestFailed)
        assert failed.message.startswith("field.items.pattern: ")
        texts = [text_of(reply) for reply in outcomes if not isinstance(reply, BaseException)]
        assert texts == ["null", "null"]
        assert embedded.child_pid == child

    async def test_generated_forms_are_kept_or_refused(self, embedded: OpenVINOEngine) -> None:
        child = embedded.child_pid
        ends = await forms.run(embedded, 40, seed=1)
        assert ends["fits"] > 10
        assert embedded.child_pid == child

    async def test_a_schema_shared_by_many_is_read_once(self, embedded: OpenVINOEngine) -> None:
        table = {f"part_{number}": {"type": "boolean"} for number in range(40)}
        form = form_of({"properties": table, "propertyOrdering": list(table)})
        first = formed("Which parts are sound?", form, max_output_tokens=4, seed=1)
        alone = await embedded.generate(first)
        assert alone.usage.prompt_tokens > 400  # The model is told of the form.
        others = [
            formed(f"Which parts are sound? {number}", form, max_output_tokens=4, seed=1)
            for number in range(6)
        ]
        together = await asyncio.gather(*map(embedded.generate, [first, *others]))
        assert text_of(together[0]) == text_of(alone)
