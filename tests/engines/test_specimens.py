"""Made-up answers fit their forms."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings

from nightrate import limits
from nightrate.domain.schema import ChoiceForm
from nightrate.engines.specimens import specimen_of
from nightrate.errors import Code, RequestFailed
from tests.engines.forms import FIELD, fits, form_of, schemas


@settings(max_examples=200, deadline=None)
@given(schemas)
def test_the_plainest_answer_follows_the_schema(tree: dict[str, Any]) -> None:
    assert fits(specimen_of(form_of(tree)), tree)


TREE = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "next": {"$ref": "#"}},
    "required": ["name"],
}


@pytest.mark.parametrize(
    ("tree", "text"),
    [
        ({}, "{}"),
        (TREE, '{"name":"text","next":{"name":"text"}}'),
        ({"items": {"$ref": "#"}}, "[[]]"),
        ({"anyOf": [{"items": {"$ref": "#"}, "minItems": 1}, {"type": "null"}]}, "[null]"),
        ({"type": "integer", "minimum": 7}, "7"),
        ({"type": "number", "exclusiveMinimum": 0.25, "exclusiveMaximum": 0.75}, "0.5"),
        ({"type": "string", "minLength": 6, "maxLength": 8}, '"textxx"'),
        ({"type": "string", "maxLength": 2}, '"te"'),
        ({"properties": {"a": {"type": "null"}, "b": {"type": "null"}}, "maxProperties": 1},
         '{"a":null}'),
        ({"additionalProperties": {"type": "null"}, "minProperties": 2},
         '{"name1":null,"name2":null}'),
        ({"properties": {"name1": {"type": "null"}}, "additionalProperties": {"type": "boolean"},
          "minProperties": 2}, '{"name1":null,"name2":false}'),
        ({"prefixItems": [{"type": "null"}], "items": {"type": "boolean"}, "minItems": 3},
         "[null,false,false]"),
    ],
)  # fmt: skip
def test_it_is_plain(tree: object, text: str) -> None:
    assert specimen_of(form_of(tree)) == text
    assert fits(text, tree)


def test_a_choice_is_the_first() -> None:
    assert specimen_of(ChoiceForm(("b", "a"), FIELD)) == "b"


@pytest.mark.parametrize("ways", ["all", "some"])
def test_definitions_that_name_each_other_at_will_end(ways: str) -> None:
    names = [f"d{number}" for number in range(12)]
    table = {name: {"$ref": f"#/$defs/{name}"} for name in names}
    required = [] if ways == "all" else names[:1]
    one = {"properties": table, "required": []}
    tree = {"$defs": dict.fromkeys(names, one), "properties": table, "required": required}
    text = specimen_of(form_of(tree))
    assert msgspec.json.decode(text).keys() == set(required)


@pytest.mark.parametrize(
    "tree",
    [
        {"type": "string", "minLength": limits.SPECIMEN_SIZE_MAX},
        {"items": {"type": "null"}, "minItems": 10**12},
        {
            "$defs": {
                f"d{number}": {"prefixItems": [{"$ref": f"#/$defs/d{number + 1}"}], "minItems": 1}
                for number in range(300)
            }
            | {"d300": {}},
            "prefixItems": [{"$ref": "#/$defs/d0"}],
            "minItems": 1,
        },
    ],
)
def test_an_answer_that_must_be_huge_is_refused(tree: object) -> None:
    with pytest.raises(RequestFailed) as failed:
        specimen_of(form_of(tree))
    assert failed.value.code is Code.INVALID_ARGUMENT
    assert failed.value.message.startswith(f"{FIELD}: ")
