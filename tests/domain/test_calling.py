"""Functions, and the form of a text that calls one."""

from __future__ import annotations

import pytest

from nightrate.domain.calling import (
    Call,
    Calling,
    CallMode,
    CallResult,
    Function,
    form_of_calls,
)
from nightrate.domain.generation import Message
from nightrate.domain.schema import (
    ROOT,
    Array,
    Choice,
    JSONForm,
    Member,
    Node,
    Object,
    Reference,
    Schema,
    String,
    Union,
    json_schema_of,
    renamed,
)

TREE = Schema(
    Object(
        members=(
            Member("left", Union(alternatives=(Reference(name=ROOT), String())), required=False),
            Member("leaf", Reference(name="leaf"), required=True),
        )
    ),
    {"leaf": String(characters_max=3)},
)


def calling(*functions: Function) -> Calling:
    return Calling(functions, CallMode.ANY, "tools", "mode")


def test_the_form_of_one_function_is_an_object_of_its_name_and_arguments() -> None:
    form = form_of_calls(calling(Function("clock")))
    assert form == JSONForm(
        Schema(
            Object(
                members=(
                    Member("name", Choice(values=("clock",)), required=True),
                    Member("arguments", Reference(name="0:"), required=True),
                )
            ),
            {"0:": Object()},
        ),
        "tools",
    )


def test_definitions_of_the_same_name_keep_apart_and_roots_refer_to_themselves() -> None:
    other = Schema(Array(items=Reference(name="leaf")), {"leaf": Choice(values=("x",))})
    schema = form_of_calls(calling(Function("tree", "", TREE), Function("b", "", other))).schema
    assert isinstance(schema.root, Union)
    assert schema.definitions == {
        "0:": Object(
            members=(
                Member(
                    "left", Union(alternatives=(Reference(name="0:"), String())), required=False
                ),
                Member("leaf", Reference(name="0:leaf"), required=True),
            )
        ),
        "0:leaf": String(characters_max=3),
        "1:": Array(items=Reference(name="1:leaf")),
        "1:leaf": Choice(values=("x",)),
    }
    assert json_schema_of(schema)  # every reference has its definition


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        (String(), String()),
        (Array(items=None, first=(Reference(name="a"),)),
         Array(items=None, first=(Reference(name="p:a"),))),
        (Object(others=Reference(name="a")), Object(others=Reference(name="p:a"))),
        (Reference(name=ROOT, description="d"), Reference(name="p:", description="d")),
    ],
)  # fmt: skip
def test_every_reference_of_a_node_is_renamed(node: Node, expected: Node) -> None:
    assert renamed(node, "p:") == expected


def test_calls_and_results_can_be_said_in_words() -> None:
    call, result = Call("clock", "{}", "1"), CallResult("clock", '{"hour":5}', "1")
    assert Message("model", "", (call,)).words == "I call clock with {}."
    assert Message("user", "So?", results=(result,)).words == 'So?\nclock returned {"hour":5}.'
    assert Message("user", "So?").words == "So?"
