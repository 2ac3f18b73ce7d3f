"""Functions of Gemini's clients: declarations, modes, calls and results of earlier turns."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from google.genai import types

from nightrate.dialects.gemini import StreamWriter, framing_of, parse_prompt, render_reply
from nightrate.dialects.gemini_lines import parse_line
from nightrate.dialects.gemini_results import render_line
from nightrate.dialects.json_schema import read_schema
from nightrate.dialects.row import Echo
from nightrate.domain.batch import BatchForm
from nightrate.domain.calling import Call, Calling, CallMode, CallResult, Function
from nightrate.domain.generation import Candidate, FinishReason, Message, Prompt, Reply, Usage
from nightrate.errors import BadRequest, NotSupported, Refused

TREE = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
CLOCK = {"name": "clock"}
WEATHER = {"name": "weather", "description": "Tells it.", "parameters": TREE}
FUNCTIONS = (Function("clock"), Function("weather", "Tells it.", read_schema(TREE)))
AT = "tools[0].functionDeclarations"
CONFIG = "toolConfig.functionCallingConfig"


def parse(**members: Any) -> Prompt:
    return parse_prompt(msgspec.json.encode({"contents": "hi", **members}), "m")


def calling(*declarations: Any, **config: Any) -> Calling | None:
    tools = [{"functionDeclarations": list(declarations)}]
    return parse(tools=tools, toolConfig={"functionCallingConfig": config}).calling


def refusal(kind: type[Refused], **members: Any) -> tuple[str | None, str]:
    with pytest.raises(Refused) as refused:
        parse(**members)
    assert type(refused.value) is kind
    return refused.value.field, refused.value.message


# declarations --------------------------------------------------------------------------------


def test_functions_may_be_declared_in_either_spelling_and_over_several_tools() -> None:
    expected = Calling(FUNCTIONS, CallMode.AUTO, AT, f"{CONFIG}.mode")
    assert calling(CLOCK, WEATHER) == expected
    tools = [
        {"functionDeclarations": [CLOCK]},
        {"functionDeclarations": None},
        {"functionDeclarations": []},
        {"functionDeclarations": [WEATHER]},
    ]
    assert parse(tools=tools).calling == expected
    snake = [{"function_declarations": [CLOCK, {**WEATHER, "parameters_json_schema": None}]}]
    found = parse(tools=snake).calling
    assert found is not None
    assert found.functions == FUNCTIONS


@pytest.mark.parametrize(
    "parameters",
    [
        {"parameters": {"type": "OBJECT", "properties": {"city": {"type": "STRING"}},
                        "required": ["city"]}},
        {"parameters": TREE},
        {"parametersJsonSchema": TREE},
        {"parameters_json_schema": TREE, "parameters": None},
    ],
)  # fmt: skip
def test_arguments_have_a_schema_of_either_kind(parameters: Any) -> None:
    found = calling({"name": "weather", "description": "Tells it.", **parameters})
    assert found is not None
    assert found.functions == FUNCTIONS[1:]


def test_what_a_function_will_answer_is_no_matter() -> None:
    said = {"response": {"type": "OBJECT"}, "responseJsonSchema": {}, "behavior": "BLOCKING"}
    found = calling({**CLOCK, **said})
    assert found is not None
    assert found.functions == FUNCTIONS[:1]


def test_arguments_may_be_one_of_several_objects() -> None:
    assert calling({"name": "f", "parametersJsonSchema": {"anyOf": [TREE, TREE]}})


@pytest.mark.parametrize(
    ("declared", "path", "kind"),
    [
        ({}, "", BadRequest),
        (["clock"], "[0]", BadRequest),
        ([{}], "[0].name", BadRequest),
        ([{"name": 5}], "[0].name", BadRequest),
        ([{"name": "é"}], "[0].name", BadRequest),
        ([{"name": "a" * 129}], "[0].name", BadRequest),
        ([CLOCK, CLOCK], "[1].name", BadRequest),
        ([{**CLOCK, "behavior": "FAST"}], "[0].behavior", BadRequest),
        ([{**CLOCK, "parameters": []}], "[0].parameters", BadRequest),
        ([{**CLOCK, "response": 5}], "[0].response", BadRequest),
        ([{**CLOCK, "response": {"type": "X"}}], "[0].response.type", BadRequest),
        ([{**CLOCK, "responseJsonSchema": {"type": "x"}}], "[0].responseJsonSchema.type",
         BadRequest),
        ([{**CLOCK, "response": TREE, "responseJsonSchema": TREE}], "[0].responseJsonSchema",
         BadRequest),
        ([{**CLOCK, "description": 5}], "[0].description", BadRequest),
        ([{**CLOCK, "arguments": {}}], "[0].arguments", BadRequest),
        ([{**WEATHER, "parametersJsonSchema": TREE}], "[0].parametersJsonSchema", BadRequest),
        ([{**CLOCK, "parameters": {"type": "STRING"}}], "[0].parameters", BadRequest),
        ([{**CLOCK, "parametersJsonSchema": {"anyOf": [TREE, {"type": "null"}]}}],
         "[0].parametersJsonSchema", BadRequest),
        ([{**CLOCK, "parameters": {"type": "OBJECT", "properties": {"a": {"type": "X"}}}}],
         "[0].parameters.properties.a.type", BadRequest),
        ([{**CLOCK, "parametersJsonSchema": {"type": "object", "not": {}}}],
         "[0].parametersJsonSchema.not", NotSupported),
        ([{"name": f"f{number}"} for number in range(129)], "", BadRequest),
    ],
)  # fmt: skip
def test_a_wrong_declaration_is_refused_by_its_path(
    declared: Any, path: str, kind: type[Refused]
) -> None:
    declared = declared or "none"
    field, message = refusal(kind, tools=[{"functionDeclarations": declared}])
    assert field == AT + path
    assert message.startswith(f"{field}: ")


def test_an_answer_that_calls_has_no_form_no_picture_and_no_search() -> None:
    tools: list[Any] = [{"functionDeclarations": [CLOCK]}]
    form = {"responseMimeType": "application/json"}
    assert refusal(BadRequest, tools=tools, generationConfig=form)[0] == AT
    picture = {"responseModalities": ["TEXT", "IMAGE"]}
    assert refusal(BadRequest, tools=tools, generationConfig=picture)[0] == AT
    likely = {"responseLogprobs": True}
    field, _ = refusal(BadRequest, tools=tools, generationConfig=likely)
    assert field == "generationConfig.responseLogprobs"
    both = [{"functionDeclarations": [CLOCK], "googleSearch": {}}]
    assert refusal(BadRequest, tools=both)[0] == "tools[0].googleSearch"
    never = {"functionCallingConfig": {"mode": "NONE"}}
    assert parse(tools=both, toolConfig=never, generationConfig=form).lookup is not None


# modes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, (CallMode.AUTO, False)),
        ({"mode": None}, (CallMode.AUTO, False)),
        ({"mode": "MODE_UNSPECIFIED"}, (CallMode.AUTO, False)),
        ({"mode": "auto"}, (CallMode.AUTO, False)),
        ({"mode": "VALIDATED"}, (CallMode.AUTO, True)),
        ({"mode": "any"}, (CallMode.ANY, True)),
    ],
)
def test_the_mode_says_who_decides_and_whether_calls_are_held_to_their_declarations(
    config: Any, expected: tuple[CallMode, bool]
) -> None:
    found = calling(CLOCK, **config)
    assert found is not None
    assert (found.mode, found.held) == expected


def test_none_is_as_if_nothing_was_declared() -> None:
    assert calling(CLOCK, mode="NONE") is None
    assert parse(toolConfig={"functionCallingConfig": {"mode": "AUTO"}}) == parse()
    assert parse(toolConfig={}, tools=[]) == parse()


@pytest.mark.parametrize("mode", ["ANY", "VALIDATED"])
def test_names_choose_among_the_functions(mode: str) -> None:
    found = calling(CLOCK, WEATHER, mode=mode, allowedFunctionNames=["weather", "weather"])
    assert found is not None
    assert found.functions == FUNCTIONS[1:]


def test_what_a_search_or_a_server_would_need_to_know_is_passed_over() -> None:
    config = {"retrievalConfig": {"languageCode": "de"}, "includeServerSideToolInvocations": True}
    assert parse(toolConfig=config) == parse()


@pytest.mark.parametrize(
    ("config", "path", "kind"),
    [
        ("ANY", "toolConfig", BadRequest),
        ({"mode": "ANY"}, "toolConfig.mode", BadRequest),
        ({"retrievalConfig": 5}, "toolConfig.retrievalConfig", BadRequest),
        ({"functionCallingConfig": "ANY"}, CONFIG, BadRequest),
        ({"functionCallingConfig": {"mode": "SOME"}}, f"{CONFIG}.mode", BadRequest),
        ({"functionCallingConfig": {"mode": 5}}, f"{CONFIG}.mode", BadRequest),
        ({"functionCallingConfig": {"names": []}}, f"{CONFIG}.names", BadRequest),
        ({"functionCallingConfig": {"allowedFunctionNames": ["clock"]}},
         f"{CONFIG}.allowedFunctionNames", BadRequest),
        ({"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": "clock"}},
         f"{CONFIG}.allowedFunctionNames", BadRequest),
        ({"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["clock", "sun"]}},
         f"{CONFIG}.allowedFunctionNames[1]", BadRequest),
        ({"functionCallingConfig": {"streamFunctionCallArguments": True}},
         f"{CONFIG}.streamFunctionCallArguments", NotSupported),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_refused_by_its_path(
    config: Any, path: str, kind: type[Refused]
) -> None:
    tools = [{"functionDeclarations": [CLOCK]}]
    assert refusal(kind, tools=tools, toolConfig=config)[0] == path


def test_nothing_can_be_called_where_nothing_is_declared() -> None:
    config = {"functionCallingConfig": {"mode": "ANY"}}
    field, message = refusal(BadRequest, toolConfig=config)
    assert field == f"{CONFIG}.mode"
    assert "declare some under tools" in message


# earlier turns -------------------------------------------------------------------------------


def turn(*parts: Any, role: str = "model") -> Message:
    return parse(contents=[{"role": role, "parts": list(parts)}]).messages[0]


def test_calls_and_results_are_read_back_as_they_were_written() -> None:
    contents = [
        {"role": "user", "parts": [{"text": "Weather?"}]},
        {
            "role": "model",
            "parts": [
                {"text": "Let me "},
                {"functionCall": {"name": "weather", "args": {"city_name": "Oslo"}, "id": "1"}},
                {"text": "see.", "thoughtSignature": "AA=="},
                {"function_call": {"name": "clock"}, "thoughtSignature": "AA=="},
            ],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"name": "weather", "response": {"a_b": [1]}, "id": "1"}},
                {"function_response": {"name": "clock", "id": ""}},
            ],
        },
    ]
    assert parse(contents=contents).messages == (
        Message("user", "Weather?"),
        Message(
            "model",
            "Let me see.",
            (Call("weather", '{"city_name":"Oslo"}', "1"), Call("clock", "{}")),
        ),
        Message(
            "user",
            "",
            results=(CallResult("weather", '{"a_b":[1]}', "1"), CallResult("clock", "{}")),
        ),
    )


def test_a_turn_of_thoughts_alone_is_none() -> None:
    thought = {"role": "model", "parts": [{"text": "Hm.", "thought": True}]}
    signed = {"role": "model", "parts": [{"thoughtSignature": "AA=="}]}
    asked = {"parts": [{"text": "hi"}]}
    prompt = parse(contents=[asked, thought, {**thought, "role": "system"}, signed, asked])
    assert prompt.messages == (Message("user", "hi"), Message("user", "hi"))
    assert prompt.system is None


@pytest.mark.parametrize("role", ["user", "function", "tool"])
def test_results_come_in_a_turn_of_any_role_that_clients_give_them(role: str) -> None:
    part = {"functionResponse": {"name": "clock", "response": {"hour": 5}}}
    result = CallResult("clock", '{"hour":5}')
    assert turn(part, role=role) == Message("user", "", results=(result,))


def test_what_a_server_called_is_read_like_calls_of_functions() -> None:
    call = {"toolCall": {"id": "1", "toolType": "GOOGLE_SEARCH", "args": {"q": "x"}}}
    result = {"toolResponse": {"id": "1", "toolType": "GOOGLE_SEARCH", "response": {"r": 1}}}
    assert turn(call, result) == Message(
        "model",
        "",
        (Call("GOOGLE_SEARCH", '{"q":"x"}', "1"),),
        (CallResult("GOOGLE_SEARCH", '{"r":1}', "1"),),
    )


def test_code_that_ran_and_what_it_printed_are_text() -> None:
    code = {"executableCode": {"language": "PYTHON", "code": "print(1)"}}
    printed = {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}}
    assert turn(code, printed) == Message("model", "```python\nprint(1)\n```\n```\n1\n```\n")
    assert turn({"codeExecutionResult": {}}) == Message("model", "```\n\n```\n")


@pytest.mark.parametrize(
    ("part", "path", "kind"),
    [
        ({"functionCall": "clock"}, "functionCall", BadRequest),
        ({"functionCall": {}}, "functionCall.name", BadRequest),
        ({"functionCall": {"name": "a b"}}, "functionCall.name", BadRequest),
        ({"functionCall": {"name": "clock", "arguments": {}}}, "functionCall.arguments",
         BadRequest),
        ({"functionCall": {"name": "clock", "args": []}}, "functionCall.args", BadRequest),
        ({"functionCall": {"name": "clock", "id": 5}}, "functionCall.id", BadRequest),
        ({"functionCall": {"name": "clock", "partialArgs": [{}]}}, "functionCall.partialArgs",
         NotSupported),
        ({"functionCall": {"name": "clock", "willContinue": True}}, "functionCall.willContinue",
         NotSupported),
        ({"functionCall": {"name": "clock"}, "text": "So."}, "text", BadRequest),
        ({"functionCall": {"name": "clock"}, "functionResponse": {"name": "clock"}},
         "functionResponse", BadRequest),
        ({"functionResponse": {"name": "clock", "response": "5"}}, "functionResponse.response",
         BadRequest),
        ({"functionResponse": {"name": "clock", "parts": [{}]}}, "functionResponse.parts",
         NotSupported),
        ({"functionResponse": {"name": "clock", "scheduling": "SOON"}},
         "functionResponse.scheduling", BadRequest),
        ({"functionResponse": {"name": "clock", "willContinue": "yes"}},
         "functionResponse.willContinue", BadRequest),
        ({"toolCall": {"id": "1"}}, "toolCall.toolName", BadRequest),
        ({"toolResponse": {"id": "1"}}, "toolResponse.toolType", BadRequest),
        ({"executableCode": {"code": 5}}, "executableCode.code", BadRequest),
        ({"executableCode": {"language": "RUBY"}}, "executableCode.language", BadRequest),
        ({"executableCode": {"id": 5}}, "executableCode.id", BadRequest),
        ({"codeExecutionResult": {"outcome": "OUTCOME_ODD"}}, "codeExecutionResult.outcome",
         BadRequest),
    ],
)  # fmt: skip
def test_a_wrong_part_is_refused_by_its_path(part: Any, path: str, kind: type[Refused]) -> None:
    contents = [{"parts": [{"text": "hi"}, part]}]
    assert refusal(kind, contents=contents)[0] == f"contents[0].parts[1].{path}"


def test_the_system_calls_nothing() -> None:
    part = {"functionCall": {"name": "clock"}}
    contents = [{"role": "system", "parts": [part]}, {"parts": [{"text": "hi"}]}]
    assert refusal(BadRequest, contents=contents)[0] == "contents[0].role"
    field, _ = refusal(NotSupported, systemInstruction={"parts": [part]})
    assert field == "systemInstruction.parts[0].functionCall"


def test_a_name_that_is_spelled_in_another_way_is_named_as_it_was_sent() -> None:
    """The members around it are in camelCase, so that the body is read in one go."""
    request = {"contents": [{"parts": [{"functionCall": {"name": "f", "will_continue": True}}]}]}
    path = "contents[0].parts[0].functionCall.will_continue"
    assert refusal(NotSupported, **request)[0] == path
    line = parse_line(msgspec.json.encode({"request": request}), 1, BatchForm.FILE, "m")
    assert line.field == f"request.{path}"


@pytest.mark.parametrize("name", ["1st", "-", ".a", ":", "9" * 128])
def test_a_name_may_begin_with_any_of_its_characters(name: str) -> None:
    found = calling({"name": name})
    assert found is not None
    assert found.functions[0].name == name
    contents = ["hi", {"role": "model", "parts": [{"functionCall": {"name": name}}]}]
    assert parse(contents=contents).messages[1].calls[0].name == name


@pytest.mark.parametrize(
    ("outcome", "told"),
    [
        ({}, ""),
        ({"outcome": "OUTCOME_OK"}, ""),
        ({"outcome": "OUTCOME_FAILED"}, "The code failed:\n"),
        ({"outcome": "OUTCOME_DEADLINE_EXCEEDED"}, "The code did not end in time:\n"),
    ],
)
def test_the_model_is_told_that_its_code_failed(outcome: dict[str, str], told: str) -> None:
    ran = {"codeExecutionResult": {**outcome, "output": "1"}}
    (message,) = parse(contents=[{"role": "model", "parts": [ran]}]).messages
    assert message.text == f"{told}```\n1\n```\n"


def test_a_call_marked_as_a_thought_stays_in_the_conversation() -> None:
    thoughts = [{"text": "Hm.", "thought": True}, {"functionCall": CLOCK, "thought": True}]
    (message,) = parse(contents=[{"role": "model", "parts": thoughts}]).messages
    assert message.text == ""
    assert [call.name for call in message.calls] == ["clock"]


@pytest.mark.parametrize(
    ("config", "path"),
    [
        ([], ""),
        ({"functionCallingConfig": []}, ".functionCallingConfig"),
        ({"functionCallingConfig": {"mode": False}}, ".functionCallingConfig.mode"),
        ({"retrievalConfig": []}, ".retrievalConfig"),
        ({"retrievalConfig": {"city": "Rome"}}, ".retrievalConfig.city"),
        ({"retrievalConfig": {"languageCode": 5}}, ".retrievalConfig.languageCode"),
        ({"retrievalConfig": {"latLng": [1, 2]}}, ".retrievalConfig.latLng"),
        ({"retrievalConfig": {"latLng": {"lat": 1}}}, ".retrievalConfig.latLng.lat"),
        ({"retrievalConfig": {"latLng": {"latitude": "N"}}}, ".retrievalConfig.latLng.latitude"),
        ({"retrievalConfig": {"latLng": {"longitude": 181}}}, ".retrievalConfig.latLng.longitude"),
        ({"includeServerSideToolInvocations": 1}, ".includeServerSideToolInvocations"),
    ],
)
def test_hints_about_tools_are_checked(config: Any, path: str) -> None:
    assert refusal(BadRequest, toolConfig=config)[0] == f"toolConfig{path}"


# answers -------------------------------------------------------------------------------------

BROKEN = '{\n  "city": "Z\u00fcrich\\n\u2028",\n  "n": 1.10\n}'
REPLY = Reply(
    (Candidate("", calls=(Call("weather", BROKEN, "c1"), Call("clock", "{}"))),), Usage(1, 2), "m"
)
PARTS = [
    {
        "functionCall": {
            "name": "weather",
            "args": {"city": "Z\u00fcrich\n\u2028", "n": 1.1},
            "id": "c1",
        }
    },
    {"functionCall": {"name": "clock", "args": {}}},
]


def candidate_of(response: Any) -> Any:
    (candidate,) = response["candidates"]
    return candidate


def test_an_answer_has_its_calls_as_parts() -> None:
    response = json.loads(render_reply(REPLY, "r"))
    candidate = candidate_of(response)
    assert candidate["content"]["parts"] == PARTS
    assert candidate["finishReason"] == "STOP"
    calls = types.GenerateContentResponse.model_validate(response).function_calls
    assert calls is not None
    assert [call.name for call in calls] == ["weather", "clock"]


def test_words_come_before_the_calls() -> None:
    reply = Reply((Candidate("So.", calls=(Call("clock", "{}"),)),), Usage(1, 2), "m")
    parts = candidate_of(json.loads(render_reply(reply, "r")))["content"]["parts"]
    assert parts == [{"text": "So."}, PARTS[1]]


def test_a_line_stays_one_line_of_ascii_however_an_endpoint_wrote_the_arguments() -> None:
    line = render_line(Echo(b'"k"'), REPLY, BatchForm.FILE, "r1")
    assert line.isascii()
    assert b"\n" not in line
    assert b'"n":1.10' in line
    assert candidate_of(json.loads(line)["response"])["content"]["parts"] == PARTS


def test_the_last_document_of_a_stream_has_the_calls() -> None:
    writer = StreamWriter(framing_of("sse"), "r")
    document = writer.write(REPLY)
    event = document.removeprefix(b"data: ").rstrip()
    assert b"\n" not in event
    assert candidate_of(json.loads(event))["content"]["parts"] == PARTS


def test_an_answer_whose_call_was_malformed_says_so() -> None:
    reply = Reply((Candidate("", FinishReason.BAD_CALL),), Usage(1, 2), "m")
    response = json.loads(render_reply(reply, "r"))
    assert candidate_of(response)["finishReason"] == "MALFORMED_FUNCTION_CALL"
    (candidate,) = types.GenerateContentResponse.model_validate(response).candidates or []
    assert candidate.finish_reason is types.FinishReason.MALFORMED_FUNCTION_CALL


def test_a_member_that_is_there_in_both_spellings_is_refused() -> None:
    retrieval = {"languageCode": "en", "language_code": "de"}
    body = {"contents": "hi", "toolConfig": {"retrievalConfig": retrieval}}
    with pytest.raises(Refused) as refused:
        parse_prompt(msgspec.json.encode(body), "m")
    assert refused.value.field == "toolConfig.retrievalConfig.language_code"
    assert "other spelling" in refused.value.message
