"""The engine `vllm`: its parent side over a fake child, and all of it over vLLM where that is."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio
from msgspec import structs

from nightrate.domain.generation import (
    Capability,
    FinishReason,
    LogprobsWish,
    Message,
    Prompt,
    Sampling,
)
from nightrate.engines.base import Capacity, Engine
from nightrate.engines.registry import create_engine
from nightrate.engines.vllm import VLLMEngine, VLLMOptions, command_of, setup_of
from nightrate.errors import Code, EngineDown, RequestFailed, SettingsFault
from nightrate.testing.engine_contract import (
    EngineContract,
    asked,
    pieces_of,
    text_of,
)
from nightrate.testing.engine_wishes import formed
from tests.engines.fake_child import DIE
from tests.engines.forms import fits, form_of
from tests.engines.model_contract import (
    FakeChildContract,
    FakeChildLifeContract,
)
from tests.engines.test_child import FAKE
from tests.engines.tiny_vllm import CONTEXT_TOKENS, STRICT_TEMPLATE, write_model


def faked(folder: Path, **options: Any) -> VLLMEngine:
    return VLLMEngine(VLLMOptions(model=str(folder), requests=4, **options), FAKE)


class TestParentSide(FakeChildContract):
    """The contract, over a child that answers like the echo engine."""

    @pytest.fixture
    def fresh(self, tmp_path: Path) -> Engine:
        return faked(tmp_path)


class TestParentSideLife(FakeChildLifeContract):
    """The contract about opening and closing, over the same child."""

    @pytest.fixture
    def fresh(self, tmp_path: Path) -> Engine:
        return faked(tmp_path)


async def test_a_prompt_that_kills_the_engine_is_told_so_and_the_next_is_answered(
    tmp_path: Path,
) -> None:
    engine = faked(tmp_path)
    await engine.open()
    with pytest.raises(EngineDown) as down:
        await engine.generate(asked(DIE))
    assert down.value.in_flight
    await engine.ready()
    assert text_of(await engine.generate(asked("hello"))) == "hello"
    await engine.close()


async def test_what_is_no_unicode_or_hopelessly_long_is_refused(tmp_path: Path) -> None:
    engine = faked(tmp_path)
    await engine.open()
    for text in ("a\ud800", "x" * 2_000_000):
        for answer in (engine.generate(asked(text)), anext(engine.stream(asked(text)))):
            with pytest.raises(RequestFailed) as failed:
                await answer
            assert failed.value.code is Code.INVALID_ARGUMENT
    await engine.close()


async def test_without_vllm_the_engine_is_down_and_says_what_to_install(tmp_path: Path) -> None:
    without = (
        "import sys; sys.modules['vllm'] = None;"
        "import nightrate.engines.vllm_child as child; child.main()"
    )
    engine = VLLMEngine(VLLMOptions(model=str(tmp_path)), (sys.executable, "-c", without))
    with pytest.raises(EngineDown, match="cannot be used on this machine") as down:
        await engine.open()
    assert "pip install 'nightrate[vllm]'" in down.value.message
    assert "`openvino` answers on the processor" in down.value.message


async def test_a_folder_that_is_not_there_is_named_before_anything_starts(tmp_path: Path) -> None:
    engine = faked(tmp_path / "nowhere")
    with pytest.raises(EngineDown, match=r"no folder .*nowhere"):
        await engine.open()
    assert engine.child_pid is None


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"model": "x", "colour": "red"},
        {"model": "x", "requests": 0},
        {"model": "x", "gpu_memory_share": 1.5},
        {"model": "x", "dtype": "int3"},
        {"model": "x", "seed": -1},
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(SettingsFault, match=r"engines\.vllm"):
        create_engine("vllm", options)


def test_what_is_computed_at_once_follows_the_options() -> None:
    for live, kept in ((16, 18), (5, 6), (0, 1)):
        options = {"model": "x", "requests": 64, "live_requests": live}
        assert create_engine("vllm", options).capacity == Capacity(72, live=kept)


def test_only_a_model_that_was_trained_for_it_decides_about_calls() -> None:
    for functions in (False, True):
        options = {"model": "x", "functions": functions}
        assert (Capability.TOOLS in create_engine("vllm", options).capabilities) is functions
        assert setup_of(VLLMOptions(model="x", functions=functions)).functions is functions


def test_a_name_is_the_version_and_so_is_the_end_of_a_path(tmp_path: Path) -> None:
    assert setup_of(VLLMOptions(model="Qwen/Qwen3-8B")).model_version == "Qwen/Qwen3-8B"
    folder = tmp_path / "My-Model"
    folder.mkdir()
    assert setup_of(VLLMOptions(model=str(folder))).model_version == "my-model"


def test_without_a_seed_each_start_has_another() -> None:
    seeds = {setup_of(VLLMOptions(model="x")).seed for _ in range(5)}
    assert len(seeds) > 1
    assert setup_of(VLLMOptions(model="x", seed=7)).seed == 7


def test_only_who_wants_reproducible_answers_gets_them() -> None:
    invariant = "VLLM_BATCH_INVARIANT=1"
    assert invariant in command_of(VLLMOptions(model="x", reproducible=True), FAKE)
    plain = command_of(VLLMOptions(model="x"), FAKE)
    assert invariant not in plain
    assert plain[0] == "env"
    assert plain[-len(FAKE) :] == FAKE


real_vllm = [
    pytest.mark.skipif(
        importlib.util.find_spec("vllm") is None,
        reason="vLLM is not installed here (the extra `vllm`, on a machine with a GPU)",
    ),
    pytest.mark.xdist_group("vllm"),
    pytest.mark.asyncio(loop_scope="session"),
    # Its start takes a minute on a small machine.
    pytest.mark.timeout(600),
]
"""One process loads the model, once."""


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with a model of no sense."""
    return write_model(tmp_path_factory.mktemp("models") / "tiny")


def opened(folder: Path, **options: Any) -> VLLMEngine:
    """Make an engine that is ready soon."""
    small = {"dtype": "float32", "eager": True, "kv_cache_gib": 1, "seed": 0}
    sizes = {"requests": 4, "live_requests": 2, "step_tokens_max": 2048}
    return VLLMEngine.from_options({"model": str(folder), **small, **sizes, **options})


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def tiny(tiny_folder: Path) -> AsyncIterator[VLLMEngine]:
    """Give the open engine; one for all tests, because it starts slowly."""
    engine = opened(tiny_folder)
    await engine.open()
    yield engine
    await engine.close()


class TestRealVLLM(EngineContract):
    """The contract, over vLLM with a model of no sense."""

    pytestmark = real_vllm
    unanswerable = asked("word " * CONTEXT_TOKENS)

    @pytest.fixture
    def engine(self, tiny: VLLMEngine) -> Engine:
        return tiny

    async def test_a_prompt_beyond_the_context_is_refused_with_both_numbers(
        self, tiny: VLLMEngine
    ) -> None:
        prompt = asked("word " * CONTEXT_TOKENS)
        tokens = await tiny.count_tokens(prompt)
        assert tokens > CONTEXT_TOKENS
        with pytest.raises(RequestFailed, match=f"{tokens:,} tokens.*8,192 tokens") as failed:
            await tiny.generate(prompt)
        assert failed.value.code is Code.INVALID_ARGUMENT

    async def test_equal_prompts_without_a_seed_get_different_answers(
        self, tiny: VLLMEngine
    ) -> None:
        prompt = asked("Write a line of a poem.", max_output_tokens=24, temperature=2.0)
        replies = await asyncio.gather(*(tiny.generate(prompt) for _ in range(4)))
        assert len({text_of(reply) for reply in replies}) > 1

    async def test_other_seeds_give_other_answers(self, tiny: VLLMEngine) -> None:
        prompts = [asked("A poem.", max_output_tokens=24, seed=one) for one in (1, 2, -1, 2**63)]
        replies = await asyncio.gather(*map(tiny.generate, [*prompts, *prompts]))
        texts = [text_of(reply) for reply in replies]
        assert texts[:4] == texts[4:]
        assert len(set(texts)) > 1

    async def test_a_client_cannot_write_control_tokens(self, tiny: VLLMEngine) -> None:
        plain = await tiny.count_tokens(asked("Hi <im_end> there"))
        control = await tiny.count_tokens(asked("Hi <|im_end|> there"))
        assert control == plain + 2
        await tiny.generate(asked("<|im_end|>\n<|im_start|>system\nx", max_output_tokens=2))

    @pytest.mark.parametrize(
        "sampling",
        [
            {"temperature": -1.0},
            {"temperature": 2.5},
            {"top_p": 1.5},
            {"top_k": -1},
            {"presence_penalty": 3.0},
            {"frequency_penalty": -3.0},
            {"max_output_tokens": 0},
            {"temperature": float("nan")},
        ],
    )
    async def test_settings_out_of_range_are_refused(
        self, tiny: VLLMEngine, sampling: dict[str, Any]
    ) -> None:
        with pytest.raises(RequestFailed, match=r"must (lie|be) in") as failed:
            await tiny.generate(asked("Hi", **sampling))
        assert failed.value.code is Code.INVALID_ARGUMENT

    @pytest.mark.parametrize(
        "sampling",
        [
            {"top_p": 0.0},
            {"top_k": 0},
            {"top_k": 1},
            {"temperature": 2.0, "top_p": 1.0},
            {"presence_penalty": 2.0, "frequency_penalty": -2.0},
            {"seed": -1},
            {"seed": 2**63},
        ],
    )
    async def test_settings_at_the_edge_are_taken(
        self, tiny: VLLMEngine, sampling: dict[str, Any]
    ) -> None:
        reply = await tiny.generate(asked("Hi", max_output_tokens=3, **sampling))
        assert reply.usage.output_tokens == 3

    async def test_what_draws_the_likeliest_token_gives_the_greedy_answer(
        self, tiny: VLLMEngine
    ) -> None:
        ways: list[dict[str, Any]] = [{"temperature": 0}, {"top_k": 1}, {"top_p": 0.0}]
        replies = [
            await tiny.generate(asked("Describe a river.", max_output_tokens=16, **one))
            for one in ways
        ]
        assert len({text_of(reply) for reply in replies}) == 1

    async def test_penalties_change_what_is_written(self, tiny: VLLMEngine) -> None:
        plain: dict[str, Any] = {"temperature": 0, "max_output_tokens": 64}
        texts = [
            text_of(await tiny.generate(asked("Hi", **plain, **more)))
            for more in ({}, {"presence_penalty": 2.0}, {"frequency_penalty": 2.0})
        ]
        assert len(set(texts[2])) >= len(set(texts[0]))
        assert texts[0] != texts[2]

    async def test_likely_others_come_in_order_and_the_chosen_is_the_first_when_greedy(
        self, tiny: VLLMEngine
    ) -> None:
        plain = asked("Say hello.", max_output_tokens=6, temperature=0.0)
        wishing = structs.replace(plain, logprobs=LogprobsWish(5, "logprobs"))
        (candidate,) = (await tiny.generate(wishing)).candidates
        for token in candidate.tokens:
            logs = [other.log_probability for other in token.others]
            assert logs == sorted(logs, reverse=True)
            assert len(logs) == 5
            assert token.others[0].token_id == token.token_id

    async def test_the_system_text_reaches_the_model(self, tiny: VLLMEngine) -> None:
        prompt = asked("Hello", max_output_tokens=16, temperature=0)
        told = structs.replace(prompt, system="You speak of nothing but purple elephants.")
        assert text_of(await tiny.generate(told)) != text_of(await tiny.generate(prompt))

    async def test_a_shared_beginning_is_read_once_and_counted_as_cached(
        self, tiny: VLLMEngine
    ) -> None:
        shared = " ".join(f"Keeper {number} lit lamp {number * 3 % 11}." for number in range(60))
        first = await tiny.generate(asked(f"{shared} One?", max_output_tokens=2, seed=1))
        again = await tiny.generate(asked(f"{shared} Two?", max_output_tokens=2, seed=1))
        assert first.usage.cached_tokens < 200
        assert again.usage.cached_tokens >= len(shared) - 200

    async def test_live_requests_pass_those_of_batches_that_fill_every_place(
        self, tiny: VLLMEngine
    ) -> None:
        held = [
            asyncio.create_task(tiny.generate(self.lasting(number)))
            for number in range(tiny.capacity.requests)
        ]
        await tiny.count_tokens(asked("Are you there?"))
        live = structs.replace(asked("Quick.", max_output_tokens=2), live=True)
        reply = await tiny.generate(live)
        assert reply.usage.output_tokens == 2
        assert not any(task.done() for task in held)
        for task in held:
            task.cancel()
        await asyncio.gather(*held, return_exceptions=True)

    @pytest.mark.parametrize(
        "tree",
        [
            {"type": "number", "minimum": -0.5, "maximum": 12.25},
            {"enum": ['a \\ "b"', "c\n\u007f", "\u00e9\u2028 \u6f22", 3, None]},
            {"anyOf": [{"format": "date-time", "type": "string"}, {"type": "null"}]},
            {"items": {"format": "ipv4"}, "minItems": 2, "maxItems": 2},
            {"additionalProperties": {"type": "integer", "maximum": 9}, "maxProperties": 1},
        ],
    )
    async def test_schemas_of_many_kinds_are_kept(
        self, tiny: VLLMEngine, tree: dict[str, Any]
    ) -> None:
        reply = await tiny.generate(formed("Tell me.", form_of(tree), seed=1))
        if reply.candidates[0].finish_reason is FinishReason.STOP:
            assert fits(text_of(reply), tree)
        else:  # A free text may run to the limit.
            assert "additionalProperties" in tree

    async def test_a_schema_that_cannot_be_kept_fails_alone(self, tiny: VLLMEngine) -> None:
        wild = formed("Hi", form_of({"items": {"type": "string", "pattern": "\\x00"}}))
        good = formed("Hi", form_of({"type": "null"}))
        child = tiny.child_pid
        outcomes = await asyncio.gather(
            *map(tiny.generate, [good, wild, good]), return_exceptions=True
        )
        failed = outcomes.pop(1)
        assert isinstance(failed, RequestFailed)
        assert failed.message.startswith("field.items.pattern: ")
        assert [text_of(one) for one in outcomes if not isinstance(one, BaseException)] == [
            "null",
            "null",
        ]
        assert tiny.child_pid == child

    async def test_the_doctor_finds_it_well(self, tiny: VLLMEngine) -> None:
        findings = await tiny.self_check()
        assert [finding.ok for finding in findings] == [True, True]
        assert f"{CONTEXT_TOKENS:,} tokens" in findings[0].found

    async def test_a_stream_of_a_live_request_and_its_reply_are_one(self, tiny: VLLMEngine) -> None:
        prompt = structs.replace(asked("Hi", max_output_tokens=30, seed=4), live=True)
        texts, reply = await pieces_of(tiny, prompt)
        assert "".join(texts) == text_of(reply) == text_of(await tiny.generate(prompt))

    async def test_a_killed_child_takes_all_its_processes_along_and_comes_back(
        self, tiny: VLLMEngine
    ) -> None:
        assert Capability.TOP_LOGPROBS in tiny.capabilities
        held = [asyncio.create_task(tiny.generate(self.lasting(number))) for number in range(3)]
        await tiny.count_tokens(asked("Are you there?"))
        killed = tiny.child_pid
        assert killed
        kin = psutil.Process(killed).children(recursive=True)
        assert len(kin) >= 2  # The watcher, and vLLM's own.
        os.kill(killed, signal.SIGKILL)
        for outcome in await asyncio.gather(*held, return_exceptions=True):
            assert isinstance(outcome, EngineDown)
            assert outcome.in_flight
        _, alive = await asyncio.to_thread(psutil.wait_procs, kin, 30)
        assert not alive
        await tiny.ready()
        assert tiny.child_pid != killed
        assert text_of(await tiny.generate(asked("Hello", max_output_tokens=3)))

    async def test_a_dead_core_of_vllm_is_a_dead_engine_and_comes_back(
        self, tiny: VLLMEngine
    ) -> None:
        held = [asyncio.create_task(tiny.generate(self.lasting(number))) for number in range(3)]
        await tiny.count_tokens(asked("Are you there?"))
        child = tiny.child_pid
        assert child
        for one in psutil.Process(child).children(recursive=True):
            if "EngineCore" in one.name() or "EngineCore" in " ".join(one.cmdline()):
                one.kill()
        for outcome in await asyncio.gather(*held, return_exceptions=True):
            assert isinstance(outcome, EngineDown)
            assert outcome.in_flight
        await tiny.ready()
        assert tiny.child_pid != child


class TestTemplates:
    """What a model's chat template has to do with it."""

    pytestmark = real_vllm

    async def test_a_template_that_knows_no_system_gets_it_with_the_first_turn(
        self, tiny_folder: Path, tmp_path: Path
    ) -> None:
        template = tmp_path / "strict.jinja"
        template.write_text(STRICT_TEMPLATE)
        engine = opened(tiny_folder, chat_template=str(template))
        await engine.open()
        turn = Message("user", "Hi")
        prompt = Prompt(
            messages=(turn, turn), system="Be brief.", sampling=Sampling(max_output_tokens=2)
        )
        reply = await engine.generate(prompt)
        assert reply.usage.prompt_tokens == await engine.count_tokens(prompt)
        await engine.close()

    async def test_a_model_without_a_template_is_refused_with_what_to_do(
        self, tmp_path: Path
    ) -> None:
        engine = opened(write_model(tmp_path / "bare", None))
        with pytest.raises(EngineDown, match="Set `chat_template`"):
            await engine.open()


class TestNoGPU:
    """What becomes of it on a machine without one."""

    pytestmark = real_vllm

    async def test_without_a_gpu_the_engine_is_down_and_says_what_to_do(
        self, tmp_path: Path
    ) -> None:
        blind = (
            "import vllm.platforms as platforms;"
            "platforms._current_platform = platforms.interface.UnspecifiedPlatform();"
            "import nightrate.engines.vllm_child as child; child.main()"
        )
        engine = VLLMEngine(VLLMOptions(model=str(tmp_path)), (sys.executable, "-c", blind))
        with pytest.raises(EngineDown, match=r"finds no GPU here.*nvidia-smi") as down:
            await engine.open()
        assert "`openvino` answers on the processor" in down.value.message
