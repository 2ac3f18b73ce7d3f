"""The llama.cpp engine: its parent side over a fake child, and all of it over the real model."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from nightrate.domain.generation import LogprobsWish, Message, Prompt
from nightrate.engines.base import Capacity, Engine, ignore_progress
from nightrate.engines.llama_cpp import LlamaCppEngine, LlamaCppOptions, setup_of
from nightrate.engines.registry import create_engine
from nightrate.errors import Code, EngineDown, RequestFailed, SettingsFault
from nightrate.testing.engine_contract import (
    asked,
    text_of,
)
from nightrate.testing.engine_wishes import formed
from tests.engines.forms import form_of
from tests.engines.model_contract import (
    FakeChildLifeContract,
    ModelContract,
    embedded_model,
)
from tests.engines.test_child import FAKE

CONTEXT_TOKENS = 2048


def faked(model: Path, **options: Any) -> LlamaCppEngine:
    return LlamaCppEngine(LlamaCppOptions(model=str(model), **options), FAKE)


class TestItsLife(FakeChildLifeContract):
    """The contract of opening and closing, over a fake child."""

    @pytest.fixture
    def fresh(self, tiny_gguf: Path) -> Engine:
        return faked(tiny_gguf)


@pytest.mark.parametrize(
    "options",
    [
        *({"colour": "red"}, {"slots": 0}, {"context_tokens": "x"}, {"threads": -1}),
        *({"live_requests": -1}, {"live_requests": 8}, {"slots": 1, "live_requests": 1}),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(SettingsFault, match=r"engines\.llama_cpp"):
        create_engine("llama_cpp", options)


@pytest.mark.parametrize(
    ("options", "kept", "capacity"),
    [
        ({}, 1, Capacity(8, live=2)),
        ({"slots": 1}, 0, Capacity(2, live=1)),
        ({"slots": 2}, 1, Capacity(2, live=2)),
        ({"slots": 16, "live_requests": 4}, 4, Capacity(13, live=5)),
        ({"live_requests": 0}, 0, Capacity(9, live=1)),
    ],
)
def test_some_of_the_slots_are_kept_for_live_requests(
    tiny_gguf: Path, options: dict[str, Any], kept: int, capacity: Capacity
) -> None:
    whole = {"model": str(tiny_gguf), **options}
    assert create_engine("llama_cpp", whole).capacity == capacity
    setup = setup_of(LlamaCppOptions(**whole), ignore_progress)
    assert setup.live_slots == kept


def test_a_file_of_any_encoding_is_taken_with_the_context_it_has(misread_gguf: Path) -> None:
    setup = setup_of(LlamaCppOptions(model=str(misread_gguf)), ignore_progress)
    assert (setup.path, setup.model_version) == (str(misread_gguf), "misread")
    assert setup.context_tokens == 77


def test_more_context_than_the_model_has_is_refused_with_both_numbers(tiny_gguf: Path) -> None:
    options = LlamaCppOptions(model=str(tiny_gguf), context_tokens=1_078)
    with pytest.raises(EngineDown, match=r"`context_tokens` is 1,078, but tiny reads 77"):
        setup_of(options, ignore_progress)


def test_what_is_no_model_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.gguf").write_text("no model", "ascii")
    for name in ("text.gguf", "absent.gguf", "."):
        options = LlamaCppOptions(model=str(tmp_path / name))
        with pytest.raises(EngineDown, match="There is no GGUF file"):
            setup_of(options, ignore_progress)


async def test_without_its_library_it_says_how_to_get_it(tiny_gguf: Path) -> None:
    without_library = (
        "import sys; sys.modules['xllamacpp'] = None;"
        "import nightrate.engines.llama_cpp_child as child; child.main()"
    )
    command = (sys.executable, "-c", without_library)
    engine = LlamaCppEngine(LlamaCppOptions(model=str(tiny_gguf)), command)
    with pytest.raises(EngineDown, match="cannot be used on this machine") as down:
        await engine.open()
    assert "nightrate[llama_cpp]" in down.value.message


async def test_text_that_is_no_unicode_or_too_long_is_refused(tiny_gguf: Path) -> None:
    engine = faked(tiny_gguf)
    await engine.open()
    for text in ("a\ud800", "x" * 2_000_000):
        with pytest.raises(RequestFailed) as failed:
            await engine.generate(asked(text))
        assert failed.value.code is Code.INVALID_ARGUMENT
        with pytest.raises(RequestFailed) as failed:
            await anext(engine.stream(asked(text)))
        assert failed.value.code is Code.INVALID_ARGUMENT
    await engine.close()


class TestRealModel(ModelContract):
    """The contract, over the real model."""

    pytestmark = embedded_model
    context_tokens = CONTEXT_TOKENS
    schema_tokens = 40
    schemas_cut_max = 5
    unanswerable = asked("word " * (CONTEXT_TOKENS + 100))

    @pytest.fixture
    def engine(self, llama_cpp: LlamaCppEngine) -> Engine:
        return llama_cpp

    @pytest.mark.parametrize("temperature", [1.0, 0.0])
    async def test_a_seed_gives_the_same_answer_in_a_full_and_changing_batch(
        self, llama_cpp: LlamaCppEngine, temperature: float
    ) -> None:
        prompts = [
            asked(f"Name something odd about topic {number}.", max_output_tokens=20, seed=number,
                  temperature=temperature)
            for number in range(8)
        ]  # fmt: skip
        alone = [text_of(await llama_cpp.generate(prompt)) for prompt in prompts[:4]]
        others = [asked(f"Story {number}", max_output_tokens=12) for number in range(4)]
        batch = await asyncio.gather(*map(llama_cpp.generate, [*others, *prompts[::-1]]))
        assert [text_of(reply) for reply in batch[::-1][:4]] == alone

    async def test_tokens_are_as_likely_to_the_last_digit_alone_and_beside_prompts_of_any_length(
        self, llama_cpp: LlamaCppEngine
    ) -> None:
        # Longer ones take several steps, cut where the neighbours leave room.
        prompts = [
            msgspec.structs.replace(
                asked(f"{number} " + "lamp " * words, max_output_tokens=3, temperature=0),
                logprobs=LogprobsWish(0, "logprobs"),
            )
            for number, words in enumerate((150, 3, 20, 100, 60, 150, 3, 130))
        ]
        alone = [await llama_cpp.generate(prompt) for prompt in prompts]
        among = await asyncio.gather(*map(llama_cpp.generate, prompts[::-1]))
        assert [reply.candidates for reply in among[::-1]] == [one.candidates for one in alone]

    @pytest.mark.parametrize("setting", [{"top_k": 1}, {"top_p": 0.0}, {"top_p": 1e-9}])
    async def test_each_setting_that_leaves_one_token_gives_the_likeliest(
        self, llama_cpp: LlamaCppEngine, setting: dict[str, Any]
    ) -> None:
        greedy = asked("Describe a river.", max_output_tokens=8, temperature=0)
        drawn = asked("Describe a river.", max_output_tokens=8, temperature=2.0, **setting)
        assert text_of(await llama_cpp.generate(drawn)) == text_of(await llama_cpp.generate(greedy))

    async def test_penalties_keep_a_token_from_coming_again(
        self, llama_cpp: LlamaCppEngine
    ) -> None:
        def prompt(**sampling: Any) -> Prompt:
            text = "Write the word cat thirty times: cat cat cat"
            return asked(text, max_output_tokens=24, temperature=0, **sampling)

        plain = text_of(await llama_cpp.generate(prompt())).count("cat")
        penal = prompt(presence_penalty=2.0, frequency_penalty=2.0)
        assert text_of(await llama_cpp.generate(penal)).count("cat") < plain

    async def test_a_turn_of_the_model_is_no_beginning_of_its_answer(
        self, llama_cpp: LlamaCppEngine
    ) -> None:
        turns = (Message("user", "Hi"), Message("model", "Yo"))
        counts = [await llama_cpp.count_tokens(Prompt(messages=one)) for one in (turns[:1], turns)]
        assert counts[1] > counts[0] + 4  # the turn, its end, and a new one

    async def test_likely_others_come_in_order_and_the_likeliest_is_drawn_by_a_greedy_one(
        self, llama_cpp: LlamaCppEngine
    ) -> None:
        plain = asked("Say hello.", max_output_tokens=6, temperature=0)
        wishing = msgspec.structs.replace(plain, logprobs=LogprobsWish(5, "logprobs"))
        reply = await llama_cpp.generate(wishing)
        assert text_of(reply) == text_of(await llama_cpp.generate(plain))
        for token in reply.candidates[0].tokens:
            likely = [other.log_probability for other in token.others]
            assert likely == sorted(likely, reverse=True)
            assert len(likely) == 5
            assert token.others[0].token_id == token.token_id

    async def test_a_long_beginning_that_comes_again_is_not_read_again(
        self, llama_cpp: LlamaCppEngine
    ) -> None:
        shared = " ".join(f"Keeper {number} lit lamp {number * 3 % 11}." for number in range(30))
        prompts = [asked(f"{shared} Question {number}?", max_output_tokens=2) for number in (1, 2)]
        await llama_cpp.generate(prompts[0])
        reply = await llama_cpp.generate(prompts[1])
        assert reply.usage.cached_tokens > 100

    async def test_a_prompt_that_is_read_can_be_given_up(self, llama_cpp: LlamaCppEngine) -> None:
        long = [asked(f"{number} word" * 250, max_output_tokens=900) for number in range(4)]
        reading = [asyncio.create_task(llama_cpp.generate(prompt)) for prompt in long]
        await llama_cpp.count_tokens(asked("Are you there?"))  # They have reached the engine now.
        for task in reading:
            task.cancel()
        await asyncio.gather(*reading, return_exceptions=True)
        reply = await llama_cpp.generate(asked("Say hello.", max_output_tokens=2))
        assert reply.usage.output_tokens > 0

    @pytest.mark.parametrize(
        ("tree", "path"),
        [
            ({"items": {"pattern": "\\x00"}}, "field.items.pattern: "),
            ({"anyOf": [{"$ref": "#"}, {"type": "null"}]}, "field: "),
        ],
    )
    async def test_a_schema_that_cannot_be_kept_fails_alone(
        self, llama_cpp: LlamaCppEngine, tree: dict[str, Any], path: str
    ) -> None:
        good = formed("Hi", form_of({"type": "null"}))
        child = llama_cpp.child_pid
        outcomes = await asyncio.gather(
            *map(llama_cpp.generate, [good, formed("Hi", form_of(tree)), good]),
            return_exceptions=True,
        )
        failed = outcomes.pop(1)
        assert isinstance(failed, RequestFailed)
        assert failed.code is Code.UNIMPLEMENTED
        assert failed.message.startswith(path)
        texts = [text_of(reply) for reply in outcomes if not isinstance(reply, BaseException)]
        assert texts == ["null", "null"]
        assert llama_cpp.child_pid == child

    @pytest.mark.timeout(300)
    async def test_the_model_is_computed_rightly(self, llama_cpp: LlamaCppEngine) -> None:
        findings = await llama_cpp.self_check()
        assert [finding.check for finding in findings] == [
            "llama_cpp: likelihood, short passage",
            "llama_cpp: likelihood, long passage",
        ]
        assert all(finding.ok and "expected" in finding.found for finding in findings), findings
