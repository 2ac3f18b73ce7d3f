"""What vLLM is told of a request and of a model; without vLLM, but for its own names."""

from __future__ import annotations

import dataclasses
import importlib.util
import inspect
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec import structs

from nightrate.domain.calling import Calling, CallMode, Function
from nightrate.domain.generation import LogprobsWish, Prompt
from nightrate.domain.guidance import Thinking
from nightrate.domain.schema import ChoiceForm
from nightrate.engines.call_syntaxes import syntax_of
from nightrate.engines.told import Told
from nightrate.engines.vllm import VLLMOptions, setup_of
from nightrate.engines.vllm_model import Model, arguments_of, silent_beside_calls
from nightrate.errors import RequestFailed
from nightrate.testing.engine_contract import asked
from tests.engines.trained import LISTED


def unloaded(**defaults: Any) -> Model:
    """Give a model that was never loaded; what it hands to vLLM are plain mappings."""
    model = Model.__new__(Model)
    model.setup = setup_of(VLLMOptions(model="x", ignore_eos=True))
    model.tokens_max = 100
    model._defaults = defaults
    model._made = dict  # type: ignore[method-assign, assignment]
    model._structures = dict
    model._kinds = SimpleNamespace(DELTA="delta", FINAL_ONLY="final")
    model._silent = frozenset({9})
    return model


def told(prompt: Prompt, *, streamed: bool = False, **defaults: Any) -> dict[str, Any]:
    """Give what vLLM would be told of a prompt of ten tokens."""
    made: dict[str, Any] = unloaded(**defaults).params(prompt, 10, streamed=streamed)
    return made


def test_what_a_request_does_not_say_follows_the_model_and_then_ours() -> None:
    ours = told(asked("x"))
    assert (ours["temperature"], ours["top_p"], ours["top_k"]) == (1.0, 0.95, 64)
    theirs = told(asked("x", top_k=3), temperature=0.6, top_p=0.9, top_k=20, min_p=0.05)
    assert (theirs["temperature"], theirs["top_p"], theirs["top_k"]) == (0.6, 0.9, 3)
    assert theirs["min_p"] == 0.05


@pytest.mark.parametrize("sampling", [{"temperature": 0}, {"top_p": 0.0}])
def test_without_a_choice_the_likeliest_token_is_taken(sampling: dict[str, Any]) -> None:
    settings = told(asked("x", top_k=5, **sampling), min_p=0.1)
    assert [settings[name] for name in ("temperature", "top_p", "top_k", "min_p")] == [0, 1, 0, 0]


@pytest.mark.parametrize(("seed", "given"), [(None, None), (7, 7), (-1, 2**63 - 1), (2**63, 0)])
def test_seeds_are_numbers_that_vllm_takes(seed: int | None, given: int | None) -> None:
    assert told(asked("x", seed=seed))["seed"] == given


def test_an_answer_is_clipped_to_the_room_that_the_prompt_leaves() -> None:
    assert told(asked("x"))["max_tokens"] == 90
    assert told(asked("x", max_output_tokens=5))["max_tokens"] == 5
    with pytest.raises(RequestFailed, match=r"100 tokens.*100 tokens"):
        unloaded().params(asked("x"), 100, streamed=False)


def test_everything_else_that_was_said_reaches_vllm() -> None:
    said = asked("x", presence_penalty=1.5, frequency_penalty=-1.0, stop=("a", "b"))
    settings = told(structs.replace(said, logprobs=LogprobsWish(4, "f")), streamed=True)
    assert (settings["presence_penalty"], settings["frequency_penalty"]) == (1.5, -1.0)
    assert settings["stop"] == ["a", "b"]
    assert settings["logprobs"] == 4
    assert settings["output_kind"] == "delta"
    assert settings["ignore_eos"] is True
    assert told(said)["logprobs"] is None
    assert told(said)["output_kind"] == "final"


def test_a_form_becomes_a_grammar() -> None:
    prompt = structs.replace(asked("x"), form=ChoiceForm(("a", "b"), "f"))
    assert told(prompt)["structured_outputs"] == {"grammar": 'root ::= "a" | "b"'}
    assert "structured_outputs" not in told(asked("x"))


def test_likely_others_are_ranked_cut_and_without_infinities() -> None:
    def log(value: float, text: str | None) -> Any:
        return SimpleNamespace(logprob=value, decoded_token=text)

    places = [
        {5: log(-3.0, "e"), 1: log(-0.1, "a"), 2: log(-1.0, "b")},
        {9: log(float("-inf"), "<end>")},
    ]
    first, last = unloaded().tokens([5, 9], places, 2)
    assert (first.text, first.log_probability, first.token_id) == ("e", -3.0, 5)
    assert [other.token_id for other in first.others] == [1, 2]
    assert (last.text, last.log_probability) == ("", -9999.0)


def test_the_template_is_told_how_long_the_model_may_think() -> None:
    model, seen = unloaded(), dict[str, Any]()
    model._template = "{{ enable_thinking }}"

    def render(_history: Any, **words: Any) -> str:
        seen.update(words)
        return "text"

    model._tokenizer = SimpleNamespace(apply_chat_template=render)
    turns = [{"role": "user", "content": "x"}]
    assert model._render(Told(turns, None, "", []), Thinking(0)) == "text"
    usual = {"chat_template": model._template, "tokenize": False, "add_generation_prompt": True}
    assert seen == usual | {"enable_thinking": False}
    with pytest.raises(RequestFailed, match="thinkingBudget"):
        model._render(Told(turns, None, "", []), Thinking(500))
    seen.clear()
    model._render(Told(turns, [{"type": "function"}], "", []), None)
    assert seen == usual | {"tools": [{"type": "function"}]}


class Word(str):  # noqa: SLOT000 - one with a mark, as the library has it
    """A word that was added to a vocabulary."""

    special = False


@pytest.mark.parametrize("special", [True, False])
def test_words_that_mark_calls_are_read_though_vllm_leaves_them_out(*, special: bool) -> None:
    words = {7: Word("[TOOL_CALLS]"), 8: Word("</s>"), 9: Word("[extra]")}
    words[7].special, words[8].special = special, True
    kept: list[int] = []

    def decode(ids: list[int], **how: bool) -> str:
        assert how == {"skip_special_tokens": False, "clean_up_tokenization_spaces": False}
        kept.extend(ids)
        return "decoded"

    model = unloaded()
    model._tokenizer = SimpleNamespace(added_tokens_decoder=words, decode=decode)
    model._left_out = silent_beside_calls(syntax_of(LISTED), model._tokenizer)
    text = model.text_with_calls([1, 7, 9, 2, 8], "as it was")
    assert (text, kept) == (("decoded", [1, 7, 9, 2]) if special else ("as it was", []))


def test_who_decides_is_held_to_no_grammar() -> None:
    calling = Calling((Function("clock"),), CallMode.AUTO, "tools", "mode")
    assert "structured_outputs" not in told(structs.replace(asked("x"), calling=calling))
    must = structs.replace(calling, mode=CallMode.ANY)
    assert "structured_outputs" in told(structs.replace(asked("x"), calling=must))


def test_options_become_arguments() -> None:
    options = VLLMOptions(
        model="m",
        kv_cache_gib=3,
        requests=10,
        live_requests=2,
        context_tokens_max=512,
        gpu_memory_share=0.5,
        tensor_parallel=2,
        quantization="fp8",
        revision="v1",
        trust_remote_code=True,
        step_tokens_max=99,
        eager=True,
        seed=4,
    )
    given = arguments_of(setup_of(options))
    assert given["kv_cache_memory_bytes"] == 3 << 30
    assert given["max_num_seqs"] == 12
    assert (given["max_model_len"], given["gpu_memory_utilization"]) == (512, 0.5)
    assert (given["tensor_parallel_size"], given["quantization"]) == (2, "fp8")
    assert (given["revision"], given["tokenizer_revision"]) == ("v1", "v1")
    assert given["trust_remote_code"] is given["enforce_eager"] is True
    assert (given["max_num_batched_tokens"], given["seed"]) == (99, 4)
    assert given["scheduling_policy"] == "priority"
    assert given["enable_prefix_caching"] is True


@pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Of libraries among each other.
def test_vllm_knows_every_name_that_it_is_told() -> None:
    from vllm import SamplingParams  # noqa: PLC0415 - where it is installed only
    from vllm.engine.arg_utils import AsyncEngineArgs  # noqa: PLC0415 - likewise
    from vllm.v1.engine.async_llm import AsyncLLM  # noqa: PLC0415 - likewise

    arguments = arguments_of(setup_of(VLLMOptions(model="x")))
    assert arguments.keys() <= {field.name for field in dataclasses.fields(AsyncEngineArgs)}
    assert told(asked("x")).keys() <= set(SamplingParams.__struct_fields__)
    assert "priority" in inspect.signature(AsyncLLM.generate).parameters
