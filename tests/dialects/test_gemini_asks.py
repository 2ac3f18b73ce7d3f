"""What is asked of a server that speaks Gemini's protocol: what its own reader makes of it."""

from __future__ import annotations

from itertools import cycle
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightrate.dialects.gemini_asks import render_count, render_passage, render_prompt
from nightrate.dialects.gemini_counts import parse_count
from nightrate.dialects.gemini_passages import parse_passage
from nightrate.dialects.gemini_prompts import parse_prompt
from nightrate.dialects.json_schema import read_schema
from nightrate.domain.calling import Call, Calling, CallMode, CallResult, Function
from nightrate.domain.embedding import EmbeddingTask, Passage
from nightrate.domain.generation import LogprobsWish, Message, Prompt, Sampling
from nightrate.domain.guidance import Harm, HarmFilter, Thinking, ThinkingLevel, Threshold
from nightrate.domain.picture import PictureWish
from nightrate.domain.schema import AnyValue, ChoiceForm, Form, JSONForm, Schema
from nightrate.errors import Code, RequestFailed

HELLO = Prompt(messages=(Message("user", "12345678"),), system="1234")
TREE = {
    "type": "object",
    "properties": {"a": {"type": "integer"}},
    "required": ["a"],
    "additionalProperties": False,
}
SCHEMA = read_schema(TREE)
MODALITIES = "generationConfig.responseModalities"
MODE_FIELD = "toolConfig.functionCallingConfig.mode"


def asked(prompt: Prompt) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(render_prompt(prompt))
    return found


def again(prompt: Prompt) -> Prompt:
    """Give what the protocol's own reader makes of what is asked."""
    return parse_prompt(render_prompt(prompt), "m")


def wishing(**wish: Any) -> Prompt:
    return msgspec.structs.replace(HELLO, **wish)


def calling(mode: CallMode, *, held: bool = False, strict: bool = False) -> Calling:
    functions = (Function("look", "Looks.", SCHEMA, strict=strict), Function("wait"))
    return Calling(functions, mode, "tools[0].functionDeclarations", MODE_FIELD, held=held)


@pytest.mark.parametrize(
    "prompt",
    [
        HELLO,
        Prompt(messages=(Message("user", ""), Message("model", "b"), Message("user", "c"))),
        wishing(sampling=Sampling(temperature=0.5, top_k=4, seed=-1, stop=("a",))),
        wishing(form=JSONForm(SCHEMA, "generationConfig.responseJsonSchema")),
        wishing(form=JSONForm(Schema(AnyValue()), "generationConfig.responseMimeType")),
        wishing(form=ChoiceForm(("red", "blue"), "generationConfig.responseSchema")),
        wishing(logprobs=LogprobsWish(3, "generationConfig.logprobs")),
        wishing(logprobs=LogprobsWish(0, "generationConfig.responseLogprobs")),
        wishing(picture=PictureWish(1024, 1024, with_text=True, field=MODALITIES)),
        wishing(picture=PictureWish(688, 384, with_text=False, field=MODALITIES)),
        wishing(thinking=Thinking(0)),
        wishing(thinking=Thinking(level=ThinkingLevel.HIGH)),
        wishing(thinking=Thinking(-1, ThinkingLevel.MINIMAL)),
        wishing(thoughts=True),
        wishing(thinking=Thinking(512), thoughts=True),
        wishing(filters=tuple(map(HarmFilter, Harm, cycle(Threshold)))),
        wishing(calling=calling(CallMode.AUTO)),
        wishing(calling=calling(CallMode.AUTO, held=True)),
        wishing(calling=calling(CallMode.ANY, held=True)),
        wishing(
            messages=(
                Message("user", "Now?"),
                Message("model", "I look.", calls=(Call("look", '{"a":1}', "c1"), Call("x", "{}"))),
                Message("user", "", results=(CallResult("look", '{"b":2}', "c1"),)),
                Message("user", "And?", results=(CallResult("x", "{}"),)),
            )
        ),
    ],
)
def test_a_prompt_comes_out_of_the_protocol_as_it_was_put_in(prompt: Prompt) -> None:
    assert again(prompt) == prompt


@given(st.text(st.characters(codec="utf-8")), st.floats(0, 2), st.integers(1, 9))
def test_any_text_and_number_comes_out_as_it_was_put_in(text: str, heat: float, most: int) -> None:
    prompt = wishing(
        messages=(Message("user", text),),
        sampling=Sampling(temperature=heat, max_output_tokens=most),
    )
    assert again(prompt) == prompt


def test_calls_that_must_fit_by_the_word_of_another_dialect_are_asked_for_as_such() -> None:
    asks = asked(wishing(calling=calling(CallMode.AUTO, strict=True)))
    assert asks["toolConfig"] == {"functionCallingConfig": {"mode": "VALIDATED"}}
    assert asks["tools"] == [
        {
            "functionDeclarations": [
                {"name": "look", "description": "Looks.", "parametersJsonSchema": TREE},
                {"name": "wait"},
            ]
        }
    ]


def test_the_first_call_of_a_turn_says_that_its_thought_is_not_kept() -> None:
    calls = (Call("look", '{\n "a": 1}'), Call("look", "{}"))
    turn = asked(wishing(messages=(Message("model", "", calls=calls),)))["contents"][0]
    assert turn == {
        "role": "model",
        "parts": [
            {
                "functionCall": {"name": "look", "args": {"a": 1}},
                "thoughtSignature": "skip_thought_signature_validator",
            },
            {"functionCall": {"name": "look", "args": {}}},
        ],
    }


@pytest.mark.parametrize("words", ["It rains.", "[1]", '{"a":', "5"])
def test_words_that_a_function_answered_with_are_put_into_an_object(words: str) -> None:
    turn = asked(wishing(messages=(Message("user", "", results=(CallResult("x", words),)),)))
    (part,) = turn["contents"][0]["parts"]
    assert part == {"functionResponse": {"name": "x", "response": {"result": words}}}


def test_what_is_no_unicode_is_refused() -> None:
    with pytest.raises(RequestFailed) as refused:
        render_prompt(wishing(system="\ud800"))
    assert refused.value.code is Code.INVALID_ARGUMENT


@pytest.mark.parametrize(
    "form",
    [JSONForm(SCHEMA, "x"), ChoiceForm(("a",), "x"), None],
)
def test_a_prompt_is_counted_with_all_that_it_asks_for(form: Form | None) -> None:
    prompt = wishing(form=form)
    counted = parse_count(render_count(prompt, "models/m"), "m")
    assert (counted.messages, counted.system) == (prompt.messages, prompt.system)
    assert (counted.form is None) is (form is None)


@pytest.mark.parametrize(("system", "words"), [("Be brief.", "Be brief."), (None, " ")])
def test_a_beginning_without_turns_is_counted_as_one(system: str | None, words: str) -> None:
    counted = parse_count(render_count(Prompt(messages=(), system=system), "models/m"), "m")
    assert (counted.messages, counted.system) == ((Message("user", words),), None)


@pytest.mark.parametrize(
    "passage",
    [
        Passage(text="a"),
        Passage(text="a", task=EmbeddingTask.RETRIEVAL_QUERY, dimensions=3),
        Passage(text="a", title="T", truncate=False),
    ],
)
def test_a_passage_comes_out_of_the_protocol_as_it_was_put_in(passage: Passage) -> None:
    assert parse_passage(render_passage(passage), "m") == passage
