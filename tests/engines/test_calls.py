"""Calls that a model wrote as text, and what it is told of the functions."""

from __future__ import annotations

import pytest
from msgspec import structs

from nightrate.domain.calling import Call, Calling, CallMode, Function
from nightrate.domain.generation import Candidate, FinishReason, Message, Prompt
from nightrate.domain.schema import Choice, Member, Object, Schema
from nightrate.engines.call_syntaxes import syntax_of
from nightrate.engines.calls import called, candidate_of, candidate_of_call
from nightrate.engines.instructions import system_of
from tests.engines.trained import TAGGED

CALLING = Calling((Function("weather", "Tells it."), Function("clock")), CallMode.ANY, "t", "m")


def test_a_text_that_is_a_call_is_one() -> None:
    text = '{"name":"clock","arguments":{"a":"\\ud83d\\ude00"}}'
    call = Call("clock", '{"a":"\\ud83d\\ude00"}')
    assert candidate_of_call(text, FinishReason.STOP, CALLING) == Candidate("", calls=(call,))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "It is noon.",
        '{"name":"clock","arguments":{"a":',
        '{"name":"clock","arguments":[]}',
        '{"name":"clock","arguments":"{}"}',
        '{"name":"clock"}',
        '{"name":"clock","arguments":{},"more":1}',
        '{"name":"sun","arguments":{}}',
        '{"name":1,"arguments":{}}',
        '{"name":"clock","arguments":{"a":' + "[" * 5_000 + "]" * 5_000 + "}}",
    ],
)
def test_what_is_no_call_is_never_handed_out(text: str) -> None:
    assert called(text, CALLING) is None
    found = candidate_of_call(text, FinishReason.STOP, CALLING)
    assert found == Candidate("", FinishReason.BAD_CALL)


def test_a_call_that_was_cut_is_not_handed_out_though_it_looks_whole() -> None:
    text = '{"name":"clock","arguments":{}}'
    found = candidate_of_call(text, FinishReason.LENGTH, CALLING)
    assert found == Candidate("", FinishReason.LENGTH)


def test_a_model_is_told_of_the_functions_after_the_words_of_the_system() -> None:
    prompt = Prompt(messages=(Message("user", "hi"),), system="Be kind.", calling=CALLING)
    assert system_of(prompt) == (
        "Be kind.\n"
        "You can call these functions:\n"
        '- weather: Tells it. Arguments: {"type":"object","additionalProperties":false}\n'
        '- clock: Arguments: {"type":"object","additionalProperties":false}\n'
        'Answer only with one call, as JSON: {"name": NAME, "arguments": {...}}.'
    )


TAGS = syntax_of(TAGGED)
FREE = structs.replace(CALLING, mode=CallMode.AUTO)
TWO = 'I look.\n<tool_call>{"name":"clock"}</tool_call>\n<tool_call>{"name":"weather"}</tool_call>'


def test_a_model_that_decides_gives_words_calls_or_both() -> None:
    assert candidate_of("Noon.", FinishReason.STOP, FREE, TAGS) == Candidate("Noon.")
    calls = (Call("clock", "{}"), Call("weather", "{}"))
    assert candidate_of(TWO, FinishReason.STOP, FREE, TAGS) == Candidate("I look.", calls=calls)
    single = structs.replace(FREE, single=True)
    found = candidate_of(TWO, FinishReason.STOP, single, TAGS)
    assert found == Candidate("I look.", calls=calls[:1])


@pytest.mark.parametrize(
    "call",
    [
        '{"name":"sun","arguments":{}}',
        '{"name":"clock","arguments":[]}',
        '{"name":"clock","arguments":{}',
        '{"arguments":{}}',
    ],
)
def test_a_call_of_who_decides_that_is_none_ends_the_answer_with_its_words(call: str) -> None:
    text = f'I look.<tool_call>{{"name":"clock"}}</tool_call><tool_call>{call}</tool_call>'
    found = candidate_of(text, FinishReason.STOP, FREE, TAGS)
    assert found == Candidate("I look.", FinishReason.BAD_CALL)


@pytest.mark.parametrize(("held", "strict", "taken"), [(0, 0, True), (1, 0, False), (0, 1, False)])
def test_arguments_of_who_decides_must_fit_where_the_client_relies_on_it(
    *, held: int, strict: int, taken: bool
) -> None:
    root = Object(members=(Member("city", Choice(values=("Oslo",)), required=True),))
    function = Function("weather", "", Schema(root), strict=bool(strict))
    calling = structs.replace(FREE, functions=(function,), held=bool(held))
    text = '<tool_call>{"name":"weather","arguments":{"city":"Rome"}}</tool_call>'
    found = candidate_of(text, FinishReason.STOP, calling, TAGS)
    assert bool(found.calls) is taken
    assert (found.finish_reason is FinishReason.BAD_CALL) is not taken


@pytest.mark.parametrize("kept", [len("I look."), len("I look.\n<tool"), -20, len(TWO)])
def test_an_answer_of_who_decides_that_was_cut_calls_nothing(kept: int) -> None:
    found = candidate_of(TWO[:kept], FinishReason.LENGTH, FREE, TAGS)
    assert found == Candidate("I look.", FinishReason.LENGTH)


@pytest.mark.parametrize("text", ["I look.\n<tool_call>", "I look.\n<tool_c", "I look."])
def test_a_stop_sequence_within_a_call_leaves_the_words_before_it(text: str) -> None:
    found = candidate_of(text, FinishReason.STOP, FREE, TAGS, stopped=True)
    assert found == Candidate("I look.")


def test_a_stop_sequence_behind_a_call_leaves_the_call() -> None:
    found = candidate_of(TWO, FinishReason.STOP, FREE, TAGS, stopped=True)
    assert found.calls == (Call("clock", "{}"), Call("weather", "{}"))


def test_arguments_that_are_null_are_none() -> None:
    text = '<tool_call>{"name":"clock","arguments":null}</tool_call>'
    found = candidate_of(text, FinishReason.STOP, FREE, TAGS)
    assert found == Candidate("", calls=(Call("clock", "{}"),))


def test_who_must_call_does_so_in_the_form_of_the_grammar_whatever_the_syntax() -> None:
    text = '{"name":"clock","arguments":{}}'
    found = candidate_of(text, FinishReason.STOP, CALLING, TAGS)
    assert found == Candidate("", calls=(Call("clock", "{}"),))
    assert candidate_of("Noon.", FinishReason.STOP, None, TAGS) == Candidate("Noon.")
