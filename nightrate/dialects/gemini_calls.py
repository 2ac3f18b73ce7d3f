"""Functions in Gemini's dialect: their declarations, and calls in a conversation and an answer."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from msgspec import Raw, json

from nightrate import limits
from nightrate.dialects.gemini_answer_shapes import FunctionCall, FunctionCallPart
from nightrate.dialects.gemini_options import names_below, refusal_of
from nightrate.dialects.gemini_options_of_tools import CALLING, FUNCTION, PLACE
from nightrate.dialects.gemini_options_of_turns import PART
from nightrate.dialects.gemini_schemas import json_schema_from
from nightrate.dialects.gemini_shapes import Part
from nightrate.dialects.gemini_values import check_number, name_in, object_in, truth_in
from nightrate.dialects.json_schema import schema_of_client
from nightrate.dialects.refusals import members_of, text_in, within, wrong
from nightrate.dialects.spelling import camel, quoted
from nightrate.domain.calling import Call, Calling, CallMode, CallResult, Function
from nightrate.domain.schema import Object, Schema, Union
from nightrate.errors import NotSupported, Refused

DECLARATIONS: Final = "functionDeclarations"
_MODE_FIELD: Final = "toolConfig.functionCallingConfig.mode"

_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
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
_OF_FUNCTION: Final = names_below(FUNCTION)
_OF_TOOL_CONFIG: Final = names_below("toolConfig")
_OF_CALLING: Final = names_below(CALLING)
_OF_PLACE: Final = names_below(PLACE)
_OF_POINT: Final = names_below(f"{PLACE}.latLng")
_OF_CALL: Final = names_below(f"{PART}.functionCall")
_OF_RESULT: Final = names_below(f"{PART}.functionResponse")
_OF_TOOL_CALL: Final = names_below(f"{PART}.toolCall")
_OF_TOOL_RESPONSE: Final = names_below(f"{PART}.toolResponse")
_OF_CODE: Final = names_below(f"{PART}.executableCode")
_OF_PRINTED: Final = names_below(f"{PART}.codeExecutionResult")

_BEHAVIORS: Final = ("UNSPECIFIED", "BLOCKING", "NON_BLOCKING")
_SCHEDULINGS: Final = ("SCHEDULING_UNSPECIFIED", "SILENT", "WHEN_IDLE", "INTERRUPT")
_LANGUAGES: Final = ("LANGUAGE_UNSPECIFIED", "PYTHON")
_OUTCOMES: Final = {
    "": "",
    "OUTCOME_UNSPECIFIED": "",
    "OUTCOME_OK": "",
    "OUTCOME_FAILED": "The code failed:\n",
    "OUTCOME_DEADLINE_EXCEEDED": "The code did not end in time:\n",
}
"""By the name of an outcome, what the model is told of it before the output."""


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
    at = "toolConfig"
    settings = {} if config is None else members_of(config, at, _OF_TOOL_CONFIG)
    _check_hints(settings, at)
    calling = object_in(settings, "functionCallingConfig", at, _OF_CALLING)
    at = CALLING
    if calling.get("streamFunctionCallArguments"):
        field = f"{at}.streamFunctionCallArguments"
        raise refusal_of(field, field)
    name = name_in(calling, "mode", at, _MODES)
    mode = _MODES[name]
    allowed = calling.get("allowedFunctionNames")
    if allowed not in (None, []):
        functions = _allowed(functions, allowed, f"{at}.allowedFunctionNames")
        if name not in _HELD:
            raise wrong(f"{at}.allowedFunctionNames", 'it needs the mode "ANY" or "VALIDATED".')
    if not functions:
        if mode is CallMode.ANY:
            raise wrong(_MODE_FIELD, "there are no functions to call: declare some under tools.")
        return None
    if mode is None:
        return None
    held = name in _HELD
    return Calling(tuple(functions.values()), mode, field, _MODE_FIELD, held=held)


def _check_hints(settings: dict[str, Any], at: str) -> None:
    """Check where the user is, for searches, and a wish to see calls that a server makes itself."""
    place = object_in(settings, "retrievalConfig", at, _OF_PLACE)
    text_in(place, "languageCode", PLACE)
    point = object_in(place, "latLng", PLACE, _OF_POINT)
    check_number(point, "latitude", f"{PLACE}.latLng", -90, 90)
    check_number(point, "longitude", f"{PLACE}.latLng", -180, 180)
    truth_in(settings, "includeServerSideToolInvocations", at)


def _declared(tools: list[dict[str, Any]]) -> tuple[dict[str, Function], str]:
    """Read all declarations, and give the path of the first."""
    functions: dict[str, Function] = {}
    first = ""
    for index, tool in enumerate(tools):
        for name, value in tool.items():
            if camel(name) != DECLARATIONS or value in (None, []):
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
        why = "it must have 1 to 128 letters, digits and _ . : -"
        raise wrong(f"{at}.name", f'"{quoted(str(name or ""))}" is none: {why}')
    description = text_in(members, "description", at) or ""
    name_in(members, "behavior", at, _BEHAVIORS)
    _check_response(members, at)
    field = _schema_field(members, ("parameters", "parametersJsonSchema"), at)
    if field is None:
        return Function(name, description)
    schema = _schema(members[field], f"{at}.{field}", own=field == "parameters")
    if not _is_object(schema):
        raise wrong(f"{at}.{field}", "arguments are an object.")
    return Function(name, description, schema)


def _check_response(members: dict[str, Any], at: str) -> None:
    """Check the form of what a function will answer; nothing is held to it, so any will do."""
    field = _schema_field(members, ("response", "responseJsonSchema"), at)
    if field is not None:
        with suppress(NotSupported):
            _schema(members[field], f"{at}.{field}", own=field == "response")


def _schema_field(members: dict[str, Any], names: tuple[str, str], at: str) -> str | None:
    """Find where a schema stands that can be written in two ways; an empty one is none."""
    written = [name for name in names if members.get(name) not in (None, {})]
    if len(written) > 1:
        raise wrong(f"{at}.{written[1]}", f'"{written[0]}" is there already.')
    return written[0] if written else None


def _schema(tree: object, field: str, *, own: bool) -> Schema:
    try:
        return schema_of_client(tree, json_schema_from if own else None)
    except Refused as error:
        raise within(error, field) from error


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
    at = "executableCode"
    code = members_of(tree, at, _OF_CODE)
    name_in(code, "language", at, _LANGUAGES)
    text_in(code, "id", at)
    return f"```python\n{text_in(code, 'code', at) or ''}\n```\n"


def _printed(tree: object) -> str:
    at = "codeExecutionResult"
    ran = members_of(tree, at, _OF_PRINTED)
    text_in(ran, "id", at)
    outcome = _OUTCOMES[name_in(ran, "outcome", at, _OUTCOMES)]
    return f"{outcome}```\n{text_in(ran, 'output', at) or ''}\n```\n"


def _call(tree: object, at: str, known: tuple[str, ...], *names: str) -> Call:
    members = members_of(tree, at, known)
    for name in ("partialArgs", "willContinue"):
        if members.get(name):
            raise refusal_of(f"{PART}.{at}.{name}", f"{at}.{name}")
    arguments = _object(members, "args", at)
    return Call(_name(members, names, at), arguments, text_in(members, "id", at))


def _result(tree: object, at: str, known: tuple[str, ...], *names: str) -> CallResult:
    members = members_of(tree, at, known)
    if members.get("parts"):
        raise refusal_of(f"{PART}.{at}.parts", f"{at}.parts")
    name_in(members, "scheduling", at, _SCHEDULINGS)
    truth_in(members, "willContinue", at)
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
