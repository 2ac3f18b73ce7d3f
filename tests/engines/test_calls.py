"""Calls that a model wrote as text, and what it is told of the functions."""

from __future__ import annotations

import pytest

from nightrate.domain.calling import Call, Calling, CallMode, Function
from nightrate.domain.generation import Candidate, FinishReason, Message, Prompt
from nightrate.engines.calls import called, candidate_of_call
from nightrate.engines.instructions import system_of

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
