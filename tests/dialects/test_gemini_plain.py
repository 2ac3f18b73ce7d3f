"""Plain requests are read in one go, and mean exactly what the full reading says."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightrate.dialects.gemini_lines import parse_line, parse_line_in_full
from nightrate.dialects.gemini_plain import PlainRequest, PlainSettings, plain_prompt
from nightrate.dialects.rows import sound_reader
from nightrate.domain.batch import BatchForm, Kind
from nightrate.domain.generation import Failure
from tests.fuzz.pure import damaged

FILE, INLINE = BatchForm.FILE, BatchForm.INLINE
REQUEST = '{"contents":[{"parts":[{"text":"hi"}]}]}'
MODELS = ["m", "gemini-3-pro-image"]

TEXTS = st.sampled_from(["", "hi", "ü\U0001f600", '"\\', "\x00", None, 7])
PARTS = st.dictionaries(
    st.sampled_from(["text", "text", "text", "thought", "thoughtSignature", "inlineData", "x"]),
    st.one_of(TEXTS, st.booleans()),
    max_size=2,
)
ROLES = st.sampled_from([None, "", "user", "model", "function", "system", "User", 1])
TURNS = st.one_of(
    st.fixed_dictionaries(
        {"parts": st.one_of(st.lists(PARTS, max_size=3), PARTS, TEXTS)},
        optional={"role": ROLES, "name": TEXTS},
    ),
    TEXTS,
)
EDGES: list[object] = [
    *(-(2**31) - 1, -(2**31), -3, -2.01, -2, -1, -0.01, 0, -0.0, 0.5, 1, 1.0, 1.01, 1.5, 2, 2.01),
    *(5, 8, 9, 2**31 - 1, 2**31, 1e30, 2**70, 40.0, None, True, False, "", "1", "x", {}, [], [""]),
    *(["a"], ["a", ""], ["a"] * 5, ["a"] * 6),
]
SETTING_NAMES = [field.encode_name for field in msgspec.structs.fields(PlainSettings)]
VALUES = st.sampled_from(EDGES)
STOPS = st.lists(TEXTS, max_size=6)
SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(SETTING_NAMES, VALUES),
        "stopSequences": st.one_of(VALUES, STOPS),
        "max_output_tokens": VALUES,
        "responseMimeType": st.sampled_from(["", "text/plain", "application/json", "x"]),
        "responseModalities": st.sampled_from([[], ["TEXT"], ["IMAGE"], ["x"]]),
    },
)
REQUESTS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"contents": st.one_of(st.lists(TURNS, max_size=3), TURNS)},
    optional={
        "systemInstruction": TURNS,
        "generationConfig": st.one_of(SETTINGS, TEXTS),
        "model": st.sampled_from(["m", "models/m", "other", ""]),
        "cachedContent": TEXTS,
        "tools": st.just([]),
        "foo": TEXTS,
    },
)
KEYS: st.SearchStrategy[object] = st.one_of(
    TEXTS, st.sampled_from([True, 1.5, [], {"a": [1]}, [[[]]]])
)
LINES: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"request": REQUESTS},
    optional={
        "key": KEYS,
        "metadata": st.one_of(KEYS, st.dictionaries(st.sampled_from(["key", "a"]), KEYS)),
        "extra": KEYS,
    },
)


def nested(levels: int) -> str:
    return "[" * levels + "]" * levels


def agree(line: bytes, form: BatchForm, model: str = "m") -> None:
    in_full = parse_line_in_full(line, 7, form, model)
    assert parse_line(line, 7, form, model) == in_full
    if surely_sound(line, form):
        assert not isinstance(in_full.prompt, Failure)


def surely_sound(line: bytes, form: BatchForm) -> bool:
    """Tell what planning takes without a closer look."""
    try:
        sound_reader(Kind(form))(line)
    except (ValueError, RecursionError):
        return False
    return True


@given(line=LINES, form=st.sampled_from(BatchForm), model=st.sampled_from(MODELS))
def test_a_line_is_read_in_one_go_as_it_is_in_full(
    line: dict[str, Any], form: BatchForm, model: str
) -> None:
    agree(msgspec.json.encode(line), form, model)


@pytest.mark.parametrize("name", SETTING_NAMES)
def test_a_setting_has_the_same_bounds_in_both_readings(name: str) -> None:
    for value in EDGES:
        request = {"contents": [{"parts": [{"text": "hi"}]}], "generationConfig": {name: value}}
        agree(msgspec.json.encode({"request": request}), FILE)


@pytest.mark.parametrize("role", [None, "", "user", "model", "function", "system", "User", 1])
@pytest.mark.parametrize("parts", [None, "", "hi", [], ["hi"], [{}], {"text": "hi"}])
def test_a_turn_means_the_same_in_both_readings(role: object, parts: object) -> None:
    for turn in ({"role": role, "parts": parts}, {"parts": [{"text": ""}], "role": role}):
        for request in (
            {"contents": [turn]},
            {"contents": [turn, {"parts": [{"text": "hi"}]}]},
            {"contents": [{"parts": [{"text": "hi"}]}], "systemInstruction": turn},
        ):
            agree(msgspec.json.encode({"request": request}), FILE)


@pytest.mark.parametrize("form", BatchForm)
def test_a_damaged_line_is_read_in_one_go_as_it_is_in_full(form: BatchForm) -> None:
    chance = random.Random(7)
    for _ in range(2_000):
        agree(damaged(chance), form)


@pytest.mark.parametrize(
    "line",
    [
        '{"key":"a\\u00fc\\n","request":%s}',
        '{"key":"\\ud800","request":%s}',
        '{"key" : "k" , "request":%s} \r',
        '{"key":"a","key":"b","request":%s}',
        '{"request":{"contents":[]},"request":%s}',
        '{"request":%s,"metadata":{"key":"k","key":"l"}}',
        '{"request":%s,"metadata":{}}',
        '{"request":%s,"metadata":null,"key":null}',
        '{"request":%s,"key":{"a":\n1}}',
        '{"request":%s,"metadata":{"a":"\\ud800"}}',
        '{"request":%s}{}',
        '\ufeff{"request":%s}',
        *(f'{{"request":%s,"key":{nested(levels)}}}' for levels in (98, 99, 100, 101, 1_200)),
        *(f'{{"request":%s,"metadata":{{"a":{nested(levels)}}}}}' for levels in (97, 98, 99, 100)),
    ],
)
@pytest.mark.parametrize("form", BatchForm)
@pytest.mark.parametrize("text", ["hi", "\\ud83d\\ude00", "\\udc00", "[" * 200, "\x01"])
def test_a_hostile_line_is_read_in_one_go_as_it_is_in_full(
    line: str, form: BatchForm, text: str
) -> None:
    request = REQUEST.replace("hi", text)
    agree(line.replace("%s", request).encode(), form)


def test_no_other_bytes_than_utf8_are_taken() -> None:
    line = b'{"key":"a","request":{"contents":[{"parts":[{"text":"\xff"}]}]}}'
    agree(line, FILE)
    assert isinstance(parse_line(line, 7, FILE, "m").prompt, Failure)


def test_the_usual_request_is_plain() -> None:
    request = b"""{
        "contents": [{"parts": [{"text": "a"}, {"text": "b"}], "role": "user"}],
        "systemInstruction": {"parts": [{"text": "s"}]},
        "generationConfig": {"temperature": 1, "topK": 40, "maxOutputTokens": 9, "seed": 1}
    }"""
    assert surely_sound(b'{"request":' + request + b',"key":"k"}\r', FILE)
    assert surely_sound(b'{"request":' + request + b',"metadata":{"key":"k"}}', INLINE)
    prompt = plain_prompt(msgspec.json.decode(request, type=PlainRequest), "m")
    line = b'{"request":' + request.replace(b"\n", b"") + b"}"
    assert prompt == parse_line_in_full(line, 7, FILE, "m").prompt
    assert (prompt.messages[0].text, prompt.system) == ("ab", "s")
