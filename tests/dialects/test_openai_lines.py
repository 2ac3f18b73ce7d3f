"""Lines of OpenAI's batch files: read into prompts, and their answers."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion

from nightrate import limits
from nightrate.dialects.openai import model_of_line, parse_chat
from nightrate.dialects.openai_endpoints import method_of
from nightrate.dialects.openai_shapes import ChatBody
from nightrate.dialects.row import Echo, ParsedLine
from nightrate.dialects.rows import (
    hand_of,
    more_faults,
    no_row,
    parse_row,
    render_unasked,
    repeated_key,
)
from nightrate.domain.batch import Dialect, InputFault, Kind, Method
from nightrate.domain.generation import Candidate, Failure, Message, Prompt, Reply, Usage
from nightrate.errors import Code, Refused

KIND = Kind(dialect=Dialect.OPENAI)
NOW = 1_700_000_000_000_000
BODY = {"model": "gemini-x", "messages": [{"role": "user", "content": "hi"}]}
LINE = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": BODY}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
PROMPT = Prompt(messages=(Message("user", "hi"),))
REPLY = Reply((Candidate("H\u00e9llo"),), Usage(3, 2), "echo-1")


def parsed(line: Any, number: int = 7) -> ParsedLine:
    text = line if isinstance(line, bytes | None) else msgspec.json.encode(line)
    return parse_row(text, number, KIND, "gemini-x")


def without(name: str) -> dict[str, Any]:
    return {member: value for member, value in LINE.items() if member != name}


def test_a_line_is_a_prompt_and_its_id() -> None:
    assert parsed(LINE) == ParsedLine(Echo(b'"a"'), PROMPT)
    assert parsed({**LINE, "body": {**BODY, "model": "models/gemini-x"}}).prompt == PROMPT


def test_the_id_is_the_same_however_it_is_spelled() -> None:
    spelled = msgspec.json.encode(LINE).replace(b'"a"', b'"\\u0061"')
    assert parsed(spelled).echo == Echo(b'"a"')


@pytest.mark.parametrize(
    "url",
    [
        "/v1/chat/completions",
        "/v1beta/openai/chat/completions",
        "/v1alpha/chat/completions",
        "/openai/chat/completions",
        "/chat/completions",
        "chat/completions",
    ],
)
def test_an_endpoint_has_many_spellings(url: str) -> None:
    assert method_of(url) is Method.GENERATE
    assert parsed({**LINE, "url": url}).prompt == PROMPT


@pytest.mark.parametrize("url", ["", "/v1/", "/v1/completions", "/v2/chat/completions", "x"])
def test_other_endpoints_are_none(url: str) -> None:
    assert method_of(url) is None


@pytest.mark.parametrize(
    ("line", "code", "field"),
    [
        (None, "invalid_json_line", None),
        (b"{", "invalid_json_line", None),
        (b"\xff", "invalid_json_line", None),
        (b'{"custom_id":"\xff"}', "invalid_json_line", None),
        (b"[]", "invalid_json_line", None),
        (b'{"a":' + b"[" * 150 + b"]" * 150 + b"}", "invalid_json_line", None),
        (without("custom_id"), "missing_required_parameter", "custom_id"),
        (without("method"), "missing_required_parameter", "method"),
        (without("url"), "missing_required_parameter", "url"),
        ({**LINE, "body": None}, "missing_required_parameter", "body"),
        ({**LINE, "custom_id": ""}, "missing_required_parameter", "custom_id"),
        ({**LINE, "custom_id": 5}, "invalid_value", "custom_id"),
        ({**LINE, "method": "GET"}, "invalid_value", "method"),
        ({**LINE, "body": "x"}, "invalid_value", "body"),
        ({**LINE, "body": {}}, "missing_required_parameter", "body.model"),
        ({**LINE, "body": {**BODY, "model": ""}}, "missing_required_parameter", "body.model"),
        ({**LINE, "body": {**BODY, "model": 5}}, "invalid_value", "body.model"),
        ({**LINE, "body": {**BODY, "model": "gemini-y"}}, "model_mismatch", "body.model"),
        ({**LINE, "url": "/v1/embeddings"}, "mismatched_endpoint", "url"),
        ({**LINE, "url": "/v1/images"}, "mismatched_endpoint", "url"),
        ({**LINE, "key": "x"}, "unknown_parameter", "key"),
        ({**LINE, "messages": []}, "unknown_parameter", "messages"),
    ],
)
def test_a_wrong_envelope_spoils_the_file(line: Any, code: str, field: str | None) -> None:
    row = parsed(line)
    assert row.fault is not None
    assert (row.fault.code, row.fault.line, row.fault.field) == (code, 7, field)
    assert row.fault.message.startswith("Line 7: ")
    assert row.prompt == Failure(Code.INVALID_ARGUMENT, row.fault.message, field)


def test_a_misplaced_member_is_told_where_it_belongs() -> None:
    fault = parsed({**LINE, "messages": []}).fault
    assert fault is not None
    assert fault.message == 'Line 7: messages: it is not known here. Put it inside "body".'


def test_a_line_that_spoils_the_file_keeps_its_id() -> None:
    assert parsed({**LINE, "method": "GET"}).echo == Echo(b'"a"')
    assert parsed({**LINE, "custom_id": 5}).echo == Echo()
    assert parsed(b"{").echo == Echo()


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({**BODY, "temperature": 9}, Code.INVALID_ARGUMENT, "temperature"),
        ({**BODY, "top_k": 9}, Code.INVALID_ARGUMENT, "top_k"),
        ({"model": "gemini-x"}, Code.INVALID_ARGUMENT, "messages"),
        ({**BODY, "n": 9}, Code.INVALID_ARGUMENT, "n"),
        ({**BODY, "stream": True}, Code.UNIMPLEMENTED, "stream"),
        ({**BODY, "stream_options": {}}, Code.INVALID_ARGUMENT, "stream_options"),
    ],
)
def test_a_wrong_body_is_the_failure_of_its_line(body: Any, code: Code, field: str) -> None:
    row = parsed({**LINE, "body": body})
    assert row.fault is None
    assert row.echo == Echo(b'"a"')
    assert isinstance(row.prompt, Failure)
    assert (row.prompt.code, row.prompt.field) == (code, field)
    assert row.prompt.message.startswith(f"{field}: "), "as a live call would have it"


@given(st.binary() | JSON.map(msgspec.json.encode))
def test_any_line_is_a_prompt_a_failure_or_a_fault(line: bytes) -> None:
    row = parsed(line)
    assert row.fault is None or isinstance(row.prompt, Failure)


@given(st.dictionaries(st.sampled_from(ChatBody.__struct_fields__), JSON))
def test_any_body_is_judged_in_a_line_as_in_a_live_call(members: dict[str, Any]) -> None:
    body = {**BODY, **members, "model": "gemini-x", "stream": False}
    row = parsed({**LINE, "body": body})
    try:
        live: Any = parse_chat(msgspec.json.encode(body)).prompt
    except Refused as error:
        live = Failure(error.code, error.message, error.field)
    assert row == ParsedLine(Echo(b'"a"'), live)


def test_a_line_beyond_the_limit_says_the_limit() -> None:
    fault = parsed(None).fault
    assert fault is not None
    assert f"{limits.LINE_BYTES_MAX // limits.MIB} MiB" in fault.message


@pytest.mark.parametrize(
    ("line", "model"),
    [
        (msgspec.json.encode(LINE), "gemini-x"),
        (b'{"body":{"model":"models/m"}}', "m"),
        (b'{"body":{"model":""}}', None),
        (b'{"body":{"model":5}}', None),
        (b'{"body":[]}', None),
        (b"[]", None),
        (b"x", None),
        (None, None),
    ],
)
def test_the_model_of_a_batch_is_that_of_its_first_line(
    line: bytes | None, model: str | None
) -> None:
    assert model_of_line(line) == model


def test_a_reply_is_what_a_live_call_gives() -> None:
    line = hand_of(KIND).render(Echo(b'"\\u00e9"'), REPLY, KIND.form, "b-1", NOW)
    assert line.isascii()
    row = json.loads(line)
    assert list(row) == ["id", "custom_id", "response", "error"]
    assert (row["id"], row["custom_id"], row["error"]) == ("batch_req_b-1", "\u00e9", None)
    assert (row["response"]["status_code"], row["response"]["request_id"]) == (200, "b-1")
    completion = ChatCompletion.model_validate(row["response"]["body"])
    assert completion.choices[0].message.content == "H\u00e9llo"


def test_a_failure_is_what_a_live_call_gives() -> None:
    failure = Failure(Code.INVALID_ARGUMENT, "n: no.", "n")
    row = json.loads(hand_of(KIND).render(Echo(b'"a"'), failure, KIND.form, "b-1", NOW))
    assert (row["custom_id"], row["error"], row["response"]["status_code"]) == ("a", None, 400)
    assert row["response"]["body"]["error"]["param"] == "n"


@pytest.mark.parametrize(
    ("code", "name"),
    [(Code.CANCELLED, "batch_cancelled"), (Code.DEADLINE_EXCEEDED, "batch_expired")],
)
def test_what_was_never_run_says_why(code: Code, name: str) -> None:
    row = json.loads(render_unasked(Echo(), Failure(code, "Too late."), KIND, "b-1"))
    assert row == {
        "id": "batch_req_b-1",
        "custom_id": None,
        "response": None,
        "error": {"code": name, "message": "Too late."},
    }


def test_the_other_dialect_says_it_in_its_own_way() -> None:
    line = render_unasked(Echo(b'"k"'), Failure(Code.CANCELLED, "Too late."), Kind(), "b-1")
    assert json.loads(line)["error"]["status"] == "CANCELLED"
    answered = hand_of(Kind()).render(Echo(b'"k"'), REPLY, Kind().form, "b-1", NOW)
    assert json.loads(answered)["response"]["responseId"] == "b-1"


def test_faults_of_whole_inputs() -> None:
    assert repeated_key(9, 2, KIND) == InputFault(
        "duplicate_custom_id", "Line 9: its custom_id is that of line 2.", 9, "custom_id"
    )
    assert no_row(KIND).code == "empty_file"
    assert more_faults(3, KIND).message == "... and 3 more."
