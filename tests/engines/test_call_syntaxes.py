"""How models write calls: found from their template, and read from their answers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import json

from nightrate.domain.calling import Call
from nightrate.engines.call_syntaxes import CallSyntax, Written, syntax_of
from tests.engines.trained import BARE, LISTED, TAGGED

TAGS = syntax_of(TAGGED)
WHOLE = syntax_of(BARE)
LIST = syntax_of(LISTED)
THINKING = syntax_of(TAGGED + "{{ '<think></think>' }}")

PLAIN = "{% for message in messages %}{{ message.role }}: {{ message.content }}{% endfor %}"

CLOCK = Call("clock", "{}")
OSLO = Call("weather", '{"city": "Oslo"}')


@pytest.mark.parametrize(
    ("template", "opening"),
    [(TAGGED, "<tool_call>"), (BARE, "<|python_tag|>"), (LISTED, "[TOOL_CALLS]")],
)
def test_a_template_says_how_its_model_writes_calls(template: str, opening: str) -> None:
    assert syntax_of(template).openings == (opening,)
    assert syntax_of(template).tells_calls
    assert not syntax_of(f"{{{{ tools }}}} {opening} arguments").tells_calls


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("", "does not look for `tools`"),
        (PLAIN + "{{ tools_used }}", "does not look for `tools`"),
        (PLAIN + "{{ tools }}", "in none of the ways that are read here"),
        (TAGGED + "<function=NAME>", "in none of the ways"),
        (PLAIN + "{{ tools }} <tool_call>NAME <arg_key>arguments", "in none of the ways"),
    ],
)
def test_a_template_that_says_nothing_known_is_refused_with_what_to_do(
    template: str, why: str
) -> None:
    with pytest.raises(RuntimeError, match=f"{why}.*Set `functions = false`"):
        syntax_of(template)
    with pytest.raises(RuntimeError, match=f"{why}.*Buy another"):
        syntax_of(template, "Buy another")


@pytest.mark.parametrize(
    ("syntax", "text", "words", "calls"),
    [
        (TAGS, '<tool_call>\n{"name": "clock", "arguments": {}}\n</tool_call>', "", [CLOCK]),
        (TAGS, 'Hm.\n\n<tool_call>{"name":"clock"}</tool_call> So.', "Hm.\nSo.", [CLOCK]),
        (
            TAGS,
            (
                '<tool_call>{"arguments": {"city": "Oslo"}, "name": "weather", "id": 1}</tool_call>'
                '\n<tool_call>{"name": "clock"}</tool_call>'
            ),
            "",
            [OSLO, CLOCK],
        ),
        (TAGS, '<tool_call>{"name":"clock"}<tool_call>{"name":"clock"}', "", [CLOCK, CLOCK]),
        (WHOLE, '{"name": "weather", "parameters": {"city": "Oslo"}}', "", [OSLO]),
        (
            WHOLE,
            ' {"name": "clock", "parameters": {}};\n{"name": "clock", "parameters": {}};',
            "",
            [CLOCK, CLOCK],
        ),
        (WHOLE, 'Hm. <|python_tag|>{"name": "clock", "parameters": {}}', "Hm.", [CLOCK]),
        (
            WHOLE,
            '{"type": "function", "function": "clock", "parameters": {}} So.',
            "So.",
            [CLOCK],
        ),
        (LIST, '[TOOL_CALLS] [{"name": "clock", "arguments": {}, "id": "a"}]', "", [CLOCK]),
        (
            LIST,
            'Hm. [TOOL_CALLS][{"name":"weather","arguments":{"city": "Oslo"}},{"name":"clock"}] O.',
            "Hm.\nO.",
            [OSLO, CLOCK],
        ),
        (LIST, '[TOOL_CALLS] {"name": "clock"}', "", [CLOCK]),
        (
            LIST,
            '[TOOL_CALLS]weather[ARGS]{"city": "Oslo"}[TOOL_CALLS]clock[CALL_ID]a1[ARGS]{}',
            "",
            [OSLO, CLOCK],
        ),
        (LIST, "[TOOL_CALLS]clock{}", "", [CLOCK]),
    ],
)
def test_calls_are_read_with_the_words_around_them(
    syntax: CallSyntax, text: str, words: str, calls: list[Call]
) -> None:
    assert syntax.read(text) == Written(words, tuple(calls))


@pytest.mark.parametrize(
    ("syntax", "text"),
    [
        *((syntax, text) for syntax in (TAGS, WHOLE, LIST) for text in ("", " It is\n noon. ")),
        (TAGS, "A tool call is written in tags."),
        (WHOLE, '{"name": "Bob", "age": 3}'),
        (WHOLE, '{"city": "Oslo"}'),
        (WHOLE, 'Write {"name": "clock", "parameters": {}}.'),
        (LIST, '[{"name": "clock", "arguments": {}}]'),
    ],
)
def test_words_stay_as_they_are(syntax: CallSyntax, text: str) -> None:
    assert syntax.read(text) == Written(text)
    assert syntax.words_of_cut(text) == text


@pytest.mark.parametrize(
    ("syntax", "call"),
    [
        (TAGS, "<tool_call>"),
        (TAGS, "<tool_call>clock()</tool_call>"),
        (TAGS, '<tool_call>{"name": "clock"</tool_call>'),
        (TAGS, '<tool_call>{"name": "clock"} and so on</tool_call>'),
        (TAGS, '<tool_call>{"name": 1}</tool_call>'),
        (TAGS, '<tool_call>{"name": "clock", "arguments": {"a": \n"\n"}}</tool_call>'),
        (TAGS, '<tool_call>["clock"]</tool_call>'),
        (TAGS, '<tool_call>{"name": "clock"}</tool_call><tool_call>{'),
        (WHOLE, "<|python_tag|>print(1)"),
        (WHOLE, '<|python_tag|>{"name": "clock", "parameters": {"a": [}'),
        (LIST, "[TOOL_CALLS]"),
        (LIST, '[TOOL_CALLS] [{"name": "clock", "arguments": {}'),
        (LIST, "[TOOL_CALLS]clock[ARGS]"),
        (LIST, '[TOOL_CALLS] ["clock"]'),
        (LIST, "[TOOL_CALLS]" + "[" * 100_000 + "]" * 100_000),
    ],
)
def test_what_begins_like_a_call_and_is_none_gives_no_call_and_keeps_the_words_before(
    syntax: CallSyntax, call: str
) -> None:
    assert syntax.read(f"Hm.\n{call}") == Written("Hm.", whole=False)


def test_a_bare_call_that_does_not_end_is_none() -> None:
    assert WHOLE.read('{"name": "clock", "parameters": {') == Written("", whole=False)
    several = '{"name": "clock", "parameters": {}}; {"name": "cl'
    assert WHOLE.read(several) == Written("", whole=False)


@pytest.mark.parametrize("between", [";", "; ", "\n", "\n<|python_tag|>"])
def test_bare_calls_may_stand_one_after_the_other(between: str) -> None:
    call = '{"name": "clock", "parameters": {}}'
    assert len(WHOLE.read(f"{call}{between}{call}").calls) == 2


@pytest.mark.parametrize("between", [";", " "])
def test_words_behind_a_bare_call_are_words(between: str) -> None:
    found = WHOLE.read(f'{{"name": "clock", "parameters": {{}}}}{between}That is it.')
    assert (found.text, len(found.calls), found.whole) == ("That is it.", 1, True)


def test_white_space_without_end_takes_no_time() -> None:
    for rest in (" " * 100_000, f"[CALL_ID]{' ' * 100_000}!"):
        assert not LIST.read(f"[TOOL_CALLS]get{rest}!").whole


@pytest.mark.parametrize(
    ("text", "words"),
    [
        *(('{"na', ""), (' { "name" : "clo', ""), ('{"type": "fun', "")),
        ('{"name": "clock", "par', ""),
        ('{"name": "Bob", "ag', '{"name": "Bob", "ag'),
        ('{"city": "Os', '{"city": "Os'),
        ("Hm. <|python", "Hm."),
        ("Hm. <|python_tag|>{", "Hm."),
    ],
)
def test_of_a_bare_answer_that_was_cut_what_may_be_a_call_is_left_out(
    text: str, words: str
) -> None:
    assert WHOLE.words_of_cut(text) == words


def test_what_a_model_thought_of_calling_is_not_called() -> None:
    thought = "<think>I could write <tool_call> now.</think>"
    answer = '<tool_call>{"name": "clock"}</tool_call>'
    assert THINKING.read(f"{thought}\nNoon.") == Written(f"{thought}\nNoon.")
    assert THINKING.read(f"{thought}\n{answer}") == Written(thought, (CLOCK,))
    assert THINKING.words_of_cut(f"{thought}\nNoon") == f"{thought}\nNoon"
    assert THINKING.words_of_cut(f"{thought}\n<tool_call>") == thought
    assert THINKING.read(answer) == Written("", (CLOCK,))


CONFUSING = ["</tool_call>", "<tool_call>", "[TOOL_CALLS]", "<|python_tag|>", '"};{', "\\"]
TEXTS = st.text(max_size=8) | st.sampled_from(CONFUSING)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
CALLS = st.lists(
    st.tuples(
        st.from_regex(r"[A-Za-z_][\w.:-]{0,8}", fullmatch=True).filter(str.isascii),
        st.dictionaries(st.text(max_size=5), JSON, max_size=3),
    ),
    min_size=1,
    max_size=3,
)


def written(syntax: CallSyntax, calls: list[tuple[str, dict[str, Any]]]) -> str:
    """Write calls as a model would."""
    key = "parameters" if syntax is WHOLE else "arguments"
    values = [json.encode({"name": name, key: given}).decode() for name, given in calls]
    if syntax is TAGS:
        return "\n".join(f"<tool_call>\n{value}\n</tool_call>" for value in values)
    if syntax is WHOLE:
        return "; ".join(values)
    return f"[TOOL_CALLS] [{', '.join(values)}]"


@given(calls=CALLS, syntax=st.sampled_from([TAGS, WHOLE, LIST]), data=st.data())
def test_calls_with_any_arguments_are_read_as_they_were_written(
    calls: list[tuple[str, dict[str, Any]]], syntax: CallSyntax, data: st.DataObject
) -> None:
    before = "" if syntax is WHOLE else data.draw(st.sampled_from(["", "I see.", "É {"]))
    text = f"{before}\n{written(syntax, calls)}" if before else written(syntax, calls)
    found = syntax.read(text)
    assert found.whole
    assert found.text == before
    assert [(call.name, json.decode(call.arguments)) for call in found.calls] == calls
    cut = data.draw(st.integers(0, len(text)))
    assert before.startswith(syntax.words_of_cut(text[:cut]).strip())


@given(
    parts=st.lists(
        st.sampled_from(
            [
                *("<tool_call>", "</tool_call>", "[TOOL_CALLS]", "[ARGS]", "<|python_tag|>"),
                *('{"name":', '"clock"', ',"parameters":', "clock", "{", "}", "[", "]"),
                *('"', "\\", ";", " ", "é"),
            ]
        ),
        max_size=14,
    ),
    syntax=st.sampled_from([TAGS, WHOLE, LIST, THINKING]),
)
def test_any_answer_is_read_and_no_call_stays_in_the_words_of_one_that_was_cut(
    parts: list[str], syntax: CallSyntax
) -> None:
    text = "".join(parts)
    found = syntax.read(text)
    assert found.whole or not found.calls
    words = syntax.words_of_cut(text)
    assert not any(opening in words for opening in syntax.openings)
    assert text.strip().startswith(words.strip())


def test_a_long_answer_is_read_in_no_time() -> None:
    text = '<tool_call>{"name": "' + '\\"' * 200_000
    assert TAGS.read(text) == Written("", whole=False)
    spaces = "{" + " " * 200_000
    assert WHOLE.read(spaces) == Written(spaces)
