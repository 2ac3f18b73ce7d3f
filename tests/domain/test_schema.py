"""Forms of answers: what they have below them, whether they end, and their JSON Schema."""

from __future__ import annotations

import msgspec
import pytest

from nightrate.domain.schema import (
    ROOT,
    AnyValue,
    Array,
    Boolean,
    Choice,
    JSONForm,
    Member,
    Node,
    Null,
    Number,
    Object,
    Reference,
    Schema,
    String,
    StringFormat,
    Union,
    endless,
    json_schema_of,
    parts_of,
)

TREE = Object(members=(Member("next", Reference(name=ROOT), required=False),))


@pytest.mark.parametrize(
    ("node", "document"),
    [
        (AnyValue(description="free"), {"description": "free"}),
        (Null(), {"type": "null"}),
        (Boolean(), {"type": "boolean"}),
        (Number(), {"type": "number"}),
        (
            Number(whole=True, at_least=1, below=9),
            {"type": "integer", "minimum": 1, "exclusiveMaximum": 9},
        ),
        (String(), {"type": "string"}),
        (
            String(characters_min=1, characters_max=0, format=StringFormat.DATE_TIME),
            {"type": "string", "minLength": 1, "maxLength": 0, "format": "date-time"},
        ),
        (Choice(values=("a", 1, None)), {"enum": ["a", 1, None]}),
        (
            Array(items=None, first=(Null(),)),
            {"type": "array", "prefixItems": [{"type": "null"}], "items": False},
        ),
        (
            Array(items=Null(), items_min=1, items_max=2),
            {"type": "array", "items": {"type": "null"}, "minItems": 1, "maxItems": 2},
        ),
        (
            Object(others=Null(), members_max=3),
            {"type": "object", "additionalProperties": {"type": "null"}, "maxProperties": 3},
        ),
        (
            Object(members=(Member("a_b", Null(), required=True),), members_min=1),
            {
                "type": "object",
                "properties": {"a_b": {"type": "null"}},
                "required": ["a_b"],
                "additionalProperties": False,
                "minProperties": 1,
            },
        ),
        (
            Union(alternatives=(Null(), Boolean())),
            {"anyOf": [{"type": "null"}, {"type": "boolean"}]},
        ),
        (Reference(name=ROOT), {"$ref": "#"}),
    ],
)
def test_a_form_can_be_said_as_json_schema(node: Node, document: object) -> None:
    assert json_schema_of(Schema(node)) == document


def test_definitions_stand_beside_the_root() -> None:
    schema = Schema(Reference(name="a"), {"a": Null()})
    assert json_schema_of(schema) == {"$ref": "#/$defs/a", "$defs": {"a": {"type": "null"}}}
    assert schema.named("a") == Null()
    assert schema.named(ROOT) == Reference(name="a")


def test_a_form_survives_the_way_to_another_process() -> None:
    form = JSONForm(Schema(Array(items=Union(alternatives=(TREE, Choice(values=(True, 2)))))), "f")
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(form), type=JSONForm) == form


@pytest.mark.parametrize(
    ("node", "steps"),
    [
        (Null(), []),
        (
            Array(items=Null(), first=(Boolean(), String())),
            [".prefixItems[0]", ".prefixItems[1]", ".items"],
        ),
        (Array(items=None), []),
        (
            Object(members=(Member("a", Null(), required=False),), others=AnyValue()),
            [".properties.a", ".additionalProperties"],
        ),
        (TREE, [".properties.next"]),
        (Union(alternatives=(Null(), Boolean())), [".anyOf[0]", ".anyOf[1]"]),
        (Union(alternatives=(Null(), Boolean()), listed=False), ["", ""]),
    ],
)
def test_the_parts_of_a_form_have_their_steps(node: Node, steps: list[str]) -> None:
    assert [step for step, _ in parts_of(node)] == steps


SELF = Reference(name=ROOT)


@pytest.mark.parametrize(
    ("node", "ends"),
    [
        (TREE, True),
        (Object(members=(Member("next", SELF, required=True),)), False),
        (Object(members=(Member("next", Reference(name="leaf"), required=True),)), True),
        (Object(others=SELF), True),
        (Object(others=SELF, members_min=1), False),
        (Array(items=SELF), True),
        (Array(items=SELF, items_min=1), False),
        (Array(items=None, first=(SELF,), items_min=1), False),
        (Array(items=SELF, first=(Null(),), items_min=1), True),
        (Union(alternatives=(SELF, Null())), True),
        (Union(alternatives=(SELF, SELF)), False),
        (SELF, False),
    ],
)
def test_a_form_that_no_finite_value_has_is_found(node: Node, ends: bool) -> None:  # noqa: FBT001
    assert (endless(Schema(node, {"leaf": Null()})) is None) is ends


def test_the_definition_without_an_end_is_named() -> None:
    loop = Object(members=(Member("again", Reference(name="loop"), required=True),))
    assert endless(Schema(Array(items=Reference(name="loop")), {"loop": loop})) == "loop"
