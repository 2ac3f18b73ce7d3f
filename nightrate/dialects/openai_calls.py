"""Functions in OpenAI's chats: their declarations, and calls in a conversation and an answer."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec
from msgspec import Struct, json

from nightrate import limits
from nightrate.dialects.json_schema import schema_of_client
from nightrate.dialects.openai_shapes import (
    ChatBody,
    ChatMessage,
    ChatTool,
    DeclaredFunction,
    ToolCall,
)
from nightrate.dialects.refusals import unserved, within, wrong
from nightrate.dialects.spelling import quoted
from nightrate.domain.calling import Call, Calling, CallMode, CallResult, Function
from nightrate.domain.generation import Candidate
from nightrate.domain.schema import Object, Schema, Union
from nightrate.errors import Refused

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_MODES: Final = {"auto": CallMode.AUTO, "required": CallMode.ANY, "none": None}
_FUNCTIONS_ONLY = "Declare functions only."
_FUNCTION = "function"
_ARGUMENTS: Final = json.Decoder(dict)


def calling_of(body: ChatBody) -> Calling | None:
    """Find the functions that an answer may call; None when it calls none.

    Raises:
        BadRequest: a declaration or the choice is malformed, or names what is not there.
        NotSupported: a tool is no function, or a schema says what cannot be honoured.
    """
    functions = _declared(body.tools or [])
    wanted = body.tool_choice
    if wanted is None:
        mode: CallMode | None = CallMode.AUTO
    elif isinstance(wanted, str):
        if wanted not in _MODES:
            raise wrong("tool_choice", f'"{quoted(wanted)}" is not known.')
        mode = _MODES[wanted]
    else:
        mode = CallMode.ANY
        functions = _chosen(functions, wanted)
    if mode is CallMode.ANY and not functions:
        raise wrong("tool_choice", "there are no functions to call: declare some under tools.")
    if mode is None or not functions:
        return None
    return Calling(
        tuple(functions.values()),
        mode,
        field="tools",
        mode_field="tool_choice",
        single=body.parallel_tool_calls is False,
    )


def _declared(tools: list[ChatTool]) -> dict[str, Function]:
    if len(tools) > limits.FUNCTIONS_MAX:
        most = limits.FUNCTIONS_MAX
        raise wrong("tools", f"there are {len(tools)}, and at most {most} are allowed.")
    functions: dict[str, Function] = {}
    for index, tool in enumerate(tools):
        at = f"tools[{index}]"
        _check_kind(tool.type, f"{at}.type")
        if tool.function is None:
            raise wrong(f"{at}.function", "it is missing.")
        function = _function(tool.function, f"{at}.function")
        if function.name in functions:
            raise wrong(f"{at}.function.name", f'"{function.name}" is declared twice.')
        functions[function.name] = function
    return functions


def _check_kind(kind: str, at: str) -> None:
    if kind == "custom":
        raise unserved(at, _FUNCTIONS_ONLY)
    if kind != _FUNCTION:
        raise wrong(at, f'"{quoted(kind)}" is not known.')


def _function(declared: DeclaredFunction, at: str) -> Function:
    _check_name(declared.name, f"{at}.name")
    schema = Schema(Object())
    if declared.parameters:
        try:
            schema = schema_of_client(declared.parameters)
        except Refused as error:
            raise within(error, f"{at}.parameters") from error
        if not _is_object(schema):
            raise wrong(f"{at}.parameters", "arguments are an object.")
    strict = bool(declared.strict)
    return Function(declared.name, declared.description or "", schema, strict)


def _is_object(schema: Schema) -> bool:
    root = schema.root
    parts = root.alternatives if isinstance(root, Union) else (root,)
    return all(isinstance(part, Object) for part in parts)


def _check_name(name: str, at: str) -> None:
    if not _NAME.fullmatch(name):
        why = "it must have 1 to 64 letters, digits and _ -"
        raise wrong(at, f'"{quoted(name)}" is no name of a function: {why}')


def _chosen(functions: dict[str, Function], wanted: Any) -> dict[str, Function]:
    """Give the one function that must be called."""
    at = "tool_choice"
    if not isinstance(wanted, dict):
        raise wrong(at, "it is neither a text nor an object.")
    kind = wanted.get("type")
    if kind in ("custom", "allowed_tools"):
        raise unserved(f"{at}.type", "Declare those functions alone that may be called.")
    if kind != _FUNCTION:
        raise wrong(f"{at}.type", f'"{quoted(str(kind))}" is not known.')
    for name in wanted:
        if name not in ("type", _FUNCTION):
            raise wrong(f"{at}.{quoted(name)}", "it is not known here.")
    inner = wanted.get(_FUNCTION)
    if not isinstance(inner, dict) or inner.keys() != {"name"}:
        raise wrong(f"{at}.{_FUNCTION}", "it is not an object with a name alone.")
    name = inner["name"]
    if not isinstance(name, str) or name not in functions:
        raise wrong(f"{at}.{_FUNCTION}.name", f'"{quoted(str(name))}" is not declared.')
    return {name: functions[name]}


class History:
    """The calls of a conversation so far: a result names one of them by its id."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def calls_of(self, turn: ChatMessage) -> tuple[Call, ...]:
        """Read what the assistant called in a turn.

        Raises:
            BadRequest: a call is malformed.
            NotSupported: it is of no function.
        """
        calls = tuple(
            _call(call, f"tool_calls[{index}]") for index, call in enumerate(turn.tool_calls or ())
        )
        self._names |= {call.call_id: call.name for call in calls if call.call_id}
        return calls

    def result_of(self, turn: ChatMessage, text: str) -> CallResult:
        """Read what a function answered.

        Raises:
            BadRequest: it does not say which call it is of.
        """
        if not turn.tool_call_id:
            raise wrong("tool_call_id", "it is missing.")
        name = self._names.get(turn.tool_call_id)
        if name is None:
            why = f'no call before it has the id "{quoted(turn.tool_call_id)}".'
            raise wrong("tool_call_id", why)
        if turn.name not in (None, "", name):
            raise wrong("name", f'the call with this id is of "{name}".')
        return CallResult(name, text, turn.tool_call_id)


def _call(call: ToolCall, at: str) -> Call:
    _check_kind(call.type or _FUNCTION, f"{at}.type")
    if not call.id:
        raise wrong(f"{at}.id", "it is missing.")
    if call.function is None:
        raise wrong(f"{at}.function", "it is missing.")
    _check_name(call.function.name, f"{at}.function.name")
    arguments = call.function.arguments or "{}"
    try:
        _ARGUMENTS.decode(arguments)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise wrong(f"{at}.function.arguments", "it is not the JSON of an object.") from error
    return Call(call.function.name, arguments, call.id)


class AnswerFunction(Struct):
    """The function that an answer calls, with JSON text."""

    name: str
    arguments: str


class AnswerCall(Struct):
    """A call of an answer; ``index`` is its place where it comes in a stream."""

    id: str
    function: AnswerFunction
    type: str = _FUNCTION
    index: int | msgspec.UnsetType = msgspec.UNSET


def calls_of(
    candidate: Candidate, index: int, response_id: str, *, streamed: bool = False
) -> list[AnswerCall]:
    """Give the calls of one answer their shape on the wire.

    Args:
        candidate: the answer.
        index: its place among the answers to the request.
        response_id: an opaque id, from which calls without an id of their own get one.
        streamed: whether each call says its place.
    """
    return [
        AnswerCall(
            call.call_id or f"call_{response_id}_{index}_{place}",
            AnswerFunction(call.name, call.arguments),
            index=place if streamed else msgspec.UNSET,
        )
        for place, call in enumerate(candidate.calls)
    ]
