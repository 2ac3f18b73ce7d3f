"""Values that have the form of a schema, and such that do not, against a judge that is not ours."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightrate.dialects.json_schema import read_schema
from nightrate.domain.fitting import fits
from nightrate.domain.schema import (
    ROOT,
    Array,
    Object,
    Reference,
    Schema,
    String,
    Union,
    json_schema_of,
)
from nightrate.engines.specimens import specimen_of
from tests.engines.forms import FIELD, form_of, schemas
from tests.engines.forms import fits as judged

VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(-5, 5) | st.text("xé", max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "b_c", "dE"]), inner, max_size=3)
    ),
    max_leaves=6,
)


def without_formats(tree: Any) -> Any:
    """Drop the formats of texts, which are not looked at."""
    if isinstance(tree, list):
        return [without_formats(part) for part in tree]
    if not isinstance(tree, dict):
        return tree
    return {name: without_formats(part) for name, part in tree.items() if name != "format"}


@given(schemas.map(without_formats), VALUES)
def test_any_value_fits_if_a_judge_says_so(tree: Any, value: Any) -> None:
    ours = {name: part for name, part in tree.items() if name != "propertyOrdering"}
    assert fits(value, read_schema(tree)) is judged(msgspec.json.encode(value).decode(), ours)


@given(schemas)
def test_the_plainest_answer_of_a_form_fits(tree: Any) -> None:
    form = form_of(tree)
    assert form.field == FIELD
    assert fits(msgspec.json.decode(specimen_of(form)), form.schema)


TREE = Schema(
    Union(
        alternatives=(
            Reference(name="leaf"),
            Reference(name=ROOT),
            Array(items=Reference(name=ROOT)),
        )
    ),
    {"leaf": Union(alternatives=(Reference(name=ROOT), String()))},
)


@pytest.mark.parametrize("value", ["x", [], [["x", []], "y"]])
def test_a_form_that_refers_to_itself_comes_to_an_end(value: object) -> None:
    assert fits(value, TREE)
    assert not fits([value, 5], TREE)


def test_an_object_has_as_many_members_as_it_may() -> None:
    schema = read_schema({"type": "object", "minProperties": 1, "maxProperties": 2})
    assert [fits(dict.fromkeys("abc"[:count]), schema) for count in range(4)] == [
        *(False, True),
        *(True, False),
    ]


def test_no_arguments_are_no_members() -> None:
    assert fits({}, Schema(Object()))
    assert not fits({"a": 1}, Schema(Object()))
    assert not fits([], Schema(Object()))


@pytest.mark.parametrize(
    ("tree", "value", "fit"),
    [
        ({"type": "array", "items": {"type": "string"}, "minItems": 2}, ["a"], False),
        ({"type": "array", "items": {"type": "string"}, "maxItems": 1}, ["a", "b"], False),
        ({"type": "array", "items": {"type": "string"}, "minItems": 1}, ["a"], True),
        ({"type": "array", "prefixItems": [{"type": "string"}], "items": False}, ["a", 1], False),
        ({"type": "object", "additionalProperties": True, "minProperties": 1}, {}, False),
        ({"type": "object", "additionalProperties": True, "maxProperties": 0}, {"a": 1}, False),
        ({"type": "object", "properties": {"a": {}}, "required": ["a"]}, {}, False),
        ({"type": "object", "properties": {"a": {"type": "string"}}}, {"a": 1}, False),
        ({"type": "object", "additionalProperties": False}, {"a": 1}, False),
        ({"type": "string", "minLength": 2}, "é", False),
        ({"type": "string", "maxLength": 2}, "éé", True),
        ({"type": "string", "maxLength": 2}, "ééé", False),
        ({"type": "string", "pattern": "a+"}, "aa", True),
        ({"type": "string", "pattern": "a+"}, "ab", False),
    ],
)
def test_counts_and_names_are_kept(tree: Any, value: Any, fit: bool) -> None:  # noqa: FBT001
    assert fits(value, read_schema(tree)) is fit


@pytest.mark.parametrize(
    ("tree", "value"),
    [
        ({"multipleOf": 5}, 10),
        ({"multipleOf": 5}, 12),
        ({"multipleOf": 0.5}, -1.5),
        ({"multipleOf": 0.5}, 0.25),
        ({"type": "array", "uniqueItems": True}, []),
        ({"type": "array", "uniqueItems": True}, [1, True, "1", None, [1], {"a": 1}]),
        ({"type": "array", "uniqueItems": True}, [1, 1.0]),
        ({"type": "array", "uniqueItems": True}, [[1, {"a": 2, "b": 3}], [1, {"b": 3, "a": 2}]]),
        ({"type": "array", "uniqueItems": True}, [0, False]),
    ],
)
def test_what_no_grammar_keeps_is_seen_here(tree: Any, value: Any) -> None:
    schema = read_schema(tree)
    assert schema.loose
    assert fits(value, schema) is judged(msgspec.json.encode(value).decode(), tree)
    assert json_schema_of(schema).items() >= tree.items()


def test_decimals_are_multiples_as_they_are_written() -> None:
    assert fits(0.3, read_schema({"multipleOf": 0.1}))
    assert not fits(0.35, read_schema({"multipleOf": 0.1}))


def test_a_schema_is_loose_wherever_the_keyword_stands() -> None:
    inner = {"properties": {"a": {"anyOf": [{"items": {"multipleOf": 2}}, {"type": "null"}]}}}
    assert read_schema(inner).loose
    assert read_schema({"$defs": {"a": inner}, "$ref": "#/$defs/a"}).loose
    assert not read_schema({"items": {"minimum": 1}, "uniqueItems": False}).loose
