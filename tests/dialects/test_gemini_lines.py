"""Lines and inline items read into prompts; whatever is wrong becomes a failure."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightrate.dialects.gemini_lines import parse_line, placed
from nightrate.dialects.gemini_results import render_line
from nightrate.dialects.row import Echo, ParsedLine
from nightrate.domain.batch import BatchForm
from nightrate.domain.generation import (
    Candidate,
    Failure,
    Message,
    Prompt,
    Reply,
    Sampling,
    Usage,
)
from nightrate.errors import Code

FILE, INLINE = BatchForm.FILE, BatchForm.INLINE
REQUEST = b'{"contents":[{"parts":[{"text":"hi"}]}]}'
PLAIN = Prompt(messages=(Message("user", "hi"),))
REPLY = Reply((Candidate("x"),), Usage(1, 1), "e")


def parse(line: bytes | None, form: BatchForm = FILE, number: int = 7) -> ParsedLine:
    return parse_line(line, number, form, "m")


def failure(line: bytes | None, form: BatchForm = FILE) -> Failure:
    prompt = parse(line, form).prompt
    assert isinstance(prompt, Failure)
    return prompt


# The forms of a line -------------------------------------------------------------------------


def test_the_normal_form_has_a_key_and_a_request() -> None:
    line = b'{"key":"k1","request":' + REQUEST + b"}"
    assert parse(line) == ParsedLine(Echo(b'"k1"'), PLAIN)


@pytest.mark.parametrize("key", [b'"k"', b"17", b"1.50", b"true", b'["a", 1]', b'{"a": "b"}'])
def test_any_json_value_may_be_the_key(key: bytes) -> None:
    line = b'{"request":' + REQUEST + b',"key":' + key + b"}"
    assert parse(line) == ParsedLine(Echo(key), PLAIN)


@pytest.mark.parametrize("line", [b'{"request":%b}', b'{"request":%b,"key":null}'])
def test_a_line_may_have_no_key(line: bytes) -> None:
    assert parse(line % REQUEST) == ParsedLine(Echo(), PLAIN)


def test_the_last_of_several_keys_wins() -> None:
    line = b'{"key":"a","request":' + REQUEST + b',"key":"b"}'
    assert parse(line).echo.key == b'"b"'
    assert parse(line[:-1] + b',"x":1}').echo == Echo(b'"b"', None, {"x": b"1"})


@pytest.mark.parametrize(
    "line",
    [
        b'{"contents":[{"parts":[{"text":"hi"}]}]}',
        b'{"contents":"hi","generation_config":{}}',
        b'{"request":null,"contents":"hi"}',
    ],
)
def test_a_bare_request_has_no_key(line: bytes) -> None:
    assert parse(line) == ParsedLine(Echo(), PLAIN)


def test_a_bare_request_may_have_a_key_beside_it() -> None:
    line = b'{"key":"k","contents":"hi","generationConfig":{"topK":3}}'
    expected = Prompt(messages=PLAIN.messages, sampling=Sampling(top_k=3))
    assert parse(line) == ParsedLine(Echo(b'"k"'), expected)


def test_the_key_may_lie_in_the_metadata() -> None:
    line = b'{"request":' + REQUEST + b',"metadata":{"key":"k","n":1}}'
    assert parse(line) == ParsedLine(Echo(b'"k"', b'{"key":"k","n":1}'), PLAIN)
    bare = b'{"contents":"hi","metadata":{"key":"k"}}'
    assert parse(bare) == ParsedLine(Echo(b'"k"', b'{"key":"k"}'), PLAIN)


def test_a_key_of_its_own_comes_before_the_one_in_the_metadata() -> None:
    line = b'{"key":"own","request":' + REQUEST + b',"metadata":{"key":"k"}}'
    assert parse(line).echo == Echo(b'"own"', b'{"key":"k"}')
    assert parse(line[:-1] + b',"x":1}').echo == Echo(b'"own"', b'{"key":"k"}', {"x": b"1"})


@pytest.mark.parametrize("metadata", [b"{}", b'{"key":null}', b"null"])
def test_metadata_may_hold_no_key(metadata: bytes) -> None:
    kept = None if metadata == b"null" else metadata
    line = b'{"request":' + REQUEST + b',"metadata":' + metadata + b"}"
    assert parse(line) == ParsedLine(Echo(None, kept), PLAIN)
    assert parse(line[:-1] + b',"x":1}').echo == Echo(None, kept, {"x": b"1"})


def test_further_members_are_echoed_as_they_came() -> None:
    line = b'{"key":"k","id": [1, 2.50],"request":' + REQUEST + b',"labels":{"a":"b"},"no":null}'
    echo = Echo(b'"k"', None, {"id": b"[1, 2.50]", "labels": b'{"a":"b"}'})
    assert parse(line) == ParsedLine(echo, PLAIN)


def test_an_echo_has_no_line_ends() -> None:
    line = b'{"key":"k","metadata":{"a":\r"b"},"id":[1,\r2],"request":' + REQUEST + b"}"
    assert parse(line).echo == Echo(b'"k"', b'{"a":"b"}', {"id": b"[1,2]"})


def test_both_spellings_are_read() -> None:
    line = (
        b'{"key":"k","request":{"contents":"hi","generation_config":{"top_k":"3"},'
        b'"system_instruction":{"parts":[{"text":"s"}]}}}'
    )
    assert parse(line).prompt == Prompt(
        messages=PLAIN.messages, system="s", sampling=Sampling(top_k=3)
    )


def test_the_model_beside_or_in_the_request_must_be_the_batch_s() -> None:
    assert parse(b'{"model":"models/m","request":' + REQUEST + b"}").prompt == PLAIN
    for line in (
        b'{"model":"other","request":' + REQUEST + b"}",
        b'{"key":"k","request":{"contents":"hi","model":"other"}}',
    ):
        assert 'model: "other" is not the model of this call, "m".' in failure(line).message


# Inline items --------------------------------------------------------------------------------


def test_an_inline_item_may_have_metadata() -> None:
    item = b'{"request":' + REQUEST + b"}"
    assert parse(item, INLINE) == ParsedLine(Echo(), PLAIN)
    item = b'{"request":' + REQUEST + b',"metadata":{"key":"k","n":[1]}}'
    assert parse(item, INLINE) == ParsedLine(Echo(None, b'{"key":"k","n":[1]}'), PLAIN)
    item = b'{"metadata":{"key":"k"},"request":{"contents":"hi","generation_config":{}}}'
    assert parse(item, INLINE) == ParsedLine(Echo(None, b'{"key":"k"}'), PLAIN)


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (b'{"metadata":{}}', 'it has no "request".'),
        (b'{"request":null}', 'it has no "request".'),
        (b"[]", "it is not a JSON object."),
        (b'{"key":"k","request":{}}', 'Use "metadata": {"key": ...}.'),
        (b'{"contents":"hi"}', 'Move it inside "request".'),
        (b'{"config":{},"request":{}}', 'Put the settings inside "request", as'),
        (b'{"request":{"contents":[]}}', "request.contents: it is missing or empty."),
        (b'{"request":' + REQUEST + b',"metadata":[]}', "metadata: it is not a JSON object."),
        (None, "it is longer than 32 MiB."),
    ],
)
def test_a_wrong_item_fails_with_its_number(item: bytes | None, message: str) -> None:
    wrong = failure(item, INLINE)
    assert wrong.code is Code.INVALID_ARGUMENT
    assert wrong.message.startswith("Error in request 7: ")
    assert message in wrong.message


# What is wrong with a line -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (None, "it is longer than 32 MiB."),
        (b"", "Invalid JSON near column 1: Input data was truncated."),
        (b"{", "Invalid JSON near column 2: Input data was truncated."),
        (b"hello", "Invalid JSON near column 1: Invalid character."),
        ('{"é": x}'.encode(), "Invalid JSON near column 7: Invalid character."),
        (b"{'key': 1}", "Invalid JSON near column 2: Object keys must be strings."),
        (b"[1]", "it is not a JSON object."),
        (b"{}", 'it has neither "request" nor "contents".'),
        (b'{"key":"k","x":1}', 'it has neither "request" nor "contents".'),
        (
            b'{"key":"k","request":[]}',
            "Invalid value at 'request': expected `object`, got `array`.",
        ),
        (b'{"key":"k","request":{"contents":3}}', "Invalid value at 'request.contents': "),
        (b'{"request":{"contents":"a","x":1}}', "Unknown name \"x\" at 'request': Cannot find"),
        (b'{"contents":"a","x":1}', 'Unknown name "x": Cannot find field.'),
        (b'{"key":"k","request":{"contents":""}}', "request.contents: it is missing or empty."),
        (
            b'{"request":{"contents":"a","generationConfig":{"topP":7}}}',
            "request.generationConfig.topP: 7.0 is not between 0 and 1.",
        ),
        (
            b'{"request":{"contents":"a","generation_config":{"top_p":7}}}',
            "request.generation_config.top_p: 7.0 is not between 0 and 1.",
        ),
        (b'{"request":{"contents":"a"},"metadata":3}', "metadata: it is not a JSON object."),
        (b'{"request":{"contents":"a"},"response":{}}', "response: the name is reserved"),
        (b'{"request":{"contents":"a"},"error":{}}', "error: the name is reserved"),
        (b'{"request":{"contents":"a"},"config":{}}', 'inside "request", as "generationConfig".'),
        (b'{"request":{"contents":"a"},"generation_config":{}}', 'Move it inside "request".'),
        (b'{"request":{"contents":"a"},"top_k":1}', 'inside "request", into "generationConfig".'),
        (b'{"request":{"contents":"a"},"systemInstructions":1}', 'as "systemInstruction".'),
    ],
)
def test_a_wrong_line_fails_with_its_number_and_the_reason(
    line: bytes | None, message: str
) -> None:
    wrong = failure(line)
    assert wrong.code is Code.INVALID_ARGUMENT
    assert wrong.message.startswith("Error on line 7: ")
    assert message in wrong.message


def test_what_is_not_served_fails_as_such() -> None:
    line = b'{"key":"k","request":{"contents":"a","tools":[{"code_execution":{}}]}}'
    assert parse(line).echo == Echo(b'"k"')
    assert failure(line) == Failure(
        Code.UNIMPLEMENTED,
        "Error on line 7: request.tools[0].code_execution: this server does not support it yet. "
        "Leave it out: this tool is not run.",
    )


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (b'"\xff"', "Invalid JSON: The text is not UTF-8."),
        (b"1e999", "Invalid JSON: Number out of range."),
        (b"1" * 100_000, "Invalid JSON: Integer value out of range."),
        (b"[" * 300 + b"]" * 300, "JSON is nested deeper than 100 levels."),
    ],
)
def test_hostile_values_fail_wherever_they_stand_and_the_rest_is_echoed(
    value: bytes, message: str
) -> None:
    request = b'"request":' + REQUEST
    metadata = b'"metadata":{"a":"b"}'
    in_request = b'{"key":"k","request":{"contents":%b},%b}' % (value, metadata)
    assert message in failure(in_request).message
    assert parse(in_request).echo == Echo(b'"k"', b'{"a":"b"}')
    in_key = b'{"key":%b,%b,%b}' % (value, request, metadata)
    assert message in failure(in_key).message
    assert parse(in_key).echo == Echo(None, b'{"a":"b"}')
    in_metadata = b'{"key":"k",%b,"metadata":{"a":%b}}' % (request, value)
    assert message in failure(in_metadata).message
    assert parse(in_metadata).echo == Echo(b'"k"')
    in_extra = b'{"key":"k",%b,"x":%b,"y":2}' % (request, value)
    assert message in failure(in_extra).message
    assert parse(in_extra).echo == Echo(b'"k"', None, {"y": b"2"})
    inline = b'{%b,"metadata":{"a":%b}}' % (request, value)
    assert message in failure(inline, INLINE).message


def test_half_a_character_fails_and_the_key_is_known() -> None:
    line = rb'{"key":"k\ud83d\ude00\\ud800","request":{"contents":"a\uD800 b"},"x":"\udc00"}'
    assert "surrogate" in failure(line).message
    assert parse(line).echo == Echo(rb'"k\ud83d\ude00\\ud800"', None, {"x": rb'"\ufffd"'})


@pytest.mark.parametrize("value", [b'"\x01"', b"[" * 5_000 + b"]" * 5_000])
def test_what_cannot_be_cut_into_members_has_no_echo(value: bytes) -> None:
    parsed = parse(b'{"key":"k","request":{"contents":%b}}' % value)
    assert isinstance(parsed.prompt, Failure)
    assert parsed.echo == Echo()


def test_a_name_that_is_not_utf_8_fails() -> None:
    assert "not UTF-8" in failure(b'{"key":"k","request":' + REQUEST + b',"\xff":1}').message


def test_a_line_nested_too_deep_fails_even_where_nobody_looks() -> None:
    deep = b'{"a":' + b"[" * 150 + b"]" * 150 + b"}"
    parts = b'[{"text":"hi","partMetadata":%b}]' % deep
    line = b'{"key":"k","request":{"contents":[{"parts":%b}]}}' % parts
    assert "deeper than 100 levels" in failure(line).message
    assert parse(line).echo == Echo(b'"k"')


def test_many_brackets_inside_a_text_do_no_harm() -> None:
    line = b'{"key":"k","request":{"contents":"' + b"[{" * 500 + b'"}}'
    assert parse(line).prompt == Prompt(messages=(Message("user", "[{" * 500),))


# Anything ------------------------------------------------------------------------------------

PIECES = st.sampled_from(
    [
        b'{"key":"k","request":',
        REQUEST,
        b"}",
        b"{",
        b',"metadata":{"key":',
        b'"contents":',
        b'"x"',
        b'"\xff"',
        b'"\\ud800"',
        b"1e999",
        b"[",
        b"]",
        b",",
        b":",
        b"null",
        b'"generation_config":{"top_k":',
        b"\r",
        b" ",
        b"7",
    ]
)
LINES = st.binary(max_size=80) | st.lists(PIECES, max_size=12).map(b"".join)


def well_formed(value: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    return st.dictionaries(
        st.sampled_from(["key", "request", "metadata", "contents", "x", "response", "é"]),
        value,
        max_size=5,
    ).map(
        lambda members: (
            b"{%b}"
            % b",".join(b'"%b": %b' % (name.encode(), value) for name, value in members.items())
        )
    )


VALUES = st.sampled_from(
    [REQUEST, b'"k"', b"3", b"null", b'{"key": 1}', b'{"a":\r"b"}', b'"\xff"', b"[1e999]", b"{}"]
)


@given(LINES | well_formed(VALUES), st.sampled_from(BatchForm))
def test_any_line_has_one_answer_line(line: bytes, form: BatchForm) -> None:
    parsed = parse_line(line, 1, form, "m")
    outcome = parsed.prompt if isinstance(parsed.prompt, Failure) else REPLY
    answer = render_line(parsed.echo, outcome, form, "id")
    assert answer.isascii()
    assert len(answer.removeprefix(b"\r" if form is INLINE else b"").splitlines()) == 1
    members = msgspec.json.decode(answer)
    assert ("response" in members) == isinstance(parsed.prompt, Prompt)
    assert ("error" in members) == isinstance(parsed.prompt, Failure)
    if isinstance(parsed.prompt, Prompt):
        sent = msgspec.json.decode(line)
        if form is FILE and sent.get("key") is not None:
            assert members["key"] == sent["key"]


@pytest.mark.parametrize(
    ("line", "form", "message"),
    [
        (
            {"request": {"contents": [{"parts": [{"text": "a"}, {"inline_data": {}}]}]}},
            BatchForm.FILE,
            "Error on line 7: request.contents[0].parts[1].inline_data: not here.",
        ),
        (
            {"request": {"contents": {"parts": {"inlineData": {}}}}},
            BatchForm.INLINE,
            "Error in request 7: request.contents[0].parts[1].inlineData: not here.",
        ),
        (
            {"key": "k", "contents": [{"parts": [{"text": "a"}, {"inlineData": {}}]}]},
            BatchForm.FILE,
            "Error on line 7: contents[0].parts[1].inlineData: not here.",
        ),
    ],
)
def test_a_failure_that_shows_later_is_told_in_the_clients_words_too(
    line: Any, form: BatchForm, message: str
) -> None:
    field = "contents[0].parts[1].inlineData"
    failure = Failure(Code.UNIMPLEMENTED, f"{field}: not here.", field)
    found = placed(failure, msgspec.json.encode(line), 7, form)
    assert found == Failure(Code.UNIMPLEMENTED, message)
