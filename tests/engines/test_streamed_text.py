"""Words of an answer are told while it is made, and none of them is ever taken back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from nightrate.domain.calling import Calling, CallMode, Function
from nightrate.domain.generation import FinishReason, Prompt
from nightrate.engines.call_syntaxes import CallSyntax, syntax_of
from nightrate.engines.calls import candidate_of
from nightrate.engines.certainty import cut
from nightrate.engines.streamed_text import StreamedText
from nightrate.errors import RequestFailed
from nightrate.testing.engine_contract import asked
from tests.engines.trained import BARE, LISTED, TAGGED

TAGS = syntax_of(TAGGED)
THINKING = syntax_of(TAGGED + "{{ '<think></think>' }}")
SYNTAXES = [TAGS, syntax_of(BARE), syntax_of(LISTED), THINKING, None]


def prompt_of(mode: CallMode | None, *stops: str) -> Prompt:
    calling = None if mode is None else Calling((Function("clock"),), mode, "tools", "mode")
    return structs.replace(asked("x", stop=stops), calling=calling)


def told(one: StreamedText, *pieces: str) -> list[str]:
    """Let a text grow piece by piece, and give what each of them tells."""
    return [one.more("".join(pieces[: number + 1])) for number in range(len(pieces))]


def test_words_are_told_up_to_what_may_begin_a_call() -> None:
    one = StreamedText(prompt_of(CallMode.AUTO), TAGS)
    pieces = "I see", " <", "3 it. <tool_", 'call>{"name":"clock"}', "</tool_call> So."
    assert told(one, *pieces) == ["I see", "", " <3 it.", "", ""]
    assert one.rest("I see <3 it.\nSo.") == "\nSo."


def test_thoughts_are_told_before_what_follows_them() -> None:
    one = StreamedText(prompt_of(CallMode.AUTO), THINKING)
    pieces = "<think>A <tool_call>?", " No.</think>", " Hello. ", "<tool_call>"
    assert told(one, *pieces) == ["<think>A", " <tool_call>? No.</think>", " Hello.", ""]


def test_an_object_that_is_no_call_is_told_as_soon_as_that_is_certain() -> None:
    one = StreamedText(prompt_of(CallMode.AUTO), syntax_of(BARE))
    assert told(one, '{"n', 'umber"', ": 1}") == ["", '{"number"', ": 1}"]


def test_where_a_call_is_demanded_nothing_is_told() -> None:
    one = StreamedText(prompt_of(CallMode.ANY), TAGS)
    assert told(one, "I see", " it.") == ["", ""]
    assert one.rest("") == ""


def test_words_that_do_not_begin_with_what_was_told_are_a_failure() -> None:
    one = StreamedText(prompt_of(None), None)
    assert told(one, "ab", "cd") == ["ab", "cd"]
    assert one.more("aBcd and more") == ""
    with pytest.raises(RequestFailed, match="changed a text"):
        one.rest("aBcd and more")


@given(
    parts=st.lists(
        st.sampled_from(
            [
                *("<tool_call>", "</tool_call>", "[TOOL_CALLS]", "[ARGS]", "<|python_tag|>"),
                *('{"name":', '"clock"', ',"parameters":', ',"arguments":', "{}", "clock", "{"),
                *("}", "[", "]", '"', "\\", ";", " ", "\n", "é", "<", "</think>", "<think>", "So."),
            ]
        ),
        max_size=14,
    ),
    syntax=st.sampled_from(SYNTAXES),
    mode=st.sampled_from([CallMode.AUTO, CallMode.ANY, None]),
    stops=st.lists(st.sampled_from(["So", "clock", "} ", "<tool"]), max_size=2),
    limit=st.booleans(),
    data=st.data(),
)
def test_what_is_told_is_the_answer_wherever_its_pieces_end(
    parts: list[str],
    syntax: CallSyntax | None,
    mode: CallMode | None,
    stops: list[str],
    limit: bool,  # noqa: FBT001 - drawn, not passed
    data: st.DataObject,
) -> None:
    text = "".join(parts)
    ends = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=8)) | {len(text)})
    prompt = prompt_of(mode, *stops)
    one = StreamedText(prompt, syntax)
    said, stopped = "", False
    for end in ends:
        said += one.more(text[:end])
        stopped = cut(text[:end], stops)[1]
        if stopped:
            text = text[:end]
            break
    text, _ = cut(text, stops)
    reason = FinishReason.LENGTH if limit and not stopped else FinishReason.STOP
    words = candidate_of(text, reason, prompt.calling, syntax, stopped=stopped).text
    assert said + one.rest(words) == words
