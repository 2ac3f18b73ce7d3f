"""Functions in Gemini's dialect: their declarations, and calls in a conversation and an answer."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from msgspec import Raw, json

from nightrate import limits
from nightrate.dialects.gemini_schemas import json_schema_from
from nightrate.dialects.gemini_shapes import FunctionCall, FunctionCallPart, Part
from nightrate.dialects.json_schema import schema_of_client
from nightrate.dialects.refusals import members_of, text_in, unserved, within, wrong
from nightrate.dialects.spelling import camel, quoted
from nightrate.domain.calling import Call, Calling, CallMode, CallResult, Function
from nightrate.domain.schema import Object, Schema, Union
from nightrate.errors import Refused

DECLARATIONS: Final = "functionDeclarations"
_MODE_FIELD: Final = "toolConfig.functionCallingConfig.mode"

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,127}")
_MODES: Final = {
    "": CallMode.AUTO,
    "MODE_UNSPECIFIED": CallMode.AUTO,
    "AUTO": CallMode.AUTO,
    "VALIDATED": CallMode.AUTO,
    "ANY": CallMode.ANY,
    "NONE": None,
}
_HELD: Final = "ANY", "VALIDATED"
"""Modes whose calls fit their declarations, as the original service promises."""
_OF_FUNCTION: Final = (
    *("name", "description", "parameters", "parametersJsonSchema"),
    # What the function will answer, and how clients of live sessions wait for it.
    *("response", "responseJsonSchema", "behavior"),
)
_OF_TOOL_CONFIG: Final = (
    "functionCallingConfig",
    # Where the user is, for searches, and a wish to see calls that a server makes by itself.
    *("retrievalConfig", "includeServerSideToolInvocations"),
)
_OF_CALLING: Final = ("mode", "allowedFunctionNames", "streamFunctionCallArguments")
_OF_CALL: Final = ("name", "args", "id", "partialArgs", "willContinue")
_OF_RESULT: Final = ("name", "response", "id", "parts", "scheduling", "willContinue")
_OF_TOOL_CALL: Final = ("id", "toolType", "toolName", "args")
_OF_TOOL_RESPONSE: Final = ("id", "toolType", "response")
_OUTCOMES: Final = (
    *("OUTCOME_UNSPECIFIED", "OUTCOME_OK", "OUTCOME_FAILED", "OUTCOME_DEADLINE_EXCEEDED"),
)


def calling_of(tools: list[dict[str, Any]] | None, config: object) -> Calling | None:
    """Find the functions that an answer may call; None when it calls none.

    Args:
        tools: as they came; those that are no functions are passed over.
        config: the request's ``toolConfig``.

    Raises:
        BadRequest: a declaration or a setting is malformed, or names what is not there.
        NotSupported: a schema of arguments says what cannot be honoured.
    """
    functions, field = _declared(tools or [])
    settings = members_of(config or {}, "toolConfig", _OF_TOOL_CONFIG)
    if not isinstance(settings.get("retrievalConfig") or {}, dict):
        raise wrong("toolConfig.retrievalConfig", "it is not an object.")
    at = "toolConfig.functionCallingConfig"
    calling = members_of(settings.get("functionCallingConfig") or {}, at, _OF_CALLING)
    if calling.get("streamFunctionCallArguments"):
        raise unserved(f"{at}.streamFunctionCallArguments", "Leave it out: calls come whole.")
    name = calling.get("mode") or ""
    if not isinstance(name, str) or name.upper() not in _MODES:
        raise wrong(_MODE_FIELD, f'"{quoted(str(name))}" is not known.')
    mode = _MODES[name.upper()]
    allowed = calling.get("allowedFunctionNames") or []
    if allowed:
        functions = _allowed(functions, allowed, f"{at}.allowedFunctionNames")
        if name.upper() not in _HELD:
            raise wrong(f"{at}.allowedFunctionNames", 'it needs the mode "ANY" or "VALIDATED".')
    if not functions:
        if mode is CallMode.ANY:
            raise wrong(_MODE_FIELD, "there are no functions to call: declare some under tools.")
        return None
    if mode is None:
        return None
    held = name.upper() in _HELD
    return Calling(tuple(functions.values()), mode, field, _MODE_FIELD, held=held)


def _declared(tools: list[dict[str, Any]]) -> tuple[dict[str, Function], str]:
    """Read all declarations, and give the path of the first."""
    functions: dict[str, Function] = {}
    first = ""
    for index, tool in enumerate(tools):
        for name, value in tool.items():
            if camel(name) != DECLARATIONS or not value:
                continue
            at = f"tools[{index}].{DECLARATIONS}"
            first = first or at
            if not isinstance(value, list):
                raise wrong(at, "it is not a list.")
            for place, tree in enumerate(value):
                here = f"{at}[{place}]"
                function = _function(tree, here)
                if function.name in functions:
                    raise wrong(f"{here}.name", f'"{function.name}" is declared twice.')
                functions[function.name] = function
    if len(functions) > limits.FUNCTIONS_MAX:
        raise wrong(first, f"there are {len(functions)}, and at most {limits.FUNCTIONS_MAX} are.")
    return functions, first


def _function(tree: object, at: str) -> Function:
    members = members_of(tree, at, _OF_FUNCTION)
    name = members.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        why = "it must begin with a letter or _ and have up to 128 letters, digits and _ . : -"
        raise wrong(f"{at}.name", f'"{quoted(str(name or ""))}" is none: {why}')
    description = members.get("description") or ""
    if not isinstance(description, str):
        raise wrong(f"{at}.description", "it is not a text.")
    written = [one for one in ("parameters", "parametersJsonSchema") if members.get(one)]
    if not written:
        return Function(name, description)
    if len(written) > 1:
        raise wrong(f"{at}.{written[1]}", f'there are "{written[0]}" already.')
    field = f"{at}.{written[0]}"
    try:
        said = json_schema_from if written[0] == "parameters" else None
        schema = schema_of_client(members[written[0]], said)
    except Refused as error:
        raise within(error, field) from error
    if not _is_object(schema):
        raise wrong(field, "arguments are an object.")
    return Function(name, description, schema)


def _is_object(schema: Schema) -> bool:
    root = schema.root
    if isinstance(root, Union):
        return all(isinstance(part, Object) for part in root.alternatives)
    return isinstance(root, Object)


def _allowed(functions: dict[str, Function], names: object, at: str) -> dict[str, Function]:
    if not isinstance(names, list):
        raise wrong(at, "it is not a list.")
    for index, name in enumerate(names):
        if not isinstance(name, str) or name not in functions:
            raise wrong(f"{at}[{index}]", f'"{quoted(str(name))}" is not declared.')
    return {name: function for name, function in functions.items() if name in names}


def calls_of(part: Part) -> Call | CallResult | str:
    """Read what was called in an earlier turn, of a part that is about that.

    Code that ran, and what it printed, is text.

    Raises:
        BadRequest: it is malformed.
        NotSupported: a function answered with more than JSON.
    """
    found = [name for name in _READERS if getattr(part, name) is not None]
    if len(found) > 1:
        raise wrong(camel(found[1]), f'a part holds one thing, and "{camel(found[0])}" is there.')
    return _READERS[found[0]](getattr(part, found[0]))


def _code(tree: object) -> str:
    code = members_of(tree, "executableCode", ("language", "code", "id"))
    return f"```python\n{_text(code, 'code', 'executableCode')}\n```\n"


def _printed(tree: object) -> str:
    at = "codeExecutionResult"
    ran = members_of(tree, at, ("outcome", "output", "id"))
    if ran.get("outcome", _OUTCOMES[0]) not in _OUTCOMES:
        raise wrong(f"{at}.outcome", f'"{quoted(str(ran["outcome"]))}" is not known.')
    return f"```\n{_text(ran, 'output', at)}\n```\n"


def _call(tree: object, at: str, known: tuple[str, ...], *names: str) -> Call:
    members = members_of(tree, at, known)
    if members.get("partialArgs") or members.get("willContinue"):
        raise unserved(at, "Send the call whole, with its args.")
    arguments = _object(members, "args", at)
    return Call(_name(members, names, at), arguments, text_in(members, "id", at))


def _result(tree: object, at: str, known: tuple[str, ...], *names: str) -> CallResult:
    members = members_of(tree, at, known)
    if members.get("parts"):
        raise unserved(f"{at}.parts", "Put what the function answered into its response.")
    response = _object(members, "response", at)
    return CallResult(_name(members, names, at), response, text_in(members, "id", at))


def _name(members: dict[str, Any], names: tuple[str, ...], at: str) -> str:
    name = next((members[one] for one in names if members.get(one)), None)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise wrong(f"{at}.{names[0]}", f'"{quoted(str(name or ""))}" is no name of a function.')
    return name


def _object(members: dict[str, Any], name: str, at: str) -> str:
    """Give an object as JSON, its names as they were written."""
    value = members.get(name)
    if value is not None and not isinstance(value, dict):
        raise wrong(f"{at}.{name}", "it is not an object.")
    return json.encode(value or {}).decode()


def _text(members: dict[str, Any], name: str, at: str) -> str:
    value = members.get(name)
    if value is not None and not isinstance(value, str):
        raise wrong(f"{at}.{name}", "it is not a text.")
    return value or ""


_READERS: Final[dict[str, Callable[[object], Call | CallResult | str]]] = {
    "function_call": lambda tree: _call(tree, "functionCall", _OF_CALL, "name"),
    "tool_call": lambda tree: _call(tree, "toolCall", _OF_TOOL_CALL, "toolName", "toolType"),
    "function_response": lambda tree: _result(tree, "functionResponse", _OF_RESULT, "name"),
    "tool_response": lambda tree: _result(tree, "toolResponse", _OF_TOOL_RESPONSE, "toolType"),
    "executable_code": _code,
    "code_execution_result": _printed,
}
"""How the members of a part are read that are about what was called."""


def called_in(call: Call) -> FunctionCall:
    """Write a call, on one line: endpoints may have broken its arguments."""
    arguments = json.format(call.arguments.encode(), indent=-1)
    return FunctionCall(call.name, Raw(arguments), call.call_id)


def call_part(call: Call) -> FunctionCallPart:
    """Write a call of an answer."""
    return FunctionCallPart(called_in(call))
