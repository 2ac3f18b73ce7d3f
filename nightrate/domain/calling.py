"""Functions of the client that an answer may call, and the calls of a conversation."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from nightrate.domain.schema import (
    Choice,
    JSONForm,
    Member,
    Node,
    Object,
    Reference,
    Schema,
    Union,
    renamed,
)

NAME = "name"
ARGUMENTS = "arguments"
"""The members of a call, where it is written as JSON."""


class CallMode(StrEnum):
    """Who decides whether a function is called."""

    AUTO = "auto"
    """The model: it calls one, or answers in words."""
    ANY = "any"
    """The client: the answer is a call."""


class Function(Struct, frozen=True, gc=False):
    """A function of the client: what it is for, and the form of its arguments.

    Without ``parameters`` its arguments are an object without members. ``strict`` is the client's
    word to an engine that would take the form for advice.
    """

    name: str
    description: str = ""
    parameters: Schema = Schema(Object())
    strict: bool = False


class Calling(Struct, frozen=True, gc=False):
    """The functions that an answer may call, at least one.

    ``field`` is the path under which they were declared, ``mode_field`` that of the mode. An answer
    that is ``single`` calls one at most; else how many is the engine's choice. Arguments that do
    not fit what was declared are no call where ``held`` or the function's ``strict`` says so.
    """

    functions: tuple[Function, ...]
    mode: CallMode
    field: str
    mode_field: str
    single: bool = False
    held: bool = False


class Call(Struct, frozen=True, gc=False):
    """A call: the function's name, and its arguments as the JSON text of an object."""

    name: str
    arguments: str
    call_id: str | None = None

    @property
    def words(self) -> str:
        """Say who is called with what."""
        return f"I call {self.name} with {self.arguments}."


class CallResult(Struct, frozen=True, gc=False):
    """What a function answered: the JSON text of an object, or words."""

    name: str
    response: str
    call_id: str | None = None

    @property
    def words(self) -> str:
        """Say who answered what."""
        return f"{self.name} returned {self.response}."


def form_of_calls(calling: Calling) -> JSONForm:
    """Give the form of a text that is one call: an object of a name and arguments that fit it."""
    definitions: dict[str, Node] = {}
    calls: list[Node] = []
    for index, function in enumerate(calling.functions):
        prefix = f"{index}:"
        schema = function.parameters
        root = Reference(name=prefix)
        definitions[prefix] = renamed(schema.root, prefix)
        definitions |= {
            prefix + name: renamed(node, prefix) for name, node in schema.definitions.items()
        }
        members = (
            Member(NAME, Choice(values=(function.name,)), required=True),
            Member(ARGUMENTS, root, required=True),
        )
        calls.append(Object(members=members))
    root_node = calls[0] if len(calls) == 1 else Union(alternatives=tuple(calls))
    return JSONForm(Schema(root_node, definitions), calling.field)
