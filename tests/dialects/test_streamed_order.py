"""Streamed JSON goes on as far as it is in order, and ends as the whole answer would."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightrate.dialects.json_schema import read_schema
from nightrate.dialects.streamed_order import TextsInOrder
from nightrate.domain.fitting import fits
from nightrate.domain.generation import (
    Candidate,
    FinishReason,
    LogprobsWish,
    Message,
    Prompt,
    Reply,
    Usage,
)
from nightrate.domain.ordering import ordered
from nightrate.domain.schema import ChoiceForm, JSONForm, Object, Schema
from nightrate.engines.specimens import specimen_of
from tests.domain.test_fitting import TREE
from tests.domain.test_ordering import NUMBERED, PERSON, turned
from tests.engines.forms import form_of, schemas

PAIR = {
    "type": "object",
    "properties": {"a": {}, "b": {}, "c": {}},
    "propertyOrdering": ["a", "b", "c"],
}
DOUBLED: dict[str, Any] = {
    "$ref": "#/$defs/0",
    "$defs": {
        **{str(at): {"anyOf": [{"$ref": f"#/$defs/{at + 1}"}] * 2} for at in range(200)},
        "200": {
            "type": "object",
            "properties": {"a": {"type": "number"}, "b": {"type": "number"}},
        },
    },
}
TWO = {"anyOf": [PERSON, NUMBERED]}
MAYBE = {"type": "object", "properties": {"who": {"anyOf": [PERSON, {"type": "null"}]}}}


def prompt_of(schema: Schema, **more: Any) -> Prompt:
    return Prompt(messages=(Message("user", "x"),), form=JSONForm(schema, "f"), **more)


def reply_of(text: str, finish: FinishReason = FinishReason.STOP) -> Reply:
    return Reply((Candidate(text, finish),), Usage(1, 1), "m")


def streamed(
    prompt: Prompt, text: str, sizes: list[int], finish: FinishReason = FinishReason.STOP
) -> tuple[list[str], str, str]:
    """Stream a text in pieces: give what was seen of each, the rest, and the text of the reply."""
    texts, place, seen = TextsInOrder(prompt), 0, []
    for size in [*sizes, len(text)]:
        seen.append(texts.feed(text[place : place + size]))
        place += size
    reply, rest = texts.end(reply_of(text, finish))
    return seen, rest, reply.candidates[0].text


@pytest.mark.parametrize(
    ("tree", "text", "seen"),
    [
        (PAIR, '{"a":"x\\"{,","b":{"c":1,"b":2},"c":[]}', None),
        (PAIR, '{"b":1,"a":2,"c":3}', "{"),
        (PAIR, '{"a":[1,{"b":1}],"c":2,"b":3}', '{"a":[1,{"b":1}],'),
        (PAIR, '{"a":1,"c":2}', '{"a":1,'),
        (PAIR, '{"\\u0061":1,"b":2}', "{"),
        (PERSON, '{"age":1,"name":"n"}', None),
        ({"type": "array", "items": PERSON}, '[{"age":1,"name":"n"},{"name":"m","age":2}]', 23),
        (
            {"prefixItems": [PERSON, {"type": "number"}], "items": PERSON},
            '[{"age":1,"name":"n"},7,{"age":1,"name":"n"},{"name":"n"}]',
            46,
        ),
        (NUMBERED, '{"n":1,"of":{"name":"n","age":1}}', '{"n":1,"of":{'),
        (TWO, '{"age":1,"name":"n"}', ""),
        (MAYBE, '{"who":{"name":"n","age":1}}', '{"who":{'),
        (MAYBE, '{"who":null}', None),
        ({"type": "object", "additionalProperties": PERSON}, '{"z":{"age":1},"b":{"name":""}}', 20),
        ({}, '{"b":1,"a":{"d":1,"c":2}}', None),
        ({"type": "string"}, '"{\\"b\\""', None),
        ({"type": "array", "items": {}}, "[[],[1,[{}]]]", None),
    ],
)
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_what_is_in_order_goes_on_and_the_rest_comes_at_the_end(
    tree: Any, text: str, seen: str | int | None, size: int
) -> None:
    schema = read_schema(tree)
    pieces, rest, whole = streamed(prompt_of(schema), text, [size] * (len(text) // size))
    expected = text if seen is None else text[:seen] if isinstance(seen, int) else seen
    assert "".join(pieces) == expected
    assert "".join(pieces) + rest == whole == ordered(text, schema)


def test_a_long_text_within_a_member_goes_on_as_it_comes() -> None:
    pieces, rest, _ = streamed(prompt_of(read_schema(PAIR)), '{"a":"one two","b":1}', [5, 4, 4])
    assert (pieces, rest) == (['{"a":', '"one', " two", '","b":1}'], "")


def test_members_that_are_not_listed_go_on_after_those_that_are() -> None:
    schema = read_schema({"properties": {"a": {}}})
    assert isinstance(schema.root, Object)
    loose = Schema(msgspec.structs.replace(schema.root, others=read_schema(PERSON).root))
    prompt = prompt_of(loose)
    assert streamed(prompt, '{"a":1,"z":{"age":1},"b":{}}', [])[1] == ""
    pieces, rest, whole = streamed(prompt, '{"z":{"age":1},"a":1}', [])
    assert (pieces, rest, whole) == (["{"], '"a":1,"z":{"age":1}}', '{"a":1,"z":{"age":1}}')


def test_definitions_that_each_lead_to_the_next_in_two_ways_take_no_time() -> None:
    schema = read_schema(DOUBLED)
    pieces, rest, whole = streamed(prompt_of(schema), '{"b":1,"a":2}', [])
    assert (pieces, rest, whole) == (["{"], '"a":2,"b":1}', '{"a":2,"b":1}')
    assert not fits({"a": "x"}, schema)


def test_many_members_that_are_not_listed_take_no_time() -> None:
    listed: dict[str, Any] = {f"m{number}": {} for number in range(900)}
    schema = read_schema({"properties": listed})
    assert isinstance(schema.root, Object)
    loose = Schema(msgspec.structs.replace(schema.root, others=read_schema({}).root))
    names = [*listed, *(f"x{number}" for number in range(50_000))]
    text = msgspec.json.encode(dict.fromkeys(names, 1)).decode()
    assert streamed(prompt_of(loose), text, [])[1] == ""


def test_an_answer_that_was_cut_ends_as_it_came() -> None:
    prompt = prompt_of(read_schema(PAIR))
    for finish in (FinishReason.LENGTH, FinishReason.STOP):  # By its length, by a stop sequence.
        pieces, rest, whole = streamed(prompt, '{"a":1,"c":2,"b":"x', [], finish)
        assert (pieces, rest, whole) == (['{"a":1,'], '"c":2,"b":"x', '{"a":1,"c":2,"b":"x')


def test_a_name_that_is_there_twice_leaves_the_answer_as_it_came() -> None:
    text = '{"a":1,"a":2}'
    pieces, rest, whole = streamed(prompt_of(read_schema({"properties": {"a": {}}})), text, [])
    assert (pieces, rest, whole) == (['{"a":1,'], '"a":2}', text)


@pytest.mark.parametrize("text", ['{"a\ud800":1}', "}]{", ',:"'])
def test_what_is_no_json_does_no_harm(text: str) -> None:
    pieces, rest, whole = streamed(prompt_of(read_schema(PAIR)), text, [], FinishReason.LENGTH)
    assert "".join(pieces) + rest == whole == text


def test_a_form_that_refers_to_itself_comes_to_an_end() -> None:
    text = '[["x",[]],"y"]'
    pieces, rest, whole = streamed(prompt_of(TREE), text, [])
    assert "".join(pieces) + rest == whole == text


@pytest.mark.parametrize(
    "prompt",
    [
        Prompt(messages=(Message("user", "x"),)),
        Prompt(messages=(Message("user", "x"),), form=ChoiceForm(("x",), "f")),
        prompt_of(read_schema(PAIR), logprobs=LogprobsWish(1, "l")),
    ],
)
def test_other_texts_go_on_as_they_are(prompt: Prompt) -> None:
    assert streamed(prompt, '{"b":1,"a":2}', []) == (['{"b":1,"a":2}'], "", '{"b":1,"a":2}')


def mixed(value: Any, random_: random.Random) -> Any:
    """Put the members of all objects in some order."""
    if isinstance(value, dict):
        names = random_.sample(list(value), len(value))
        return {name: mixed(value[name], random_) for name in names}
    return [mixed(inner, random_) for inner in value] if isinstance(value, list) else value


@given(schemas, st.randoms(use_true_random=False), st.lists(st.integers(1, 9)), st.booleans())
def test_what_was_seen_is_the_beginning_of_the_answer_that_a_batch_would_have(
    tree: Any,
    random_: random.Random,
    sizes: list[int],
    turn: bool,  # noqa: FBT001 - drawn
) -> None:
    form = form_of(tree)
    value = msgspec.json.decode(specimen_of(form))
    text = msgspec.json.encode(turned(value) if turn else mixed(value, random_)).decode()
    pieces, rest, whole = streamed(prompt_of(form.schema), text, sizes)
    assert "".join(pieces) + rest == whole == ordered(text, form.schema)
